//! The line to one plugin: a task that owns its worker, its calls and its deadlines.
//!
//! One task, so that no lock is held over a wait and no two calls start two workers. The task judges the time of every
//! call itself: a caller that goes away changes nothing, and a worker that is late is ended for all that wait on it,
//! since what hangs in it cannot be told from what will come back. After a failure the worker is started again with the
//! next call; after several in a row only when a growing pause has passed.
//!
//! Never: an answer that the plugin did not give. Whatever goes wrong is an error, and an error never lets anybody in.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockgate_plugin::abi;
use lockgate_plugin::exchange::{Fields, What};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use crate::process::{Heard, Worker};
use crate::redact::Secrets;
use crate::start::{Plan, Started};
use crate::wire::{Ask, Description, Report, Request};
use crate::{PluginError, PluginReport, PluginState};

/// How long a plugin may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From the start of a worker to the end of `open`.
    pub start: Duration,
    /// One call.
    pub call: Duration,
    /// One call together with waiting for its turn and for the worker's start.
    pub total: Duration,
    /// One `begin` or `verify` of a plugin that waits for a person.
    pub person: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            start: Duration::from_secs(5),
            call: Duration::from_secs(5),
            total: Duration::from_secs(10),
            person: Duration::from_secs(60),
        }
    }
}

/// What a plugin answered: its status as it came, and fields that were checked for size only.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    pub(crate) fields: Fields,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }
}

/// The calling end. Dropping the last one lets the worker go.
pub(crate) struct Line {
    jobs: mpsc::Sender<Job>,
    report: Shared,
    deadlines: Deadlines,
}

/// What the task tells about itself while it runs.
pub(crate) type Shared = Arc<Mutex<Known>>;

/// A report, and since when it rests.
pub(crate) struct Known {
    pub(crate) report: PluginReport,
    pub(crate) resting_until: Option<Instant>,
    /// What the plugin said when it was first loaded. The gate has gone by it since, so it holds for good.
    pub(crate) first: Option<Description>,
}

struct Job {
    what: What,
    fields: Fields,
    secrets: Secrets,
    until: Instant,
    answer: oneshot::Sender<Result<Answer, PluginError>>,
}

impl Line {
    /// Starts the task; the worker starts with the first call. Within a tokio runtime.
    pub(crate) fn new(plan: Plan, report: Shared, most: usize, deadlines: Deadlines) -> Self {
        let (jobs, queue) = mpsc::channel(WAITING);
        let task = Task {
            plan,
            report: Arc::clone(&report),
            most: most.clamp(1, MOST_CALLS),
            deadlines,
            waiting: VecDeque::new(),
            running: None,
            failures_in_a_row: 0,
            rest_until: None,
        };
        tokio::spawn(task.run(queue));
        Self { jobs, report, deadlines }
    }

    /// Makes a call. Dropping the future gives up waiting; the call itself goes on.
    pub(crate) async fn call(&self, what: What, fields: Fields) -> Result<Answer, PluginError> {
        let waits = self.report.lock().unwrap_or_else(PoisonError::into_inner).report.waits_for_person;
        let patient = waits && matches!(what, What::Begin | What::Verify);
        let limit = if patient { self.deadlines.total + self.deadlines.person } else { self.deadlines.total };
        let until = Instant::now() + limit;
        if !fits(&fields) {
            return Err(PluginError::Plugin { why: "the call is too large for a plugin".to_owned() });
        }
        let (answer, answered) = oneshot::channel();
        let job = Job { what, secrets: Secrets::of_call(&fields), fields, until, answer };
        self.jobs.try_send(job).map_err(|_| PluginError::Busy)?;
        // A call that waited long for its turn runs on in the worker, whose own time is not up; nobody waits for it.
        match timeout_at(until, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(PluginError::Gone),
            Err(_) => Err(PluginError::Late { after: limit }),
        }
    }

    /// Makes a call whose answer nobody waits for; `false` where too many are waiting.
    pub(crate) fn tell(&self, what: What, fields: Fields) -> bool {
        let until = Instant::now() + self.deadlines.total;
        let (answer, _) = oneshot::channel();
        fits(&fields) && self.jobs.try_send(Job { what, fields, secrets: Secrets::default(), until, answer }).is_ok()
    }

    /// Notes an event that could not be told.
    pub(crate) fn missed(&self) {
        let mut known = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        known.report.failures += 1;
        known.report.last_error = Some("an event was not told: too many were waiting".to_owned());
    }

    pub(crate) fn report(&self) -> PluginReport {
        let known = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = known.report.clone();
        if let Some(until) = known.resting_until {
            let again = until.saturating_duration_since(Instant::now());
            if !again.is_zero() && report.state != PluginState::Running {
                report.state = PluginState::Resting { again };
            }
        }
        report
    }

    pub(crate) fn described(&self) -> bool {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).first.is_some()
    }
}

/// The task's own end.
struct Task {
    plan: Plan,
    report: Shared,
    most: usize,
    deadlines: Deadlines,
    waiting: VecDeque<Job>,
    running: Option<Running>,
    failures_in_a_row: u32,
    rest_until: Option<Instant>,
}

struct Running {
    worker: Worker,
    since: Instant,
    calls: HashMap<u64, UnderWay>,
    next_id: u64,
    most: usize,
    waits_for_person: bool,
    lines: LogAllowance,
}

struct UnderWay {
    what: What,
    secrets: Secrets,
    until: Instant,
    limit: Duration,
    answer: oneshot::Sender<Result<Answer, PluginError>>,
}

impl Task {
    async fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        loop {
            let next = self.next_deadline();
            tokio::select! {
                job = jobs.recv() => match job {
                    Some(job) => self.accept(job),
                    None => break,
                },
                heard = hear(&mut self.running) => self.heard(heard),
                () = sleep_until(next) => self.expire(Instant::now()),
            }
            self.hand_out().await;
        }
        // Nobody can ask any more. What is under way is answered by no one; the callers are gone.
        if let Some(running) = self.running.take() {
            running.worker.part();
        }
    }

    fn next_deadline(&self) -> Instant {
        let under_way = self.running.iter().flat_map(|running| running.calls.values().map(|call| call.until));
        let waiting = self.waiting.iter().map(|job| job.until);
        under_way.chain(waiting).min().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    fn accept(&mut self, job: Job) {
        if self.waiting.len() >= WAITING {
            let _ = job.answer.send(Err(PluginError::Busy));
        } else {
            self.waiting.push_back(job);
        }
    }

    /// Gives waiting calls to the worker, as many as may run; starts it where there is none.
    async fn hand_out(&mut self) {
        while !self.waiting.is_empty() {
            if self.running.is_none() && !self.start().await {
                return;
            }
            let Some(running) = &mut self.running else { return };
            if running.calls.len() >= running.most {
                return;
            }
            let Some(job) = self.waiting.pop_front() else { return };
            if job.until <= Instant::now() {
                let _ = job.answer.send(Err(PluginError::Late { after: self.deadlines.total }));
                continue;
            }
            if !running.give(job, &self.deadlines) {
                self.failed(&PluginError::Gone);
            }
            self.known(|known| known.report.calls += 1);
        }
    }

    /// Starts the worker. Where it cannot be, everybody who waits is told so.
    async fn start(&mut self) -> bool {
        let now = Instant::now();
        if let Some(until) = self.rest_until.filter(|until| *until > now) {
            self.turn_away(&PluginError::Resting { again: until - now });
            return false;
        }
        let started =
            self.plan.start(self.deadlines.start).await.and_then(|started| match self.changed(&started.said) {
                Some(what) => Err(PluginError::Changed { what }),
                None => Ok(started),
            });
        match started {
            Ok(Started { worker, said }) => {
                let single = said.flags & abi::SINGLE_THREADED != 0;
                let file = self.plan.file();
                self.known(|known| {
                    known.report.describe(&said);
                    known.first.get_or_insert_with(|| said.clone());
                    known.report.file = file;
                    known.report.state = PluginState::Running;
                });
                debug!(plugin = %self.plan.channel, version = %said.version, sandbox = %said.sandbox, "plugin worker started");
                self.running = Some(Running {
                    worker,
                    since: Instant::now(),
                    calls: HashMap::new(),
                    next_id: 1,
                    most: if single { 1 } else { self.most },
                    waits_for_person: said.flags & abi::WAITS_FOR_PERSON != 0,
                    lines: LogAllowance::default(),
                });
                true
            }
            Err(error) => {
                self.note(&error, PluginState::Broken);
                self.turn_away(&error);
                false
            }
        }
    }

    fn changed(&self, said: &Description) -> Option<&'static str> {
        let known = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        known.first.as_ref().and_then(|first| said.changed_since(first))
    }

    fn heard(&mut self, heard: Option<Heard>) {
        let Some(running) = &mut self.running else { return };
        match heard {
            Some(Heard::Report(Report::Answer { id, status, fields })) => match running.calls.remove(&id) {
                Some(call) => {
                    self.answered(call, Answer { status, fields });
                    self.calm();
                }
                // Twice, or to nobody's question.
                None => self.failed(&PluginError::Garbage),
            },
            Some(Heard::Report(Report::Log { level, text })) => {
                if running.lines.allows() {
                    let secrets = running.calls.values().map(|call| &call.secrets);
                    log(&self.plan.channel, level, &self.plan.secrets.blot(&text, secrets));
                }
            }
            Some(Heard::Report(Report::Hello(_) | Report::Refused(_)) | Heard::Garbage) => {
                self.failed(&PluginError::Garbage);
            }
            None => self.failed(&PluginError::Gone),
        }
    }

    /// Passes an answer on. One that reports an error is counted, and its words are kept without secrets.
    fn answered(&mut self, call: UnderWay, mut answer: Answer) {
        if !matches!(answer.status, abi::OK | abi::NO | abi::LATER) {
            let why = answer.field("error").map(|why| String::from_utf8_lossy(why).into_owned());
            let why = self.plan.secrets.blot(&why.unwrap_or_default(), [&call.secrets].into_iter());
            let shown = match answer.status {
                abi::ERROR | abi::UNAVAILABLE => why,
                other => format!("unknown status {other} {why}"),
            };
            warn!(plugin = %self.plan.channel, call = ?call.what, reason = %shown, "plugin call failed");
            answer.fields.retain(|(name, _)| name != "error");
            answer.fields.push(("error".to_owned(), shown.clone().into_bytes().into()));
            self.known(|known| {
                known.report.failures += 1;
                known.report.last_error = Some(shown);
            });
        }
        let _ = call.answer.send(Ok(answer));
    }

    /// Ends what took too long: a waiting call alone, a call under way with the worker it hangs in.
    fn expire(&mut self, now: Instant) {
        let (late, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|job| job.until <= now);
        self.waiting = waiting;
        for job in Vec::from(late) {
            let _ = job.answer.send(Err(PluginError::Late { after: self.deadlines.total }));
        }
        let Some(running) = &mut self.running else { return };
        let late: Vec<u64> = running.calls.iter().filter(|(_, call)| call.until <= now).map(|(id, _)| *id).collect();
        let mut after = None;
        for id in late {
            if let Some(call) = running.calls.remove(&id) {
                after = Some(call.limit);
                let _ = call.answer.send(Err(PluginError::Late { after: call.limit }));
            }
        }
        if let Some(after) = after {
            self.failed(&PluginError::Late { after });
        }
    }

    /// Ends the worker; whoever waits on it hears that it is gone.
    fn failed(&mut self, error: &PluginError) {
        if let Some(running) = self.running.take() {
            for call in running.calls.into_values() {
                let _ = call.answer.send(Err(PluginError::Gone));
            }
            drop(running.worker);
        }
        self.note(error, PluginState::Ready);
    }

    /// Counts a failure and says how long to rest: not at all after the first, then ever longer.
    fn note(&mut self, error: &PluginError, state: PluginState) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let pause = match self.failures_in_a_row {
            0 | 1 => Duration::ZERO,
            more => (FIRST_REST * 2_u32.saturating_pow((more - 2).min(16))).min(LONGEST_REST),
        };
        let shown = self.plan.secrets.blot(&error.to_string(), [].into_iter());
        warn!(plugin = %self.plan.channel, reason = %shown, rest_ms = pause.as_millis() as u64, "plugin failed");
        let until = Instant::now() + pause;
        self.rest_until = Some(until);
        self.known(|known| {
            known.report.failures += 1;
            known.report.last_error = Some(shown);
            known.report.state = state;
            known.resting_until = Some(until);
        });
    }

    /// Forgets earlier failures once a worker has proved itself for a while.
    fn calm(&mut self) {
        if self.running.as_ref().is_some_and(|running| running.since.elapsed() > PROVED) {
            self.failures_in_a_row = 0;
            self.rest_until = None;
        }
    }

    fn turn_away(&mut self, error: &PluginError) {
        for job in self.waiting.drain(..) {
            let _ = job.answer.send(Err(error.clone()));
        }
    }

    fn known(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Running {
    /// `false` where the worker does not take it; the caller is answered all the same.
    fn give(&mut self, job: Job, deadlines: &Deadlines) -> bool {
        let patient = self.waits_for_person && matches!(job.what, What::Begin | What::Verify);
        let limit = if patient { deadlines.person } else { deadlines.call };
        let id = self.next_id;
        self.next_id += 1;
        let request = Request { id, ask: Ask::Call(job.what), now: unix_seconds(), fields: job.fields };
        let frame = request.encode();
        if !self.worker.send(frame) {
            let _ = job.answer.send(Err(PluginError::Gone));
            return false;
        }
        let until = Instant::now() + limit;
        let call = UnderWay { what: job.what, secrets: job.secrets, until, limit, answer: job.answer };
        self.calls.insert(id, call);
        true
    }
}

/// Whether the worker would take it; one that it would not costs the caller their call, and nobody the worker.
pub(crate) fn fits(fields: &Fields) -> bool {
    let small =
        |(name, value): &(String, Zeroizing<Vec<u8>>)| name.len() <= abi::MAX_NAME && value.len() <= abi::MAX_VALUE;
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
    fields.len() <= abi::MAX_FIELDS && fields.iter().all(small) && bytes <= crate::wire::MAX_FRAME - 64
}

/// Waits for ever where no worker runs.
async fn hear(running: &mut Option<Running>) -> Option<Heard> {
    match running {
        Some(running) => running.worker.hear().await,
        None => std::future::pending().await,
    }
}

fn log(plugin: &str, level: u32, text: &str) {
    match level {
        abi::LOG_ERROR => tracing::error!(plugin, text, "plugin says"),
        abi::LOG_WARN => warn!(plugin, text, "plugin says"),
        abi::LOG_INFO => info!(plugin, text, "plugin says"),
        _ => debug!(plugin, text, "plugin says"),
    }
}

/// The server's clock for a call.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// So many lines a minute may a worker log.
struct LogAllowance {
    left: u32,
    since: Instant,
}

impl Default for LogAllowance {
    fn default() -> Self {
        Self { left: LINES, since: Instant::now() }
    }
}

impl LogAllowance {
    fn allows(&mut self) -> bool {
        if self.since.elapsed() > Duration::from_secs(60) {
            *self = Self::default();
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

/// Calls that may wait for their turn; more are turned away at once.
const WAITING: usize = 64;
/// Calls at once, whatever the settings say: half of what a worker's queue holds.
const MOST_CALLS: usize = 32;
const FIRST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(30);
const PROVED: Duration = Duration::from_secs(10);
const LINES: u32 = 120;

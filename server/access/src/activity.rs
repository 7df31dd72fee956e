//! What a session does at the moment, for `session list`.
//!
//! Whoever moves bytes says so here: a door begins a [`Doing`], counts on it and drops it at the end. An administrator reads it
//! and nothing is decided by it. Counting costs a lock that nobody else wants and a look at the clock.

use crate::locked;
use lockgate_model::VPath;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Over how long a rate is taken, so that it tells of now and not of the whole transfer.
const WINDOW: Duration = Duration::from_secs(2);

/// The doings of one session. Clones are the same.
#[derive(Clone, Debug)]
pub struct Activity(Arc<Whole>);

#[derive(Debug)]
struct Whole {
    since: Instant,
    /// The last sign of life, in ms from `since`.
    last_ms: AtomicU64,
    bytes: AtomicU64,
    under_way: Mutex<Vec<Arc<Part>>>,
}

/// One thing under way.
#[derive(Debug)]
struct Part {
    verb: &'static str,
    path: VPath,
    began: Instant,
    meter: Mutex<Meter>,
}

#[derive(Debug)]
struct Meter {
    bytes: u64,
    /// Where the window began.
    from: (Instant, u64),
    /// Bytes a second of the window before; `None` in the first.
    before: Option<u64>,
}

/// What a session does, as an administrator sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActivityView {
    /// The latest thing begun that is still under way, like `RETR /a/b`; `None`: nothing.
    pub doing: Option<String>,
    /// How many more are under way.
    pub others: usize,
    /// Bytes of files and listings moved since the login, in both directions; read for a digest counts too.
    pub bytes: u64,
    /// Bytes a second that move now.
    pub bytes_per_s: u64,
    /// How long since the last command or byte.
    pub idle: Duration,
}

impl Default for Activity {
    /// Nothing was done yet.
    fn default() -> Self {
        Self(Arc::new(Whole {
            since: Instant::now(),
            last_ms: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            under_way: Mutex::default(),
        }))
    }
}

impl Activity {
    /// Something begins: the protocol's own word for it, and what it is done to. It is under way until the value is dropped.
    #[must_use = "dropped, it is over"]
    pub fn begin(&self, verb: &'static str, path: &VPath) -> Doing {
        let now = Instant::now();
        let meter = Mutex::new(Meter { bytes: 0, from: (now, 0), before: None });
        let part = Arc::new(Part { verb, path: path.clone(), began: now, meter });
        locked(&self.0.under_way).push(Arc::clone(&part));
        self.0.lives(now);
        Doing { whole: Arc::clone(&self.0), part }
    }

    /// A sign of life that moves nothing: a command, a request.
    pub fn touch(&self) {
        self.0.lives(Instant::now());
    }

    /// How it is at this moment.
    #[must_use]
    pub fn view(&self) -> ActivityView {
        let now = Instant::now();
        let under_way = locked(&self.0.under_way);
        let alive = self.0.since + Duration::from_millis(self.0.last_ms.load(Ordering::Relaxed));
        ActivityView {
            doing: under_way.last().map(|part| part.to_string()),
            others: under_way.len().saturating_sub(1),
            bytes: self.0.bytes.load(Ordering::Relaxed),
            bytes_per_s: under_way.iter().map(|part| locked(&part.meter).rate(now)).sum(),
            idle: now.saturating_duration_since(alive),
        }
    }
}

impl Whole {
    fn lives(&self, now: Instant) {
        let ms = now.saturating_duration_since(self.since).as_millis();
        self.last_ms.store(u64::try_from(ms).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.path)
    }
}

impl Meter {
    fn moved(&mut self, bytes: u64, now: Instant) {
        self.bytes = self.bytes.saturating_add(bytes);
        if now.saturating_duration_since(self.from.0) >= WINDOW {
            self.before = Some(self.of_window(now));
            self.from = (now, self.bytes);
        }
    }

    /// A window that has lasted tells by itself: also that nothing moves any more.
    fn rate(&self, now: Instant) -> u64 {
        let lasted = now.saturating_duration_since(self.from.0) >= WINDOW;
        self.before.filter(|_| !lasted).unwrap_or_else(|| self.of_window(now))
    }

    fn of_window(&self, now: Instant) -> u64 {
        per_second(self.bytes.saturating_sub(self.from.1), now.saturating_duration_since(self.from.0))
    }
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(bytes) * 1000 / time.as_millis().max(1)).unwrap_or(u64::MAX)
}

/// Something under way. Dropped, it is over.
#[derive(Debug)]
pub struct Doing {
    whole: Arc<Whole>,
    part: Arc<Part>,
}

impl Doing {
    /// Counts bytes that have moved.
    pub fn moved(&self, bytes: u64) {
        let now = Instant::now();
        locked(&self.part.meter).moved(bytes, now);
        self.whole.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.whole.lives(now);
    }

    /// Bytes so far, how long it has been under way, and the bytes a second over the whole of it.
    #[must_use]
    pub fn so_far(&self) -> (u64, Duration, u64) {
        let (bytes, time) = (locked(&self.part.meter).bytes, self.part.began.elapsed());
        (bytes, time, per_second(bytes, time))
    }
}

impl std::fmt::Display for Doing {
    /// What is done, on one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.part.fmt(f)
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        locked(&self.whole.under_way).retain(|part| !Arc::ptr_eq(part, &self.part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_told_until_it_is_over() {
        let activity = Activity::default();
        assert_eq!(activity.view().doing, None);
        let first = activity.begin("RETR", &VPath::parse("/a").unwrap());
        first.moved(10);
        let second = activity.begin("STOR", &VPath::parse("/b\n").unwrap());
        second.moved(5);
        let view = activity.view();
        assert_eq!((view.doing.as_deref(), view.others, view.bytes), (Some("STOR /b\\n"), 1, 15));
        drop(second);
        let view = activity.view();
        assert_eq!((view.doing.as_deref(), view.others, view.bytes), (Some("RETR /a"), 0, 15));
        drop(first);
        assert_eq!((activity.view().doing, activity.view().bytes_per_s), (None, 0));
    }

    #[test]
    fn a_rate_is_that_of_the_last_moments_and_falls_to_nothing_when_nothing_moves() {
        let began = Instant::now();
        let at = |seconds: u64| began + Duration::from_secs(seconds);
        let mut meter = Meter { bytes: 0, from: (began, 0), before: None };
        meter.moved(1000, at(1));
        assert_eq!(meter.rate(at(1)), 1000);
        meter.moved(3000, at(2));
        assert_eq!(meter.rate(at(3)), 2000);
        meter.moved(100, at(4));
        assert_eq!(meter.rate(at(5)), 50);
        assert_eq!(meter.rate(at(60)), 0);
    }
}

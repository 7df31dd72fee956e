//! One connection, from the greeting to the last word.
//!
//! Who may say what is a matter of types: a [`Visitor`] has a name at most, a [`Room`] exists only for a guest, and commands
//! that touch files are methods of the room. One line is obeyed at a time, so a burst of `PASS` is checked one by one; only
//! a transfer runs beside the reading of lines, for `ABOR`, `STAT` and `NOOP`. When TLS begins, everything that was said
//! before it is forgotten, and a client that sent more in clear is closed.

mod opening;

use crate::{
    command::{Command, Fault, Inside, Level, Open, parse},
    control::{Control, NoLine},
    door::House,
    ends::{Ends, Farewell},
    job::Job,
    line::Line,
    porter::{Ended, Guest, Question},
    reply::{Reply, say},
    room::{Next, Protection, Room},
    texts::Whom,
    tls::DataGuard,
};
use lockgate_model::{Conversation, Door, Origin, Protocol};
use lockgate_net::{Connection, Stop, Stranger};
use std::{
    collections::VecDeque,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

/// Where a connection is from and to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ways {
    /// The client.
    pub(crate) peer: SocketAddr,
    /// Where it says that it came in by.
    pub(crate) local: SocketAddr,
    /// The address of this host that it really came in by: behind a proxy not the same.
    pub(crate) here: IpAddr,
}

/// See the module.
pub(crate) struct Talk {
    house: Arc<House>,
    control: Control,
    stranger: Stranger,
    stop: Stop,
    ways: Ways,
    /// There once TLS is in use.
    guard: Option<DataGuard>,
    /// The subject that the client proved with a certificate, when it was last looked at.
    certificate: Option<Arc<str>>,
    /// The certificate was enough, and no password was asked for.
    needs_no_password: bool,
    /// `PBSZ` was said.
    sized: bool,
    level: Level,
    stage: Stage,
    wrong_tries: u32,
    /// What came as an answer and could be none.
    no_answers: u32,
    unknown_words: u32,
    /// Lines that came during a transfer.
    held: VecDeque<Line>,
}

/// Who is talking.
enum Stage {
    Visitor(Visitor),
    Guest(Box<Room>),
}

/// Somebody who has not logged in.
#[derive(Default)]
struct Visitor {
    name: Option<String>,
    question: Option<Asked>,
}

/// What was asked of a visitor and is not answered yet.
struct Asked {
    question: Box<dyn Question>,
    prompt: String,
    /// Which command answers it.
    by: By,
}

/// The command that answers a question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// `PASS`: a certificate stood in for the password.
    Pass,
    /// `ACCT`; true where a certificate stood in for the password, which a client may send all the same.
    Acct { certificate: bool },
}

/// What an open command leads to.
enum Act {
    Say(Reply),
    /// A login, and what is said to it.
    Enter(Ended, Reply),
    /// `REIN`.
    Leave,
    /// `AUTH`.
    Protect,
    End(Farewell),
}

/// Wrong tries of one connection before it is closed (N7a).
const MOST_WRONG_TRIES: u32 = 3;
/// Unknown commands of a stranger before the connection is taken for something else than FTP.
const MOST_UNKNOWN_WORDS: u32 = 3;
/// Lines that may wait for the end of a transfer before no more are read.
const MOST_HELD: usize = 16;
/// How long TLS on the control connection may take.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// How long a client has to take a reply.
const REPLY_TAKEN: Duration = Duration::from_secs(60);

impl Talk {
    pub(crate) fn new(house: Arc<House>, connection: Connection) -> std::io::Result<Self> {
        let Connection { stream, peer, local, stranger, stop, .. } = connection;
        let here = stream.local_addr()?.ip().to_canonical();
        let control = Control::new(stream, house.settings.command_limit, REPLY_TAKEN.min(house.settings.idle));
        Ok(Self {
            control,
            stranger,
            stop,
            ways: Ways { peer, local, here },
            guard: None,
            certificate: None,
            needs_no_password: false,
            sized: false,
            level: Level::Clear,
            stage: Stage::Visitor(Visitor::default()),
            wrong_tries: 0,
            no_answers: 0,
            unknown_words: 0,
            held: VecDeque::new(),
            house,
        })
    }

    /// Holds the conversation to its end.
    pub(crate) async fn run(mut self) {
        let mut ends = Ends::of(&self.stranger);
        let Err(farewell) = self.converse(&mut ends).await;
        let peer = self.ways.peer;
        tracing::debug!(%peer, ?farewell, "an FTP connection ends");
        // The session goes before the last word: whoever hears it can count on that.
        self.stage = Stage::Visitor(Visitor::default());
        self.guard = None;
        if let Farewell::Said(reply) = farewell
            && self.control.say(&reply).await.is_ok()
        {
            self.control.close().await;
        }
    }

    async fn converse(&mut self, ends: &mut Ends) -> Result<Infallible, Farewell> {
        if self.house.settings.implicit {
            ends.race(self.protect()).await??;
            self.level = Level::Private;
            self.sized = true;
        }
        let greeting = self.house.settings.texts.greeting(self.whom(), self.house.tells_of_codes());
        self.say(ends, &greeting).await?;
        loop {
            let line = self.next_line(ends).await?;
            match parse(&line) {
                Err(fault) => {
                    if let Stage::Guest(room) = &mut self.stage {
                        room.misunderstood(&line);
                    }
                    let reply = self.misunderstood(fault)?;
                    self.say(ends, &reply).await?;
                }
                Ok(Command::Open(command)) => self.act(ends, command).await?,
                Ok(Command::Inside(command)) => self.obey(ends, command).await?,
            }
        }
    }

    /// The next line: one that waited, or the next that comes.
    async fn next_line(&mut self, ends: &mut Ends) -> Result<Line, Farewell> {
        if let Some(line) = self.held.pop_front() {
            return Ok(line);
        }
        let (control, stage, stop) = (&mut self.control, &mut self.stage, &self.stop);
        let next = async {
            loop {
                tokio::select! {
                    biased;
                    () = stop.stopping() => return Err(Farewell::Said(say::STOPPING)),
                    line = control.line() => return line.map_err(no_line),
                    // A passive client is let in while it still types its command, and whoever is not it is closed.
                    () = arrival(stage) => {}
                }
            }
        };
        ends.race(timeout(self.house.settings.idle, next)).await?.unwrap_or(Err(Farewell::Said(say::IDLE)))
    }

    async fn say(&mut self, ends: &mut Ends, reply: &Reply) -> Result<(), Farewell> {
        ends.race(self.control.say(reply)).await?.map_err(|_| Farewell::Gone)
    }

    /// The reply to a line that is no command.
    fn misunderstood(&mut self, fault: Fault) -> Result<Reply, Farewell> {
        let stranger = matches!(self.stage, Stage::Visitor(_));
        match fault {
            Fault::Foreign if stranger => Err(Farewell::Foreign),
            Fault::Unknown if stranger => {
                self.unknown_words += 1;
                if self.unknown_words >= MOST_UNKNOWN_WORDS {
                    return Err(Farewell::Said(say::TOO_MANY_UNKNOWN));
                }
                Ok(say::UNKNOWN)
            }
            Fault::Foreign | Fault::Unknown => Ok(say::UNKNOWN),
            Fault::Refused { inside: true, .. } if stranger => Ok(self.log_in_first()),
            Fault::Refused { reply, .. } => Ok(reply),
        }
    }

    fn log_in_first(&self) -> Reply {
        if self.must_be_secure() { say::TLS_FIRST } else { say::LOG_IN_FIRST }
    }

    /// Whether nothing may be said about a login before TLS.
    fn must_be_secure(&self) -> bool {
        self.house.settings.require_secure && !self.control.is_secure()
    }

    async fn act(&mut self, ends: &mut Ends, command: Open) -> Result<(), Farewell> {
        match ends.race(self.open(command)).await? {
            Act::Say(reply) => self.say(ends, &reply).await,
            Act::Enter(ended, welcome) => {
                ends.follow(ended);
                self.say(ends, &welcome).await
            }
            Act::Leave => {
                ends.forget();
                self.say(ends, &say::RESTARTED).await
            }
            Act::Protect => {
                self.say(ends, &say::BEGIN_TLS).await?;
                ends.race(self.protect()).await?
            }
            Act::End(farewell) => Err(farewell),
        }
    }

    async fn obey(&mut self, ends: &mut Ends, command: Inside) -> Result<(), Farewell> {
        let protection = self.protection();
        let Stage::Guest(room) = &mut self.stage else {
            let reply = self.log_in_first();
            return self.say(ends, &reply).await;
        };
        match ends.race(room.obey(command, protection)).await? {
            Next::Say(reply) => self.say(ends, &reply).await,
            Next::Run(job) => self.attend(ends, job).await,
        }
    }

    /// How data connections are to be protected now.
    fn protection(&self) -> Protection {
        match (self.level, &self.guard) {
            (Level::Private, Some(guard)) => Protection::Tls(guard.clone()),
            _ if self.house.settings.require_secure => Protection::Missing,
            _ => Protection::None,
        }
    }

    /// Waits for a job, and answers what can be answered meanwhile. Leaving drops the job.
    async fn attend(&mut self, ends: &mut Ends, job: Job) -> Result<(), Farewell> {
        let Job { mut work, mut told, progress } = job;
        let mut leaving = false;
        loop {
            let (control, waits) = (&mut self.control, !leaving && self.held.len() < MOST_HELD);
            let event = async {
                tokio::select! {
                    biased;
                    Some(reply) = told.recv() => Event::Said(reply),
                    reply = &mut work => Event::Done(reply),
                    line = control.line(), if waits => Event::Line(line),
                }
            };
            match ends.race(event).await? {
                Event::Said(reply) => self.say(ends, &reply).await?,
                Event::Done(reply) => {
                    // What was told in the same moment comes first.
                    while let Ok(before) = told.try_recv() {
                        self.say(ends, &before).await?;
                    }
                    return self.say(ends, &reply).await;
                }
                // Whoever said QUIT waits for the transfer and need not stay for the reply; others break it off by leaving
                // (RFC 959 section 4.1.1).
                Event::Line(Err(NoLine::Closed)) if self.held.iter().any(is_quit) => leaving = true,
                Event::Line(line) => {
                    let line = line.map_err(no_line)?;
                    match parse(&line) {
                        Ok(Command::Inside(Inside::Abor)) if !progress.is_committing() => {
                            drop(work);
                            self.say(ends, &say::ABORTING).await?;
                            return self.say(ends, &say::ABORTED).await;
                        }
                        Ok(Command::Inside(Inside::Stat(None))) => {
                            let reply = Reply::listing(213, "Under way:", vec![progress.line()]);
                            self.say(ends, &reply).await?;
                        }
                        Ok(Command::Open(Open::Noop)) => self.say(ends, &say::NOTHING_TO_DO).await?,
                        // Its turn comes.
                        _ => self.held.push_back(line),
                    }
                }
            }
        }
    }

    /// Puts the connection under TLS and forgets what was said before.
    async fn protect(&mut self) -> Result<(), Farewell> {
        self.stage = Stage::Visitor(Visitor::default());
        let reuse = (self.house.settings.session_reuse, &self.house.kin);
        match self.control.protect(&self.house.tls, reuse, HANDSHAKE).await {
            Ok((guard, certificate)) => {
                self.guard = Some(guard);
                self.certificate = certificate;
                Ok(())
            }
            Err(error) => {
                tracing::debug!(peer = %self.ways.peer, %error, "TLS did not come about");
                Err(Farewell::Gone)
            }
        }
    }

    /// Lets a guest in, with the code for how they proved who they are.
    fn welcome(&mut self, guest: Guest, ended: Ended, code: u16) -> Act {
        self.stranger.admit();
        if let Some(guard) = &self.guard {
            guard.belong_to(&guest.name, self.ways.peer.ip());
        }
        self.stage = Stage::Guest(Box::new(Room::new(Arc::clone(&self.house), guest, self.ways)));
        Act::Enter(ended, self.house.settings.texts.logged_in(code, self.whom()))
    }

    /// Whom replies are for.
    fn whom(&self) -> Whom<'_> {
        let user = match &self.stage {
            Stage::Guest(room) => room.name(),
            Stage::Visitor(_) => "",
        };
        Whom { peer: self.ways.peer.ip(), protocol: self.protocol(), user }
    }

    fn protocol(&self) -> Protocol {
        if self.control.is_secure() { Protocol::Ftps } else { Protocol::Ftp }
    }

    fn origin(&self) -> Origin {
        let settings = &self.house.settings;
        Origin {
            door: if settings.implicit { Door::Ftps } else { Door::Ftp },
            protocol: self.protocol(),
            peer: self.ways.peer,
            local: self.ways.local,
            client_certificate: self.certificate.clone(),
            conversation: match settings.code_prompt {
                crate::CodePrompt::Compound => Conversation::SingleShot,
                crate::CodePrompt::Account => Conversation::Interactive,
            },
        }
    }
}

enum Event {
    Said(Reply),
    Done(Reply),
    Line(Result<Line, NoLine>),
}

fn is_quit(line: &Line) -> bool {
    matches!(parse(line), Ok(Command::Open(Open::Quit)))
}

async fn arrival(stage: &mut Stage) {
    match stage {
        Stage::Guest(room) => room.arrival().await,
        Stage::Visitor(_) => std::future::pending().await,
    }
}

fn no_line(why: NoLine) -> Farewell {
    match why {
        NoLine::Closed => Farewell::Gone,
        NoLine::TooLong => Farewell::Said(say::LINE_TOO_LONG),
        NoLine::Foreign => Farewell::Foreign,
    }
}

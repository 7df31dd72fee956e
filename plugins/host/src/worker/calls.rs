//! The threads that call into the plugin.
//!
//! The server decides how many calls run at once; a thread is made when one is asked for and all others are in a call.
//! A plugin that declares itself single-threaded gets one thread for everything, opening and closing included.
//!
//! Never: a deadline. The server holds the clock, and what it ends is the whole process.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use lockgate_plugin::abi;
use lockgate_plugin::exchange::{Fields, Instance, Table, What};
use zeroize::Zeroizing;

use super::Voice;
use crate::wire::{Report, Request};

/// The threads and what they work on.
pub(super) struct Calls {
    work: Sender<Work>,
    shared: Arc<Shared>,
    threads: usize,
    most: usize,
}

struct Shared {
    queue: Mutex<Receiver<Work>>,
    /// Handed out and not finished.
    under_way: AtomicUsize,
    instance: OnceLock<Mutex<Option<Arc<Instance>>>>,
    voice: &'static Voice,
}

enum Work {
    Open(Box<Table>, Request),
    Call(What, Request),
    Close,
}

impl Calls {
    pub(super) fn new(single_threaded: bool, voice: &'static Voice) -> Self {
        let (work, queue) = channel();
        let shared =
            Shared { queue: Mutex::new(queue), under_way: AtomicUsize::new(0), instance: OnceLock::new(), voice };
        let most = if single_threaded { 1 } else { MOST_THREADS };
        Self { work, shared: Arc::new(shared), threads: 0, most }
    }

    /// Makes the instance.
    ///
    /// # Errors
    /// Where not even one thread can be had.
    pub(super) fn open(&mut self, table: Table, request: Request) -> io::Result<()> {
        self.hand_out(Work::Open(Box::new(table), request))
    }

    /// Calls a function of the instance.
    ///
    /// # Errors
    /// Where not even one thread can be had.
    pub(super) fn call(&mut self, what: What, request: Request) -> io::Result<()> {
        self.hand_out(Work::Call(what, request))
    }

    /// Ends the instance where no call is running any more, and the process in any case. Does not return.
    pub(super) fn close(mut self) {
        if self.threads == 0 || self.hand_out(Work::Close).is_err() {
            return;
        }
        thread::sleep(PARTING);
    }

    fn hand_out(&mut self, work: Work) -> io::Result<()> {
        let under_way = self.shared.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        if under_way > self.threads && self.threads < self.most {
            let shared = Arc::clone(&self.shared);
            match thread::Builder::new().name("plugin-call".to_owned()).spawn(move || shared.work()) {
                Ok(_) => self.threads += 1,
                Err(error) if self.threads == 0 => return Err(error),
                // The threads that are there will come to it.
                Err(_) => {}
            }
        }
        self.work.send(work).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let next = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match next {
                Ok(Work::Open(table, request)) => self.open(*table, request),
                Ok(Work::Call(what, request)) => self.call(what, request),
                Ok(Work::Close) => {
                    self.close();
                    end();
                }
                Err(_) => return,
            }
            self.under_way.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn open(&self, table: Table, request: Request) {
        let (status, fields) = match table.open(request.fields, request.now) {
            Ok(instance) => {
                let _ = self.instance.set(Mutex::new(Some(Arc::new(instance))));
                (abi::OK, Fields::new())
            }
            Err(why) => (abi::ERROR, because(why)),
        };
        self.answer(request.id, status, fields);
    }

    fn call(&self, what: What, request: Request) {
        let (status, fields) = match self.instance() {
            Some(instance) => instance.call(what, request.fields, request.now),
            None => (abi::ERROR, because("no instance".to_owned())),
        };
        self.answer(request.id, status, fields);
    }

    fn close(&self) {
        let instance =
            self.instance.get().and_then(|place| place.lock().unwrap_or_else(PoisonError::into_inner).take());
        // Where a call still holds it, it ends with the process.
        if let Some(instance) = instance.and_then(Arc::into_inner) {
            instance.close();
        }
    }

    fn instance(&self) -> Option<Arc<Instance>> {
        self.instance.get()?.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, id: u64, status: i32, fields: Fields) {
        // A server that does not listen any more ends this process by itself.
        let _ = self.voice.say(&Report::Answer { id, status, fields });
    }
}

fn because(why: String) -> Fields {
    vec![("error".to_owned(), Zeroizing::new(why.into_bytes()))]
}

/// Ends the process, and what a plugin may have forked, without running anything of the plugin's any more.
pub(super) fn end() -> ! {
    let own = rustix::process::getpid();
    if rustix::process::getpgrp() == own {
        let _ = rustix::process::kill_current_process_group(rustix::process::Signal::KILL);
    }
    let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    std::process::abort()
}

/// No more than the server ever asks for at once, and a bound where it errs.
const MOST_THREADS: usize = 64;
/// What a plugin gets to close its instance.
const PARTING: Duration = Duration::from_secs(1);

//! The worker: the process that loads one plugin and calls it.
//!
//! It is the same program as the server, started with a hidden command, so it needs no file of its own. Everything that
//! can go wrong in a plugin (a crash, a leak, a hang, a corrupted heap) goes wrong here and ends here; the server sees a
//! socket that falls silent. The loaded object is never unloaded: threads and thread-local destructors of a plugin
//! outlive every call.
//!
//! Never: reads a configuration, holds a secret beyond a call, outlives the server (the socket's end is its end).

mod calls;
mod group;
mod sandbox;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use lockgate_plugin::abi;
use lockgate_plugin::exchange::{self, Table};

use crate::wire::{self, Ask, Description, Report, Request};
use calls::Calls;
use sandbox::Handed;
pub(crate) use sandbox::PASSED;

/// Runs the hidden command `plugin-worker FILE`; returns only where it was not started by a server.
///
/// The very first thing that a process does: before any thread, runtime or descriptor of its own. In the places of the
/// standard descriptors are the socket to the server, the open file to load, and the folder that the plugin may read
/// where there is one; `file` is only its name. Blocks until the server closes the socket, and then ends the process
/// without further ado.
pub fn run(file: &Path) -> ExitCode {
    match serve(file) {
        Ok(()) => calls::end(),
        Err(_) => ExitCode::from(2),
    }
}

fn serve(file: &Path) -> io::Result<()> {
    let Handed { socket, object, folder } = sandbox::keep_only_what_was_handed()?;
    let socket = UnixStream::from(socket);
    socket.peer_addr()?;
    let voice: &'static Voice = Box::leak(Box::new(Voice(Mutex::new(socket.try_clone()?))));
    let mut ear = io::BufReader::new(socket);

    let sandbox = match sandbox::shut_in(&object, folder) {
        Ok(sandbox) => sandbox,
        Err(error) => return voice.say(&Report::Refused(format!("the worker cannot give up its rights: {error}"))),
    };
    exchange::listen(move |level, text| {
        // A server that does not listen any more ends this process by itself.
        let _ = voice.say(&Report::Log { level, text: text.to_owned() });
    });
    let table = match load(object, file) {
        Ok(table) => table,
        Err(why) => return voice.say(&Report::Refused(why)),
    };
    voice.say(&Report::Hello(Description {
        name: table.name.clone(),
        version: table.version.clone(),
        summary: table.summary.clone(),
        settings: table.settings.clone(),
        roles: table.roles(),
        flags: table.flags(),
        enrols: table.enrols(),
        sandbox: sandbox.to_owned(),
    }))?;

    let mut calls = Calls::new(table.flags() & abi::SINGLE_THREADED != 0, voice);
    let mut table = Some(table);
    while let Some(body) = wire::read_frame(&mut ear)? {
        let request = Request::decode(&body).map_err(|_| io::ErrorKind::InvalidData)?;
        match request.ask {
            Ask::Open => match table.take() {
                Some(table) => calls.open(table, request)?,
                None => return Err(io::ErrorKind::InvalidData.into()),
            },
            Ask::Call(what) => calls.call(what, request)?,
        }
    }
    calls.close();
    Ok(())
}

/// Loads the object and reads its table. `file` is what it is called in messages.
fn load(object: OwnedFd, file: &Path) -> Result<Table, String> {
    // The very object that the server looked at, whatever stands in its place by now.
    let path = format!("/proc/self/fd/{}", object.as_raw_fd());
    // SAFETY: loading runs the object's constructors. That is what this process is for: the file passed the checks of
    // the server, and the rights that it could abuse were given up before.
    let library = unsafe { Library::open(Some(&path), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|error| shown(&error).replace(&path, &file.display().to_string()))?;
    drop(object);
    // Never unloaded; see above.
    let library = Box::leak(Box::new(library));
    // SAFETY: the type is what the header says of this one name.
    let entry = unsafe { library.get::<abi::Entry>(abi::ENTRY) }
        .map_err(|_| "it does not export lockgate_plugin_v1, so it is no Lockgate plugin".to_owned())?;
    // SAFETY: the function takes nothing and returns a static table or null.
    let table = unsafe { entry() };
    // SAFETY: the table comes from the entry function of an object that is never unloaded.
    unsafe { Table::read(table) }.map_err(|error| error.to_string())
}

fn shown(error: &libloading::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text.truncate(text.floor_char_boundary(2048));
    text
}

/// The way back to the server, one frame at a time, from any thread.
struct Voice(Mutex<UnixStream>);

impl Voice {
    fn say(&self, report: &Report) -> io::Result<()> {
        let frame = report.encode();
        wire::write_frame(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), &frame)
    }
}

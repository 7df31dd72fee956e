//! Legacy scp, as `scp -O`, old clients and appliances speak it: off unless it is switched on.
//!
//! There is no shell and no program behind it: the command line is taken apart here, and only the two words that scp itself
//! sends are understood. It runs in a task of its own, because the protocol is a strict to and fro; russh holds the client
//! back when the task is slow.
//!
//! Never: expands anything but `*` and `?` in the last part of a path to send, takes a name with a `/` in it or a way up,
//! commits a file before its last byte and the client's own word that it was whole.

mod command;
mod sink;
mod source;
mod talk;
#[cfg(test)]
mod tests;

use crate::work::Job;
use lockgate_net::Stop;
use lockgate_vfs::Vfs;
use russh::{Channel, server::Msg};
use std::time::Duration;
use talk::{Break, Talk};
use tokio_util::sync::CancellationToken;

pub(crate) use command::{Direction, Plan};

/// Serves one scp command to its end and closes the channel. `job` is over with it; `cord` ends it at once, silence of
/// `idle` ends it too.
pub(crate) async fn run(
    plan: Plan,
    channel: Channel<Msg>,
    vfs: Vfs,
    job: Job,
    stop: Stop,
    cord: CancellationToken,
    idle: Duration,
) {
    let (mut from, to) = channel.split();
    let result = {
        let mut talk = Talk::new(from.make_reader(), to.make_writer(), idle);
        let work = async {
            if stop.is_stopping() {
                return Err(talk.give_up("the server is stopping: try again later").await);
            }
            match plan.direction {
                Direction::Receive => sink::receive(&plan, &vfs, &mut talk).await,
                Direction::Send => source::send(&plan, &vfs, &mut talk).await,
            }
        };
        tokio::select! {
            result = work => result,
            () = cord.cancelled() => Err(Break::Gone),
        }
    };
    drop(job);
    let status = match result {
        Ok(()) => 0,
        Err(Break::Told) => 1,
        Err(Break::Gone) => return,
    };
    let farewell = async {
        let _ = to.exit_status(status).await;
        let _ = to.eof().await;
        let _ = to.close().await;
    };
    let _ = tokio::time::timeout(idle, farewell).await;
}

/// Takes `bytes` apart as a command line; whether it is one of scp.
pub(crate) fn exercise(bytes: &[u8]) -> bool {
    Plan::parse(bytes).is_some()
}

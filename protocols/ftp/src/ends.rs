//! What ends a conversation from this side, whatever it is doing.
//!
//! A stranger's grace, the end of the session, and the order to stop come at any time; each step of a conversation is raced
//! against them here, so that no step has to think of it.

use crate::{
    porter::Ended,
    reply::{Reply, say},
};
use futures_util::future::BoxFuture;
use lockgate_net::{Eviction, Stranger};
use std::time::Duration;
use tokio::time::sleep;

/// Why a conversation is over.
#[derive(Debug)]
pub(crate) enum Farewell {
    /// The client left, or cannot be talked to any more.
    Gone,
    /// With this as the last word.
    Said(Reply),
    /// Something that is not FTP is at the other end; it gets no byte.
    Foreign,
}

/// See the module.
pub(crate) struct Ends {
    evicted: Option<BoxFuture<'static, Eviction>>,
    ended: Option<Ended>,
}

impl Ends {
    pub(crate) fn of(stranger: &Stranger) -> Self {
        Self { evicted: Some(Box::pin(stranger.evicted())), ended: None }
    }

    /// Somebody has logged in: the grace is over, and the session's end counts.
    pub(crate) fn follow(&mut self, ended: Ended) {
        self.evicted = None;
        self.ended = Some(ended);
    }

    /// The session is no more, and somebody must log in within the time that a stranger has (N1).
    pub(crate) fn forget(&mut self) {
        self.ended = None;
        self.evicted = Some(Box::pin(async {
            sleep(GRACE).await;
            Eviction::Grace
        }));
    }

    /// Does `work`, unless an end comes first.
    ///
    /// # Errors
    /// The end that came.
    pub(crate) async fn race<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Farewell> {
        tokio::select! {
            biased;
            why = told(&mut self.evicted) => Err(Farewell::Said(match why {
                Eviction::Grace => say::TOO_LONG_TO_LOG_IN,
                Eviction::Crowded => say::MADE_ROOM,
                Eviction::Banned => say::BUSY,
            })),
            () = told(&mut self.ended) => Err(Farewell::Said(say::SESSION_ENDED)),
            done = work => Ok(done),
        }
    }
}

/// What the future says, for ever nothing where there is none.
async fn told<T>(end: &mut Option<BoxFuture<'static, T>>) -> T {
    match end {
        Some(end) => end.await,
        None => std::future::pending().await,
    }
}

/// The time between `REIN` and the next login.
const GRACE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 60 });

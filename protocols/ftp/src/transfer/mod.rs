//! Files on their way: one module for each direction, and line ends.

mod ascii;
mod retrieve;
mod store;

pub(crate) use ascii::ToWire;
pub(crate) use retrieve::retrieve;
pub(crate) use store::{Begin, store};

/// Turns with the other tasks. A socket that is always ready never makes its task wait, so that a client as fast as the disk
/// would have a thread for itself, and its own `ABOR` would go unheard; so others are let in now and then.
#[derive(Default)]
struct Turn(usize);

impl Turn {
    /// Counts what was moved since the last one.
    async fn took(&mut self, bytes: usize) {
        self.0 += bytes;
        if self.0 >= TURN {
            self.0 = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Bytes between two turns: a millisecond or two. A turn costs some calls of the system and often another thread.
const TURN: usize = 4 << 20;

//! From those who announce to those who record.

use crate::Event;
use std::sync::{Arc, Mutex, PoisonError};

/// Somebody who wants to know. Called in the announcer's thread: quick, never blocking on a peer, never panicking.
pub trait Sink: Send + Sync + 'static {
    /// Takes one event.
    fn record(&self, event: &Event);

    /// Whether what was told last was kept. Nobody is let in while an audit trail keeps nothing.
    fn healthy(&self) -> bool {
        true
    }
}

/// The list of sinks. Cheap to clone; without sinks it is silent.
#[derive(Clone, Default)]
pub struct EventBus {
    sinks: Arc<[Arc<dyn Sink>]>,
}

impl EventBus {
    /// A bus that tells each event to each of `sinks`, in order.
    pub fn new(sinks: impl IntoIterator<Item = Arc<dyn Sink>>) -> Self {
        Self { sinks: sinks.into_iter().collect() }
    }

    /// Tells everybody.
    pub fn announce(&self, event: &Event) {
        for sink in self.sinks.iter() {
            sink.record(event);
        }
    }

    /// Whether every sink keeps what it is told. One that fails is tried again with each event, so that it is found out when
    /// it recovers.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.sinks.iter().all(|sink| sink.healthy())
    }
}

impl std::fmt::Debug for EventBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventBus({} sinks)", self.sinks.len())
    }
}

/// Keeps events in memory, for tests.
#[derive(Default)]
pub struct Memory {
    events: Mutex<Vec<Event>>,
}

impl Memory {
    /// What was announced so far.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for Memory {
    fn record(&self, event: &Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }
}

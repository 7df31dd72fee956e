//! The order to stop, as every task hears it.

use tokio_util::sync::CancellationToken;

/// Gives the order.
#[derive(Clone, Debug, Default)]
pub struct StopSource(CancellationToken);

impl StopSource {
    /// Nobody was told yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everybody, once and for all.
    pub fn stop(&self) {
        self.0.cancel();
    }

    /// What the tasks hold.
    #[must_use]
    pub fn listener(&self) -> Stop {
        Stop(self.0.clone())
    }
}

/// Hears the order: begin nothing new, finish what runs.
#[derive(Clone, Debug)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Whether the order was given.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for the order. Cancel safe.
    pub async fn stopping(&self) {
        self.0.cancelled().await;
    }
}

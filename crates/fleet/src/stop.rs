//! Telling a coordinator or a device to stop.

use tokio::sync::watch;

/// A switch that is turned once, from anywhere.
#[derive(Debug, Clone)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// One that is not turned.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Turns it.
    pub fn set(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is turned.
    pub fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is turned.
    pub async fn stopped(&self) {
        let mut turned = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = turned.wait_for(|turned| *turned).await;
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}

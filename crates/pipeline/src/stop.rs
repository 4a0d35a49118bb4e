//! The wish that a run should end: gently first, by force once a moment has passed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Asks a run, or one process, to end; clones mean the same.
///
/// Once asked, nothing new is started and what runs is asked to end at its next checkpoint. What has
/// not ended when the grace is over is killed.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Mutex<Option<Instant>>>);

impl Stop {
    /// Nothing asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything to end within this time. Of several wishes the most impatient counts.
    pub fn ask(&self, grace: Duration) {
        self.by(Instant::now() + grace);
    }

    /// Asks everything to end at once, whatever is lost.
    pub fn now(&self) {
        self.ask(Duration::ZERO);
    }

    /// Asks everything to end by a moment.
    pub(crate) fn by(&self, moment: Instant) {
        let mut deadline = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *deadline = Some(deadline.map_or(moment, |earlier| earlier.min(moment)));
    }

    /// When what still runs is killed; `None` where no end was asked for.
    pub fn deadline(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an end was asked for.
    pub fn asked(&self) -> bool {
        self.deadline().is_some()
    }

    /// Whether the grace is over.
    pub fn overdue(&self) -> bool {
        self.deadline()
            .is_some_and(|deadline| deadline <= Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_impatient_wish_counts() {
        let stop = Stop::new();
        assert!(!stop.asked() && !stop.overdue());
        stop.ask(Duration::from_secs(60));
        assert!(stop.asked() && !stop.overdue());
        let first = stop.deadline();
        stop.ask(Duration::from_secs(600));
        assert_eq!(stop.deadline(), first);
        stop.clone().now();
        assert!(stop.overdue());
    }
}

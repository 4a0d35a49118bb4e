//! How many pieces are under way at a time: as many as the line carries within a second.
//!
//! On a fast line many hide the time that an answer takes. On a slow one they would only wait behind each other, and
//! with them everything else that is said, signs of life and the server's own pings included.

use std::time::Duration;

/// More would not make any line faster.
const MOST: usize = 16;

/// A piece that took less lets one more be under way, one that took longer than four times that halves them.
const QUICK: Duration = Duration::from_millis(500);

/// So many now.
#[derive(Debug)]
pub(super) struct Pace(usize);

impl Pace {
    pub fn new() -> Self {
        Self(2)
    }

    pub fn at_a_time(&self) -> usize {
        self.0
    }

    /// Learns from how long a piece took.
    pub fn took(&mut self, time: Duration) {
        if time < QUICK {
            self.0 = (self.0 + 1).min(MOST);
        } else if time > QUICK * 4 {
            self.0 = (self.0 / 2).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that carries so many pieces a second, one after the other: each waits for those before it.
    fn under_way_on_a_line_of(pieces_a_second: f64) -> usize {
        let mut pace = Pace::new();
        for _ in 0..100 {
            let waited = pace.at_a_time() as f64 / pieces_a_second;
            pace.took(Duration::from_secs_f64(waited));
        }
        pace.at_a_time()
    }

    #[test]
    fn a_fast_line_carries_many_pieces_and_a_slow_one_never_so_many_that_they_wait_for_long() {
        assert_eq!(under_way_on_a_line_of(1000.0), MOST);
        for pieces_a_second in [0.1, 0.5, 1.0, 2.0, 10.0] {
            let under_way = under_way_on_a_line_of(pieces_a_second);
            let waits = under_way as f64 / pieces_a_second;
            assert!(
                under_way == 1 || waits <= 2.0,
                "{pieces_a_second}: {under_way}"
            );
        }
    }
}

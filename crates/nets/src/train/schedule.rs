//! The learning rate over time.

use std::f64::consts::PI;

/// A linear rise over the first steps, then half a cosine down to zero (Loshchilov and Hutter 2017,
/// arXiv 1608.03983, without restarts).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The rate at the top.
    pub peak: f64,
    /// Steps of the rise.
    pub warmup_steps: u64,
    /// Steps in all.
    pub total_steps: u64,
}

impl Schedule {
    /// The rate of step `step`, counted from 0. The rise ends at the peak; the first step is never 0.
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let down = self.total_steps.saturating_sub(self.warmup_steps).max(1);
        let done = ((step - self.warmup_steps) as f64 / down as f64).min(1.0);
        self.peak * 0.5 * (1.0 + (PI * done).cos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_to_the_peak_and_falls_to_nothing() {
        let schedule = Schedule {
            peak: 2.0,
            warmup_steps: 4,
            total_steps: 12,
        };
        let rates: Vec<f64> = (0..13).map(|step| schedule.rate(step)).collect();
        assert_eq!(rates[..5], [0.5, 1.0, 1.5, 2.0, 2.0]);
        assert!((rates[8] - 1.0).abs() < 1e-12, "half way down");
        assert!(rates[4..].windows(2).all(|pair| pair[1] < pair[0]));
        assert!(rates[11] > 0.0 && rates[12] < 1e-12);
    }

    #[test]
    fn a_schedule_of_warm_up_alone_is_no_division_by_zero() {
        let schedule = Schedule {
            peak: 1.0,
            warmup_steps: 2,
            total_steps: 2,
        };
        assert_eq!(schedule.rate(1), 1.0);
        assert!(schedule.rate(5).is_finite());
    }
}

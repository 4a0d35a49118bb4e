//! How sure a measured accuracy is.

/// A range that holds the true accuracy with 95% confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end, 0 to 1.
    pub low: f64,
    /// Upper end, 0 to 1.
    pub high: f64,
}

impl Interval {
    /// Whether two ranges have a value in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// 97.5% quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// The Wilson score interval (Wilson 1927, JASA 22:209) of a share measured on `trials` independent
/// clips, at 95%. Unlike the textbook interval it holds near 0 and 1 and for few clips. No clips: 0 to 1.
pub fn wilson(share: f64, trials: usize) -> Interval {
    if trials == 0 {
        return Interval {
            low: 0.0,
            high: 1.0,
        };
    }
    let n = trials as f64;
    let share = share.clamp(0.0, 1.0);
    let denominator = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / denominator;
    let half = Z / denominator * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    Interval {
        low: (centre - half).max(0.0),
        high: (centre + half).min(1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_matches_a_worked_example() {
        // 81 right of 100: (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n) by hand.
        let interval = wilson(0.81, 100);
        assert!((interval.low - 0.7222).abs() < 5e-4, "{interval:?}");
        assert!((interval.high - 0.8749).abs() < 5e-4, "{interval:?}");
    }

    #[test]
    fn it_stays_a_share_at_the_ends_and_without_clips() {
        assert_eq!(
            wilson(0.0, 0),
            Interval {
                low: 0.0,
                high: 1.0
            }
        );
        let none = wilson(0.0, 10);
        assert!(
            none.low == 0.0 && none.high > 0.2 && none.high < 0.35,
            "{none:?}"
        );
        let all = wilson(1.0, 10);
        assert!(all.high > 0.999 && all.low < 0.8, "{all:?}");
    }

    #[test]
    fn more_clips_make_it_narrower() {
        let width = |trials| {
            let interval = wilson(0.7, trials);
            interval.high - interval.low
        };
        assert!(width(1000) < width(100) && width(100) < width(10));
    }
}

//! Watches activations during calibration and settles the range that their bytes shall cover.

use fedact_recipe::{CalibrationSettings, Method};

use super::Affine;

/// Bins of the histogram: sixteen for each of the 256 levels, eight at the least after growing.
const BINS: usize = 4096;

/// The shares of the largest magnitude that the search for the least error tries as range.
const CANDIDATES: usize = 128;

/// The values of one activation: exact extremes and a histogram over `-limit..limit`.
///
/// The limit doubles when larger values arrive and neighbouring bins merge, so the histogram never
/// depends on knowing the range beforehand. (TensorRT and PyTorch calibrate from histograms, too.)
#[derive(Debug, Clone)]
pub struct Observer {
    minimum: f32,
    maximum: f32,
    limit: f64,
    /// How many values are exactly 0, which every mapping stores without error.
    zeros: u64,
    bins: Vec<u64>,
}

impl Default for Observer {
    fn default() -> Self {
        Self {
            minimum: f32::INFINITY,
            maximum: f32::NEG_INFINITY,
            limit: 0.0,
            zeros: 0,
            // Twice the bins: one half for each sign.
            bins: vec![0; 2 * BINS],
        }
    }
}

impl Observer {
    /// The smallest value seen, +∞ before the first.
    pub fn minimum(&self) -> f32 {
        self.minimum
    }

    /// The largest value seen, −∞ before the first.
    pub fn maximum(&self) -> f32 {
        self.maximum
    }

    /// Takes in the values of one batch.
    ///
    /// Returns false, and takes in nothing, where one of them is not finite.
    #[must_use]
    pub fn observe(&mut self, values: &[f32]) -> bool {
        let mut low = f32::INFINITY;
        let mut high = f32::NEG_INFINITY;
        let mut finite = true;
        for &value in values {
            low = low.min(value);
            high = high.max(value);
            finite &= value.is_finite();
        }
        if !finite {
            return false;
        }
        self.minimum = self.minimum.min(low);
        self.maximum = self.maximum.max(high);
        self.grow(f64::from(low.abs().max(high.abs())));
        let per_unit = (BINS as f64 / self.limit) as f32;
        for &value in values {
            if value == 0.0 {
                self.zeros += 1;
                continue;
            }
            // The cast saturates, so rounding at the very ends stays inside.
            let bin = (value * per_unit + BINS as f32) as usize;
            self.bins[bin.min(2 * BINS - 1)] += 1;
        }
        true
    }

    /// Makes room for magnitudes up to `magnitude`.
    fn grow(&mut self, magnitude: f64) {
        if magnitude == 0.0 || magnitude <= self.limit {
            return;
        }
        if self.limit == 0.0 {
            self.limit = magnitude;
            return;
        }
        while self.limit < magnitude {
            let mut merged = vec![0; 2 * BINS];
            for (pair, bins) in self.bins.chunks_exact(2).enumerate() {
                merged[BINS / 2 + pair] = bins[0] + bins[1];
            }
            self.bins = merged;
            self.limit *= 2.0;
        }
    }

    /// The mapping that covers the values seen as the settings want it.
    ///
    /// `None` where there is nothing to cover: no value or only one was seen.
    pub fn affine(&self, settings: &CalibrationSettings) -> Option<Affine> {
        if self.minimum >= self.maximum {
            return None;
        }
        let (low, high) = match settings.method {
            Method::MinMax => (f64::from(self.minimum), f64::from(self.maximum)),
            Method::Percentile => self.percentiles(settings.percentile / 100.0),
            Method::Entropy => self.least_divergence(),
            // Whoever chooses asks for each method by its name.
            Method::Mse | Method::Auto => self.least_error(),
        };
        Affine::covering(low, high)
    }

    /// The values below which `1 - share` and `share` of all values lie, never outside the extremes.
    fn percentiles(&self, share: f64) -> (f64, f64) {
        let (minimum, maximum) = (f64::from(self.minimum), f64::from(self.maximum));
        let total = self.bins.iter().sum::<u64>() + self.zeros;
        let tail = (1.0 - share) * total as f64;
        let width = self.limit / BINS as f64;
        // Walks from an end towards 0, where the zeros stand, and says how far from 0 the tail ends.
        let cut = |outermost_first: &mut dyn Iterator<Item = &u64>| {
            let mut passed = 0.0;
            for (bin, &count) in outermost_first.take(BINS).enumerate() {
                let count = count as f64;
                if passed + count > tail {
                    return self.limit - (bin as f64 + (tail - passed) / count) * width;
                }
                passed += count;
            }
            0.0
        };
        let low = -cut(&mut self.bins.iter());
        let high = cut(&mut self.bins.iter().rev());
        (low.clamp(minimum, maximum), high.clamp(minimum, maximum))
    }

    /// The range of least divergence, the best of `CANDIDATES` shares of the whole range.
    fn least_divergence(&self) -> (f64, f64) {
        let (minimum, maximum, filled) = self.filled();
        let ranges = (1..=CANDIDATES).rev().map(|step| {
            let share = step as f64 / CANDIDATES as f64;
            (minimum * share, maximum * share)
        });
        ranges
            .map(|range| (divergence(&filled, range), range))
            .min_by(|a, b| a.0.total_cmp(&b.0))
            .map_or((minimum, maximum), |(_, range)| range)
    }

    /// The ends of the range, which holds 0, and the bins that are not empty: their centres and counts.
    fn filled(&self) -> (f64, f64, Vec<(f64, f64)>) {
        let minimum = f64::from(self.minimum).min(0.0);
        let maximum = f64::from(self.maximum).max(0.0);
        let width = self.limit / BINS as f64;
        let bins = self.bins.iter().enumerate();
        let filled = bins.filter(|(_, count)| **count > 0).map(|(bin, &count)| {
            let centre = (bin as f64 + 0.5) * width - self.limit;
            (centre.clamp(minimum, maximum), count as f64)
        });
        (minimum, maximum, filled.collect())
    }

    /// The range of least mean squared error: the best of `CANDIDATES` shares of the whole range, then
    /// each end on its own around it.
    fn least_error(&self) -> (f64, f64) {
        let (minimum, maximum, filled) = self.filled();
        let best_of = |ranges: &mut dyn Iterator<Item = (f64, f64)>| {
            ranges
                .map(|range| (squared_error(&filled, range), range))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .map_or((minimum, maximum), |(_, range)| range)
        };
        // From wide to narrow, so that of equals the one that cuts least is taken.
        let shares = || {
            (1..=CANDIDATES)
                .rev()
                .map(|step| step as f64 / CANDIDATES as f64)
        };
        let (low, high) = best_of(&mut shares().map(|share| (minimum * share, maximum * share)));
        if minimum == 0.0 || maximum == 0.0 {
            return (low, high);
        }
        let (low, high) = best_of(
            &mut shares()
                .map(|share| (minimum * share, high))
                .chain([(low, high)]),
        );
        best_of(
            &mut shares()
                .map(|share| (low, maximum * share))
                .chain([(low, high)]),
        )
    }
}

/// The squared error that storing the values of a histogram (centre and count) in this range makes.
fn squared_error(filled: &[(f64, f64)], (low, high): (f64, f64)) -> f64 {
    let Some(affine) = Affine::covering(low, high) else {
        return f64::INFINITY;
    };
    let (bottom, top) = affine.range();
    let (bottom, top) = (f64::from(bottom), f64::from(top));
    let scale = f64::from(affine.scale);
    filled
        .iter()
        .map(|&(centre, count)| {
            let stored = ((centre / scale).round() * scale).clamp(bottom, top);
            count * (centre - stored).powi(2)
        })
        .sum()
}

/// How much the distribution of a histogram (centre and count, in order) loses when it is stored in this range, in nats:
/// `Σ p·ln(p/q)`. In `p` what lies outside is counted where the range ends; `q` has for each byte what lies within it and inside of
/// the range, spread evenly over its bins that are not empty.
fn divergence(filled: &[(f64, f64)], (low, high): (f64, f64)) -> f64 {
    let Some(affine) = Affine::covering(low, high) else {
        return f64::INFINITY;
    };
    let (bottom, top) = affine.range();
    let half = f64::from(affine.scale) / 2.0;
    let inside =
        |centre: f64| centre >= f64::from(bottom) - half && centre <= f64::from(top) + half;
    let first = filled.iter().position(|(centre, _)| inside(*centre));
    let last = filled.iter().rposition(|(centre, _)| inside(*centre));
    let (Some(first), Some(last)) = (first, last) else {
        return f64::INFINITY;
    };
    let sum = |bins: &[(f64, f64)]| bins.iter().map(|(_, count)| count).sum::<f64>();
    let (below, above) = (sum(&filled[..first]), sum(&filled[last + 1..]));
    let within = &filled[first..=last];
    let (kept, total) = (sum(within), sum(filled));
    let level = |centre: f64| (centre / f64::from(affine.scale)).round();
    let mut lost = 0.0;
    let mut done = 0;
    for byte in within.chunk_by(|a, b| level(a.0) == level(b.0)) {
        let even = sum(byte) / byte.len() as f64 / kept;
        for (place, (_, count)) in (done..).zip(byte) {
            let outside = [(0, below), (within.len() - 1, above)];
            let outside = outside.iter().filter(|(end, _)| *end == place);
            let share = (count + outside.map(|(_, count)| count).sum::<f64>()) / total;
            lost += share * (share / even).ln();
        }
        done += byte.len();
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(method: Method) -> CalibrationSettings {
        CalibrationSettings {
            method,
            percentile: 99.0,
        }
    }

    fn seen(values: &[f32]) -> Observer {
        let mut observer = Observer::default();
        assert!(observer.observe(values));
        observer
    }

    #[test]
    fn min_max_covers_every_value_by_hand() {
        let observer = seen(&[0.0, 1.0, 5.1]);
        let affine = observer.affine(&settings(Method::MinMax)).unwrap();
        assert!((affine.scale - 0.02).abs() < 1e-7);
        assert_eq!(affine.zero_point, 0);
        let observer = seen(&[-1.0, 3.0]);
        let affine = observer.affine(&settings(Method::MinMax)).unwrap();
        assert_eq!(affine.zero_point, 64);
    }

    #[test]
    fn percentile_leaves_out_the_tail() {
        let mut values: Vec<f32> = (0..1000).map(|i| i as f32 / 1000.0).collect();
        values.push(50.0);
        let observer = seen(&values);
        let (_, high) = observer.percentiles(0.99);
        assert!((high - 0.99).abs() < 0.03, "{high}");
        let whole = observer.affine(&settings(Method::MinMax)).unwrap();
        let most = observer.affine(&settings(Method::Percentile)).unwrap();
        assert!(most.scale * 40.0 < whole.scale);
    }

    #[test]
    fn least_error_keeps_a_flat_range_whole_and_trades_an_outlier_against_rounding() {
        let mut values: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
        let flat = seen(&values).affine(&settings(Method::Mse)).unwrap();
        assert!((flat.scale * 255.0 - 1.0).abs() < 0.02, "{flat:?}");
        // With n values in a range of h, rounding costs n h² / (12 · 255²) and the outlier (20 - h)²:
        // least at h = 20 / (1 + n / (12 · 255²)) = 17.73.
        values.push(20.0);
        let outlier = seen(&values).affine(&settings(Method::Mse)).unwrap();
        assert!((outlier.scale * 255.0 - 17.73).abs() < 0.3, "{outlier:?}");
    }

    #[test]
    fn least_error_beats_its_neighbours_on_the_values_themselves() {
        // A long exponential tail, as after a ReLU.
        let values: Vec<f32> = (1..20_000).map(|i| -(i as f32 / 20_000.0).ln()).collect();
        let observer = seen(&values);
        let error = |affine: Affine| -> f64 {
            values
                .iter()
                .map(|&value| f64::from(value - affine.dequantize(affine.quantize(value))).powi(2))
                .sum()
        };
        let best = observer.affine(&settings(Method::Mse)).unwrap();
        let whole = observer.affine(&settings(Method::MinMax)).unwrap();
        assert!(error(best) < error(whole));
        for factor in [0.9, 1.1] {
            let other = Affine::covering(0.0, f64::from(best.scale) * 255.0 * factor).unwrap();
            assert!(error(best) < error(other) * 1.02, "{factor}");
        }
    }

    #[test]
    fn a_distribution_loses_what_was_computed_by_hand() {
        // Range 0 to 510, a level each 2: the bins at 1.9 and 2.1 are one byte, 4.1 another.
        let filled = [(1.9, 3.0), (2.1, 1.0), (4.1, 4.0)];
        let expected = 3.0 / 8.0 * (3.0_f64 / 2.0).ln() + 1.0 / 8.0 * (1.0_f64 / 2.0).ln();
        assert!((divergence(&filled, (0.0, 510.0)) - expected).abs() < 1e-9);
        // One byte each, and nothing outside: nothing is lost.
        let filled = [(2.0, 3.0), (4.0, 5.0)];
        assert!(divergence(&filled, (0.0, 510.0)).abs() < 1e-9);
        // What lies outside is counted at the end: of 8, p has 3 and 5, q of the 4 inside 3 and 1.
        let filled = [(2.0, 3.0), (510.0, 1.0), (900.0, 4.0)];
        let expected =
            3.0 / 8.0 * (3.0_f64 / 8.0 / 0.75).ln() + 5.0 / 8.0 * (5.0_f64 / 8.0 / 0.25).ln();
        assert!((divergence(&filled, (0.0, 510.0)) - expected).abs() < 1e-9);
    }

    #[test]
    fn entropy_leaves_out_an_outlier_and_keeps_a_tail() {
        // The largest of 20,000 values of a normal distribution is about four deviations out.
        let normal = |share: f64| (-2.0 * (1.0 - share).ln()).sqrt();
        let mut values: Vec<f32> = (0..20_000)
            .map(|i| normal(f64::from(i) / 20_000.0) as f32)
            .collect();
        values.push(60.0);
        let high = |method| {
            let affine = seen(&values).affine(&settings(method)).unwrap();
            f64::from(affine.scale) * 255.0
        };
        let entropy = high(Method::Entropy);
        assert!((2.5..15.0).contains(&entropy), "{entropy}");
        assert!((high(Method::MinMax) - 60.0).abs() < 0.1);
    }

    #[test]
    fn growing_loses_no_value_and_equals_one_batch_within_a_bin() {
        let mut observer = seen(&[0.5, -0.25]);
        assert!(observer.observe(&[7.0, -3.0, 0.1]));
        assert_eq!(observer.bins.iter().sum::<u64>(), 5);
        assert_eq!((observer.minimum(), observer.maximum()), (-3.0, 7.0));
        let at = |value: f64| ((value / observer.limit + 1.0) * BINS as f64) as usize;
        for value in [0.5, -0.25, 7.0, -3.0, 0.1] {
            let near = &observer.bins[at(value) - 1..=at(value)];
            assert_eq!(near.iter().sum::<u64>(), 1, "{value}");
        }
    }

    #[test]
    fn zeros_first_and_values_later_are_all_counted() {
        let mut observer = seen(&[0.0, 0.0]);
        assert_eq!(observer.affine(&settings(Method::Mse)), None);
        assert!(observer.observe(&[1.0, 2.0]));
        assert_eq!(observer.bins.iter().sum::<u64>(), 2);
        assert_eq!(observer.zeros, 2);
        for method in Method::CHOICE {
            assert!(observer.affine(&settings(method)).is_some());
        }
    }

    #[test]
    fn what_is_not_finite_is_refused_and_a_constant_has_no_mapping() {
        let mut observer = Observer::default();
        assert!(!observer.observe(&[1.0, f32::NAN]));
        assert!(!observer.observe(&[f32::INFINITY]));
        assert!(observer.observe(&[2.5, 2.5]));
        assert_eq!(observer.affine(&settings(Method::MinMax)), None);
        assert_eq!(Observer::default().affine(&settings(Method::Mse)), None);
    }
}

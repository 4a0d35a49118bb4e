//! Whether a classifier is right as often as it believes to be.

/// Bins of equal width between confidences of 0 and 1, as in the paper's tables.
const BINS: usize = 15;

/// The expected calibration error: over bins of confidence (the probability of the class that is answered), the mean
/// distance between how often answers are right and how confident they are, each bin by its share of the answers
/// (Guo et al. 2017, arXiv 1706.04599, equation 3). 0 is perfect, and also what no answers at all give.
///
/// `answers` are confidences in 0..=1 and whether they were right.
pub(super) fn expected_error(answers: impl IntoIterator<Item = (f64, bool)>) -> f64 {
    let mut bins = [(0u32, 0.0); BINS];
    let mut count = 0u32;
    for (confidence, right) in answers {
        // A bin has its upper end and not its lower one.
        let bin = (confidence * BINS as f64).ceil().max(1.0) as usize - 1;
        let (right_in_bin, confidence_in_bin) = &mut bins[bin.min(BINS - 1)];
        *right_in_bin += u32::from(right);
        *confidence_in_bin += confidence;
        count += 1;
    }
    let distances = bins
        .iter()
        .map(|(right, confidence)| (f64::from(*right) - confidence).abs());
    distances.sum::<f64>() / f64::from(count.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_the_one_computed_by_hand() {
        // Bins of 1/15: 0.95 and 1.0 lie in (14/15, 1], 0.5 in (7/15, 8/15], 0.4 in (5/15, 6/15].
        let answers = [(0.95, true), (1.0, false), (0.5, true), (0.4, false)];
        let expected = ((1.0f64 - 1.95).abs() + (1.0 - 0.5) + 0.4) / 4.0;
        assert!((expected_error(answers) - expected).abs() < 1e-12);
    }

    #[test]
    fn who_is_as_right_as_confident_has_none() {
        let answers = (0..100).map(|i| (0.75, i % 4 != 0));
        assert!(expected_error(answers) < 1e-12);
        assert_eq!(expected_error([]), 0.0);
        assert_eq!(expected_error([(1.0, true), (0.0, false)]), 0.0);
    }
}

//! Two models on the same clips.

/// Where two models differ, clip by clip, and how easily chance alone would explain it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Clips that only the first got right.
    pub first_only: usize,
    /// Clips that only the second got right.
    pub second_only: usize,
    /// Probability of a split at least this uneven if both were equally good.
    pub p: f64,
}

/// McNemar's exact test (McNemar 1947, Psychometrika 12:153) of two models on the same clips: among the
/// clips that exactly one of them got right, is either favoured? `None` if the clips are not the same.
pub fn mcnemar(first: &[bool], second: &[bool]) -> Option<Pair> {
    if first.len() != second.len() || first.is_empty() {
        return None;
    }
    let count = |wanted: (bool, bool)| {
        first
            .iter()
            .zip(second)
            .filter(|(a, b)| (**a, **b) == wanted)
            .count()
    };
    let (first_only, second_only) = (count((true, false)), count((false, true)));
    let trials = first_only + second_only;
    let p = (2.0 * lower_tail(first_only.min(second_only), trials)).min(1.0);
    Some(Pair {
        first_only,
        second_only,
        p,
    })
}

/// Probability of at most `successes` heads in `trials` tosses of a fair coin.
fn lower_tail(successes: usize, trials: usize) -> f64 {
    // In logarithms, since 2^-trials underflows for many trials.
    let mut log_term = -(trials as f64) * std::f64::consts::LN_2;
    let mut sum = log_term.exp();
    for k in 1..=successes {
        log_term += ((trials - k + 1) as f64 / k as f64).ln();
        sum += log_term.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_p_value_matches_a_worked_example() {
        // One against five: 2 · (C(6,0) + C(6,1)) / 2^6 = 14/64.
        let first = [true, false, false, false, false, false, true, false];
        let second = [false, true, true, true, true, true, true, false];
        let pair = mcnemar(&first, &second).unwrap();
        assert_eq!((pair.first_only, pair.second_only), (1, 5));
        assert!((pair.p - 14.0 / 64.0).abs() < 1e-12, "{pair:?}");
    }

    #[test]
    fn equal_models_are_not_told_apart() {
        let clips = vec![true; 2000];
        assert!((mcnemar(&clips, &clips).unwrap().p - 1.0).abs() < 1e-9);
        let worse = vec![false; 2000];
        assert!(mcnemar(&clips, &worse).unwrap().p < 1e-9);
    }

    #[test]
    fn other_clips_cannot_be_paired() {
        assert!(mcnemar(&[true], &[true, false]).is_none());
        assert!(mcnemar(&[], &[]).is_none());
    }
}

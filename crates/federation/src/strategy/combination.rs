//! How the changes of a round or buffer become one: their mean, or a rule that some of them cannot bend.
//!
//! | Rule | What it gives | Withstands, of `n` changes |
//! | --- | --- | --- |
//! | [`Combination::Mean`] | the weighted mean | none |
//! | [`Combination::TrimmedMean`] | by coordinate, the mean without the largest and the smallest share (Yin, Chen, Ramchandran, Bartlett 2018, arXiv 1803.01498, definition 2) | up to the share |
//! | [`Combination::Median`] | by coordinate, the median (same, definition 1) | fewer than `n/2` |
//! | [`Combination::Krum`] | the mean of those `keep` whose `n - f - 2` nearest others are nearest (Blanchard, El Mhamdi, Guerraoui, Stainer 2017, "Machine Learning with Adversaries", section 4; `keep` 1 is Krum, more is Multi-Krum) | `f`, if `n ≥ 2f + 3` |
//!
//! All but the mean hold every change of the buffer until it is full, so their memory is that of the buffer;
//! and they count every change once, whatever number of samples it claims.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::vector;

/// Which rule, with its constants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Combination {
    /// The weighted mean.
    #[default]
    Mean,
    /// By coordinate, the mean without the largest and the smallest `share` of the numbers.
    TrimmedMean {
        /// What is cut off at either end, at least 0 and below 0.5.
        #[serde(default = "share")]
        share: f64,
    },
    /// By coordinate, the median.
    Median,
    /// The changes that most others are near to.
    Krum {
        /// `f`: how many changes of a buffer may be bad. With fewer than `2f + 3` changes it is taken as
        /// the largest number for which there are enough.
        #[serde(default = "bad")]
        bad: usize,
        /// How many changes are kept and averaged; 1 is Krum itself.
        #[serde(default = "keep")]
        keep: usize,
    },
}

fn share() -> f64 {
    0.25
}

fn bad() -> usize {
    1
}

fn keep() -> usize {
    1
}

/// What a rule made of the changes it was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Combined {
    /// The one change.
    pub change: Vec<f32>,
    /// Which changes had a part in it, ascending.
    pub kept: Vec<usize>,
}

impl Combination {
    /// `mean`, `trimmed-mean`, `median` or `krum`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::TrimmedMean { .. } => "trimmed-mean",
            Self::Median => "median",
            Self::Krum { .. } => "krum",
        }
    }

    /// Whether changes can be added up as they come, so that none need be held.
    pub fn is_sum(self) -> bool {
        self == Self::Mean
    }

    /// Combines changes of equal length, each counted once. Gives nothing if there is none.
    pub fn of(self, changes: &[Arc<Vec<f32>>]) -> Option<Combined> {
        let length = changes.first()?.len();
        let all: Vec<usize> = (0..changes.len()).collect();
        let combined = match self {
            Self::Mean => Combined {
                change: mean(changes, &all),
                kept: all,
            },
            Self::TrimmedMean { share } => {
                let cut = (share * changes.len() as f64).floor() as usize;
                // A share below one half leaves at least one number, or two of an even count.
                let cut = cut.min((changes.len() - 1) / 2);
                Combined {
                    change: by_coordinate(changes, length, |sorted| {
                        middle_mean(&sorted[cut..sorted.len() - cut])
                    }),
                    kept: all,
                }
            }
            Self::Median => {
                let cut = (changes.len() - 1) / 2;
                Combined {
                    change: by_coordinate(changes, length, |sorted| {
                        middle_mean(&sorted[cut..sorted.len() - cut])
                    }),
                    kept: all,
                }
            }
            Self::Krum { bad, keep } => {
                let kept = krum(changes, bad, keep.clamp(1, changes.len()));
                Combined {
                    change: mean(changes, &kept),
                    kept,
                }
            }
        };
        Some(combined)
    }
}

fn mean(changes: &[Arc<Vec<f32>>], of: &[usize]) -> Vec<f32> {
    let mut sum = vec![0.0; changes[0].len()];
    for change in of {
        vector::add_scaled(&mut sum, &changes[*change], 1.0);
    }
    vector::scale(&mut sum, 1.0 / of.len() as f64);
    sum
}

fn middle_mean(numbers: &[f32]) -> f32 {
    let sum: f64 = numbers.iter().map(|number| f64::from(*number)).sum();
    (sum / numbers.len() as f64) as f32
}

/// Applies a rule to the sorted numbers of each coordinate.
fn by_coordinate(
    changes: &[Arc<Vec<f32>>],
    length: usize,
    rule: impl Fn(&[f32]) -> f32,
) -> Vec<f32> {
    let mut sorted = vec![0.0; changes.len()];
    (0..length)
        .map(|coordinate| {
            for (number, change) in sorted.iter_mut().zip(changes) {
                *number = change[coordinate];
            }
            sorted.sort_unstable_by(f32::total_cmp);
            rule(&sorted)
        })
        .collect()
}

/// The `keep` changes with the least sum of squared distances to their `n - f - 2` nearest others; of equal
/// ones, those that came first.
fn krum(changes: &[Arc<Vec<f32>>], bad: usize, keep: usize) -> Vec<usize> {
    let count = changes.len();
    let bad = bad.min(count.saturating_sub(3) / 2);
    let neighbours = count.saturating_sub(bad + 2).max(1);
    let mut distances = vec![vec![0.0_f64; count]; count];
    for first in 0..count {
        for second in first + 1..count {
            let distance = vector::distance(&changes[first], &changes[second]).powi(2);
            distances[first][second] = distance;
            distances[second][first] = distance;
        }
    }
    let mut scores: Vec<(f64, usize)> = distances
        .into_iter()
        .enumerate()
        .map(|(own, mut row)| {
            row.swap_remove(own);
            row.sort_unstable_by(f64::total_cmp);
            (row.iter().take(neighbours).sum(), own)
        })
        .collect();
    scores.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut kept: Vec<usize> = scores.into_iter().take(keep).map(|(_, own)| own).collect();
    kept.sort_unstable();
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changes(rows: &[&[f32]]) -> Vec<Arc<Vec<f32>>> {
        rows.iter().map(|row| Arc::new(row.to_vec())).collect()
    }

    #[test]
    fn rules_are_those_computed_by_hand() {
        // Coordinates (1, 2, 3, 90) and (-50, 4, 6, 8).
        let four = changes(&[&[1.0, 4.0], &[90.0, 6.0], &[2.0, -50.0], &[3.0, 8.0]]);
        let of = |rule: Combination| rule.of(&four).unwrap().change;
        assert_eq!(of(Combination::Mean), [24.0, -8.0]);
        assert_eq!(of(Combination::TrimmedMean { share: 0.25 }), [2.5, 5.0]);
        assert_eq!(of(Combination::TrimmedMean { share: 0.2 }), [24.0, -8.0]);
        assert_eq!(of(Combination::Median), [2.5, 5.0]);
        let three = &four[..3];
        assert_eq!(Combination::Median.of(three).unwrap().change, [2.0, 4.0]);
        assert_eq!(Combination::Median.of(&[]), None);
    }

    #[test]
    fn krum_keeps_the_change_that_most_are_near_to() {
        // f = 1 of 5: each is scored by its 2 nearest. On a line at 0, 1, 3, 10, -9 the squared distances give
        // 1 + 9, 1 + 4, 4 + 9, 49 + 81 and 81 + 100: the second wins, then the first.
        let five = changes(&[&[0.0], &[1.0], &[3.0], &[10.0], &[-9.0]]);
        let krum = |keep| Combination::Krum { bad: 1, keep }.of(&five).unwrap();
        assert_eq!(krum(1).kept, [1]);
        assert_eq!(krum(1).change, [1.0]);
        assert_eq!(krum(2).kept, [0, 1]);
        assert_eq!(krum(2).change, [0.5]);
        assert_eq!(krum(99).kept, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_buffer_too_small_for_krum_tolerates_fewer() {
        let krum = Combination::Krum { bad: 3, keep: 1 };
        assert_eq!(krum.of(&changes(&[&[7.0]])).unwrap().change, [7.0]);
        let three = changes(&[&[0.0], &[1.0], &[50.0]]);
        assert_eq!(krum.of(&three).unwrap().kept, [0]);
    }

    proptest! {
        #[test]
        fn fewer_bad_changes_than_a_rule_withstands_stay_within_the_good(
            good in prop::collection::vec(-1.0..1.0_f32, 7..12),
            bad in prop::collection::vec(prop_oneof![Just(1e30_f32), Just(-1e30), -5.0..5.0_f32], 0..3),
        ) {
            let (least, most) = good.iter().fold((1.0_f32, -1.0_f32), |(a, b), x| (a.min(*x), b.max(*x)));
            let mut rows: Vec<Arc<Vec<f32>>> = bad.iter().map(|x| Arc::new(vec![*x])).collect();
            rows.extend(good.iter().map(|x| Arc::new(vec![*x])));
            for rule in [
                Combination::TrimmedMean { share: 0.25 },
                Combination::Median,
            ] {
                let change = rule.of(&rows).unwrap().change[0];
                prop_assert!((least..=most).contains(&change), "{rule:?}: {change}");
            }
            let kept = Combination::Krum { bad: 2, keep: 1 }.of(&rows).unwrap();
            prop_assert!(kept.change[0].abs() <= 5.0);
        }
    }
}

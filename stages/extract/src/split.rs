//! Which side of the split a video is on: whole groups, and as near to the share in every class as whole
//! groups allow.

use std::collections::BTreeMap;

use fedact_clips::Split;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use regex::Regex;

use crate::layout::{Candidate, source, stem};

/// UCF101's and `synthesize`'s names: `v_Punch_g07_c02.avi`.
const UCF_GROUP: &str = r"_(g\d+)_c\d+";

/// Passes over all groups; the search ends long before.
const PASSES: usize = 100;

/// What a class costs that is empty on one side: more than any other deviation.
const EMPTY: f64 = 1e6;

/// The group of each candidate, and how many names the user's pattern did not match.
///
/// The pattern rules where there is one; else what a list says; else what the names of UCF101 and HMDB51 say.
pub(crate) fn groups(
    candidates: &[Candidate],
    classes: &[String],
    pattern: Option<&str>,
) -> (Vec<String>, usize) {
    let regex = Regex::new(pattern.unwrap_or(UCF_GROUP)).ok();
    let captured = |candidate: &Candidate| {
        let captures = regex.as_ref()?.captures(candidate.file_name())?;
        Some(captures.get(1)?.as_str().to_owned())
    };
    let source = |candidate: &Candidate| {
        let class = classes.get(candidate.label)?;
        source(stem(candidate.file_name()), class).map(str::to_owned)
    };
    let mut unmatched = 0;
    let groups = candidates
        .iter()
        .map(|candidate| {
            let group = match pattern {
                Some(_) => captured(candidate),
                None => candidate
                    .group
                    .clone()
                    .or_else(|| captured(candidate))
                    .or_else(|| source(candidate)),
            };
            group.unwrap_or_else(|| {
                unmatched += 1;
                candidate.stem().to_owned()
            })
        })
        .collect();
    (groups, if pattern.is_some() { unmatched } else { 0 })
}

/// The counts of one class.
#[derive(Debug, Clone, Default)]
struct Class {
    videos: f64,
    test: f64,
}

impl Class {
    /// Squared distance from the wanted share, in videos, by the size of the class.
    fn cost(&self, test: f64, share: f64) -> f64 {
        let distance = test - share * self.videos;
        let empty = test < 0.5 || test > self.videos - 0.5;
        distance * distance / self.videos + if empty { EMPTY } else { 0.0 }
    }
}

/// Splits by group. `labels` and `groups` go with the candidates; the result does not depend on their
/// order but for ties, and on nothing but `seed` otherwise.
///
/// Groups are visited in an order drawn from the seed and change sides whenever that brings the classes
/// nearer to their share, until no change does. A share of 0 leaves all on the side that is trained on.
pub(crate) fn by_groups(labels: &[usize], groups: &[String], share: f64, seed: u64) -> Vec<Split> {
    if share == 0.0 {
        return vec![Split::Train; labels.len()];
    }
    let mut members: BTreeMap<&str, BTreeMap<usize, f64>> = BTreeMap::new();
    let mut classes: Vec<Class> = Vec::new();
    for (label, group) in labels.iter().zip(groups) {
        *members.entry(group).or_default().entry(*label).or_default() += 1.0;
        classes.resize(classes.len().max(label + 1), Class::default());
        classes[*label].videos += 1.0;
    }
    let mut order: Vec<(&str, BTreeMap<usize, f64>)> = members.into_iter().collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut test: BTreeMap<&str, bool> = BTreeMap::new();
    for _ in 0..PASSES {
        let mut changed = false;
        for (group, counts) in &order {
            let inside = test.entry(group).or_default();
            let sign = if *inside { -1.0 } else { 1.0 };
            let gain: f64 = counts
                .iter()
                .map(|(label, count)| {
                    let class = &classes[*label];
                    class.cost(class.test, share) - class.cost(class.test + sign * count, share)
                })
                .sum();
            if gain > 1e-9 {
                *inside = !*inside;
                changed = true;
                for (label, count) in counts {
                    classes[*label].test += sign * count;
                }
            }
        }
        if !changed {
            break;
        }
    }
    groups
        .iter()
        .map(|group| match test.get(group.as_str()) {
            Some(true) => Split::Test,
            _ => Split::Train,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn candidate(name: &str) -> Candidate {
        Candidate {
            name: name.to_owned(),
            path: PathBuf::from(name),
            label: 0,
            part: None,
            group: None,
        }
    }

    #[test]
    fn groups_come_from_the_pattern_then_from_lists_then_from_known_names_then_from_the_file() {
        let mut listed = candidate("x/v_Punch_g07_c03.avi");
        listed.group = Some("anna".to_owned());
        let candidates = [
            candidate("bend/person01_bend_a.avi"),
            candidate("Punch/v_Punch_g07_c02.avi"),
            candidate("wave/TrumanShow_wave_f_nm_np1_fr_med_26.avi"),
            listed,
            candidate("x/clip.mp4"),
        ];
        let classes = ["wave".to_owned()];
        let (given, unmatched) = groups(&candidates, &classes, Some(r"(person\d+)"));
        assert_eq!(
            given,
            [
                "person01",
                "Punch/v_Punch_g07_c02",
                "wave/TrumanShow_wave_f_nm_np1_fr_med_26",
                "x/v_Punch_g07_c03",
                "x/clip"
            ]
        );
        assert_eq!(unmatched, 4);
        let (found, unmatched) = groups(&candidates, &classes, None);
        assert_eq!(
            found,
            [
                "bend/person01_bend_a",
                "g07",
                "TrumanShow",
                "anna",
                "x/clip"
            ]
        );
        assert_eq!(unmatched, 0);
    }

    #[test]
    fn nine_persons_in_four_classes_split_into_three_and_six() {
        let mut labels = Vec::new();
        let mut names = Vec::new();
        for label in 0..4 {
            for person in 0..9 {
                for _ in 0..2 {
                    labels.push(label);
                    names.push(format!("person{person}"));
                }
            }
        }
        for seed in 0..20 {
            let split = by_groups(&labels, &names, 0.3, seed);
            let test = split.iter().filter(|side| **side == Split::Test).count();
            assert_eq!(test, 3 * 8, "seed {seed}");
        }
        assert_ne!(
            by_groups(&labels, &names, 0.3, 0),
            by_groups(&labels, &names, 0.3, 1)
        );
    }

    proptest! {
        #[test]
        fn groups_stay_whole_and_both_sides_are_there_where_videos_stand_alone(
            sizes in prop::collection::vec(2usize..30, 1..6),
            share in 0.05f64..0.95,
            seed: u64,
        ) {
            let labels: Vec<usize> = sizes.iter().enumerate()
                .flat_map(|(label, size)| std::iter::repeat_n(label, *size)).collect();
            let names: Vec<String> = (0..labels.len()).map(|i| format!("v{i}")).collect();
            let split = by_groups(&labels, &names, share, seed);
            for (label, size) in sizes.iter().enumerate() {
                let test = labels.iter().zip(&split)
                    .filter(|(one, side)| **one == label && **side == Split::Test).count();
                prop_assert!(test >= 1 && test < *size);
                let wanted = (share * *size as f64).clamp(1.0, (*size - 1) as f64);
                prop_assert!((test as f64 - wanted).abs() <= 0.5 + 1e-9, "{test} of {size}, wanted {wanted}");
            }
        }

        #[test]
        fn a_group_is_never_on_both_sides(
            videos in prop::collection::vec((0usize..5, 0usize..8), 1..80),
            seed: u64,
        ) {
            let labels: Vec<usize> = videos.iter().map(|video| video.0).collect();
            let names: Vec<String> = videos.iter().map(|video| format!("p{}", video.1)).collect();
            let split = by_groups(&labels, &names, 0.3, seed);
            let mut sides = BTreeMap::new();
            for (name, side) in names.iter().zip(split) {
                prop_assert_eq!(*sides.entry(name).or_insert(side), side);
            }
        }
    }
}

//! Clips kept back from training, to choose an epoch by.

use std::collections::BTreeMap;

use fedact_clips::ClipSet;
use rand::seq::SliceRandom;

use crate::NetsError;
use crate::random::{Purpose, stream};

/// Passes over all groups; the search ends long before.
const PASSES: usize = 100;

/// Parts the clips at `indices` into those to train on and those to validate with, each in the order given: whole
/// groups, and of every class as near to `share` as whole groups allow, never all of it. It depends on the
/// clips and on `seed` alone.
///
/// # Errors
/// No group can be kept back, or too few are left to train on.
pub fn hold_out(
    clips: &ClipSet,
    indices: &[usize],
    share: f64,
    seed: u64,
) -> Result<(Vec<usize>, Vec<usize>), NetsError> {
    let members: Vec<(usize, &str)> = indices
        .iter()
        .map(|index| (clips.label(*index), clips.group(*index)))
        .collect();
    let kept_back = choose(&members, share, seed);
    let side = |wanted: bool| -> Vec<usize> {
        let pairs = indices.iter().zip(&kept_back);
        let chosen = pairs.filter(|(_, kept_back)| **kept_back == wanted);
        chosen.map(|(index, _)| *index).collect()
    };
    let (train, validation) = (side(false), side(true));
    if validation.is_empty() {
        return Err(NetsError::Data(format!(
            "of the {} training clips of {} no whole group can be kept back for a `validation_share` of {share} without \
             taking all of a class or far more than the share; raise `validation_share`, or give clips of more groups",
            indices.len(),
            clips.folder().display(),
        )));
    }
    Ok((train, validation))
}

/// For each clip (its class and its group) whether it is kept back.
///
/// Groups are visited in an order drawn from the seed and change sides whenever that brings the classes nearer to
/// their share, until no change does.
fn choose(members: &[(usize, &str)], share: f64, seed: u64) -> Vec<bool> {
    let mut groups: BTreeMap<&str, BTreeMap<usize, f64>> = BTreeMap::new();
    let mut totals: BTreeMap<usize, f64> = BTreeMap::new();
    for (label, group) in members {
        *groups.entry(group).or_default().entry(*label).or_default() += 1.0;
        *totals.entry(*label).or_default() += 1.0;
    }
    let mut order: Vec<(&str, BTreeMap<usize, f64>)> = groups.into_iter().collect();
    order.shuffle(&mut stream(Purpose::Validation, seed, 0, 0));
    let mut held: BTreeMap<usize, f64> = BTreeMap::new();
    let mut inside: BTreeMap<&str, bool> = BTreeMap::new();
    // Squared distance from the share, by the size of the class; a class must not be lost to training.
    let cost = |label: usize, held: f64| {
        let total = totals[&label];
        let distance = held - share * total;
        if held > total - 0.5 {
            f64::INFINITY
        } else {
            distance * distance / total
        }
    };
    for _ in 0..PASSES {
        let mut changed = false;
        for (group, counts) in &order {
            let inside = inside.entry(group).or_default();
            let sign = if *inside { -1.0 } else { 1.0 };
            let gain: f64 = counts
                .iter()
                .map(|(label, count)| {
                    let now = held.get(label).copied().unwrap_or(0.0);
                    cost(*label, now) - cost(*label, now + sign * count)
                })
                .sum();
            if gain > 1e-9 {
                *inside = !*inside;
                changed = true;
                for (label, count) in counts {
                    *held.entry(*label).or_default() += sign * count;
                }
            }
        }
        if !changed {
            break;
        }
    }
    members
        .iter()
        .map(|(_, group)| inside.get(group).copied().unwrap_or(false))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn persons_who_show_every_class_are_kept_back_whole() {
        let names: Vec<String> = (0..10).map(|person| format!("g{person}")).collect();
        let members: Vec<(usize, &str)> = (0..200)
            .map(|clip| (clip % 4, names[clip / 4 % 10].as_str()))
            .collect();
        let kept_back = choose(&members, 0.2, 7);
        assert_eq!(kept_back.iter().filter(|kept| **kept).count(), 40);
        assert_eq!(kept_back, choose(&members, 0.2, 7));
        assert_ne!(kept_back, choose(&members, 0.2, 8));
    }

    #[test]
    fn a_class_of_one_group_stays_in_training() {
        let members = [(0, "a"), (0, "a"), (1, "b"), (1, "c"), (1, "d"), (1, "e")];
        let kept_back = choose(&members, 0.5, 1);
        assert_eq!(kept_back[..2], [false, false]);
        assert_eq!(kept_back[2..].iter().filter(|kept| **kept).count(), 2);
    }

    proptest! {
        #[test]
        fn groups_stay_whole_and_classes_stay_in_training(
            members in prop::collection::vec((0usize..4, 0usize..12), 1..200),
            share in 0.05f64..0.5,
            seed: u64,
        ) {
            let names: Vec<String> = (0..12).map(|group| format!("g{group}")).collect();
            let members: Vec<(usize, &str)> = members
                .iter()
                .map(|(label, group)| (*label, names[*group].as_str()))
                .collect();
            let kept_back = choose(&members, share, seed);
            let groups = |wanted: bool| -> BTreeSet<&str> {
                let chosen = members.iter().zip(&kept_back).filter(|(_, kept)| **kept == wanted);
                chosen.map(|((_, group), _)| *group).collect()
            };
            prop_assert!(groups(true).is_disjoint(&groups(false)));
            for label in 0..4 {
                let of: Vec<bool> = members.iter().zip(&kept_back)
                    .filter(|((l, _), _)| *l == label).map(|(_, kept)| *kept).collect();
                prop_assert!(of.is_empty() || of.contains(&false));
            }
        }
    }
}

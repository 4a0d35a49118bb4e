//! Which clips an epoch shows, and in which order.

use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::SliceRandom;

/// A clip at its place in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// Its index in the clip set.
    pub index: usize,
    /// How often the epoch has shown it before.
    pub before: u64,
}

impl Turn {
    /// The only one of a clip.
    pub fn only(index: usize) -> Self {
        Self { index, before: 0 }
    }
}

/// As many turns as there are clips, equally many of each class that has clips; what cannot be shared out
/// goes to classes drawn by lot. A class's clips come as often as one another, but for one turn.
pub(super) fn drawn_equally(
    indices: &[usize],
    label: impl Fn(usize) -> usize,
    random: &mut impl Rng,
) -> Vec<Turn> {
    let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for index in indices {
        classes.entry(label(*index)).or_default().push(*index);
    }
    let (share, rest) = (
        indices.len() / classes.len().max(1),
        indices.len() % classes.len().max(1),
    );
    let mut lots: Vec<usize> = (0..classes.len()).collect();
    lots.shuffle(random);
    let mut turns = Vec::with_capacity(indices.len());
    for (clips, lot) in classes.values_mut().zip(lots) {
        let wanted = share + usize::from(lot < rest);
        let mut given = 0;
        for before in 0.. {
            if given == wanted {
                break;
            }
            clips.shuffle(random);
            let taken = clips.iter().take(wanted - given);
            turns.extend(taken.map(|index| Turn {
                index: *index,
                before,
            }));
            given += clips.len().min(wanted - given);
        }
    }
    turns.shuffle(random);
    turns
}

/// By class, what one of its clips counts for so that classes count alike: the inverse of its share of the clips,
/// divided by the number of classes, so that the mean over the clips is 1. 0 for classes without clips.
pub(super) fn inverse_frequencies(
    indices: &[usize],
    label: impl Fn(usize) -> usize,
    classes: usize,
) -> Vec<f32> {
    let mut counts = vec![0usize; classes];
    for index in indices {
        counts[label(*index)] += 1;
    }
    let present = counts.iter().filter(|count| **count > 0).count();
    let weight = |count: usize| match count {
        0 => 0.0,
        count => (indices.len() as f64 / (present * count) as f64) as f32,
    };
    counts.into_iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// 14 clips of class 0, 2 of class 1, none of class 2, 7 of class 3.
    fn label(index: usize) -> usize {
        match index {
            0..14 => 0,
            14..16 => 1,
            _ => 3,
        }
    }

    fn turns(seed: u64) -> Vec<Turn> {
        let indices: Vec<usize> = (0..23).collect();
        drawn_equally(&indices, label, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn classes_come_equally_often_and_their_clips_too() {
        let mut shown = [0; 14];
        for seed in 0..40 {
            let turns = turns(seed);
            assert_eq!(turns.len(), 23);
            let mut counts = BTreeMap::new();
            for turn in &turns {
                *counts.entry(label(turn.index)).or_insert(0) += 1;
            }
            assert_eq!(counts.len(), 3);
            assert!(
                counts.values().all(|count| (7..=8).contains(count)),
                "{counts:?}"
            );
            let of = |index: usize| turns.iter().filter(move |turn| turn.index == index);
            for rare in [14, 15] {
                assert!((3..=4).contains(&of(rare).count()));
                let mut before: Vec<u64> = of(rare).map(|turn| turn.before).collect();
                before.sort_unstable();
                assert!(
                    before.iter().copied().eq(0..before.len() as u64),
                    "{before:?}"
                );
            }
            for (index, shown) in shown.iter_mut().enumerate() {
                assert!(of(index).count() <= 1);
                *shown += of(index).count();
            }
        }
        assert!(
            shown.iter().all(|shown| *shown > 5),
            "others each epoch: {shown:?}"
        );
    }

    #[test]
    fn a_seed_decides_the_order() {
        assert_eq!(turns(1), turns(1));
        assert_ne!(turns(1), turns(2));
    }

    #[test]
    fn weights_make_classes_count_alike_and_clips_one_on_average() {
        let indices: Vec<usize> = (0..23).collect();
        let weights = inverse_frequencies(&indices, label, 4);
        let sum: f32 = indices.iter().map(|index| weights[label(*index)]).sum();
        assert!((sum - 23.0).abs() < 1e-4, "{weights:?}");
        assert!(
            (14.0 * weights[0] - 2.0 * weights[1]).abs() < 1e-4,
            "{weights:?}"
        );
        assert_eq!(weights[2], 0.0);
    }
}

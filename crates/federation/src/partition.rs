//! Who holds which clips: the training clips, spread over clients.
//!
//! Federated data are uneven in what they show and in how much there is. [`Partition::Subject`] is what happens in the
//! world: a person's clips lie on that person's device. The others make unevenness of a chosen degree, as studies do.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::clock::derived_rng;
use crate::purpose;

/// How clips are spread over clients.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "lowercase", deny_unknown_fields)]
pub enum Partition {
    /// Subjects stay whole, and numbers of clips are as even as that allows: the largest subject first, each to the
    /// client with the fewest clips.
    #[default]
    Subject,
    /// Each class is dealt out in shares drawn from a Dirichlet distribution (Hsu, Qi, Brown 2019, arXiv 1909.06335, per
    /// class as in Li et al. 2022, arXiv 2102.02079, "distribution-based label imbalance").
    Labels {
        /// Its concentration: 10 is nearly even, 0.1 gives most clients few classes.
        beta: f64,
    },
    /// Clips at random, in numbers drawn from a Dirichlet distribution (Li et al. 2022, "quantity skew").
    Quantity {
        /// Its concentration: 10 is nearly even, with 0.1 few clients have nearly all.
        beta: f64,
    },
    /// Clips at random, in equal numbers: all clients alike, which devices never are.
    Even,
}

/// A clip as far as its place depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held<'a> {
    /// Its index in the clip set.
    pub index: usize,
    /// Its class.
    pub label: usize,
    /// Whom it shows.
    pub subject: &'a str,
}

/// One client's clips.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The subjects, joined with `+` (of more than three the first two and the number of the rest), where these stay
    /// whole; `client-1` and so on elsewhere.
    pub id: String,
    /// Indices in the clip set, ascending; at least one.
    pub indices: Vec<usize>,
}

impl Partition {
    /// The concentration, where it has one.
    pub fn beta(self) -> Option<f64> {
        match self {
            Self::Labels { beta } | Self::Quantity { beta } => Some(beta),
            Self::Subject | Self::Even => None,
        }
    }

    /// Spreads clips over at most `clients` clients, every one of which gets one at least: fewer subjects, or clips, make
    /// fewer clients. Depends on the clips' order and on `seed`, for subjects on neither.
    pub fn spread(self, clips: &[Held<'_>], clients: usize, seed: u64) -> Vec<Share> {
        let clients = clients.min(clips.len());
        let mut random = derived_rng(seed, &[purpose::PARTITION]);
        let shares = match self {
            Self::Subject => return by_subject(clips, clients),
            Self::Labels { beta } => {
                let mut shares = vec![Vec::new(); clients];
                let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
                for clip in clips {
                    classes.entry(clip.label).or_default().push(clip.index);
                }
                for (_, mut indices) in classes {
                    indices.shuffle(&mut random);
                    let weights = dirichlet(beta, clients, &mut random);
                    deal(&indices, &weights, &mut shares);
                }
                shares
            }
            Self::Quantity { beta } => {
                let weights = dirichlet(beta, clients, &mut random);
                shuffled(clips, &weights, &mut random)
            }
            Self::Even => shuffled(clips, &vec![1.0; clients], &mut random),
        };
        let shares = with_no_empty_hands(shares);
        let named = |(number, mut indices): (usize, Vec<usize>)| {
            indices.sort_unstable();
            Share {
                id: format!("client-{}", number + 1),
                indices,
            }
        };
        shares.into_iter().enumerate().map(named).collect()
    }
}

fn by_subject(clips: &[Held<'_>], clients: usize) -> Vec<Share> {
    let mut subjects: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for clip in clips {
        subjects.entry(clip.subject).or_default().push(clip.index);
    }
    let mut ordered: Vec<(&str, Vec<usize>)> = subjects.into_iter().collect();
    ordered.sort_by_key(|(name, indices)| (Reverse(indices.len()), *name));
    let mut shares: Vec<(Vec<&str>, Vec<usize>)> =
        vec![(Vec::new(), Vec::new()); clients.min(ordered.len())];
    for (name, indices) in ordered {
        if let Some(share) = shares.iter_mut().min_by_key(|(_, held)| held.len()) {
            share.0.push(name);
            share.1.extend(indices);
        }
    }
    for (names, indices) in &mut shares {
        names.sort_unstable();
        indices.sort_unstable();
    }
    shares.sort();
    let named = |(names, indices): (Vec<&str>, Vec<usize>)| Share {
        id: joined(&names),
        indices,
    };
    shares.into_iter().map(named).collect()
}

fn joined(names: &[&str]) -> String {
    match names {
        [first, second, rest @ ..] if rest.len() > 1 => {
            format!("{first}+{second}+{} more", rest.len())
        }
        all => all.join("+"),
    }
}

fn shuffled(clips: &[Held<'_>], weights: &[f64], random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
    let mut indices: Vec<usize> = clips.iter().map(|clip| clip.index).collect();
    indices.shuffle(random);
    let mut shares = vec![Vec::new(); weights.len()];
    deal(&indices, weights, &mut shares);
    shares
}

/// Weights of a symmetric Dirichlet distribution, not all zero: independent Gamma variables, whose sum is left to
/// [`deal`].
fn dirichlet(beta: f64, clients: usize, random: &mut ChaCha8Rng) -> Vec<f64> {
    let mut weights = vec![0.0; clients];
    if let Ok(gamma) = Gamma::new(beta, 1.0) {
        for weight in &mut weights {
            *weight = gamma.sample(random);
        }
    }
    // Where beta is tiny all of them may be too small for a number, and in the limit one client has all.
    if clients > 0 && weights.iter().sum::<f64>() <= 0.0 {
        weights[random.random_range(0..clients)] = 1.0;
    }
    weights
}

/// Cuts `indices` into consecutive parts whose lengths are to each other as `weights`, each within one of its due.
fn deal(indices: &[usize], weights: &[f64], shares: &mut [Vec<usize>]) {
    let total: f64 = weights.iter().sum();
    let (mut weight_so_far, mut from) = (0.0, 0);
    for (number, (weight, share)) in weights.iter().zip(shares).enumerate() {
        weight_so_far += weight;
        let due = (indices.len() as f64 * weight_so_far / total).round() as usize;
        let to = if number + 1 == weights.len() {
            indices.len()
        } else {
            due.clamp(from, indices.len())
        };
        share.extend(&indices[from..to]);
        from = to;
    }
}

/// Whoever has nothing gets a clip of the one who has most.
fn with_no_empty_hands(mut shares: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    while let Some(empty) = shares.iter().position(Vec::is_empty) {
        let richest = shares.iter_mut().max_by_key(|share| share.len());
        match richest.filter(|share| share.len() > 1).and_then(Vec::pop) {
            Some(index) => shares[empty].push(index),
            None => break,
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Clips of subjects of these sizes, in order, whose labels go round.
    fn clips<'a>(sizes: &[(&'a str, usize)], classes: usize) -> Vec<Held<'a>> {
        let subjects = sizes
            .iter()
            .flat_map(|(name, size)| std::iter::repeat_n(*name, *size));
        subjects
            .enumerate()
            .map(|(index, subject)| Held {
                index,
                label: index % classes,
                subject,
            })
            .collect()
    }

    #[test]
    fn subjects_stay_whole_and_shares_are_even() {
        let sizes = [("g01", 5), ("g02", 9), ("g03", 4), ("g04", 6), ("g05", 3)];
        let shares = Partition::Subject.spread(&clips(&sizes, 2), 3, 0);
        let ids: Vec<&str> = shares.iter().map(|share| share.id.as_str()).collect();
        assert_eq!(ids, ["g01+g03", "g02", "g04+g05"]);
        let counts: Vec<usize> = shares.iter().map(|share| share.indices.len()).collect();
        assert_eq!(counts, [9, 9, 9]);
    }

    #[test]
    fn fewer_subjects_make_fewer_clients() {
        let clips = clips(&[("g01", 5), ("g02", 9)], 2);
        assert_eq!(Partition::Subject.spread(&clips, 8, 0).len(), 2);
    }

    #[test]
    fn many_subjects_make_a_short_name() {
        assert_eq!(joined(&["a", "b", "c"]), "a+b+c");
        assert_eq!(joined(&["a", "b", "c", "d"]), "a+b+2 more");
    }

    #[test]
    fn equal_numbers_differ_by_one_at_most() {
        let shares = Partition::Even.spread(&clips(&[("all", 23)], 3), 5, 4);
        let counts: Vec<usize> = shares.iter().map(|share| share.indices.len()).collect();
        assert!(
            counts.iter().all(|count| (4..=5).contains(count)),
            "{counts:?}"
        );
    }

    /// The mean over clients of the largest share that one class has of a client's clips.
    fn purity(beta: f64) -> f64 {
        let clips = clips(&[("all", 1000)], 5);
        let seeds = 0..20;
        let of = |seed| {
            let shares = Partition::Labels { beta }.spread(&clips, 8, seed);
            let pure = |share: &Share| {
                let count = |class| {
                    let of_class = share.indices.iter().filter(|index| *index % 5 == class);
                    of_class.count() as f64
                };
                (0..5).map(count).fold(0.0, f64::max) / share.indices.len() as f64
            };
            shares.iter().map(pure).sum::<f64>() / shares.len() as f64
        };
        seeds.map(of).sum::<f64>() / 20.0
    }

    #[test]
    fn the_smaller_beta_the_fewer_classes_a_client_has() {
        let purities = [0.1, 0.5, 10.0].map(purity);
        assert!(purities[0] > 0.65, "{purities:?}");
        assert!(purities[0] > purities[1] + 0.1, "{purities:?}");
        assert!(
            purities[2] < 0.35 && purities[1] > purities[2] + 0.1,
            "{purities:?}"
        );
    }

    #[test]
    fn the_smaller_beta_the_less_equal_the_numbers_of_clips() {
        let clips = clips(&[("all", 1000)], 5);
        let largest = |beta| {
            let of = |seed| {
                let shares = Partition::Quantity { beta }.spread(&clips, 8, seed);
                shares
                    .iter()
                    .map(|share| share.indices.len())
                    .max()
                    .unwrap()
            };
            (0..20).map(of).sum::<usize>() / 20
        };
        assert!(largest(0.1) > 500, "{}", largest(0.1));
        assert!((130..250).contains(&largest(10.0)), "{}", largest(10.0));
    }

    proptest! {
        #[test]
        fn every_clip_has_one_holder_and_every_client_a_clip(
            sizes in prop::collection::vec(1_usize..9, 1..12),
            classes in 1_usize..6,
            clients in 1_usize..12,
            beta in prop::sample::select(vec![1e-6, 0.1, 0.5, 10.0, 1e6]),
            seed: u64,
        ) {
            let names: Vec<String> = (0..sizes.len()).map(|number| format!("g{number:02}")).collect();
            let sizes: Vec<(&str, usize)> =
                names.iter().map(String::as_str).zip(sizes.iter().copied()).collect();
            let clips = clips(&sizes, classes);
            for partition in [
                Partition::Subject,
                Partition::Labels { beta },
                Partition::Quantity { beta },
                Partition::Even,
            ] {
                let shares = partition.spread(&clips, clients, seed);
                prop_assert_eq!(&shares, &partition.spread(&clips, clients, seed));
                let wanted = match partition {
                    Partition::Subject => clients.min(sizes.len()),
                    _ => clients.min(clips.len()),
                };
                prop_assert_eq!(shares.len(), wanted);
                prop_assert!(shares.iter().all(|share| !share.indices.is_empty()));
                prop_assert!(shares.iter().all(|share| share.indices.is_sorted()));
                let mut all: Vec<usize> = shares.into_iter().flat_map(|share| share.indices).collect();
                all.sort_unstable();
                prop_assert_eq!(all, (0..clips.len()).collect::<Vec<_>>());
            }
        }
    }
}

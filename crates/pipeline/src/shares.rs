//! What a machine has, shared out among the steps that run on it.

use fedact_stage::Cores;

use crate::Needs;

/// Cores and memory to share out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Cores; at least 1.
    pub cores: usize,
    /// Bytes of memory; `None` where memory is not to be counted.
    pub memory: Option<u64>,
}

/// What one step has while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) cores: usize,
    pub(crate) memory: u64,
}

impl Capacity {
    /// What a step with these needs gets beside those that have `taken` already; `None` while there is too
    /// little. What wants more than there is runs alone.
    pub(crate) fn share(self, needs: Needs, taken: &[Share]) -> Option<Share> {
        let total = self.cores.max(1);
        let used: usize = taken.iter().map(|share| share.cores).sum();
        let free = total.saturating_sub(used);
        let cores = match needs.cores {
            Cores::Fixed(wanted) if wanted > total && taken.is_empty() => wanted,
            Cores::Fixed(wanted) => Some(wanted.max(1)).filter(|&wanted| wanted <= free)?,
            Cores::All => Some(free.min(needs.cores_at_most)).filter(|&cores| cores > 0)?,
        };
        let share = Share {
            cores,
            memory: needs.memory,
        };
        let Some(memory) = self.memory else {
            return Some(share);
        };
        let used = taken
            .iter()
            .fold(0u64, |used, share| used.saturating_add(share.memory));
        let fits = taken.is_empty() || (used <= memory && needs.memory <= memory - used);
        fits.then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needs() -> impl Strategy<Value = Needs> {
        let cores = prop_oneof![Just(Cores::All), (0usize..6).prop_map(Cores::Fixed)];
        (cores, 1usize..5, 0u64..12).prop_map(|(cores, cores_at_most, memory)| Needs {
            cores,
            cores_at_most,
            memory,
        })
    }

    proptest! {
        #[test]
        fn nothing_is_given_twice_and_every_step_gets_its_turn(
            steps in proptest::collection::vec(needs(), 1..12),
            cores in 1usize..5,
            memory in proptest::option::of(1u64..10),
        ) {
            let capacity = Capacity { cores, memory };
            let mut waiting = steps;
            let mut running: Vec<Share> = Vec::new();
            while !waiting.is_empty() {
                let mut left = Vec::new();
                for needs in waiting {
                    match capacity.share(needs, &running) {
                        Some(share) => running.push(share),
                        None => left.push(needs),
                    }
                }
                waiting = left;
                prop_assert!(!running.is_empty(), "a step that fits nowhere runs alone");
                let used: usize = running.iter().map(|share| share.cores).sum();
                let held: u64 = running.iter().map(|share| share.memory).sum();
                prop_assert!(running.len() == 1 || used <= cores);
                prop_assert!(running.len() == 1 || memory.is_none_or(|memory| held <= memory));
                running.remove(0);
            }
        }
    }
}

//! Random streams: one per person and one per clip, so that nothing depends on the order of work.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use fedact_synthesize_params::{Action, Set};

/// A stream of draws for one person or one clip.
#[derive(Debug, Clone)]
pub(crate) struct Draws(ChaCha8Rng);

impl Draws {
    /// The stream of a person: the same in every clip of theirs.
    pub(crate) fn of_subject(seed: u64, set: Set, subject: u32) -> Self {
        Self::keyed(seed, set, None, subject, 0)
    }

    /// The stream of a clip.
    pub(crate) fn of_clip(seed: u64, set: Set, action: Action, subject: u32, clip: u32) -> Self {
        Self::keyed(seed, set, Some(action), subject, clip)
    }

    /// The key is what identifies the stream, written out; nothing is hashed, so nothing collides.
    fn keyed(seed: u64, set: Set, action: Option<Action>, subject: u32, clip: u32) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = match set {
            Set::Large => 1,
            Set::Small => 2,
        };
        // A number that stays the same when actions are added: their names are at most 13 letters.
        let name = action.map_or("", Action::name).as_bytes();
        key[9..9 + name.len()].copy_from_slice(name);
        key[24..28].copy_from_slice(&subject.to_le_bytes());
        key[28..].copy_from_slice(&clip.to_le_bytes());
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Evenly between the two.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f32 {
        (low + (high - low) * self.0.random::<f64>()) as f32
    }

    /// Around 0, at most `reach` away, with small values likelier than large ones.
    pub(crate) fn around(&mut self, reach: f64) -> f32 {
        (reach * (self.0.random::<f64>() - self.0.random::<f64>())) as f32
    }

    /// True in this share of draws.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.0.random::<f64>() < share
    }

    /// One of a list.
    pub(crate) fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.0.random_range(0..choices.len())]
    }

    /// A whole number below `limit`.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        self.0.random_range(0..limit)
    }

    /// A value of the normal distribution, near enough: the sum of twelve even draws.
    pub(crate) fn bell(&mut self) -> f32 {
        (0..12).map(|_| self.0.random::<f32>()).sum::<f32>() - 6.0
    }

    /// A number to seed textures with.
    pub(crate) fn number(&mut self) -> u32 {
        self.0.random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_key_changes_the_stream() {
        let first = |mut draws: Draws| draws.number();
        let base = || Draws::of_clip(1, Set::Large, Action::Walk, 1, 1);
        assert_eq!(first(base()), first(base()));
        for other in [
            Draws::of_clip(2, Set::Large, Action::Walk, 1, 1),
            Draws::of_clip(1, Set::Small, Action::Walk, 1, 1),
            Draws::of_clip(1, Set::Large, Action::Run, 1, 1),
            Draws::of_clip(1, Set::Large, Action::Walk, 2, 1),
            Draws::of_clip(1, Set::Large, Action::Walk, 1, 2),
            Draws::of_subject(1, Set::Large, 1),
        ] {
            assert_ne!(first(base()), first(other));
        }
    }

    #[test]
    fn every_action_name_fits_into_the_key() {
        assert!(Action::ALL.iter().all(|action| action.name().len() <= 15));
    }
}

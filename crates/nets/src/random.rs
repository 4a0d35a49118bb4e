//! Random numbers by purpose: a stream depends on its seed and its keys, never on what ran before.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for; no two purposes share a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Initialisation = 1,
    Order = 2,
    Augmentation = 3,
    Mixture = 4,
    Validation = 5,
    Rounding = 6,
    Tuning = 7,
}

/// The stream for a purpose, a seed and two keys.
pub(crate) fn stream(purpose: Purpose, seed: u64, first: u64, second: u64) -> ChaCha8Rng {
    let mut bytes = [0; 32];
    let words = [purpose as u64, seed, first, second];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(bytes)
}

/// A key for a name: FNV-1a, 64 bits.
pub(crate) fn key(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// `count` draws from the normal distribution of mean 0 (Box and Muller 1958).
pub(crate) fn normal(random: &mut impl Rng, count: usize, deviation: f64) -> Vec<f32> {
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt() * deviation;
        let (sine, cosine) = (std::f64::consts::TAU * random.random::<f64>()).sin_cos();
        values.push((radius * cosine) as f32);
        values.push((radius * sine) as f32);
    }
    values.truncate(count);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_draws_have_the_right_moments() {
        let values = normal(&mut stream(Purpose::Order, 1, 2, 3), 100_001, 2.0);
        assert_eq!(values.len(), 100_001);
        let count = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / count;
        let variance = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((variance - 4.0).abs() < 0.08, "{variance}");
    }

    #[test]
    fn streams_differ_in_every_key() {
        let draw = |purpose, seed, a, b| stream(purpose, seed, a, b).random::<u64>();
        let base = draw(Purpose::Order, 1, 2, 3);
        assert_eq!(base, draw(Purpose::Order, 1, 2, 3));
        for other in [
            draw(Purpose::Augmentation, 1, 2, 3),
            draw(Purpose::Order, 0, 2, 3),
            draw(Purpose::Order, 1, 0, 3),
            draw(Purpose::Order, 1, 2, 0),
        ] {
            assert_ne!(base, other);
        }
        assert_ne!(key("Bend/a"), key("Bend/b"));
    }
}

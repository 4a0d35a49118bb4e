//! Mixup: clips shown through one another (Zhang et al. 2018, arXiv 1710.09412).

use rand::seq::SliceRandom;
use rand_distr::{Beta, Distribution};
use tch::Tensor;

use crate::NetsError;
use crate::data::{Batch, Mixed};
use crate::random::{Purpose, stream};

/// Mixes each clip of a batch with one of the same batch, all with one share drawn from Beta(α, α). What is
/// mixed depends on the seed, the epoch and the batch's number alone. Without `alpha` the batch stays as it is.
///
/// The clip that has the larger share counts as the one that is shown, so that `labels` are those of most
/// of what is seen; Beta(α, α) is symmetric, and all pairs are as likely either way.
pub(super) fn mix(
    batch: Batch,
    alpha: f64,
    seed: u64,
    epoch: u32,
    number: usize,
) -> Result<Batch, NetsError> {
    if alpha == 0.0 {
        return Ok(batch);
    }
    let mut random = stream(Purpose::Mixture, seed, epoch.into(), number as u64);
    let beta = Beta::new(alpha, alpha)
        .map_err(|error| NetsError::Data(format!("`mixup` of {alpha} cannot be used: {error}")))?;
    let drawn: f64 = beta.sample(&mut random);
    let share = drawn.min(1.0 - drawn);
    let mut order: Vec<i64> = (0..batch.indices.len() as i64).collect();
    order.shuffle(&mut random);
    let order = Tensor::from_slice(&order).to_device(batch.clips.device());
    let others = batch.clips.index_select(0, &order);
    Ok(Batch {
        clips: &batch.clips * (1.0 - share) + others * share,
        mixed: Some(Mixed {
            labels: batch.labels.index_select(0, &order),
            share,
        }),
        ..batch
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tch::{Device, Kind};

    use super::*;

    fn batch() -> Batch {
        let values = Tensor::arange(4, (Kind::Float, Device::Cpu)) * 10.0;
        Batch {
            clips: values
                .reshape([4, 1, 1, 1, 1])
                .expand([4, 3, 2, 2, 2], false),
            labels: Tensor::from_slice(&[0i64, 1, 2, 3]),
            indices: vec![5, 6, 7, 8],
            epoch: 1,
            class_weights: None,
            mixed: None,
            waited: Duration::ZERO,
        }
    }

    #[test]
    fn every_clip_has_the_share_of_its_partner_that_its_second_label_says() {
        for number in 0..20 {
            let mixed = mix(batch(), 0.4, 1, 2, number).unwrap();
            let Mixed { labels, share } = mixed.mixed.as_ref().unwrap();
            assert!((0.0..=0.5).contains(share));
            for row in 0..4 {
                let (own, other) = (row as f64, labels.int64_value(&[row]) as f64);
                let expected = 10.0 * (own * (1.0 - share) + other * share);
                let found = mixed.clips.double_value(&[row, 2, 1, 0, 1]);
                assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
            }
            assert!(mixed.labels.equal(&batch().labels));
            assert_eq!(mixed.clips.size(), [4, 3, 2, 2, 2]);
        }
    }

    #[test]
    fn what_is_mixed_depends_on_seed_epoch_and_batch_and_is_nothing_without_alpha() {
        let clips =
            |alpha, seed, epoch, number| mix(batch(), alpha, seed, epoch, number).unwrap().clips;
        let first = clips(1.0, 1, 2, 3);
        assert!(first.equal(&clips(1.0, 1, 2, 3)));
        for other in [
            clips(1.0, 2, 2, 3),
            clips(1.0, 1, 3, 3),
            clips(1.0, 1, 2, 4),
        ] {
            assert!(!first.equal(&other));
        }
        let plain = mix(batch(), 0.0, 1, 2, 3).unwrap();
        assert!(plain.mixed.is_none() && plain.clips.equal(&batch().clips));
    }

    #[test]
    fn shares_are_spread_as_alpha_says() {
        let mean = |alpha: f64| {
            let share = |number| {
                mix(batch(), alpha, 1, 1, number)
                    .unwrap()
                    .mixed
                    .unwrap()
                    .share
            };
            (0..400).map(share).sum::<f64>() / 400.0
        };
        // Beta(1, 1) is uniform: its smaller half has the mean 1/4. A small alpha mixes little, a large one half and half.
        assert!((mean(1.0) - 0.25).abs() < 0.03);
        assert!(mean(0.1) < 0.12);
        assert!(mean(50.0) > 0.42);
    }
}

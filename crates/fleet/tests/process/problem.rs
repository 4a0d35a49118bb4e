//! A convex problem that needs no tensor library: every device has a point, and wants the model to be there.
//!
//! `f_k(x) = ‖x - c_k‖² / 2`; the mean of all `f_k` is least at the mean of all points.

use std::time::Duration;

use fedact_federation::aggregator::Config;
use fedact_federation::layout::Layout;
use fedact_federation::strategy::{AlphaDecay, FedAsync, Mixing, Strategy};
use fedact_fleet::client::{Trainer, TrainerError, Work};

/// Clips of a task, as far as anybody counts them.
pub const SAMPLES: u64 = 3;

/// The rules of a run that ends after so many tasks.
pub fn rules(devices: usize, numbers: usize, tasks: u64) -> Config {
    let strategy = Strategy::FedAsync(FedAsync {
        alpha: 0.6,
        alpha_decay: AlphaDecay::default(),
        mixing: Mixing::default(),
        max_staleness: None,
    });
    let (samples, layout) = (vec![SAMPLES; devices], Layout::vector(numbers));
    Config {
        max_refusals_in_a_row: 1000,
        seed: 5,
        ..Config::unbounded(strategy, samples, layout, tasks * SAMPLES)
    }
}

/// Where a device wants the model to be; follows from its name.
pub fn point(device: &str, numbers: usize) -> Vec<f32> {
    let mut state = device.bytes().fold(0x9e37_79b9_u32, |state, byte| {
        (state ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 - 0.5
    };
    (0..numbers).map(|_| next()).collect()
}

/// A device of the problem.
pub struct Point {
    /// Where it wants the model to be.
    pub point: Vec<f32>,
    /// How long a task takes it beside the arithmetic.
    pub pause: Duration,
}

impl Trainer for Point {
    fn train(&mut self, work: &Work<'_>) -> Result<Vec<f32>, TrainerError> {
        std::thread::sleep(self.pause);
        let mut parameters = work.base.to_vec();
        for _ in 0..work.samples {
            for (number, wanted) in parameters.iter_mut().zip(&self.point) {
                *number -= 0.2 * (*number - wanted);
            }
        }
        Ok(parameters)
    }
}

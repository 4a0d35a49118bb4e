//! How fast this machine runs a network.

use std::time::{Duration, Instant};

use fedact_code::{Pace, ReferencePace};
use fedact_nets::train::{Optimizer, OptimizerSettings, Trainable};
use fedact_nets::{
    Architecture, Classifier, FloatModel, InputGeometry, ModelInfo, NetsError, keep_memory, loss,
    set_threads,
};
use tch::{Device, Kind, Tensor};

/// Untimed runs before the timed ones: memory is laid out and kernels are chosen in them.
const WARM_UP: usize = 2;
/// At least so many runs are timed, and so many more as fit into `ENOUGH`.
const FEWEST: usize = 3;
const MOST: usize = 50;
const ENOUGH: Duration = Duration::from_millis(500);

/// Clips of a step of training the reference model.
const BATCH: i64 = 8;
/// Steps of it that are timed.
const STEPS: usize = 30;
const CLASSES: i64 = 12;

/// The pace of a network like the one that a `model.json` describes, with fresh weights, in float32 and one clip at
/// a time: how long a clip takes depends on the layers and not on what they have learned.
///
/// # Errors
/// Why the text describes no model.
pub fn pace(description: &str) -> Result<Pace, String> {
    let info: ModelInfo = serde_json::from_str(description).map_err(|error| error.to_string())?;
    measured(info).map_err(|error| error.to_string())
}

/// How fast this machine trains and runs the reference model of the device profiles: R3D of 18 layers and 16 channels, on
/// clips of 8 frames of 56 pixels, 12 classes, in float32.
///
/// # Errors
/// libtorch's.
pub fn reference() -> Result<ReferencePace, String> {
    referred().map_err(|error| error.to_string())
}

fn referred() -> Result<ReferencePace, NetsError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    set_threads(threads);
    keep_memory();
    let input = InputGeometry {
        frames: 8,
        height: 56,
        width: 56,
    };
    let classes = (0..CLASSES).map(|class| class.to_string()).collect();
    let info = ModelInfo::new(Architecture::r3d(18, 16), classes, input);
    let model = FloatModel::new(info, 0, Device::Cpu)?;
    let settings = OptimizerSettings::default();
    let mut optimizer = Optimizer::with_leaves(model.var_store(), model.leaves(), settings, 0.0);
    let shape = input.batch_shape(BATCH as usize);
    let clips = Tensor::ones(shape, (Kind::Float, Device::Cpu));
    let labels = Tensor::arange(BATCH, (Kind::Int64, Device::Cpu));
    let mut training = Vec::new();
    for step in 0..WARM_UP + STEPS {
        let started = Instant::now();
        let loss = loss::cross_entropy(&model.train_outputs(&clips).logits, &labels, 0.0);
        optimizer.backward(&loss)?;
        optimizer.step(1e-4);
        if step >= WARM_UP {
            training.push(started.elapsed().as_secs_f64());
        }
    }
    let mut inference = Vec::new();
    for run in 0..WARM_UP + STEPS {
        let started = Instant::now();
        let _ = model.classify(&clips);
        if run >= WARM_UP {
            inference.push(started.elapsed().as_secs_f64());
        }
    }
    Ok(ReferencePace {
        jitter: spread(&training),
        training_clips_per_second: BATCH as f64 / median(&mut training),
        inference_clips_per_second: BATCH as f64 / median(&mut inference),
        threads,
    })
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The standard deviation of the logarithms.
fn spread(times: &[f64]) -> f64 {
    let logarithms: Vec<f64> = times.iter().map(|time| time.ln()).collect();
    let count = logarithms.len() as f64;
    let mean = logarithms.iter().sum::<f64>() / count;
    let squares = logarithms.iter().map(|one| (one - mean).powi(2));
    (squares.sum::<f64>() / (count - 1.0)).sqrt()
}

fn measured(info: ModelInfo) -> Result<Pace, NetsError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    set_threads(threads);
    let clip = Tensor::ones(info.input.batch_shape(1), (Kind::Float, Device::Cpu));
    let info = ModelInfo {
        quantization: None,
        ..info
    };
    let model = FloatModel::new(info, 0, Device::Cpu)?;
    let run = || {
        let started = Instant::now();
        let _ = model.classify(&clip);
        started.elapsed()
    };
    for _ in 0..WARM_UP {
        run();
    }
    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < FEWEST || (times.len() < MOST && started.elapsed() < ENOUGH) {
        times.push(run());
    }
    times.sort_unstable();
    Ok(Pace {
        milliseconds: 1e3 * times[times.len() / 2].as_secs_f64(),
        threads,
        runs: times.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_is_that_of_the_logarithms() {
        // ln: 0, 1, 2, whose deviation is 1.
        let e = std::f64::consts::E;
        assert!((spread(&[1.0, e, e * e]) - 1.0).abs() < 1e-12);
        assert_eq!(spread(&[0.5, 0.5, 0.5]), 0.0);
    }

    #[test]
    fn a_network_has_a_pace_and_what_is_none_is_said_to_be_none() {
        let text = r#"{"format_version": 1, "architecture": {"depth": 10, "width": 4}, "classes": ["a", "b"],
            "input": {"frames": 4, "height": 16, "width": 16}, "mean": [0, 0, 0], "std": [1, 1, 1]}"#;
        let measured = pace(text).unwrap();
        assert!(
            measured.milliseconds > 0.0 && measured.runs >= FEWEST,
            "{measured:?}"
        );
        let text = text.replace("10", "11");
        assert!(pace(&text).unwrap_err().contains("`depth` is 11"));
    }
}

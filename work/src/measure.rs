//! How fast this machine runs a network.

use std::time::{Duration, Instant};

use fedact_code::Pace;
use fedact_nets::{Classifier, FloatModel, ModelInfo, NetsError, set_threads};
use tch::{Device, Kind, Tensor};

/// Untimed runs before the timed ones: memory is laid out and kernels are chosen in them.
const WARM_UP: usize = 2;
/// At least so many runs are timed, and so many more as fit into `ENOUGH`.
const FEWEST: usize = 3;
const MOST: usize = 50;
const ENOUGH: Duration = Duration::from_millis(500);

/// The pace of a network like the one that a `model.json` describes, with fresh weights, in float32 and one clip at
/// a time: how long a clip takes depends on the layers and not on what they have learned.
///
/// # Errors
/// Why the text describes no model.
pub fn pace(description: &str) -> Result<Pace, String> {
    let info: ModelInfo = serde_json::from_str(description).map_err(|error| error.to_string())?;
    measured(info).map_err(|error| error.to_string())
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

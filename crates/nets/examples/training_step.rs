//! Clips a second that a network trains on: `training_step DEPTH WIDTH FRAMES SIDE BATCH THREADS STEPS`, or any
//! network with its settings in the place of depth and width: `training_step '{"arch": "x3d"}' FRAMES ...`.

use std::time::Instant;

use fedact_nets::train::{Optimizer, OptimizerSettings};
use fedact_nets::{Architecture, FloatModel, InputGeometry, ModelInfo, loss, set_threads};
use tch::{Device, Kind, Tensor};

#[allow(clippy::print_stdout)] // Printing is what it is for.
fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let settings = words.first().filter(|word| word.starts_with('{')).cloned();
    let settings = settings.inspect(|_| drop(words.remove(0)));
    let numbers: Vec<usize> = words
        .iter()
        .map(|text| text.parse().expect("a whole number"))
        .collect();
    let (architecture, rest) = match (settings, &numbers[..]) {
        (Some(text), rest) => (serde_json::from_str(&text).expect("settings"), rest),
        (None, [depth, width, rest @ ..]) => {
            (Architecture::r3d(*depth as u32, *width as u32), rest)
        }
        _ => panic!("training_step DEPTH WIDTH FRAMES SIDE BATCH THREADS STEPS"),
    };
    let &[frames, side, batch, threads, steps] = rest else {
        panic!("training_step SETTINGS FRAMES SIDE BATCH THREADS STEPS");
    };
    set_threads(threads);
    let input = InputGeometry {
        frames,
        height: side,
        width: side,
    };
    let classes = (0..12).map(|class| format!("class {class}")).collect();
    let info = ModelInfo::new(architecture, classes, input);
    let model = FloatModel::new(info, 0, Device::Cpu).expect("a network");
    let mut optimizer = Optimizer::new(model.var_store(), OptimizerSettings::default(), 5e-4);
    let cpu = |kind| (kind, Device::Cpu);
    let clips = Tensor::randn(input.batch_shape(batch), cpu(Kind::Float));
    let labels = Tensor::randint(12, [batch as i64], cpu(Kind::Int64));
    let mut parts = [0.0; 3];
    let mut seconds = Vec::new();
    for step in 0..steps + 2 {
        let started = Instant::now();
        optimizer.zero_gradients();
        let value = loss::cross_entropy(&model.logits(&clips, true), &labels, 0.1);
        let forward = started.elapsed().as_secs_f64();
        value.backward();
        let backward = started.elapsed().as_secs_f64();
        optimizer.clip_gradients(5.0).expect("a norm");
        optimizer.step(0.01);
        let whole = started.elapsed().as_secs_f64();
        if step >= 2 {
            seconds.push(whole);
            parts[0] += forward;
            parts[1] += backward - forward;
            parts[2] += whole - backward;
        }
    }
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    let [forward, backward, update] = parts.map(|part| 1e3 * part / seconds.len() as f64);
    println!(
        "{architecture}, {input}, batch {batch}, {threads} threads: median {:.1} ms, least {:.1} ms, \
         {:.1} clips/s; mean ms: forward {forward:.1}, backward {backward:.1}, update {update:.1}",
        1e3 * median,
        1e3 * seconds[0],
        batch as f64 / median,
    );
}

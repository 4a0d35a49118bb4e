//! A report made by hand that looks like a real one: eight clients on four kinds of device, three ways of
//! fine-tuning, six models. For tests of the page and for looking at it.

// Where the specimen cannot be made, stopping at once is right.
#![allow(clippy::unwrap_used)]

use fedact_evaluate::report::{
    Accuracy, AsFloat, Client, ClipSetSummary, Ending, Epoch, Evaluation, Executed, FederatedRun,
    ModelKind, ModelResult, Report, Strategy, Strip, Task, Tests, Timing, Update,
};

/// Device profiles: name, clips a second, bytes a second each way.
const DEVICES: [(&str, f64, f64); 4] = [
    ("jetson-xavier-nx", 24.0, 2.5e6),
    ("jetson-nano", 9.0, 1.25e6),
    ("raspberry-pi-5", 6.0, 2.5e6),
    ("raspberry-pi-4", 2.6, 0.6e6),
];
const MODEL_BYTES: u64 = 268_000;

/// A small generator, so that the specimen is the same everywhere.
struct Noise(u64);

impl Noise {
    /// Uniform in -1..1.
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 30) as f64 - 1.0
    }
}

fn clients() -> Vec<Client> {
    (0..8)
        .map(|index| {
            let (device, speed, _) = DEVICES[index % 4];
            Client {
                id: format!("g{:02}", index + 1),
                device: device.into(),
                clips: 22 + 3 * (index as u64 % 3),
                clips_per_second: speed,
            }
        })
        .collect()
}

fn task(client: &Client, start: f64, noise: &mut Noise) -> Task {
    let (_, speed, bandwidth) = DEVICES
        .into_iter()
        .find(|device| device.0 == client.device)
        .unwrap();
    let transfer = MODEL_BYTES as f64 / bandwidth * 8.0;
    let training = 2.0 * client.clips as f64 / speed * (1.0 + 0.08 * noise.next());
    Task {
        client: client.id.clone(),
        start,
        download_end: start + transfer,
        training_end: start + transfer + training,
        upload_end: start + 2.0 * transfer + training,
        bytes_up: MODEL_BYTES / 4,
        joules: 1.5 * transfer + 6.0 * training,
    }
}

/// Accuracy after so many client-epochs.
fn learned(epochs: f64, noise: &mut Noise) -> f64 {
    let clean = 0.17 + 0.66 * (1.0 - (-epochs / 34.0).exp());
    ((clean + 0.022 * noise.next()) * 96.0).round() / 96.0
}

fn run(step: &str, strategy: Strategy, mixing: Option<&str>, clients: Vec<Client>) -> FederatedRun {
    FederatedRun {
        step: step.into(),
        strategy,
        strategy_name: match strategy {
            Strategy::Async => "fedasync",
            Strategy::Sync => "fedavg",
            _ => "central",
        }
        .into(),
        mixing: mixing.map(Into::into),
        server: None,
        seed: 1,
        model_bytes: MODEL_BYTES,
        codec: Some("int8, zstd 1".into()),
        clients,
        tasks: vec![],
        updates: vec![],
        evaluations: vec![],
        real: false,
        joules: 0.0,
        bound: Vec::new(),
        ending: Ending {
            reason: "budget-spent".into(),
            time: 0.0,
            version: 0,
            samples: 0,
            client_epochs: 0.0,
            bytes_up: 0,
            bytes_down: 0,
            top1: 0.0,
        },
    }
}

fn evaluate(run: &mut FederatedRun, time: f64, epochs: f64, messages: u64, noise: &mut Noise) {
    run.evaluations.push(Evaluation {
        time,
        client_epochs: epochs,
        bytes_up: messages * MODEL_BYTES / 4,
        bytes_down: messages * MODEL_BYTES,
        top1: learned(epochs, noise),
    });
}

fn finish(mut run: FederatedRun) -> FederatedRun {
    let last = *run.evaluations.last().unwrap();
    run.ending.time = last.time;
    run.ending.client_epochs = last.client_epochs;
    run.ending.bytes_up = last.bytes_up;
    run.ending.bytes_down = last.bytes_down;
    run.ending.samples = (last.client_epochs * 25.0) as u64;
    run.ending.top1 = last.top1;
    run.ending.version = run.updates.len() as u64;
    run.joules = run.tasks.iter().map(|task| task.joules).sum();
    run
}

/// An asynchronous run: each client starts anew as soon as its update has arrived.
pub fn asynchronous(step: &str, mixing: &str, seed: u64) -> FederatedRun {
    let mut noise = Noise(seed);
    let mut run = run(step, Strategy::Async, Some(mixing), clients());
    let mut pending: Vec<(Task, u64)> = clients()
        .iter()
        .map(|client| (task(client, 0.0, &mut noise), 0))
        .collect();
    evaluate(&mut run, 0.0, 0.0, 0, &mut noise);
    for version in 0..80u64 {
        let next = (0..pending.len())
            .min_by(|a, b| {
                pending[*a]
                    .0
                    .upload_end
                    .total_cmp(&pending[*b].0.upload_end)
            })
            .unwrap();
        let (done, base) = pending[next].clone();
        let staleness = version - base;
        run.updates.push(Update {
            time: done.upload_end,
            client: done.client.clone(),
            staleness,
            weight: 0.6 * ((staleness + 1) as f64).powf(-0.5),
            refused: (version == 40).then(|| "norm".into()),
        });
        let client = clients()
            .into_iter()
            .find(|client| client.id == done.client)
            .unwrap();
        pending[next] = (task(&client, done.upload_end, &mut noise), version + 1);
        run.tasks.push(done.clone());
        if version % 4 == 3 {
            evaluate(
                &mut run,
                done.upload_end,
                2.0 * (version + 1) as f64,
                version + 1,
                &mut noise,
            );
        }
    }
    finish(run)
}

/// A synchronous run: every round waits for its slowest client.
pub fn synchronous(step: &str) -> FederatedRun {
    let mut noise = Noise(7);
    let mut run = run(step, Strategy::Sync, None, clients());
    evaluate(&mut run, 0.0, 0.0, 0, &mut noise);
    let mut now = 0.0;
    for round in 1..=10u64 {
        let tasks: Vec<Task> = clients()
            .iter()
            .map(|client| task(client, now, &mut noise))
            .collect();
        now = tasks.iter().map(|task| task.upload_end).fold(0.0, f64::max);
        for task in tasks {
            run.updates.push(Update {
                time: now,
                client: task.client.clone(),
                staleness: 0,
                weight: 0.125,
                refused: None,
            });
            run.tasks.push(task);
        }
        evaluate(&mut run, now, 16.0 * round as f64, 8 * round, &mut noise);
    }
    finish(run)
}

/// Training at the centre.
pub fn central(step: &str) -> FederatedRun {
    let mut noise = Noise(9);
    let mut run = run(step, Strategy::Central, None, vec![]);
    for epoch in 0..=20u64 {
        evaluate(
            &mut run,
            11.0 * epoch as f64,
            8.0 * epoch as f64,
            0,
            &mut noise,
        );
    }
    finish(run)
}

fn accuracy(classes: usize, per_class: u32, top1: f64, seed: u64) -> (Accuracy, Vec<bool>) {
    let mut noise = Noise(seed);
    let mut confusion = vec![vec![0; classes]; classes];
    let mut correct = Vec::new();
    for (truth, row) in confusion.iter_mut().enumerate() {
        for _ in 0..per_class {
            let right = noise.next() < 2.0 * top1 - 1.0;
            let far = noise.next() > 0.4;
            let said = if right {
                truth
            } else if far {
                (truth + 3) % classes
            } else {
                truth ^ 1
            };
            row[said.min(classes - 1)] += 1;
            correct.push(said == truth);
        }
    }
    let share = correct.iter().filter(|right| **right).count() as f64 / correct.len() as f64;
    let accuracy = Accuracy {
        top1: share,
        top5: (share + 0.17).min(1.0),
        mean_class: share,
        loss: 0.8,
        ece: 0.06,
        confusion,
    };
    (accuracy, correct)
}

fn epochs(last: f64, seed: u64) -> Vec<Epoch> {
    let mut noise = Noise(seed);
    (1..=14)
        .map(|epoch| {
            let progress = 1.0 - (-f64::from(epoch) / 4.0).exp();
            Epoch {
                epoch: f64::from(epoch),
                train_loss: Some(2.5 * (1.0 - 0.85 * progress) + 0.03 * noise.next()),
                train_top1: Some(0.9 * last * progress),
                test_top1: Some(0.08 + (last - 0.08) * progress + 0.015 * noise.next()),
            }
        })
        .collect()
}

fn strip(class: usize) -> Strip {
    let (frames, side) = (8u32, 56u32);
    let picture = image::RgbImage::from_fn(frames * side, side, |x, y| {
        let frame = f64::from(x / side) / f64::from(frames);
        let (dx, dy) = (f64::from(x % side) - 28.0, f64::from(y) - 30.0);
        let swing = (frame * 6.0 + class as f64).sin();
        let body = dx.abs() < 5.0 && dy.abs() < 18.0;
        let arm = (dy + 10.0 - dx * swing).abs() < 3.0 && dx.abs() < 18.0;
        let head = dx * dx + (dy + 22.0) * (dy + 22.0) < 36.0;
        if body || arm || head {
            image::Rgb([60 + 20 * (class as u8 % 8), 70, 140])
        } else {
            image::Rgb([190 - y as u8, 200 - y as u8, 185])
        }
    });
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, 80)
        .encode_image(&picture)
        .unwrap();
    Strip {
        class,
        clip: format!("v_Class{class}_g09_c01"),
        frames: frames as usize,
        size: (frames * side, side),
        jpeg,
    }
}

fn clip_set(name: &str, classes: &[&str], per_class: usize, test: usize) -> ClipSetSummary {
    ClipSetSummary {
        name: name.into(),
        classes: classes.iter().map(|class| (*class).to_owned()).collect(),
        train_clips: per_class * classes.len(),
        test_clips: test * classes.len(),
        tested: test * classes.len(),
        train_groups: 12,
        test_groups: 5,
        shared_groups: 0,
        majority: 1.0 / classes.len() as f64,
        majority_class: 0,
        frames: 8,
        size: (56, 56),
        strips: (0..classes.len()).map(strip).collect(),
    }
}

/// The whole specimen.
pub fn report() -> Report {
    let large = clip_set(
        "large-clips",
        &[
            "Walk",
            "Run",
            "Jump",
            "JumpingJack",
            "WaveOneHand",
            "WaveBothHands",
            "Bend",
            "Squat",
            "Kick",
            "Punch",
            "SitDown",
            "StandUp",
        ],
        32,
        12,
    );
    let small = clip_set(
        "small-clips",
        &["Clap", "Bow", "Throw", "Turn", "Crawl", "Stagger"],
        32,
        16,
    );
    let float = |step: &str,
                 width: u32,
                 depth: u32,
                 parameters: u64,
                 top1: f64,
                 teachers: &[&str],
                 seed: u64| {
        let (accuracy, correct) = accuracy(12, 12, top1, seed);
        ModelResult {
            step: step.into(),
            kind: ModelKind::Float,
            architecture: format!("R3D-{depth}, width {width}"),
            clip_set: 0,
            training: epochs(accuracy.top1, seed),
            accuracy,
            correct,
            parameters,
            bytes: 4 * parameters + 2_400,
            float_bytes: 4 * parameters + 2_400,
            ms_per_clip: parameters as f64 / 150_000.0,
            as_float: None,
            quantized_by: None,
            executed: None,
            teachers: Some(
                teachers
                    .iter()
                    .map(|teacher| (*teacher).to_owned())
                    .collect(),
            ),
        }
    };
    let quantized = |step: &str,
                     kind: ModelKind,
                     set: usize,
                     classes: usize,
                     per: u32,
                     top1: f64,
                     seed: u64| {
        let (accuracy, correct) = accuracy(classes, per, top1, seed);
        ModelResult {
            step: step.into(),
            kind,
            architecture: "R3D-10, width 12".into(),
            clip_set: set,
            training: vec![],
            as_float: Some(AsFloat {
                top1: accuracy.top1 + 0.007,
                ms_per_clip: 1.71,
            }),
            quantized_by: Some("mse, bias".into()),
            executed: Some(Executed {
                top1: accuracy.top1 - 0.002,
                ms_per_clip: 0.52,
            }),
            accuracy,
            correct,
            parameters: 262_000,
            bytes: MODEL_BYTES,
            float_bytes: 1_048_000,
            ms_per_clip: 2.9,
            teachers: None,
        }
    };
    let mut models = vec![
        float("teacher", 16, 26, 3_140_000, 0.93, &[], 1),
        float("assistant", 16, 18, 2_080_000, 0.91, &["teacher"], 2),
        float("student", 12, 10, 262_500, 0.86, &["assistant"], 3),
        float("scratch", 12, 10, 262_500, 0.76, &[], 4),
        quantized("quantized", ModelKind::Quantized, 0, 12, 12, 0.855, 5),
    ];
    for (step, top1, seed) in [
        ("async", 0.83, 6),
        ("hinge", 0.81, 10),
        ("sync", 0.82, 7),
        ("central", 0.84, 8),
    ] {
        models.push(quantized(step, ModelKind::Federated, 1, 6, 16, top1, seed));
    }
    Report {
        title: "Action recognition, fine-tuned by a fleet".into(),
        tests: Tests {
            views: 1,
            videos: false,
        },
        timing: Timing {
            batch_size: 8,
            repeats: 9,
            threads: 2,
        },
        clip_sets: vec![large, small],
        models,
        runs: vec![
            asynchronous("async", "polynomial", 3),
            asynchronous("hinge", "hinge", 5),
            synchronous("sync"),
            central("central"),
        ],
    }
}

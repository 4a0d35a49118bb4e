//! Clips of moving bars, a network of a few thousand parameters, and jobs on them.
#![allow(dead_code, clippy::unwrap_used)] // each test program uses a part; helpers are outside of test functions

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fedact_clips::{Clip, ClipSetWriter, Dataset, Split};
use fedact_federate::{DEFINITION, run};
use fedact_federation::history::{Record, read_complete};
use fedact_nets::quantize::{CalibrationSettings, QuantizedModel};
use fedact_nets::{Architecture, FloatModel, InputGeometry, ModelInfo};
use fedact_stage::{Event, Input, Job, Metrics, Reporter};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Frames of a clip.
pub const FRAMES: usize = 4;
/// Rows and columns of a frame.
pub const SIDE: usize = 16;
const SUBJECTS: usize = 6;

/// A bar that moves to the right, or to the left, or stands still: one frame cannot tell.
fn bar(label: usize, subject: usize, take: usize) -> Vec<u8> {
    let mut pixels = vec![(20 + 10 * subject) as u8; FRAMES * SIDE * SIDE * 3];
    for frame in 0..FRAMES {
        let place = match label {
            0 => 3 * frame,
            1 => 3 * (FRAMES - 1 - frame),
            _ => 3 * (take % FRAMES),
        };
        for row in 0..SIDE {
            for column in place..place + 4 {
                let at = ((frame * SIDE + row) * SIDE + column) * 3;
                pixels[at..at + 3].fill((200 + 5 * take) as u8);
            }
        }
    }
    pixels
}

fn write_clips(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let classes = ["right", "left", "still"].map(str::to_owned).to_vec();
    let mut dataset = Dataset::new(classes, FRAMES, SIDE, SIDE);
    dataset.sampling = json!({"frames": FRAMES, "size": SIDE, "resize": SIDE, "ffmpeg": "8.0"});
    let mut writer = ClipSetWriter::create(folder, dataset).unwrap();
    let mut clips = Vec::new();
    for subject in 0..SUBJECTS {
        for label in 0..3 {
            for take in 0..4 {
                clips.push((subject, label, take));
            }
        }
    }
    for (subject, label, take) in clips {
        let name = format!("g{subject:02}_c{label}{take}");
        let clip = Clip {
            id: name.clone(),
            video: name,
            video_digest: "0".repeat(64),
            label,
            group: format!("g{subject:02}"),
            split: if subject < 4 {
                Split::Train
            } else {
                Split::Test
            },
            start_seconds: 0.0,
            end_seconds: 1.0,
            shard: 0,
            row: 0,
        };
        writer.push(clip, &bar(label, subject, take)).unwrap();
    }
    writer.finish().unwrap();
}

fn write_model(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let architecture = Architecture::r3d(10, 4);
    let input = InputGeometry {
        frames: FRAMES,
        height: SIDE,
        width: SIDE,
    };
    let classes = ["walk", "run"].map(str::to_owned).to_vec();
    let float =
        FloatModel::new(ModelInfo::new(architecture, classes, input), 1, Device::Cpu).unwrap();
    let count = 8 * 3 * FRAMES * SIDE * SIDE;
    let noise: Vec<f32> = (0..count)
        .map(|index| ((index * 7919) % 1000) as f32 / 250.0 - 2.0)
        .collect();
    let batch = Tensor::from_slice(&noise)
        .reshape([8, 3, FRAMES as i64, SIDE as i64, SIDE as i64])
        .to_kind(Kind::Float);
    let model =
        QuantizedModel::from_float(&float, [batch], &CalibrationSettings::default()).unwrap();
    model.save(folder).unwrap();
}

/// A clip set and a model, made once for all tests.
pub fn inputs() -> &'static (PathBuf, PathBuf) {
    static INPUTS: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    INPUTS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let (model, clips) = (folder.join("quantized"), folder.join("small-clips"));
        write_model(&model);
        write_clips(&clips);
        (model, clips)
    })
}

/// A job with these params and fresh folders.
pub fn job(folder: &Path, params: Value) -> Job {
    let (model, clips) = inputs();
    let input = |path: &PathBuf| {
        vec![Input {
            name: path.file_name().unwrap().to_str().unwrap().to_owned(),
            path: path.clone(),
        }]
    };
    let job = Job {
        stage: "federate".into(),
        step: "async".into(),
        params: (DEFINITION.resolve)(&params).unwrap(),
        inputs: BTreeMap::from([
            ("model".to_owned(), input(model)),
            ("clips".to_owned(), input(clips)),
        ]),
        output: folder.join("output"),
        checkpoints: folder.join("checkpoints"),
        pieces: None,
        threads: 1,
        fleet: None,
    };
    for folder in [&job.output, &job.checkpoints] {
        let _ = std::fs::remove_dir_all(folder);
    }
    std::fs::create_dir_all(&job.output).unwrap();
    std::fs::create_dir_all(&job.checkpoints).unwrap();
    job
}

/// Params of a small run.
pub fn params(strategy: &str) -> Value {
    json!({
        "strategy": strategy,
        "clients": 4,
        "local_epochs": 1,
        "batch_size": 6,
        "learning_rate": 0.05,
        "budget": {"client_epochs": 24},
        "evaluate_every": 8,
        "checkpoint_every": 2,
        "augmentation": {"scale": [1.0, 1.0], "aspect": 1.0, "shift": 0},
        "threads": 1,
        "seed": 3,
    })
}

/// Runs it, and gives its metrics and history.
pub fn finished(job: &Job) -> (Metrics, Vec<Record>) {
    let metrics = run(job, &Reporter::silent()).unwrap();
    let history = read_complete(&job.output.join("history.jsonl")).unwrap();
    (metrics, history)
}

/// The final model's file.
pub fn weights(job: &Job) -> Vec<u8> {
    std::fs::read(job.output.join("model.safetensors")).unwrap()
}

/// Kills a run with these params half-way, lets it go on, and compares it with one that was left alone.
pub fn survives_a_kill(mut params: Value) {
    let folder = tempfile::tempdir().unwrap();
    let strategy = params["strategy"].as_str().unwrap().to_owned();
    params["budget"] = json!({"client_epochs": 16});
    let whole = job(&folder.path().join("whole"), params.clone());
    let (_, expected) = finished(&whole);

    let killed = job(&folder.path().join("killed"), params);
    let reporter = Reporter::to_function(|event| {
        if let Event::Progress { done, .. } = event {
            assert!(*done < 12, "killed by the test");
        }
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| run(&killed, &reporter)));
    assert!(outcome.is_err(), "it was to be killed half-way");
    assert!(
        killed.checkpoints.join("federate.checkpoint").exists(),
        "{strategy}: no checkpoint was written before"
    );
    // What a kill in the middle of a line leaves behind.
    let history = killed.checkpoints.join("history.jsonl");
    let mut text = std::fs::read(&history).unwrap();
    text.extend(b"{\"event\":\"upd");
    std::fs::write(&history, text).unwrap();

    run(&killed, &Reporter::silent()).unwrap();
    assert_eq!(weights(&killed), weights(&whole), "{strategy}");
    let records = read_complete(&killed.output.join("history.jsonl")).unwrap();
    assert_eq!(records, expected, "{strategy}");
}

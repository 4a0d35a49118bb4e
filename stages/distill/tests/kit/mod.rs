//! Clips, and a run of the stage in a folder of its own.

#![allow(dead_code)] // Not every test needs all of it.

use std::collections::BTreeMap;
use std::path::Path;

use fedact_clips::{Clip, ClipSetWriter, Dataset, Split};
use fedact_distill::{DEFINITION, run};
use fedact_stage::{Input, Job, Metrics, Reporter, StageError};
use serde_json::{Value, json};

const FRAMES: usize = 4;
const SIDE: usize = 12;

/// Clips whose brightness rises, falls or stays; the pattern differs from clip to clip.
pub fn write_clips(folder: &Path, classes: &[&str], train: usize, test: usize) {
    write_named(folder, classes, train, test, |index| {
        format!("clip-{index:03}")
    });
}

/// The same with ids of one's own.
pub fn write_named(
    folder: &Path,
    classes: &[&str],
    train: usize,
    test: usize,
    id: impl Fn(usize) -> String,
) {
    let names = classes.iter().map(|name| (*name).to_owned()).collect();
    let dataset = Dataset::new(names, FRAMES, SIDE, SIDE);
    let mut writer = ClipSetWriter::create(folder, dataset).unwrap();
    for index in 0..train + test {
        let label = index % classes.len();
        let slope = [40, -40, 0][label % 3];
        let pixels = (0..FRAMES * SIDE * SIDE * 3).map(|at| {
            let frame = (at / (SIDE * SIDE * 3)) as i64;
            let noise = (at * 31 + index * 17) % 41;
            (90 + noise as i64 + slope * (frame - 2)).clamp(0, 255) as u8
        });
        let clip = Clip {
            id: id(index),
            video: format!("video-{index:03}.mp4"),
            video_digest: "00".repeat(32),
            label,
            group: format!("g{index}"),
            split: if index < train {
                Split::Train
            } else {
                Split::Test
            },
            start_seconds: 0.0,
            end_seconds: 0.3,
            shard: 0,
            row: 0,
        };
        writer.push(clip, &pixels.collect::<Vec<u8>>()).unwrap();
    }
    writer.finish().unwrap();
}

/// What they are called.
pub const CLASSES: [&str; 3] = ["rise", "fall", "stay"];

/// A run in a folder of its own.
pub struct Execution {
    folder: tempfile::TempDir,
    pub job: Job,
}

impl Execution {
    pub fn new(params: Value, clips: &Path, teachers: &[&Path]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let input = |path: &Path| Input {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            path: path.to_owned(),
        };
        let teachers: Vec<Input> = teachers.iter().map(|path| input(path)).collect();
        let job = Job {
            stage: "distill".to_owned(),
            step: "student".to_owned(),
            params: (DEFINITION.resolve)(&params).unwrap(),
            inputs: BTreeMap::from([
                ("clips".to_owned(), vec![input(clips)]),
                ("teacher".to_owned(), teachers),
            ]),
            output: folder.path().join("output"),
            checkpoints: folder.path().join("checkpoints"),
            pieces: None,
            threads: 2,
            fleet: None,
        };
        for path in [&job.output, &job.checkpoints] {
            std::fs::create_dir(path).unwrap();
        }
        Self { folder, job }
    }

    pub fn run(&self) -> Result<Metrics, StageError> {
        run(&self.job, &Reporter::silent())
    }

    pub fn output(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join("output").join(file)).unwrap()
    }
}

/// A short training of a small network.
pub fn params() -> Value {
    json!({
        "model": {"depth": 10, "width": 4}, "epochs": 6, "batch_size": 6, "learning_rate": 0.05,
        "warmup_epochs": 1, "seed": 5, "threads": 1, "label_smoothing": 0.0,
        "augmentation": {"brightness": 0.0, "contrast": 0.0, "shift": 0},
    })
}

/// The same but for something.
pub fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut params = params();
    change(&mut params);
    params
}

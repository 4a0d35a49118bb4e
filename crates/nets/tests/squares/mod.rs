//! Clips of moving squares, and networks for them.

#![allow(dead_code)] // Not every test needs all of it.

use std::path::Path;

use fedact_clips::{Clip, ClipSet, ClipSetWriter, Dataset, Split};
use fedact_nets::data::{Augmentation, Batch};
use fedact_nets::train::{
    EpochRecord, Observer, OptimizerSettings, Progress, Trainable, TrainingSettings, fit,
};
use fedact_nets::{
    Architecture, FloatModel, InputGeometry, ModelInfo, NetsError, Outputs, loss, set_threads,
    weights,
};
use tch::{Device, Tensor};

/// Frames of a clip.
pub const FRAMES: usize = 4;
/// Pixels of a side.
pub const SIDE: usize = 16;

/// Bright squares that move left, right, up or down: no single frame says which.
///
/// Tests run side by side, so each computes with one thread.
pub fn moving_squares(folder: &Path, train: usize, test: usize) -> ClipSet {
    let classes = ["left", "right", "up", "down"];
    clip_set(folder, classes, train, test, |index| {
        let label = index % 4;
        let step: [i64; 2] = [[-2, 0], [2, 0], [0, -2], [0, 2]][label];
        // A walk through all starting places and three sizes.
        let (start_x, start_y, size) = (index * 5 % 16, index * 11 % 16, 4 + index % 3);
        let mut pixels = vec![30u8; FRAMES * SIDE * SIDE * 3];
        for frame in 0..FRAMES {
            for (dy, dx) in (0..size * size).map(|i| (i / size, i % size)) {
                let wrap = |at: i64| at.rem_euclid(SIDE as i64) as usize;
                let x = wrap((start_x + dx) as i64 + step[0] * frame as i64);
                let y = wrap((start_y + dy) as i64 + step[1] * frame as i64);
                let pixel = ((frame * SIDE + y) * SIDE + x) * 3;
                pixels[pixel..pixel + 3].copy_from_slice(&[220, 200, 180]);
            }
        }
        pixels
    })
}

/// Clips of four classes in turns, with these pixels.
pub fn clip_set(
    folder: &Path,
    classes: [&str; 4],
    train: usize,
    test: usize,
    pixels: impl Fn(usize) -> Vec<u8>,
) -> ClipSet {
    set_threads(1);
    let dataset = Dataset::new(classes.map(str::to_owned).to_vec(), FRAMES, SIDE, SIDE);
    let mut writer = ClipSetWriter::create(folder, dataset).unwrap();
    for index in 0..train + test {
        let label = index % 4;
        let clip = Clip {
            id: format!("clip-{index:04}"),
            video: format!("video-{index:04}.mp4"),
            video_digest: "00".repeat(32),
            label,
            group: format!("g{index:02}"),
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
        writer.push(clip, &pixels(index)).unwrap();
    }
    writer.finish().unwrap();
    ClipSet::open(folder).unwrap()
}

/// An untrained network for these clips.
pub fn fresh(clips: &ClipSet, seed: u64) -> FloatModel {
    untrained(clips, Architecture::r3d(10, 4), seed)
}

/// The same of an architecture of one's own.
pub fn untrained(clips: &ClipSet, architecture: Architecture, seed: u64) -> FloatModel {
    let dataset = clips.dataset();
    let input = InputGeometry::from(dataset);
    let info = ModelInfo::new(architecture, dataset.classes.clone(), input);
    FloatModel::new(info, seed, Device::Cpu).unwrap()
}

/// A training that learns in a few epochs.
pub fn settings(epochs: u32) -> TrainingSettings {
    TrainingSettings {
        epochs,
        batch_size: 8,
        learning_rate: 0.05,
        warmup_epochs: 1.0,
        weight_decay: 1e-4,
        clip_gradient: 5.0,
        optimizer: OptimizerSettings::default(),
        augmentation: Augmentation {
            scale: [0.9, 1.0],
            shift: 0,
            ..Augmentation::default()
        },
        seed: 7,
        ..TrainingSettings::default()
    }
}

/// Trains with the labels alone.
pub fn train(
    network: &impl Trainable,
    clips: &ClipSet,
    settings: &TrainingSettings,
    checkpoints: Option<&Path>,
    observer: &mut impl Observer,
) -> Result<Vec<EpochRecord>, NetsError> {
    let indices = clips.indices(Split::Train);
    let objective = |batch: &Batch, outputs: &Outputs| loss::of_labels(&outputs.logits, batch, 0.0);
    fit(
        network,
        clips,
        &indices,
        settings,
        checkpoints,
        objective,
        observer,
    )
}

/// Whether two networks are, to the last bit.
pub fn equal(one: &FloatModel, other: &FloatModel) -> bool {
    let (one, other) = (weights::of(one.var_store()), weights::of(other.var_store()));
    let equal = |(name, tensor): (&String, &Tensor)| tensor.equal(&other[name]);
    one.len() == other.len() && one.iter().all(equal)
}

/// Asks for a stop after so many batches.
#[derive(Default)]
pub struct StopsAfter {
    pub batches: u32,
    pub seen: u32,
}

impl Observer for StopsAfter {
    fn batch(&mut self, _progress: Progress) {
        self.seen += 1;
    }

    fn stop_requested(&self) -> bool {
        self.seen == self.batches
    }
}

//! Training in bfloat16: it learns as well, it repeats itself, it survives being stopped.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

use std::path::Path;

use fedact_clips::{Clip, ClipSet, ClipSetWriter, Dataset, Split};
use fedact_nets::data::{Augmentation, Batch};
use fedact_nets::score::{Scores, predict};
use fedact_nets::train::{
    EpochRecord, Observer, OptimizerSettings, Progress, TrainingSettings, fit,
};
use fedact_nets::{
    Architecture, Classifier, FloatModel, InputGeometry, MixedModel, ModelInfo, NetsError, Outputs,
    Precision, loss, set_threads, weights,
};
use tch::{Device, Kind, Tensor};

const FRAMES: usize = 4;
const SIDE: usize = 16;

/// Bright bars that stand upright or lie, and get brighter or darker, in noise.
fn bars(folder: &Path, train: usize, test: usize) -> ClipSet {
    set_threads(1);
    let classes = ["up-bright", "up-dark", "flat-bright", "flat-dark"];
    let dataset = Dataset::new(classes.map(str::to_owned).to_vec(), FRAMES, SIDE, SIDE);
    let mut writer = ClipSetWriter::create(folder, dataset).unwrap();
    for index in 0..train + test {
        let label = index % 4;
        let place = index * 7 % SIDE;
        let pixels = (0..FRAMES * SIDE * SIDE * 3).map(|at| {
            let (frame, y, x) = (at / 3 / SIDE / SIDE, at / 3 / SIDE % SIDE, at / 3 % SIDE);
            let across = if label < 2 { x } else { y };
            let noise = (at * 31 + index * 17) % 61;
            let level = if label % 2 == 0 {
                frame
            } else {
                FRAMES - 1 - frame
            };
            let bar = usize::from((across + SIDE - place) % SIDE < 3) * (40 + 40 * level);
            (20 + noise + bar) as u8
        });
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
        writer.push(clip, &pixels.collect::<Vec<u8>>()).unwrap();
    }
    writer.finish().unwrap();
    ClipSet::open(folder).unwrap()
}

fn fresh(clips: &ClipSet, settings: serde_json::Value, seed: u64) -> FloatModel {
    let architecture: Architecture = serde_json::from_value(settings).unwrap();
    let dataset = clips.dataset();
    let input = InputGeometry::from(dataset);
    let info = ModelInfo::new(architecture, dataset.classes.clone(), input);
    FloatModel::new(info, seed, Device::Cpu).unwrap()
}

fn small(clips: &ClipSet, seed: u64) -> FloatModel {
    fresh(
        clips,
        serde_json::json!({"arch": "r3d", "depth": 10, "width": 4}),
        seed,
    )
}

fn settings(epochs: u32) -> TrainingSettings {
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

fn train(
    model: &FloatModel,
    precision: Precision,
    clips: &ClipSet,
    settings: &TrainingSettings,
    checkpoints: Option<&Path>,
    observer: &mut impl Observer,
) -> Result<Vec<EpochRecord>, NetsError> {
    let indices = clips.indices(Split::Train);
    let objective = |batch: &Batch, outputs: &Outputs| loss::of_labels(&outputs.logits, batch, 0.0);
    match precision {
        Precision::Float32 => fit(
            model,
            clips,
            &indices,
            settings,
            checkpoints,
            objective,
            observer,
        ),
        Precision::Bfloat16 => fit(
            &MixedModel::new(model)?,
            clips,
            &indices,
            settings,
            checkpoints,
            objective,
            observer,
        ),
    }
}

fn equal(one: &FloatModel, other: &FloatModel) -> bool {
    let (one, other) = (weights::of(one.var_store()), weights::of(other.var_store()));
    let equal = |(name, tensor): (&String, &Tensor)| tensor.equal(&other[name]);
    one.len() == other.len() && one.iter().all(equal)
}

#[test]
fn what_is_learned_is_as_good_and_is_kept_in_32_bits() {
    let folder = tempfile::tempdir().unwrap();
    let clips = bars(folder.path(), 64, 64);
    let test = clips.indices(Split::Test);
    let learned = |precision, seed| {
        let model = small(&clips, seed);
        train(&model, precision, &clips, &settings(8), None, &mut ()).unwrap();
        for (name, tensor) in weights::of(model.var_store()) {
            let counter = name.ends_with("num_batches_tracked");
            assert!(counter || tensor.kind() == Kind::Float, "{name}");
        }
        Scores::from(&predict(&model, &clips, &test, 16, |_| {}).unwrap()).top1
    };
    let mean = |precision| (0..3).map(|seed| learned(precision, seed)).sum::<f64>() / 3.0;
    let (full, half) = (mean(Precision::Float32), mean(Precision::Bfloat16));
    // Chance is 0.25.
    assert!(full > 0.8, "{full}");
    assert!(half > full - 0.05, "{half} instead of {full}");
}

#[test]
fn logits_of_every_family_are_those_of_32_bits_but_for_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let clips = bars(folder.path(), 4, 0);
    for arch in ["r3d", "mc3", "r2plus1d", "x3d", "tsm"] {
        let model = fresh(&clips, serde_json::json!({"arch": arch, "width": 8}), 3);
        let twin = MixedModel::new(&model).unwrap();
        let input = Tensor::randn([4, 3, 4, 32, 32], (Kind::Float, Device::Cpu));
        let (full, half) = (model.classify(&input), twin.classify(&input));
        assert_eq!(half.kind(), Kind::Float);
        let (full, half) = (full.flatten(0, -1), half.flatten(0, -1));
        let similarity = Tensor::cosine_similarity(&full, &half, 0, 1e-12).double_value(&[]);
        assert!(similarity > 0.99, "{arch}: {similarity}");
    }
}

/// Asks for a stop after so many batches.
#[derive(Default)]
struct StopsAfter {
    batches: u32,
    seen: u32,
}

impl Observer for StopsAfter {
    fn batch(&mut self, _progress: Progress) {
        self.seen += 1;
    }

    fn stop_requested(&self) -> bool {
        self.seen == self.batches
    }
}

#[test]
fn a_stopped_training_ends_with_the_bits_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let clips = bars(folder.path(), 16, 0);
    let (settings, precision) = (settings(2), Precision::Bfloat16);
    let whole = small(&clips, 3);
    train(&whole, precision, &clips, &settings, None, &mut ()).unwrap();
    let again = small(&clips, 3);
    train(&again, precision, &clips, &settings, None, &mut ()).unwrap();
    assert!(equal(&whole, &again));
    let full = small(&clips, 3);
    train(&full, Precision::Float32, &clips, &settings, None, &mut ()).unwrap();
    assert!(!equal(&whole, &full), "bfloat16 rounds nothing");
    for batches in 1..=3 {
        let checkpoints = tempfile::tempdir().unwrap();
        let at = Some(checkpoints.path());
        let mut stops = StopsAfter { batches, seen: 0 };
        let stopped = small(&clips, 3);
        let error = train(&stopped, precision, &clips, &settings, at, &mut stops).unwrap_err();
        assert!(matches!(error, NetsError::Stopped), "{error}");
        // Other initial weights: all that counts comes from the checkpoint.
        let resumed = small(&clips, 99);
        train(&resumed, precision, &clips, &settings, at, &mut ()).unwrap();
        assert!(equal(&whole, &resumed), "stopped after {batches} batches");
    }
}

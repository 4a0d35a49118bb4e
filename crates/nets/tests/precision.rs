//! Training in bfloat16: it learns as well, it repeats itself, it survives being stopped.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

mod squares;

use std::path::Path;

use fedact_clips::{ClipSet, Split};
use fedact_nets::score::{Scores, predict};
use fedact_nets::train::{EpochRecord, Observer, TrainingSettings};
use fedact_nets::{Classifier, FloatModel, MixedModel, NetsError, Precision, weights};
use tch::{Device, Kind, Tensor};

use squares::{FRAMES, SIDE, StopsAfter, clip_set, equal, fresh, settings, untrained};

/// Bright bars that stand upright or lie, and get brighter or darker, in noise.
fn bars(folder: &Path, train: usize, test: usize) -> ClipSet {
    let classes = ["up-bright", "up-dark", "flat-bright", "flat-dark"];
    clip_set(folder, classes, train, test, |index| {
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
        pixels.collect()
    })
}

fn train(
    model: &FloatModel,
    precision: Precision,
    clips: &ClipSet,
    settings: &TrainingSettings,
    checkpoints: Option<&Path>,
    observer: &mut impl Observer,
) -> Result<Vec<EpochRecord>, NetsError> {
    match precision {
        Precision::Float32 => squares::train(model, clips, settings, checkpoints, observer),
        Precision::Bfloat16 => {
            let twin = MixedModel::new(model)?;
            squares::train(&twin, clips, settings, checkpoints, observer)
        }
    }
}

#[test]
fn what_is_learned_is_as_good_and_is_kept_in_32_bits() {
    let folder = tempfile::tempdir().unwrap();
    let clips = bars(folder.path(), 64, 64);
    let test = clips.indices(Split::Test);
    let learned = |precision, seed| {
        let model = fresh(&clips, seed);
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
        let architecture = serde_json::json!({"arch": arch, "width": 8});
        let model = untrained(&clips, serde_json::from_value(architecture).unwrap(), 3);
        let twin = MixedModel::new(&model).unwrap();
        let input = Tensor::randn([4, 3, 4, 32, 32], (Kind::Float, Device::Cpu));
        let (full, half) = (model.classify(&input), twin.classify(&input));
        assert_eq!(half.kind(), Kind::Float);
        let (full, half) = (full.flatten(0, -1), half.flatten(0, -1));
        let similarity = Tensor::cosine_similarity(&full, &half, 0, 1e-12).double_value(&[]);
        assert!(similarity > 0.99, "{arch}: {similarity}");
    }
}

#[test]
fn a_stopped_training_ends_with_the_bits_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let clips = bars(folder.path(), 16, 0);
    let (settings, precision) = (settings(2), Precision::Bfloat16);
    let whole = fresh(&clips, 3);
    train(&whole, precision, &clips, &settings, None, &mut ()).unwrap();
    let again = fresh(&clips, 3);
    train(&again, precision, &clips, &settings, None, &mut ()).unwrap();
    assert!(equal(&whole, &again));
    let full = fresh(&clips, 3);
    train(&full, Precision::Float32, &clips, &settings, None, &mut ()).unwrap();
    assert!(!equal(&whole, &full), "bfloat16 rounds nothing");
    for batches in 1..=3 {
        let checkpoints = tempfile::tempdir().unwrap();
        let at = Some(checkpoints.path());
        let mut stops = StopsAfter { batches, seen: 0 };
        let stopped = fresh(&clips, 3);
        let error = train(&stopped, precision, &clips, &settings, at, &mut stops).unwrap_err();
        assert!(matches!(error, NetsError::Stopped), "{error}");
        // Other initial weights: all that counts comes from the checkpoint.
        let resumed = fresh(&clips, 99);
        train(&resumed, precision, &clips, &settings, at, &mut ()).unwrap();
        assert!(equal(&whole, &resumed), "stopped after {batches} batches");
    }
}

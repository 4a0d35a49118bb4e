//! What training can do beside the plain: mixtures, running means, balance, choosing an epoch.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

mod squares;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use fedact_clips::{ClipSet, Split};
use fedact_nets::data::{Augmentation, Batch, Loader, LoaderSettings, Remainder, hold_out};
use fedact_nets::score::{Scores, predict};
use fedact_nets::train::{
    Balance, EpochRecord, Keep, Observer, Progress, ScheduleSettings, Shape, TestRecord,
    TrainingSettings, fit, kept_epoch,
};
use fedact_nets::{FloatModel, NetsError, Outputs, loss, weights};
use tch::{Kind, Tensor};

use squares::{equal, fresh, moving_squares, settings, train};

/// Validates with some clips, and asks for a stop after so many batches.
struct Validates<'a> {
    model: &'a FloatModel,
    clips: &'a ClipSet,
    indices: &'a [usize],
    stop_after: Option<u32>,
    seen: u32,
}

impl Observer for Validates<'_> {
    fn batch(&mut self, _progress: Progress) {
        self.seen += 1;
    }

    fn stop_requested(&self) -> bool {
        self.stop_after == Some(self.seen)
    }

    fn validate(&mut self, _record: &EpochRecord) -> Result<Option<TestRecord>, NetsError> {
        let scores = Scores::from(&predict(self.model, self.clips, self.indices, 8, |_| {})?);
        Ok(Some(TestRecord {
            top1: scores.top1,
            top5: scores.top5,
            loss: scores.loss,
        }))
    }
}

/// The options in two bundles, so that all of them are in one.
fn bundles() -> [TrainingSettings; 2] {
    let first = TrainingSettings {
        mixup: 0.4,
        ema: 0.9,
        balance: Balance::Sampling,
        keep: Keep::Best,
        augmentation: Augmentation {
            flip: 0.5,
            flip_pairs: vec![["left".to_owned(), "right".to_owned()]],
            saturation: 0.3,
            speed: 1.5,
            ..Augmentation::default()
        },
        ..settings(3)
    };
    let second = TrainingSettings {
        schedule: ScheduleSettings {
            shape: Shape::Steps,
            milestones: vec![1, 2],
            factor: 0.3,
        },
        balance: Balance::Weights,
        ema: 0.5,
        patience: 1,
        ..settings(3)
    };
    [first, second]
}

fn timeless(records: &[EpochRecord]) -> Vec<EpochRecord> {
    let without = |record: &EpochRecord| EpochRecord {
        pace: None,
        ..record.clone()
    };
    records.iter().map(without).collect()
}

#[test]
fn with_every_option_a_training_stopped_after_any_batch_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 16, 8);
    let test = clips.indices(Split::Test);
    for settings in bundles() {
        let run = |seed: u64, at: Option<&Path>, stop_after: Option<u32>| {
            let model = fresh(&clips, seed);
            let mut observer = Validates {
                model: &model,
                clips: &clips,
                indices: &test,
                stop_after,
                seen: 0,
            };
            let outcome = train(&model, &clips, &settings, at, &mut observer);
            let seen = observer.seen;
            (model, outcome, seen)
        };
        let (whole, expected, batches) = run(3, None, None);
        let expected = expected.unwrap();
        assert!(batches >= 4, "{batches}");
        for stop in 1..=batches {
            let checkpoints = tempfile::tempdir().unwrap();
            let at = Some(checkpoints.path());
            let (_, outcome, _) = run(3, at, Some(stop));
            assert!(matches!(outcome, Err(NetsError::Stopped)));
            // Other initial weights: all that counts comes from the checkpoint.
            let (resumed, records, seen) = run(99, at, None);
            assert_eq!(seen, batches - stop);
            assert!(
                equal(&whole, &resumed),
                "stopped after {stop}: {settings:?}"
            );
            assert_eq!(timeless(&records.unwrap()), timeless(&expected));
        }
    }
}

#[test]
fn each_option_changes_what_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 19, 0);
    let run = |change: &dyn Fn(&mut TrainingSettings)| {
        let model = fresh(&clips, 3);
        let mut settings = settings(2);
        change(&mut settings);
        let records = train(&model, &clips, &settings, None, &mut ()).unwrap();
        (model, timeless(&records))
    };
    let (plain, records) = run(&|_| {});
    let changes: [&dyn Fn(&mut TrainingSettings); 5] = [
        &|settings| settings.mixup = 0.4,
        &|settings| settings.balance = Balance::Weights,
        &|settings| settings.balance = Balance::Sampling,
        &|settings| settings.augmentation.saturation = 0.5,
        &|settings| {
            settings.schedule.shape = Shape::Steps;
            settings.schedule.milestones = vec![1];
        },
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let (model, _) = run(change);
        assert!(!equal(&plain, &model), "change {at} did nothing");
    }
    // A mean of the weights is another result of the same training.
    let (mean, trained) = run(&|settings| settings.ema = 0.9);
    assert!(!equal(&plain, &mean));
    assert_eq!(trained, records);
}

/// Gives the validation a script, and remembers the weights that it was asked about.
struct Scripted<'a> {
    model: &'a FloatModel,
    top1: &'a [f64],
    seen: Vec<BTreeMap<String, Tensor>>,
}

impl Observer for Scripted<'_> {
    fn validate(&mut self, record: &EpochRecord) -> Result<Option<TestRecord>, NetsError> {
        let copy = |(name, tensor): (String, Tensor)| (name, tensor.detach().copy());
        let weights = weights::of(self.model.var_store());
        self.seen.push(weights.into_iter().map(copy).collect());
        Ok(Some(TestRecord {
            top1: self.top1[record.epoch as usize - 1],
            top5: 1.0,
            loss: 1.0,
        }))
    }
}

#[test]
fn the_weights_of_the_best_epoch_are_kept_as_they_were_validated() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 16, 0);
    for ema in [0.0, 0.9] {
        let settings = TrainingSettings {
            keep: Keep::Best,
            ema,
            ..settings(4)
        };
        let model = fresh(&clips, 3);
        let mut observer = Scripted {
            model: &model,
            top1: &[0.2, 0.9, 0.5, 0.9],
            seen: Vec::new(),
        };
        let records = train(&model, &clips, &settings, None, &mut observer).unwrap();
        assert_eq!(kept_epoch(&records, Keep::Best), Some(1));
        let kept = weights::of(model.var_store());
        let as_in = |epoch: usize| {
            let seen = &observer.seen[epoch];
            kept.iter().all(|(name, tensor)| tensor.equal(&seen[name]))
        };
        assert!(as_in(1) && !as_in(0) && !as_in(3), "ema {ema}");
    }
}

#[test]
fn training_ends_when_patience_does_and_does_not_begin_again() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 16, 0);
    let settings = TrainingSettings {
        patience: 2,
        ..settings(6)
    };
    let checkpoints = tempfile::tempdir().unwrap();
    let at = Some(checkpoints.path());
    let run = |seed: u64| {
        let model = fresh(&clips, seed);
        let mut observer = Scripted {
            model: &model,
            top1: &[0.2, 0.6, 0.5, 0.6, 0.9, 0.9],
            seen: Vec::new(),
        };
        let records = train(&model, &clips, &settings, at, &mut observer).unwrap();
        let validated = observer.seen.len();
        (model, records.len(), validated)
    };
    let (first, epochs, validated) = run(3);
    assert_eq!((epochs, validated), (4, 4));
    let (again, epochs, validated) = run(99);
    assert_eq!((epochs, validated), (4, 0));
    assert!(equal(&first, &again));
}

#[test]
fn choosing_an_epoch_without_validation_is_refused_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 16, 0);
    for settings in [
        TrainingSettings {
            keep: Keep::Best,
            ..settings(2)
        },
        TrainingSettings {
            patience: 1,
            ..settings(2)
        },
    ] {
        let error = train(&fresh(&clips, 3), &clips, &settings, None, &mut ()).unwrap_err();
        assert!(error.to_string().contains("`validation_share`"), "{error}");
        assert!(error.invalid_input());
    }
}

#[test]
fn with_mixup_and_a_mean_of_its_weights_a_network_learns_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 64, 32);
    let settings = TrainingSettings {
        ema: 0.95,
        mixup: 0.2,
        ..settings(12)
    };
    let model = fresh(&clips, 3);
    train(&model, &clips, &settings, None, &mut ()).unwrap();
    let test = clips.indices(Split::Test);
    let scores = Scores::from(&predict(&model, &clips, &test, 8, |_| {}).unwrap());
    // Chance is 0.25; without any option, more than 0.7 (training.rs).
    assert!(scores.top1 > 0.7, "{scores:?}");
}

#[test]
fn an_objective_and_so_a_teacher_sees_the_mixture() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 16, 0);
    let indices = clips.indices(Split::Train);
    let model = fresh(&clips, 3);
    let training = TrainingSettings {
        mixup: 1.0,
        ..settings(1)
    };
    let mut seen = Vec::new();
    let objective = |batch: &Batch, outputs: &Outputs| {
        let mixed = batch.mixed.as_ref().unwrap();
        seen.push((batch.clips.copy(), mixed.labels.copy(), mixed.share));
        loss::of_labels(&outputs.logits, batch, 0.0)
    };
    fit(
        &model,
        &clips,
        &indices,
        &training,
        None,
        objective,
        &mut (),
    )
    .unwrap();
    let augmentation = training.augmentation.clone();
    let plain = LoaderSettings::training(8, training.seed, augmentation, &model.info);
    let mut seen = seen.into_iter();
    Loader::new(&clips, &indices, plain)
        .unwrap()
        .run(1, |batch| {
            let (mixture, labels, share) = seen.next().unwrap();
            assert!(share > 0.0 && !mixture.equal(&batch.clips));
            // Each clip is in it twice, with shares that make one: only who is mixed with whom differs.
            let mean = |clips: &Tensor| clips.mean_dim(0, false, Kind::Float);
            assert!(mean(&mixture).allclose(&mean(&batch.clips), 1e-4, 1e-4, false));
            let sorted = |labels: &Tensor| labels.sort(0, false).0;
            assert!(sorted(&labels).equal(&sorted(&batch.labels)));
            Ok::<(), NetsError>(())
        })
        .unwrap();
    assert!(seen.next().is_none());
}

/// 30 clips: 18 left, 6 right, 3 up, 3 down.
fn rare(clips: &ClipSet) -> Vec<usize> {
    let take = [18, 6, 3, 3];
    let of = |label: usize| {
        let all = clips.indices(Split::Train).into_iter();
        all.filter(move |index| clips.label(*index) == label)
            .take(take[label])
    };
    let mut indices: Vec<usize> = (0..4).flat_map(of).collect();
    indices.sort_unstable();
    indices
}

#[test]
fn sampling_shows_classes_alike_and_repeated_clips_in_other_views() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 72, 0);
    let indices = rare(&clips);
    let info = fresh(&clips, 0).info;
    let settings = LoaderSettings {
        balance: Balance::Sampling,
        ..LoaderSettings::training(6, 5, Augmentation::default(), &info)
    };
    let loader = Loader::new(&clips, &indices, settings).unwrap();
    assert_eq!(loader.order(3), loader.order(3));
    assert_ne!(loader.order(3), loader.order(4));
    let (mut counts, mut views) = ([0; 4], BTreeMap::<usize, Vec<Tensor>>::new());
    loader
        .run(3, |batch| {
            for (row, index) in batch.indices.iter().enumerate() {
                counts[clips.label(*index)] += 1;
                views
                    .entry(*index)
                    .or_default()
                    .push(batch.clips.get(row as i64));
            }
            Ok::<(), NetsError>(())
        })
        .unwrap();
    assert_eq!(counts.iter().sum::<i32>(), 30);
    assert!(
        counts.iter().all(|count| (7..=8).contains(count)),
        "{counts:?}"
    );
    let repeated: Vec<&Vec<Tensor>> = views.values().filter(|views| views.len() > 1).collect();
    // Both rare classes, and of the six clips of another the one or two that make up its share.
    assert!((7..=8).contains(&repeated.len()), "{}", repeated.len());
    assert!(repeated.iter().all(|views| !views[0].equal(&views[1])));
    // Batches in the middle of an epoch are the same without those before them.
    let mut later = Vec::new();
    loader
        .run_from(3, 3, |batch| {
            later.push(batch.indices);
            Ok::<(), NetsError>(())
        })
        .unwrap();
    assert_eq!(later, loader.order(3)[3..]);
}

#[test]
fn a_stretch_of_an_epoch_is_batched_from_its_first_clip_on() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 20, 0);
    let indices: Vec<usize> = (0..20).collect();
    let info = fresh(&clips, 0).info;
    let batches = |remainder: Remainder, places: Range<usize>| {
        let settings = LoaderSettings {
            remainder,
            ..LoaderSettings::training(6, 5, Augmentation::default(), &info)
        };
        let loader = Loader::new(&clips, &indices, settings).unwrap();
        let order = loader.order(2).concat();
        let mut batches = Vec::new();
        loader
            .run_within(2, places.clone(), |batch| {
                batches.push(batch.indices);
                Ok::<(), NetsError>(())
            })
            .unwrap();
        let clips = batches.concat();
        assert_eq!(clips, order[places.start..][..clips.len()]);
        batches.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(batches(Remainder::Keep, 5..17), [6, 6]);
    assert_eq!(batches(Remainder::Keep, 5..20), [6, 6, 3]);
    // One that is left joins the batch before it.
    assert_eq!(batches(Remainder::Keep, 5..12), [7]);
    assert_eq!(batches(Remainder::Keep, 5..6), [1]);
    assert_eq!(batches(Remainder::Drop, 5..12), [6]);
    assert!(batches(Remainder::Keep, 5..5).is_empty());
}

#[test]
fn weights_come_with_the_batch_and_are_those_of_all_clips() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 72, 0);
    let indices = rare(&clips);
    let info = fresh(&clips, 0).info;
    let weights_of = |balance: Balance| {
        let settings = LoaderSettings {
            balance,
            ..LoaderSettings::training(6, 5, Augmentation::default(), &info)
        };
        let mut weights = Vec::new();
        Loader::new(&clips, &indices, settings)
            .unwrap()
            .run(1, |batch| {
                weights.push(batch.class_weights);
                Ok::<(), NetsError>(())
            })
            .unwrap();
        weights
    };
    assert!(weights_of(Balance::None).iter().all(Option::is_none));
    let weights = weights_of(Balance::Weights);
    assert_eq!(weights.len(), 5);
    // 30 clips of 4 classes: 30 / (4 * 18), 30 / (4 * 6), 30 / (4 * 3).
    let expected = Tensor::from_slice(&[30.0f32 / 72.0, 1.25, 2.5, 2.5]);
    for weights in weights {
        assert!(weights.unwrap().allclose(&expected, 1e-6, 1e-7, false));
    }
}

#[test]
fn mirrored_clips_change_their_class_and_some_are_never_mirrored() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 24, 0);
    let info = fresh(&clips, 0).info;
    let augmentation = Augmentation {
        flip: 1.0,
        flip_pairs: vec![["left".to_owned(), "right".to_owned()]],
        flip_never: vec!["up".to_owned()],
        ..Augmentation::none()
    };
    let indices = clips.indices(Split::Train);
    let batches = |settings: LoaderSettings| {
        let mut rows = BTreeMap::new();
        Loader::new(&clips, &indices, settings)
            .unwrap()
            .run(1, |batch| {
                for (row, index) in batch.indices.iter().enumerate() {
                    let row = row as i64;
                    rows.insert(
                        *index,
                        (batch.labels.int64_value(&[row]), batch.clips.get(row)),
                    );
                }
                Ok::<(), NetsError>(())
            })
            .unwrap();
        rows
    };
    let plain = batches(LoaderSettings::in_order(6, &info));
    for (index, (label, clip)) in batches(LoaderSettings::training(6, 5, augmentation, &info)) {
        let (stored, pixels) = &plain[&index];
        let expected = [1, 0, 2, 3][*stored as usize];
        assert_eq!(label, expected);
        let seen = if *stored == 2 { clip } else { clip.flip([-1]) };
        assert!(
            seen.allclose(pixels, 1e-4, 1e-4, false),
            "clip {index} of {stored}"
        );
    }
}

#[test]
fn what_is_kept_back_is_whole_groups_of_every_class_and_never_a_test_clip() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 60, 20);
    let all = clips.indices(Split::Train);
    let (train, validation) = hold_out(&clips, &all, 0.2, 1).unwrap();
    assert_eq!((train.len(), validation.len()), (48, 12));
    let mut both: Vec<usize> = train.iter().chain(&validation).copied().collect();
    both.sort_unstable();
    assert_eq!(both, all);
    let groups = |indices: &[usize]| -> BTreeSet<&str> {
        indices.iter().map(|index| clips.group(*index)).collect()
    };
    assert!(groups(&train).is_disjoint(&groups(&validation)));
    for label in 0..4 {
        let count = validation
            .iter()
            .filter(|index| clips.label(**index) == label);
        assert_eq!(count.count(), 3);
    }
    assert_eq!(hold_out(&clips, &all, 0.2, 1).unwrap().1, validation);
    assert_ne!(hold_out(&clips, &all, 0.2, 2).unwrap().1, validation);
    let error = hold_out(&clips, &all[..4], 0.2, 1).unwrap_err();
    assert!(
        error.to_string().contains("`validation_share` of 0.2"),
        "{error}"
    );
    assert!(error.invalid_input());
}

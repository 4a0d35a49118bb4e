//! Training from the outside: it learns, it repeats itself, it survives being killed.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

mod squares;

use std::collections::BTreeMap;

use fedact_clips::Split;
use fedact_nets::data::{Augmentation, Batch, Loader, LoaderSettings, Remainder};
use fedact_nets::score::{Scores, predict};
use fedact_nets::train::{EpochRecord, Observer, Progress, TestRecord, TrainingSettings, fit};
use fedact_nets::{Architecture, Classifier, Model, NetsError, Outputs, loss, weights};
use tch::{Device, Kind, Tensor};

use squares::{StopsAfter, equal, fresh, moving_squares, settings, train};

#[test]
fn training_learns_what_no_single_frame_shows() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 64, 32);
    let model = fresh(&clips, 3);
    let records = train(&model, &clips, &settings(12), None, &mut ()).unwrap();
    assert_eq!(records.len(), 12);
    let test = clips.indices(Split::Test);
    let scores = Scores::from(&predict(&model, &clips, &test, 8, |_| {}).unwrap());
    // Chance is 0.25.
    assert!(scores.top1 > 0.7, "{scores:?}");
    assert!(records[11].loss < records[0].loss / 2.0, "{records:?}");
}

#[test]
fn the_same_seed_gives_the_same_weights_and_another_gives_others() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 16, 0);
    let run = |seed: u64| {
        let model = fresh(&clips, 3);
        let settings = TrainingSettings {
            seed,
            ..settings(2)
        };
        train(&model, &clips, &settings, None, &mut ()).unwrap();
        model
    };
    let first = run(7);
    assert!(equal(&first, &run(7)));
    assert!(!equal(&first, &run(8)));
}

/// Dies after an epoch, before its checkpoint.
struct DiesAfter(u32);

impl Observer for DiesAfter {
    fn epoch(&mut self, record: &EpochRecord) -> Result<Option<TestRecord>, NetsError> {
        if record.epoch == self.0 {
            return Err(NetsError::Data("killed".to_owned()));
        }
        Ok(None)
    }
}

/// Remembers where training went on, and which epochs it ran.
#[derive(Default)]
struct Remembers {
    finished: usize,
    ran: Vec<u32>,
}

impl Observer for Remembers {
    fn resumed(&mut self, finished: &[EpochRecord]) {
        self.finished = finished.len();
    }

    fn batch(&mut self, progress: Progress) {
        if self.ran.last() != Some(&progress.epoch) {
            self.ran.push(progress.epoch);
        }
    }
}

#[test]
fn a_killed_training_goes_on_and_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 16, 0);
    let settings = settings(4);
    let whole = fresh(&clips, 3);
    train(&whole, &clips, &settings, None, &mut ()).unwrap();

    let checkpoints = tempfile::tempdir().unwrap();
    let at = Some(checkpoints.path());
    train(&fresh(&clips, 3), &clips, &settings, at, &mut DiesAfter(3)).unwrap_err();
    // Other initial weights: all that counts comes from the checkpoint.
    let resumed = fresh(&clips, 99);
    let mut observer = Remembers::default();
    let records = train(&resumed, &clips, &settings, at, &mut observer).unwrap();
    assert_eq!((observer.finished, observer.ran), (2, vec![3, 4]));
    assert_eq!(records.len(), 4);
    assert!(equal(&whole, &resumed));

    // A finished training runs nothing; a damaged checkpoint starts from the beginning.
    let again = fresh(&clips, 99);
    let mut observer = Remembers::default();
    train(&again, &clips, &settings, at, &mut observer).unwrap();
    assert!(observer.ran.is_empty() && equal(&whole, &again));
    let saved = checkpoints.path().join("4-0.safetensors");
    let bytes = std::fs::read(&saved).unwrap();
    std::fs::write(&saved, &bytes[..bytes.len() / 2]).unwrap();
    let restarted = fresh(&clips, 3);
    let mut observer = Remembers::default();
    train(&restarted, &clips, &settings, at, &mut observer).unwrap();
    assert_eq!(observer.ran, [1, 2, 3, 4]);
    assert!(equal(&whole, &restarted));
}

#[test]
fn a_training_that_is_stopped_after_any_batch_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 16, 0);
    let settings = settings(2);
    let whole = fresh(&clips, 3);
    let mut every = StopsAfter::default();
    let expected = train(&whole, &clips, &settings, None, &mut every).unwrap();
    assert!(every.seen >= 4, "an epoch of one batch has no middle");
    for batches in 1..=every.seen {
        let checkpoints = tempfile::tempdir().unwrap();
        let at = Some(checkpoints.path());
        let mut observer = StopsAfter { batches, seen: 0 };
        let error = train(&fresh(&clips, 3), &clips, &settings, at, &mut observer).unwrap_err();
        assert!(matches!(error, NetsError::Stopped), "{error}");
        let resumed = fresh(&clips, 99);
        let mut observer = StopsAfter::default();
        let records = train(&resumed, &clips, &settings, at, &mut observer).unwrap();
        assert_eq!(observer.seen, every.seen - batches);
        assert!(equal(&whole, &resumed), "stopped after {batches} batches");
        let timeless = |records: &[EpochRecord]| -> Vec<EpochRecord> {
            let without = |record: &EpochRecord| EpochRecord {
                pace: None,
                ..record.clone()
            };
            records.iter().map(without).collect()
        };
        assert_eq!(timeless(&records), timeless(&expected));
    }
}

#[test]
fn other_settings_do_not_take_over_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 8, 0);
    let checkpoints = tempfile::tempdir().unwrap();
    let at = Some(checkpoints.path());
    train(&fresh(&clips, 3), &clips, &settings(1), at, &mut ()).unwrap();
    let mut observer = Remembers::default();
    train(&fresh(&clips, 3), &clips, &settings(2), at, &mut observer).unwrap();
    assert_eq!(observer.ran, [1, 2]);
}

#[test]
fn a_loss_that_is_no_number_names_its_epoch_batch_and_clips() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 16, 0);
    let indices = clips.indices(Split::Train);
    let model = fresh(&clips, 3);
    let mut batches = 0;
    let objective = |batch: &Batch, outputs: &Outputs| {
        batches += 1;
        let factor = if batches == 4 { f64::NAN } else { 1.0 };
        loss::cross_entropy(&outputs.logits, &batch.labels, 0.0) * factor
    };
    let settings = settings(3);
    let error = fit(
        &model,
        &clips,
        &indices,
        &settings,
        None,
        objective,
        &mut (),
    )
    .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("loss became NaN in epoch 2, batch 2 (clips clip-"),
        "{text}"
    );
    assert_eq!(text.matches("clip-").count(), 8, "{text}");
    assert!(!error.invalid_input());
}

#[test]
fn what_is_saved_answers_like_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 8, 0);
    let model = fresh(&clips, 3);
    train(&model, &clips, &settings(1), None, &mut ()).unwrap();
    let saved = tempfile::tempdir().unwrap();
    model.save(saved.path()).unwrap();
    let loaded = Model::load(saved.path(), Device::Cpu).unwrap();
    let input = Tensor::rand([2, 3, 4, 16, 16], (Kind::Float, Device::Cpu));
    assert!(loaded.classify(&input).equal(&model.classify(&input)));
    assert_eq!(loaded.parameters(), model.parameters());
    let size = std::fs::metadata(saved.path().join("model.safetensors"))
        .unwrap()
        .len();
    assert!(loaded.bytes() < size && size < loaded.bytes() + 20_000);
}

#[test]
fn a_checkpoint_of_another_network_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 8, 0);
    let model = fresh(&clips, 3);
    let saved = tempfile::tempdir().unwrap();
    model.save(saved.path()).unwrap();
    let mut info = model.info.clone();
    info.architecture = Architecture::r3d(18, 4);
    info.save(saved.path()).unwrap();
    let text = Model::load(saved.path(), Device::Cpu)
        .unwrap_err()
        .to_string();
    assert!(text.contains("model.safetensors"), "{text}");
    assert!(text.contains("missing: layer1.1.conv1.0.weight"), "{text}");
    assert!(text.contains("more"), "{text}");
}

#[test]
fn the_variables_of_a_network_are_those_of_its_layout() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 4, 0);
    let model = fresh(&clips, 3);
    let expected: BTreeMap<String, Vec<i64>> = model
        .info
        .architecture
        .layout()
        .unwrap()
        .state(4)
        .into_iter()
        .collect();
    let found: BTreeMap<String, Vec<i64>> = weights::of(model.var_store())
        .into_iter()
        .map(|(name, tensor)| (name, tensor.size()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn batches_cover_each_clip_once_whatever_the_remainder() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 17, 0);
    let info = fresh(&clips, 0).info;
    let indices = clips.indices(Split::Train);
    let sizes = |settings: LoaderSettings| -> (Vec<usize>, Vec<usize>) {
        let loader = Loader::new(&clips, &indices, settings).unwrap();
        let (mut sizes, mut seen) = (Vec::new(), Vec::new());
        loader
            .run(1, |batch| {
                assert_eq!(batch.clips.size()[0] as usize, batch.indices.len());
                sizes.push(batch.indices.len());
                seen.extend(batch.indices);
                Ok::<(), NetsError>(())
            })
            .unwrap();
        assert_eq!(
            (sizes.len(), seen.len()),
            (loader.batches(), loader.samples())
        );
        (sizes, seen)
    };
    // A single clip left over joins the batch before.
    assert_eq!(sizes(LoaderSettings::in_order(8, &info)).0, [8, 9]);
    assert_eq!(sizes(LoaderSettings::in_order(7, &info)).0, [7, 7, 3]);
    assert_eq!(sizes(LoaderSettings::in_order(40, &info)).0, [17]);
    assert_eq!(sizes(LoaderSettings::in_order(8, &info)).1, indices);
    let training = LoaderSettings::training(8, 1, Augmentation::default(), &info);
    assert_eq!(sizes(training.clone()).0, [8, 8]);
    let shuffled = LoaderSettings {
        remainder: Remainder::Keep,
        ..training
    };
    let (_, mut seen) = sizes(shuffled);
    assert_ne!(seen, indices);
    seen.sort_unstable();
    assert_eq!(seen, indices);
}

#[test]
fn a_view_depends_on_seed_epoch_and_clip_and_not_on_its_batch() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 8, 0);
    let info = fresh(&clips, 0).info;
    let view = |indices: &[usize], seed: u64, epoch: u64| {
        let settings = LoaderSettings {
            shuffle: false,
            remainder: Remainder::Keep,
            ..LoaderSettings::training(4, seed, Augmentation::default(), &info)
        };
        let loader = Loader::new(&clips, indices, settings).unwrap();
        let mut view = None;
        loader
            .run(epoch, |batch| {
                if let Some(row) = batch.indices.iter().position(|index| *index == 5) {
                    view = Some(batch.clips.get(row as i64));
                }
                Ok::<(), NetsError>(())
            })
            .unwrap();
        view.unwrap()
    };
    let all: Vec<usize> = (0..8).collect();
    let first = view(&all, 1, 1);
    assert!(first.equal(&view(&[5, 6], 1, 1)));
    assert!(!first.equal(&view(&all, 2, 1)));
    assert!(!first.equal(&view(&all, 1, 2)));
}

#[test]
fn too_few_clips_for_a_batch_are_refused_with_both_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 6, 0);
    let model = fresh(&clips, 3);
    let error = train(&model, &clips, &settings(1), None, &mut ()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("6 clips") && text.contains("one batch of 8"),
        "{text}"
    );
    assert!(error.invalid_input());
}

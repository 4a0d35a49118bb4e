//! What is told and asked while a network trains: progress, the validation and the test clips.

use fedact_clips::ClipSet;
use fedact_nets::data::mirrored_labels;
use fedact_nets::score::{Scores, TestViews, predict_views};
use fedact_nets::train::{EpochRecord, Keep, Observer, Progress, TestRecord, kept_epoch};
use fedact_nets::{FloatModel, NetsError};
use fedact_stage::{Reporter, Task};

use crate::DistillParams;

/// Reports progress, validates and tests.
pub(crate) struct Watch<'a> {
    clips: &'a ClipSet,
    model: &'a FloatModel,
    validation: &'a [usize],
    test: &'a [usize],
    views: TestViews,
    /// By class, the class that it becomes in the mirror.
    mirrored: Vec<usize>,
    task: Task,
    /// What the task counts to.
    total: u64,
    reporter: &'a Reporter,
    epochs: u32,
    test_every: u32,
    keep: Keep,
    batch_size: usize,
    /// Clips that an epoch trains on.
    samples: usize,
    /// The epoch that the test clips were last asked after, and what they said.
    last: Option<(u32, Scores)>,
}

impl<'a> Watch<'a> {
    /// Over the training on so many clips.
    ///
    /// # Errors
    /// Classes of `flip_pairs` that there are not.
    pub fn new(
        params: &DistillParams,
        clips: &'a ClipSet,
        model: &'a FloatModel,
        train: usize,
        validation: &'a [usize],
        test: &'a [usize],
        reporter: &'a Reporter,
    ) -> Result<Self, NetsError> {
        let mut watch = Self {
            clips,
            model,
            validation,
            test,
            views: params.test_views,
            mirrored: mirrored_labels(&params.augmentation, &clips.dataset().classes)?,
            task: reporter.task("training", 0, "clips"),
            total: 0,
            reporter,
            epochs: params.epochs,
            test_every: params.test_every,
            keep: params.keep,
            batch_size: params.batch_size,
            samples: train - train % params.batch_size,
            last: None,
        };
        // An epoch that is kept, and was not the last, is tested once more.
        let again = if params.keep == Keep::Best {
            watch.looks(test)
        } else {
            0
        };
        watch.total = watch.done_after(params.epochs) + again;
        watch.task = reporter.task("training", watch.total, "clips");
        Ok(watch)
    }

    /// What the test clips say of the weights that are in the network now, which are those that are kept.
    ///
    /// # Errors
    /// Clips that cannot be read.
    pub fn finish(mut self, records: &[EpochRecord]) -> Result<Scores, NetsError> {
        let last = records.last().map_or(0, |record| record.epoch);
        if last < self.epochs {
            self.reporter.info(format!(
                "ended after epoch {last} of {}: no better validation since epoch {}",
                self.epochs,
                kept_epoch(records, Keep::Best).map_or(0, |at| at + 1)
            ));
        }
        let kept = kept_epoch(records, self.keep).map_or(0, |at| records[at].epoch);
        // Not of this process where the run was killed between the last checkpoint and the end.
        let scores = match self.last.take() {
            Some((epoch, scores)) if epoch == kept => scores,
            _ => self.score(self.test)?,
        };
        self.task.set(self.total);
        Ok(scores)
    }

    /// Whether the test clips are asked after an epoch.
    fn tested(&self, epoch: u32) -> bool {
        let due = self.test_every > 0 && epoch.is_multiple_of(self.test_every);
        due || epoch == self.epochs
    }

    /// How many clips a network looks at to answer these.
    fn looks(&self, clips: &[usize]) -> u64 {
        (clips.len() * self.views.count()) as u64
    }

    /// Clips trained, validated and tested on when these many epochs are over.
    fn done_after(&self, epochs: u32) -> u64 {
        let tests = (1..=epochs).filter(|epoch| self.tested(*epoch)).count() as u64;
        let each = self.samples as u64 + self.looks(self.validation);
        u64::from(epochs) * each + tests * self.looks(self.test)
    }

    fn score(&self, indices: &[usize]) -> Result<Scores, NetsError> {
        let predictions = predict_views(
            self.model,
            self.clips,
            indices,
            self.batch_size,
            &self.views,
            &self.mirrored,
            |clips| self.task.advance(clips as u64),
        )?;
        Ok(Scores::from(&predictions))
    }
}

/// What a training's records keep of scores.
fn record_of(scores: &Scores) -> TestRecord {
    TestRecord {
        top1: scores.top1,
        top5: scores.top5,
        loss: scores.loss,
    }
}

impl Observer for Watch<'_> {
    fn resumed(&mut self, finished: &[EpochRecord]) {
        if let Some(last) = finished.last() {
            self.reporter.info(format!(
                "going on after epoch {}, which is saved",
                last.epoch
            ));
            self.task.set(self.done_after(last.epoch));
        }
    }

    fn batch(&mut self, progress: Progress) {
        let mut detail = format!(
            "epoch {}/{} loss {:.2}, accuracy {:.0}%",
            progress.epoch,
            self.epochs,
            progress.loss,
            100.0 * progress.accuracy
        );
        if let Some((_, scores)) = &self.last {
            detail += &format!(", top-1 {:.0}%", 100.0 * scores.top1);
        }
        detail += &format!(", {} clips/s", pace(progress.clips, progress.seconds));
        self.task.detail(detail);
        let done = self.done_after(progress.epoch - 1) + progress.clips as u64;
        self.task.set(done);
    }

    fn stop_requested(&self) -> bool {
        self.reporter.go_on().is_err()
    }

    fn validate(&mut self, _record: &EpochRecord) -> Result<Option<TestRecord>, NetsError> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        Ok(Some(record_of(&self.score(self.validation)?)))
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<Option<TestRecord>, NetsError> {
        if !self.tested(record.epoch) {
            return Ok(None);
        }
        let scores = self.score(self.test)?;
        let test = record_of(&scores);
        self.last = Some((record.epoch, scores));
        Ok(Some(test))
    }
}

/// Clips a second, with a decimal where there are few.
fn pace(clips: usize, seconds: f64) -> String {
    let pace = clips as f64 / seconds.max(1e-9);
    if pace < 10.0 {
        format!("{pace:.1}")
    } else {
        format!("{pace:.0}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_pace_keeps_a_decimal() {
        assert_eq!(pace(3, 2.0), "1.5");
        assert_eq!(pace(300, 2.0), "150");
    }
}

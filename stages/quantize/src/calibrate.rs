//! Which clips are calibrated on and judged by, the calibration itself, and whatever makes it better.

use std::path::Path;

use fedact_clips::{ClipSet, Split};
use fedact_nets::data::{Batch, Loader, LoaderSettings};
use fedact_nets::quantize::{Examples, Improved, Improving, QuantizedModel};
use fedact_nets::{Classifier, FloatModel, Model, NetsError};
use fedact_stage::{Reporter, Task};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::Device;

use crate::error::QuantizeError;
use fedact_quantize_params::{FEWEST_CLIPS, QuantizeParams};

/// Clips of the training split, by their indices in the set's order.
struct Drawn {
    calibration: Vec<usize>,
    /// By which improvements are judged.
    judged: Vec<usize>,
}

/// Draws clips without replacement: those to calibrate on, and as many others to judge by, of which there may be fewer. Where
/// hardly any are left, the first are judged by, too.
fn draw(mut indices: Vec<usize>, params: &QuantizeParams) -> Drawn {
    indices.shuffle(&mut ChaCha8Rng::seed_from_u64(params.seed));
    let mut judged = indices.split_off(params.clips.min(indices.len()));
    judged.truncate(params.clips);
    indices.sort_unstable();
    judged.sort_unstable();
    if judged.len() < FEWEST_CLIPS {
        judged.clone_from(&indices);
    }
    Drawn {
        calibration: indices,
        judged,
    }
}

/// The teacher of `tune`, where one is given.
///
/// # Errors
/// One that cannot be read or is quantized; other classes, another geometry or other normalised numbers than the student's.
pub(crate) fn teacher(
    folder: Option<&Path>,
    student: &FloatModel,
    clips: &ClipSet,
) -> Result<Option<FloatModel>, QuantizeError> {
    let Some(folder) = folder else {
        return Ok(None);
    };
    let path = folder.to_owned();
    let Model::Float(teacher) = Model::load(folder, Device::Cpu)? else {
        return Err(QuantizeError::QuantizedTeacher { path });
    };
    let fits = teacher.info.check_classes(clips.dataset());
    let fits = fits.and_then(|()| teacher.info.check_geometry(clips.dataset()));
    if let Err(source) = fits {
        return Err(QuantizeError::Teacher { path, source });
    }
    let sight = |model: &FloatModel| (model.info.input, model.info.mean, model.info.std);
    if sight(&teacher) != sight(student) {
        return Err(QuantizeError::TeacherSeesOther { path });
    }
    Ok(Some(teacher))
}

/// Quantizes a model, and makes the result better as the params say.
pub(crate) fn calibrate(
    float: &FloatModel,
    teacher: Option<&FloatModel>,
    clips: &ClipSet,
    params: &QuantizeParams,
    reporter: &Reporter,
) -> Result<Improved, QuantizeError> {
    let train = clips.indices(Split::Train);
    if train.len() < FEWEST_CLIPS {
        return Err(QuantizeError::TooFewClips {
            path: clips.folder().to_owned(),
            found: train.len(),
        });
    }
    if train.len() < params.clips {
        reporter.info(format!(
            "calibrating on all {} training clips; `clips` asks for {}",
            train.len(),
            params.clips
        ));
    }
    let settings = params.improvements();
    let drawn = draw(train, params);
    let mut reader = Reader {
        clips,
        float,
        reporter,
        task: reporter.task("calibrating", drawn.calibration.len() as u64, "clips"),
    };
    let mut examples = Examples::default();
    let mut failure = None;
    let batches = drawn.calibration.chunks(params.batch_size);
    let batches = batches.map_while(|indices| match reader.read(indices) {
        Ok(batch) => {
            if !settings.improve.is_none() {
                examples.clips.push(batch.clips.shallow_clone());
                examples.labels.push(batch.labels);
            }
            Some(batch.clips)
        }
        Err(error) => {
            failure = Some(error);
            None
        }
    });
    let model = QuantizedModel::from_float(float, batches, &params.calibration());
    if let Some(error) = failure {
        return Err(error);
    }
    let model = model?;
    let mut judged = Examples::default();
    if !settings.improve.is_none() {
        if drawn.judged == drawn.calibration {
            reporter.info(
                "no training clips are left to judge improvements by, so those that they were learned from judge, which \
                 flatters them; ask for fewer `clips` or extract more",
            );
        }
        reader.task = reporter.task("reading", drawn.judged.len() as u64, "clips");
        for indices in drawn.judged.chunks(params.batch_size) {
            let batch = reader.read(indices)?;
            judged.clips.push(batch.clips);
            judged.labels.push(batch.labels);
        }
    }
    let improving = Improving {
        calibration: &params.calibration(),
        settings: &settings,
        examples: &examples,
        judged: &judged,
        teacher: teacher.map(|teacher| teacher as &dyn Classifier),
    };
    improve(model, &improving, reporter)
}

/// Improves a model and shows how far that is.
fn improve(
    model: QuantizedModel,
    improving: &Improving,
    reporter: &Reporter,
) -> Result<Improved, QuantizeError> {
    let mut shown = None;
    let improved = model.improve(improving, &mut |improvement, done, total| {
        let task = match shown.take() {
            Some((current, task)) if current == improvement => task,
            _ => {
                let unit = "steps";
                reporter.task(improvement.name(), total, unit)
            }
        };
        task.set(done);
        shown = Some((improvement, task));
        reporter.go_on().map_err(|_| NetsError::Stopped)
    })?;
    Ok(improved)
}

/// Reads batches and tells of them.
struct Reader<'a> {
    clips: &'a ClipSet,
    float: &'a FloatModel,
    reporter: &'a Reporter,
    task: Task,
}

impl Reader<'_> {
    /// One batch of these clips, unless the stage is to end.
    fn read(&mut self, indices: &[usize]) -> Result<Batch, QuantizeError> {
        self.reporter.go_on()?;
        let settings = LoaderSettings::in_order(indices.len(), &self.float.info);
        let mut read = None;
        Loader::new(self.clips, indices, settings)?.run(0, |batch| {
            read = Some(batch);
            Ok::<(), NetsError>(())
        })?;
        self.task.advance(indices.len() as u64);
        let nothing = || NetsError::Data("an empty batch of calibration clips".to_owned());
        Ok(read.ok_or_else(nothing)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(train: usize, clips: usize) -> Drawn {
        let params = QuantizeParams {
            clips,
            ..QuantizeParams::default()
        };
        draw((0..train).collect(), &params)
    }

    #[test]
    fn what_is_judged_by_was_not_calibrated_on_while_there_is_enough() {
        let Drawn {
            calibration,
            judged,
        } = drawn(100, 30);
        assert_eq!((calibration.len(), judged.len()), (30, 30));
        assert!(judged.iter().all(|clip| !calibration.contains(clip)));
        assert_eq!(drawn(40, 30).judged.len(), 10);
        // Three would say too little.
        let few = drawn(33, 30);
        assert_eq!(few.judged, few.calibration);
        assert_eq!(drawn(8, 30).judged.len(), 8);
    }
}

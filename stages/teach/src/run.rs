//! From models and clips to a folder of answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fedact_clips::{ClipSet, Split};
use fedact_nets::data::{Batch, Loader, LoaderSettings};
use fedact_nets::{
    ANSWERS_VERSION, Answers, AnswersInfo, Classifier, FloatModel, NetsError, Teachers, device,
    fingerprint, set_threads, weights,
};
use fedact_stage::{Job, Metrics, Reporter, StageError, Stopped};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::TeachParams;

/// Asks every teacher about every view of the training clips and writes what they say.
///
/// # Errors
/// Clips without a train split, teachers for other classes or another geometry or quantized ones, files that cannot
/// be read or written.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: TeachParams = job.params()?;
    set_threads(params.threads);
    let clips = ClipSet::open(job.input("clips")?).map_err(|error| StageError::invalid(&error))?;
    ask_all(job, &params, &clips, reporter).map_err(|error| match error {
        NetsError::Stopped => Stopped.into(),
        error if error.invalid_input() => StageError::invalid(&error),
        error => StageError::failed(&error),
    })
}

fn ask_all(
    job: &Job,
    params: &TeachParams,
    clips: &ClipSet,
    reporter: &Reporter,
) -> Result<Metrics, NetsError> {
    let inputs = job.list("teacher");
    let folders = inputs
        .iter()
        .map(|input| (input.name.as_str(), input.path.as_path()));
    let device = device(params.device)?;
    let teachers = Teachers::load(folders, clips, None, device)?;
    let train = clips.indices(Split::Train);
    let (Some(normalisation), Some(input), false) =
        (teachers.normalisation(), teachers.input(), train.is_empty())
    else {
        return Err(NetsError::Data(format!(
            "{} has no training clips to ask about; extract it with a split that has some",
            clips.folder().display()
        )));
    };
    let info = AnswersInfo {
        format_version: ANSWERS_VERSION,
        teachers: inputs.iter().map(|input| input.name.clone()).collect(),
        classes: clips.dataset().classes.clone(),
        input,
        mean: normalisation.0,
        std: normalisation.1,
        augmentation: params.augmentation.clone(),
        views: params.drawn(),
        clips: train.len(),
        set: fingerprint(clips)?,
    };
    let questions = teachers.models.len() as u64 * u64::from(params.views) * train.len() as u64;
    let task = reporter.task("asking", questions, "views");
    let mut right = 0;
    let mut answers = Vec::new();
    for (number, teacher) in teachers.models.iter().enumerate() {
        let settings = LoaderSettings {
            augmentation: Some(params.augmentation.clone()),
            views: Some(params.drawn()),
            device,
            ..LoaderSettings::in_order(params.batch_size, &teacher.info)
        };
        let loader = Loader::new(clips, &train, settings)?;
        let mut views = Vec::new();
        for view in 1..=params.views {
            let kept = kept_file(&job.checkpoints, number, view);
            let answer = match Answer::load(&kept) {
                Some(answer) => {
                    task.advance(train.len() as u64);
                    answer
                }
                None => {
                    let answer = ask(teacher, &loader, view, |clips| {
                        task.advance(clips as u64);
                        reporter.go_on().map_err(|_| NetsError::Stopped)
                    })?;
                    answer.save(&kept)?;
                    answer
                }
            };
            right += answer.right;
            views.push(answer.logits);
        }
        answers.push(Tensor::stack(&views, 0));
    }
    let logits = Tensor::stack(&answers, 0);
    let bytes = logits.numel() * logits.kind().elt_size_in_bytes();
    Answers::save(&info, logits, &job.output)?;
    let metrics = [
        ("teachers", json!(info.teachers)),
        ("clips", json!(info.clips)),
        ("views", json!(params.views)),
        ("top1", json!(right as f64 / questions as f64)),
        ("bytes", json!(bytes)),
    ];
    Ok(metrics
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect())
}

/// What a teacher says about one view of all clips.
struct Answer {
    /// \[clips, classes\], f32.
    logits: Tensor,
    /// How many clips it is right about.
    right: i64,
}

fn ask(
    teacher: &FloatModel,
    loader: &Loader<'_>,
    view: u32,
    mut asked: impl FnMut(usize) -> Result<(), NetsError>,
) -> Result<Answer, NetsError> {
    let (mut logits, mut right) = (Vec::new(), 0);
    loader.run(u64::from(view), |batch: Batch| {
        let answer = teacher.classify(&batch.clips);
        let hits = answer.argmax(1, false).eq_tensor(&batch.labels);
        right += hits.sum(Kind::Int64).int64_value(&[]);
        logits.push(answer.to_kind(Kind::Float).to_device(Device::Cpu));
        asked(batch.indices.len())
    })?;
    Ok(Answer {
        logits: Tensor::cat(&logits, 0),
        right,
    })
}

/// Where the answer about a view is kept until the step is done.
fn kept_file(checkpoints: &Path, teacher: usize, view: u32) -> PathBuf {
    checkpoints.join(format!("{teacher}-{view}.safetensors"))
}

impl Answer {
    /// One that an earlier run of this step kept; `None` if there is none that can be read.
    fn load(file: &Path) -> Option<Self> {
        let mut tensors = weights::read(file).ok()?;
        Some(Self {
            logits: tensors.remove("logits")?,
            right: tensors.remove("right")?.int64_value(&[]),
        })
    }

    /// Keeps it, whole or not at all.
    fn save(&self, file: &Path) -> Result<(), NetsError> {
        let tensors = BTreeMap::from([
            ("logits".to_owned(), self.logits.shallow_clone()),
            ("right".to_owned(), Tensor::from(self.right)),
        ]);
        let temporary = file.with_extension("tmp");
        weights::write(&temporary, &tensors)?;
        std::fs::rename(&temporary, file).map_err(|source| NetsError::Write {
            path: file.to_owned(),
            source,
        })
    }
}

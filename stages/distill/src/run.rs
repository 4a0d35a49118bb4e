//! From clips to a trained model's folder.

use std::io::Write;
use std::path::Path;

use fedact_clips::{ClipSet, Split};
use fedact_nets::data::Batch;
use fedact_nets::score::{Scores, predict};
use fedact_nets::train::{EpochRecord, Observer, Progress, TestRecord, fit};
use fedact_nets::{
    Adopted, Classifier, FloatModel, InputGeometry, MixedModel, Model, ModelInfo, NetsError,
    Precision, Pretrained, files, gpu, keep_memory, loss, multiplies_bfloat16, set_threads,
};
use fedact_stage::{Input, Job, Metrics, Reporter, StageError, Stopped, Task};
use serde_json::json;
use tch::{Device, Tensor};

use crate::{ComputeDevice, DistillParams};

/// Trains the model, measures it on the test split and writes its folder.
///
/// # Errors
/// Clips that are too few or have no test split, a teacher for other classes or another geometry, a
/// loss that is no number, files that cannot be read or written.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: DistillParams = job.params()?;
    set_threads(params.threads);
    keep_memory();
    let clips = ClipSet::open(job.input("clips")?).map_err(|error| StageError::invalid(&error))?;
    distil(job, &params, &clips, reporter).map_err(|error| {
        if matches!(error, NetsError::Stopped) {
            Stopped.into()
        } else if error.invalid_input() {
            StageError::invalid(&error)
        } else {
            StageError::failed(&error)
        }
    })
}

fn distil(
    job: &Job,
    params: &DistillParams,
    clips: &ClipSet,
    reporter: &Reporter,
) -> Result<Metrics, NetsError> {
    let device = match params.device {
        ComputeDevice::Cpu => Device::Cpu,
        ComputeDevice::Cuda => gpu()?,
    };
    warn_of_slowness(params, reporter);
    let train = clips.indices(Split::Train);
    let test = clips.indices(Split::Test);
    if test.is_empty() {
        return Err(NetsError::Data(format!(
            "{} has no test clips, so that what was learned cannot be measured; extract it with a \
             split that keeps some back",
            clips.folder().display()
        )));
    }
    let teachers = load_teachers(job.list("teacher"), clips, device)?;
    let dataset = clips.dataset();
    let mut info = ModelInfo::new(
        params.model,
        dataset.classes.clone(),
        InputGeometry::from(dataset),
    );
    let pretrained = job
        .optional("pretrained")
        .map(Pretrained::open)
        .transpose()?;
    if let Some(teacher) = teachers.first() {
        // Both look at the same tensor, so the student adopts its teachers' normalisation.
        (info.mean, info.std) = (teacher.info.mean, teacher.info.std);
    } else if let Some(normalisation) = pretrained.as_ref().and_then(Pretrained::normalisation) {
        (info.mean, info.std) = normalisation;
    }
    let model = FloatModel::new(info, params.seed, device)?;
    if let Some(pretrained) = pretrained {
        tell(&pretrained.give_to(&model)?, reporter);
    }
    let watch = Watch::new(params, clips, &model, &train, &test, reporter);
    let (records, scores) = train_model(job, params, clips, &model, &train, &teachers, watch)?;
    model.save(&job.output)?;
    write_training(&job.output, &records)?;
    let mut metrics = metrics(&model, &scores, &records, job.list("teacher"));
    write_metrics(&job.output, &metrics)?;
    // How long it took is told, and not published: equal training leaves equal files.
    metrics.extend(pace(&records));
    Ok(metrics)
}

/// Says so where the processor has to imitate the numbers that it is to compute with.
fn warn_of_slowness(params: &DistillParams, reporter: &Reporter) {
    let imitated = params.precision == Precision::Bfloat16
        && params.device == ComputeDevice::Cpu
        && !multiplies_bfloat16();
    if imitated {
        reporter.warn(
            "this processor has no instructions for bfloat16: the training is right, and slower than with \
             `precision: float32`",
        );
    }
}

/// Says what the network begins with.
fn tell(adopted: &Adopted, reporter: &Reporter) {
    let file = adopted.file.file_name().unwrap_or_default();
    let tensors = adopted.tensors;
    let head = adopted.fresh_head.as_ref().map_or_else(
        || "the last layer with them".to_owned(),
        |reason| format!("the last layer is new: {reason}"),
    );
    let file = file.to_string_lossy();
    reporter.info(format!(
        "beginning with {tensors} tensors of {file}; {head}"
    ));
}

/// Trains, and scores the test clips after the last epoch.
fn train_model(
    job: &Job,
    params: &DistillParams,
    clips: &ClipSet,
    model: &FloatModel,
    train: &[usize],
    teachers: &[FloatModel],
    mut watch: Watch<'_>,
) -> Result<(Vec<EpochRecord>, Scores), NetsError> {
    let lambda = params.distillation.lambda;
    let temperature = params.distillation.temperature;
    let smoothing = params.label_smoothing;
    let mixed = params.precision == Precision::Bfloat16;
    // Teachers answer in the numbers in which the student learns: in others they would be what a step waits for.
    let twins = teachers.iter().filter(|_| mixed).map(MixedModel::new);
    let twins = twins.collect::<Result<Vec<_>, _>>()?;
    let ask = |clips: &Tensor| -> Vec<Tensor> {
        if mixed {
            twins.iter().map(|twin| twin.classify(clips)).collect()
        } else {
            let answers = teachers.iter().map(|teacher| teacher.classify(clips));
            answers.collect()
        }
    };
    let objective =
        |batch: &Batch, logits: &Tensor| match loss::soften(&ask(&batch.clips), temperature) {
            Some(softened) => {
                let labels = &batch.labels;
                loss::distillation(logits, &softened, labels, lambda, temperature, smoothing)
            }
            None => loss::cross_entropy(logits, &batch.labels, smoothing),
        };
    let (settings, checkpoints) = (params.training(), Some(job.checkpoints.as_path()));
    let watched = &mut watch;
    let records = if mixed {
        let twin = MixedModel::new(model)?;
        fit(
            &twin,
            clips,
            train,
            &settings,
            checkpoints,
            objective,
            watched,
        )?
    } else {
        fit(
            model,
            clips,
            train,
            &settings,
            checkpoints,
            objective,
            watched,
        )?
    };
    // Killed between the last checkpoint and the end: the last epoch was tested by another process.
    let scores = match watch.last.take() {
        Some(scores) => scores,
        None => watch.score()?,
    };
    Ok((records, scores))
}

/// Reads the teachers and refuses those that cannot teach these clips.
fn load_teachers(
    inputs: &[Input],
    clips: &ClipSet,
    device: Device,
) -> Result<Vec<FloatModel>, NetsError> {
    let mut teachers: Vec<FloatModel> = Vec::new();
    for input in inputs {
        let named = |error: NetsError| match error {
            NetsError::Mismatch(message) => {
                NetsError::Mismatch(format!("teacher `{}`: {message}", input.name))
            }
            other => other,
        };
        let Model::Float(teacher) = Model::load(&input.path, device)? else {
            return Err(NetsError::Mismatch(format!(
                "teacher `{}` is quantized; give the float model that it was made from",
                input.name
            )));
        };
        teacher.info.check_classes(clips.dataset()).map_err(named)?;
        teacher
            .info
            .check_geometry(clips.dataset())
            .map_err(named)?;
        if let Some(first) = teachers.first()
            && (first.info.mean, first.info.std) != (teacher.info.mean, teacher.info.std)
        {
            return Err(named(NetsError::Mismatch(format!(
                "it normalises clips differently than teacher `{}`, and both must see the same",
                inputs[0].name
            ))));
        }
        teachers.push(teacher);
    }
    Ok(teachers)
}

/// Reports progress and asks the test clips.
struct Watch<'a> {
    clips: &'a ClipSet,
    model: &'a FloatModel,
    test: &'a [usize],
    task: Task,
    reporter: &'a Reporter,
    epochs: u32,
    test_every: u32,
    batch_size: usize,
    /// Clips that an epoch trains on.
    samples: usize,
    /// What the test clips last said, for the progress line.
    last: Option<Scores>,
    /// The last epoch's state, shown while testing.
    detail: String,
}

impl<'a> Watch<'a> {
    fn new(
        params: &DistillParams,
        clips: &'a ClipSet,
        model: &'a FloatModel,
        train: &[usize],
        test: &'a [usize],
        reporter: &'a Reporter,
    ) -> Self {
        let samples = train.len() - train.len() % params.batch_size;
        let mut watch = Self {
            clips,
            model,
            test,
            task: reporter.task("training", 0, "clips"),
            reporter,
            epochs: params.epochs,
            test_every: params.test_every,
            batch_size: params.batch_size,
            samples,
            last: None,
            detail: String::new(),
        };
        let total = watch.done_after(params.epochs);
        watch.task = reporter.task("training", total, "clips");
        watch
    }

    /// Whether the test clips are asked after an epoch.
    fn tested(&self, epoch: u32) -> bool {
        let due = self.test_every > 0 && epoch.is_multiple_of(self.test_every);
        due || epoch == self.epochs
    }

    /// Clips trained and tested on when these many epochs are over.
    fn done_after(&self, epochs: u32) -> u64 {
        let tests = (1..=epochs).filter(|epoch| self.tested(*epoch)).count();
        (epochs as usize * self.samples + tests * self.test.len()) as u64
    }

    fn score(&self) -> Result<Scores, NetsError> {
        let predictions = predict(
            self.model,
            self.clips,
            self.test,
            self.batch_size,
            |clips| {
                self.task.advance(clips as u64);
            },
        )?;
        Ok(Scores::from(&predictions))
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
        let top1 = match &self.last {
            Some(scores) => format!("top-1 {:.0}%", 100.0 * scores.top1),
            None => format!("accuracy {:.0}%", 100.0 * progress.accuracy),
        };
        let (epoch, epochs, loss) = (progress.epoch, self.epochs, progress.loss);
        self.detail = format!("epoch {epoch}/{epochs} loss {loss:.2} {top1}");
        self.task.detail(self.detail.as_str());
        let done = self.done_after(progress.epoch - 1) + progress.clips as u64;
        self.task.set(done);
    }

    fn stop_requested(&self) -> bool {
        self.reporter.go_on().is_err()
    }

    fn epoch(&mut self, record: &EpochRecord) -> Result<Option<TestRecord>, NetsError> {
        if !self.tested(record.epoch) {
            return Ok(None);
        }
        let scores = self.score()?;
        let test = TestRecord {
            top1: scores.top1,
            top5: scores.top5,
            loss: scores.loss,
        };
        self.last = Some(scores);
        Ok(Some(test))
    }
}

fn metrics(
    model: &FloatModel,
    scores: &Scores,
    records: &[EpochRecord],
    teachers: &[Input],
) -> Metrics {
    // The report tells a student from its twin without a teacher by these names.
    let teachers: Vec<&str> = teachers.iter().map(|input| input.name.as_str()).collect();
    let values = [
        ("top1", json!(scores.top1)),
        ("top5", json!(scores.top5)),
        ("mean_class_accuracy", json!(scores.mean_class_accuracy)),
        ("loss", json!(scores.loss)),
        ("parameters", json!(model.parameters())),
        ("bytes", json!(model.bytes())),
        ("epochs", json!(records.len())),
        ("teachers", json!(teachers)),
    ];
    values
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// How fast this machine trained.
fn pace(records: &[EpochRecord]) -> impl IntoIterator<Item = (String, serde_json::Value)> {
    let paces = || records.iter().filter_map(|record| record.pace);
    let seconds: f64 = paces().map(|pace| pace.seconds).sum();
    let clips: u64 = paces().map(|pace| pace.clips).sum();
    [
        ("train_seconds".to_owned(), json!(seconds)),
        ("clips_per_second".to_owned(), json!(clips as f64 / seconds)),
    ]
}

fn write_training(folder: &Path, records: &[EpochRecord]) -> Result<(), NetsError> {
    let path = folder.join(files::TRAINING);
    let write = || -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path)?);
        for record in records {
            let published = EpochRecord {
                pace: None,
                ..record.clone()
            };
            serde_json::to_writer(&mut file, &published)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    write().map_err(|source| NetsError::Write {
        path: path.clone(),
        source,
    })
}

fn write_metrics(folder: &Path, metrics: &Metrics) -> Result<(), NetsError> {
    let path = folder.join(files::METRICS);
    let write = || -> std::io::Result<()> {
        let mut text = serde_json::to_vec_pretty(metrics)?;
        text.push(b'\n');
        std::fs::write(&path, text)
    };
    write().map_err(|source| NetsError::Write {
        path: path.clone(),
        source,
    })
}

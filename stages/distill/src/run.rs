//! From clips to a trained model's folder.

use std::io::Write;
use std::path::Path;

use fedact_clips::{ClipSet, Split};
use fedact_nets::data::{Batch, hold_out};
use fedact_nets::score::Scores;
use fedact_nets::train::{EpochRecord, fit, kept_epoch};
use fedact_nets::{
    Adopted, Answers, ComputeDevice, FloatModel, InputGeometry, MixedModel, ModelInfo, NetsError,
    OutOfRange, Outputs, Precision, Pretrained, Sampling, Teachers, device, files, keep_memory,
    multiplies_bfloat16, set_threads,
};
use fedact_stage::{Job, Metrics, Reporter, StageError, Stopped};
use serde_json::json;

use crate::DistillParams;
use crate::curves::curves;
use crate::objective::Objective;
use crate::watch::Watch;

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
    let device = device(params.device)?;
    warn_of_slowness(params, reporter);
    let (train, validation) = match (clips.indices(Split::Train), params.validation_share) {
        (train, 0.0) => (train, Vec::new()),
        (train, share) => hold_out(clips, &train, share, params.seed)?,
    };
    let test = clips.indices(Split::Test);
    if test.is_empty() {
        return Err(NetsError::Data(format!(
            "{} has no test clips, so that what was learned cannot be measured; extract it with a \
             split that keeps some back",
            clips.folder().display()
        )));
    }
    let mut info = describe(params, clips)?;
    let inputs = job.list("teacher").iter();
    let folders = inputs.map(|input| (input.name.as_str(), input.path.as_path()));
    let teachers = Teachers::load(folders, clips, Some(info.input), device)?;
    let pretrained = job
        .optional("pretrained")
        .map(Pretrained::open)
        .transpose()?;
    if let Some(normalisation) = teachers.normalisation() {
        // Both look at the same tensor, so the student adopts its teachers' normalisation.
        (info.mean, info.std) = normalisation;
    } else if let Some(normalisation) = pretrained.as_ref().and_then(Pretrained::normalisation) {
        (info.mean, info.std) = normalisation;
    }
    let model = FloatModel::new(info, params.seed, device)?;
    if let Some(pretrained) = pretrained {
        tell(&pretrained.give_to(&model)?, reporter);
    }
    let watch = Watch::new(
        params,
        clips,
        &model,
        train.len(),
        &validation,
        &test,
        reporter,
    )?;
    let (records, scores) = train_model(job, params, clips, &model, &train, &teachers, watch)?;
    model.save(&job.output)?;
    write_training(&job.output, &records)?;
    write(&job.output, "curves.svg", curves(&records))?;
    let confusion = json!({"classes": model.info.classes, "confusion": scores.confusion});
    write(&job.output, "confusion.json", format!("{confusion}\n"))?;
    let mut metrics = metrics(params, &model, &scores, &records, &names(job, &teachers));
    write_metrics(&job.output, &metrics)?;
    // How long it took is told, and not published: equal training leaves equal files.
    metrics.extend(pace(&records));
    Ok(metrics)
}

/// The network to train, of these clips or of a window of their frames.
fn describe(params: &DistillParams, clips: &ClipSet) -> Result<ModelInfo, NetsError> {
    let dataset = clips.dataset();
    let (frames, stored) = (params.frames, dataset.frames);
    let expected = format!("at most {stored}, the frames of a clip");
    OutOfRange::unless(frames <= stored, "frames", frames, &expected)?;
    let whole = InputGeometry::from(dataset);
    let mut info = ModelInfo::new(params.model, dataset.classes.clone(), whole);
    info.sampling = Sampling::of(clips)?;
    if (1..stored).contains(&frames) {
        (info.input.frames, info.window_of) = (frames, Some(stored));
    }
    Ok(info)
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

/// Trains, and scores the test clips with the weights that are kept.
fn train_model(
    job: &Job,
    params: &DistillParams,
    clips: &ClipSet,
    model: &FloatModel,
    train: &[usize],
    teachers: &Teachers,
    mut watch: Watch<'_>,
) -> Result<(Vec<EpochRecord>, Scores), NetsError> {
    let objective = Objective::new(params, teachers, model)?;
    let settings = objective.training(params);
    let (checkpoints, watched) = (Some(job.checkpoints.as_path()), &mut watch);
    let grade = |batch: &Batch, outputs: &Outputs| objective.loss(batch, outputs);
    let records = match params.precision {
        Precision::Float32 => fit(model, clips, train, &settings, checkpoints, grade, watched)?,
        Precision::Bfloat16 => {
            let twin = MixedModel::new(model)?;
            fit(&twin, clips, train, &settings, checkpoints, grade, watched)?
        }
    };
    let scores = watch.finish(&records)?;
    Ok((records, scores))
}

/// The names of the teachers' steps. The report tells a student from its twin without a teacher by them.
fn names(job: &Job, teachers: &Teachers) -> Vec<String> {
    let mut answers = teachers.answers.iter();
    let inputs = job.list("teacher").iter();
    inputs
        .flat_map(|input| match Answers::are_in(&input.path) {
            true => answers
                .next()
                .map_or(Vec::new(), |answers| answers.info.teachers.clone()),
            false => vec![input.name.clone()],
        })
        .collect()
}

fn metrics(
    params: &DistillParams,
    model: &FloatModel,
    scores: &Scores,
    records: &[EpochRecord],
    teachers: &[String],
) -> Metrics {
    let kept = kept_epoch(records, params.keep).map(|at| &records[at]);
    let validation = kept.and_then(|record| record.validation.as_ref());
    let values = [
        ("top1", json!(scores.top1)),
        ("top5", json!(scores.top5)),
        ("mean_class_accuracy", json!(scores.mean_class_accuracy)),
        ("loss", json!(scores.loss)),
        ("ece", json!(scores.ece)),
        ("parameters", json!(model.parameters())),
        ("bytes", json!(model.bytes())),
        ("epochs", json!(records.len())),
        ("kept_epoch", json!(kept.map(|record| record.epoch))),
        ("teachers", json!(teachers)),
    ];
    let validation = validation.map(|record| ("validation_top1", json!(record.top1)));
    values
        .into_iter()
        .chain(validation)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// How fast this machine trained.
fn pace(records: &[EpochRecord]) -> impl IntoIterator<Item = (String, serde_json::Value)> {
    let paces = || records.iter().filter_map(|record| record.pace);
    let seconds: f64 = paces().map(|pace| pace.seconds).sum();
    let waited: f64 = paces().map(|pace| pace.waited_seconds).sum();
    let clips: u64 = paces().map(|pace| pace.clips).sum();
    [
        ("train_seconds".to_owned(), json!(seconds)),
        ("clips_per_second".to_owned(), json!(clips as f64 / seconds)),
        ("wait_share".to_owned(), json!(waited / seconds)),
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
    let text = serde_json::to_string_pretty(metrics).map_err(|error| NetsError::Write {
        path: folder.join(files::METRICS),
        source: error.into(),
    })?;
    write(folder, files::METRICS, text + "\n")
}

fn write(folder: &Path, file: &str, text: String) -> Result<(), NetsError> {
    let path = folder.join(file);
    std::fs::write(&path, text).map_err(|source| NetsError::Write { path, source })
}

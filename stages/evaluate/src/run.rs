//! The work of the stage: open, match, test, time, write.

use std::path::Path;

use fedact_clips::{ClipSet, Split};
use fedact_nets::{Classifier, Model, NetsError};
use fedact_stage::{Input, Job, Metrics, Reporter, Task};
use serde_json::Value;
use tch::Device;

use crate::collect;
use crate::measure::{self, InFloat, InInt8, Looks};
use crate::report::{
    AsFloat, ClipSetSummary, Executed, FederatedRun, ModelKind, ModelResult, Report, Tests, Timing,
};
use crate::{EvaluateError, EvaluateParams};

/// A model that is loaded and knows its clips.
struct Candidate {
    step: String,
    model: Model,
    clip_set: usize,
    run: Option<FederatedRun>,
}

/// A candidate, and its network in int8 kernels where it has one that runs here.
struct Contender<'c> {
    candidate: &'c Candidate,
    in_int8: Option<InInt8<'c>>,
}

impl<'c> Contender<'c> {
    fn of(candidate: &'c Candidate, reporter: &Reporter) -> Self {
        let in_int8 = match &candidate.model {
            Model::Float(_) => None,
            Model::Quantized(quantized) => InInt8::of(quantized)
                .inspect_err(|error| warn_of_simulation(&candidate.step, error, reporter))
                .ok(),
        };
        Self { candidate, in_int8 }
    }

    /// How many ways it is run: a quantized model in simulated int8, in float32 and, where they run, in int8 kernels.
    fn executions(&self) -> usize {
        match self.candidate.model {
            Model::Float(_) => 1,
            Model::Quantized(_) => 2 + usize::from(self.in_int8.is_some()),
        }
    }

    fn error(&self) -> impl FnOnce(NetsError) -> EvaluateError {
        let step = self.candidate.step.clone();
        |source| EvaluateError::Model { step, source }
    }
}

/// Tests every model and writes the report.
///
/// # Errors
/// See [`crate::run`].
pub fn evaluate(
    job: &Job,
    params: &EvaluateParams,
    reporter: &Reporter,
) -> Result<Metrics, EvaluateError> {
    fedact_nets::set_threads(params.threads);
    let inputs = job.list("models");
    let sets = open_sets(job.list("clips"))?;
    let summaries = sets
        .iter()
        .map(|(name, set)| collect::summarize(name, set, params))
        .collect::<Result<Vec<_>, _>>()?;
    // All inputs are read and matched before the first minute of work is spent on any of them.
    let candidates = load(inputs, &summaries)?;
    let test: Vec<Vec<usize>> = sets
        .iter()
        .map(|(_, set)| set.indices(Split::Test))
        .collect();

    let mirrored = collect::mirrored(&sets, &params.flip_pairs)?;
    let views = params.test_views.count();
    // Compiled once, for testing and for timing.
    let contenders: Vec<Contender<'_>> = candidates
        .iter()
        .map(|candidate| Contender::of(candidate, reporter))
        .collect();
    let clips: usize = contenders
        .iter()
        .map(|contender| test[contender.candidate.clip_set].len() * views * contender.executions())
        .sum();
    let executions: usize = contenders.iter().map(Contender::executions).sum();
    let batches = params.repeats * executions;
    let tests = Tests {
        views,
        videos: params.test_views.videos,
    };
    let testing = reporter.task("testing", clips as u64, "clips");
    let mut models = Vec::with_capacity(candidates.len());
    for (contender, input) in contenders.iter().zip(inputs) {
        reporter.go_on()?;
        let candidate = contender.candidate;
        testing.detail(&candidate.step);
        let (set, indices) = (&sets[candidate.clip_set].1, &test[candidate.clip_set]);
        let looks = Looks {
            views: &params.test_views,
            mirrored: &mirrored[candidate.clip_set],
            batch_size: params.batch_size,
        };
        let mut result =
            examine(contender, set, indices, looks, &testing).map_err(contender.error())?;
        result.training = collect::training(&candidate.step, &input.path, reporter);
        result.teachers = collect::teachers(&input.path);
        if tests.single() {
            compare_with_history(candidate, &result, reporter);
        }
        models.push(result);
    }
    let timing = reporter.task("timing", batches as u64, "batches");
    for (contender, result) in contenders.iter().zip(&mut models) {
        reporter.go_on()?;
        let candidate = contender.candidate;
        timing.detail(&candidate.step);
        let (set, indices) = (&sets[candidate.clip_set].1, &test[candidate.clip_set]);
        time(contender, result, set, indices, params, &timing).map_err(contender.error())?;
        if let Some(error) = contender.in_int8.as_ref().and_then(InInt8::failure) {
            warn_of_simulation(&candidate.step, error, reporter);
            result.executed = None;
        }
    }
    drop(contenders);
    let report = Report {
        title: params.title.clone(),
        tests,
        timing: Timing {
            batch_size: params.batch_size,
            repeats: params.repeats,
            threads: params.threads,
        },
        clip_sets: summaries,
        models,
        runs: candidates
            .into_iter()
            .filter_map(|candidate| candidate.run)
            .collect(),
    };
    write(&report, &job.output)
}

fn open_sets(inputs: &[Input]) -> Result<Vec<(String, ClipSet)>, EvaluateError> {
    collect::names(inputs)
        .into_iter()
        .zip(inputs)
        .map(|(name, input)| match ClipSet::open(&input.path) {
            Ok(set) => Ok((name, set)),
            Err(source) => Err(EvaluateError::Clips { step: name, source }),
        })
        .collect()
}

fn load(inputs: &[Input], sets: &[ClipSetSummary]) -> Result<Vec<Candidate>, EvaluateError> {
    collect::names(inputs)
        .into_iter()
        .zip(inputs)
        .map(|(step, input)| {
            let model =
                Model::load(&input.path, Device::Cpu).map_err(|source| EvaluateError::Model {
                    step: step.clone(),
                    source,
                })?;
            let run = collect::federated(&step, &input.path)?;
            Ok(Candidate {
                clip_set: collect::matching(&step, &model.info().classes, run.as_ref(), sets)?,
                run,
                step,
                model,
            })
        })
        .collect()
}

/// The method of calibration and the improvements, in the words of the params.
fn quantized_by(model: &Model) -> Option<String> {
    let quantization = model.info().quantization.as_ref()?;
    let improved = quantization.improved.iter().map(|one| one.name());
    let words: Vec<&str> = [quantization.method.name()]
        .into_iter()
        .chain(improved)
        .collect();
    Some(words.join(", "))
}

/// Says that the report has nothing of a model in int8 kernels, and why.
fn warn_of_simulation(step: &str, error: &NetsError, reporter: &Reporter) {
    reporter.warn(format!(
        "{step}: its int8 kernels do not run here, so int8 is only simulated: {error}"
    ));
}

fn examine(
    contender: &Contender<'_>,
    set: &ClipSet,
    indices: &[usize],
    looks: Looks<'_>,
    testing: &Task,
) -> Result<ModelResult, NetsError> {
    let Contender { candidate, in_int8 } = contender;
    let seen = |clips: usize| testing.advance(clips as u64);
    let model = &candidate.model;
    let (accuracy, correct) = measure::accuracy(model, set, indices, looks, seen)?;
    let as_float = match model {
        Model::Float(_) => None,
        Model::Quantized(quantized) => {
            let (float, _) = measure::accuracy(&InFloat(quantized), set, indices, looks, seen)?;
            // The time is filled in when all models have been tested.
            Some(AsFloat {
                top1: float.top1,
                ms_per_clip: 0.0,
            })
        }
    };
    let executed = match in_int8 {
        Some(in_int8) => {
            let (executed, _) = measure::accuracy(in_int8, set, indices, looks, seen)?;
            Some(Executed {
                top1: executed.top1,
                ms_per_clip: 0.0,
            })
        }
        None => None,
    };
    let parameters = model.parameters();
    Ok(ModelResult {
        step: candidate.step.clone(),
        kind: match (model, &candidate.run) {
            (_, Some(_)) => ModelKind::Federated,
            (Model::Quantized(_), None) => ModelKind::Quantized,
            (Model::Float(_), None) => ModelKind::Float,
        },
        architecture: model.info().architecture.to_string(),
        clip_set: candidate.clip_set,
        accuracy,
        correct,
        parameters,
        bytes: model.bytes(),
        float_bytes: match model {
            Model::Float(_) => model.bytes(),
            Model::Quantized(_) => 4 * parameters,
        },
        ms_per_clip: 0.0,
        as_float,
        quantized_by: quantized_by(model),
        executed,
        teachers: None,
        training: Vec::new(),
    })
}

fn time(
    contender: &Contender<'_>,
    result: &mut ModelResult,
    set: &ClipSet,
    indices: &[usize],
    params: &EvaluateParams,
    timing: &Task,
) -> Result<(), NetsError> {
    let Contender { candidate, in_int8 } = contender;
    let model = &candidate.model;
    let batch = measure::batch(model.info(), set, indices, params.batch_size)?;
    let done = || timing.advance(1);
    result.ms_per_clip = measure::milliseconds_per_clip(model, &batch, params.repeats, done);
    if let (Model::Quantized(quantized), Some(float)) = (model, &mut result.as_float) {
        float.ms_per_clip =
            measure::milliseconds_per_clip(&InFloat(quantized), &batch, params.repeats, done);
    }
    if let (Some(executed), Some(in_int8)) = (&mut result.executed, in_int8) {
        executed.ms_per_clip =
            measure::milliseconds_per_clip(in_int8, &batch, params.repeats, done);
    }
    Ok(())
}

/// The history ends with an accuracy of the same model on the same clips. One clip may fall to the other
/// side by the last bits of a sum; more than one means that history and model do not belong together.
fn compare_with_history(candidate: &Candidate, result: &ModelResult, reporter: &Reporter) {
    let Some(run) = &candidate.run else {
        return;
    };
    let clips = (run.ending.top1 - result.accuracy.top1).abs() * result.correct.len() as f64;
    if clips > 1.5 {
        reporter.warn(format!(
            "the history of `{}` ends at {:.1}% top-1, but its model scores {:.1}% here: were they made by the same run, \
             and is it tested on the same clips?",
            candidate.step,
            100.0 * run.ending.top1,
            100.0 * result.accuracy.top1
        ));
    }
}

fn write(report: &Report, folder: &Path) -> Result<Metrics, EvaluateError> {
    let metrics = report.metrics();
    let put = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|source| EvaluateError::Write { path, source })
    };
    put("index.html", report.html())?;
    put("metrics.json", format!("{metrics:#}\n"))?;
    Ok(closing(report, &metrics))
}

/// The few figures that `fedact show` lists; all others are in `metrics.json`.
fn closing(report: &Report, metrics: &Value) -> Metrics {
    let mut closing = Metrics::new();
    for model in &report.models {
        closing.insert(format!("{}_top1", model.step), model.accuracy.top1.into());
    }
    for key in [
        "target_top1",
        "async_seconds",
        "sync_seconds",
        "time_saving",
    ] {
        closing.insert(key.to_owned(), metrics["async_vs_sync"][key].clone());
    }
    closing
}

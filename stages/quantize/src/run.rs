//! The work: calibrate and improve, measure, write.

use std::path::Path;

use fedact_clips::{ClipSet, Split};
use fedact_nets::quantize::{ExecutedModel, Improvement, QuantizedModel};
use fedact_nets::{Model, files, set_threads, sums_bytes_in_32_bits};
use fedact_stage::{Job, Metrics, Reporter};
use serde_json::json;
use tch::Device;

use crate::calibrate::{calibrate, teacher};
use crate::error::QuantizeError;
use crate::measure::{Measured, measure};
use crate::picture::noise;
use crate::steps::Steps;
use fedact_quantize_params::QuantizeParams;

/// Below this ratio of signal to noise at the logits a warning is given: classes close to each other
/// begin to change places.
const NOISY_DECIBELS: f64 = 20.0;

/// The picture of the ratio of signal to noise at every place.
const NOISE: &str = "noise.svg";

/// Quantizes a model as the job says.
pub(crate) fn quantize(
    job: &Job,
    params: &QuantizeParams,
    folders: (&Path, &Path),
    reporter: &Reporter,
) -> Result<Metrics, QuantizeError> {
    set_threads(params.threads);
    let (model_folder, clips_folder) = folders;
    let model = Model::load(model_folder, Device::Cpu)?;
    let float_bytes = model.bytes();
    let Model::Float(float) = model else {
        return Err(QuantizeError::AlreadyQuantized {
            path: model_folder.to_owned(),
        });
    };
    let clips = ClipSet::open(clips_folder)?;
    float.info.check_geometry(clips.dataset())?;
    float.info.check_classes(clips.dataset())?;
    let test = clips.indices(Split::Test);
    if test.is_empty() {
        let path = clips_folder.to_owned();
        return Err(QuantizeError::NoTestClips { path });
    }

    let teacher = teacher(job.optional("teacher"), &float, &clips)?;
    if teacher.is_some() && !params.improve.candidates().contains(&Improvement::Tune) {
        reporter
            .warn("nobody listens to the `teacher`: only `tune` does, which `improve` leaves out");
    }
    let improved = calibrate(&float, teacher.as_ref(), &clips, params, reporter)?;
    let quantized = &improved.model;
    let executed = compile(quantized, reporter);
    let measured = measure(
        (&float, &improved, executed.as_ref()),
        &clips,
        &test,
        params.batch_size,
        reporter,
    )?;
    quantized.save(&job.output)?;
    fedact_onnx::write_all(&job.output, &job.output)?;
    let mut metrics = metrics(quantized, &measured, float_bytes, test.len());
    write_metrics(&job.output.join(files::METRICS), &metrics, &measured)?;
    write(&job.output.join(NOISE), noise(&measured.places).as_bytes())?;
    if let Some(executed) = &measured.executed {
        // The time is this machine's, and so none of the output's.
        let time = json!(executed.milliseconds);
        metrics.insert("executed_milliseconds".to_owned(), time);
    }
    if measured.logits_snr_db < NOISY_DECIBELS {
        let weakest = measured
            .places
            .iter()
            .min_by(|a, b| a.snr_db.total_cmp(&b.snr_db));
        let place = weakest.map_or("logits", |place| place.name.as_str());
        reporter.warn(format!(
            "the logits of the int8 network stand only {:.1} dB above its rounding noise (worst \
             place: {place}); try `improve: auto`, another `method` or more `clips`",
            measured.logits_snr_db
        ));
    }
    Ok(metrics)
}

/// The model as it runs in eight bits, where this machine can.
fn compile(model: &QuantizedModel, reporter: &Reporter) -> Option<ExecutedModel> {
    if !sums_bytes_in_32_bits() {
        reporter.warn(
            "this processor has no VNNI: its int8 kernels add products in 16 bits, where large sums are cut \
             off, so what is measured of the executed network falls short of devices that have it",
        );
    }
    ExecutedModel::compile(model)
        .inspect_err(|error| {
            reporter.warn(format!(
                "the int8 network cannot run here and is only simulated: {error}"
            ));
        })
        .ok()
}

fn metrics(
    quantized: &QuantizedModel,
    measured: &Measured,
    float_bytes: u64,
    test_clips: usize,
) -> Metrics {
    let Measured { float, int8, .. } = measured;
    let executed = measured.executed.iter().flat_map(|executed| {
        [
            ("executed_top1", json!(executed.scores.top1)),
            ("executed_top5", json!(executed.scores.top5)),
            ("executed_agreement", json!(executed.agreement)),
            ("executed_steps", json!(executed.steps.largest())),
            (
                "executed_logits_steps",
                json!(executed.steps.logits.largest),
            ),
        ]
    });
    let figures = [
        ("top1", json!(int8.top1)),
        ("top5", json!(int8.top5)),
        ("mean_class_accuracy", json!(int8.mean_class_accuracy)),
        ("loss", json!(int8.loss)),
        ("float_top1", json!(float.top1)),
        ("float_top5", json!(float.top5)),
        (
            "float_mean_class_accuracy",
            json!(float.mean_class_accuracy),
        ),
        ("agreement", json!(measured.agreement)),
        ("logits_snr_db", json!(measured.logits_snr_db)),
        ("method", json!(quantized.quantization().method)),
        ("improved", json!(quantized.quantization().improved)),
        ("tried", json!(quantized.quantization().tried)),
        ("parameters", json!(quantized.parameter_count())),
        ("bytes", json!(quantized.bytes())),
        ("float_bytes", json!(float_bytes)),
        (
            "calibration_clips",
            json!(quantized.quantization().calibration_clips),
        ),
        ("test_clips", json!(test_clips)),
    ];
    figures
        .into_iter()
        .chain(executed)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The figures, with what is too long for the provenance: the ratio at every place, the confusions.
fn write_metrics(path: &Path, metrics: &Metrics, measured: &Measured) -> Result<(), QuantizeError> {
    let mut all = metrics.clone();
    all.insert("places".to_owned(), json!(measured.places));
    if let Some(executed) = &measured.executed {
        let Steps { places, logits } = &executed.steps;
        let places: Vec<_> = places.iter().chain([logits]).collect();
        all.insert("executed_places".to_owned(), json!(places));
    }
    all.insert("confusion".to_owned(), json!(measured.int8.confusion));
    let mut text = serde_json::to_vec_pretty(&all).map_err(|error| QuantizeError::Write {
        path: path.to_owned(),
        source: error.into(),
    })?;
    text.push(b'\n');
    write(path, &text)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), QuantizeError> {
    std::fs::write(path, bytes).map_err(|source| QuantizeError::Write {
        path: path.to_owned(),
        source,
    })
}

//! What the test split says: float, simulated and executed side by side.

use std::time::Instant;

use fedact_clips::ClipSet;
use fedact_nets::data::{Loader, LoaderSettings};
use fedact_nets::quantize::{ExecutedModel, Improved, NoiseMeter, PlaceNoise};
use fedact_nets::score::{Predictions, Scores};
use fedact_nets::{Classifier, FloatModel, NetsError};
use fedact_stage::Reporter;
use tch::{Kind, Tensor};

use crate::error::QuantizeError;
use crate::steps::{StepMeter, Steps};

/// Single clips that are timed, and those before that are not: libtorch compiles the program anew in the first.
const TIMED: usize = 20;
const WARM_UP: usize = 3;

/// What the test split says about the model.
pub(crate) struct Measured {
    pub float: Scores,
    /// Of the simulated int8 network.
    pub int8: Scores,
    /// Share of clips to which the float and the simulated network give the same class.
    pub agreement: f64,
    pub logits_snr_db: f64,
    pub places: Vec<PlaceNoise>,
    /// Where this machine can run it.
    pub executed: Option<ExecutedScores>,
}

/// What int8 kernels make of the test split.
pub(crate) struct ExecutedScores {
    pub scores: Scores,
    /// Share of clips to which the executed and the simulated network give the same class.
    pub agreement: f64,
    /// How far it is from the simulated one, place by place and at the logits.
    pub steps: Steps,
    /// For one clip at a time, the median.
    pub milliseconds: f64,
}

/// Has the models answer the clips at `test`.
pub(crate) fn measure(
    (float, improved, executed): (&FloatModel, &Improved, Option<&ExecutedModel>),
    clips: &ClipSet,
    test: &[usize],
    batch_size: usize,
    reporter: &Reporter,
) -> Result<Measured, QuantizeError> {
    let Improved { model, reference } = improved;
    let task = reporter.task("measuring", test.len() as u64, "clips");
    let settings = LoaderSettings::in_order(batch_size, &float.info);
    let mut meter = NoiseMeter::new(model);
    let mut steps = executed.map(|executed| StepMeter::new(model, executed));
    let (mut before, mut after, mut run) = (Vec::new(), Vec::new(), Vec::new());
    let (mut labels, mut single) = (Vec::new(), None);
    Loader::new(clips, test, settings)?.run(0, |batch| {
        before.push(float.classify(&batch.clips));
        after.push(meter.compare((reference, model), &batch.clips).simulated);
        if let Some(steps) = &mut steps {
            run.push(steps.compare(&batch.clips)?);
            single.get_or_insert_with(|| batch.clips.narrow(0, 0, 1).copy());
        }
        labels.push(batch.labels);
        task.advance(batch.indices.len() as u64);
        Ok::<(), QuantizeError>(reporter.go_on()?)
    })?;
    let predictions = |logits: &[Tensor]| Predictions {
        logits: Tensor::cat(logits, 0),
        labels: Tensor::cat(&labels, 0),
        indices: test.to_vec(),
    };
    let (before, after) = (predictions(&before), predictions(&after));
    let executed = match (executed, steps, single) {
        (Some(executed), Some(steps), Some(single)) => {
            let run = predictions(&run);
            Some(ExecutedScores {
                scores: Scores::from(&run),
                agreement: agreement(&after, &run),
                steps: steps.steps(&run.logits, &after.logits),
                milliseconds: milliseconds(executed, &single)?,
            })
        }
        _ => None,
    };
    Ok(Measured {
        float: Scores::from(&before),
        int8: Scores::from(&after),
        agreement: agreement(&before, &after),
        logits_snr_db: meter.logits(),
        places: meter.places(),
        executed,
    })
}

/// The share of clips that get the same class.
fn agreement(one: &Predictions, other: &Predictions) -> f64 {
    let class = |predictions: &Predictions| predictions.logits.argmax(1, false);
    let same = class(one).eq_tensor(&class(other));
    same.mean(Kind::Double).double_value(&[])
}

/// For a batch of one clip, the median.
fn milliseconds(model: &ExecutedModel, clip: &Tensor) -> Result<f64, NetsError> {
    let mut times = Vec::with_capacity(TIMED);
    for round in 0..WARM_UP + TIMED {
        let start = Instant::now();
        let _ = model.logits(clip)?;
        if round >= WARM_UP {
            times.push(1e3 * start.elapsed().as_secs_f64());
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(times[TIMED / 2])
}

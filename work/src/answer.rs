//! What a model says of clips that nobody has labelled.

use std::path::Path;
use std::time::Instant;

use fedact_clips::{ClipSet, Split};
use fedact_nets::data::{Loader, LoaderSettings};
use fedact_nets::quantize::ExecutedModel;
use fedact_nets::{Classifier, Model, ModelInfo, NetsError, set_threads};
use fedact_predict::{ANSWERS, Answers, CLIPS, Execution, Runtime, request, write};
use fedact_stage::{Job, Metrics, Reporter, StageError};
use tch::{Device, Kind, Tensor, no_grad};

/// Runs before those that are timed.
const WARM_UP: usize = 3;

/// The work of [`fedact_predict::ANSWER`]. The request is the number of clips of a video.
///
/// # Errors
/// A model that cannot be read; clips that are not as it takes them.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let clips: usize = request(job).map_err(|error| StageError::failed(&error))?;
    let answers = answers(job, clips, reporter).map_err(|error| {
        if error.invalid_input() {
            StageError::invalid(&error)
        } else {
            StageError::failed(&error)
        }
    })?;
    write(&job.output, ANSWERS, &answers).map_err(|error| StageError::failed(&error))?;
    Ok(Metrics::new())
}

fn answers(job: &Job, clips_of_video: usize, reporter: &Reporter) -> Result<Answers, NetsError> {
    set_threads(job.threads);
    let folder = |name: &str| {
        let found = job.optional(name);
        found.ok_or_else(|| NetsError::Data(format!("the job has no input `{name}`")))
    };
    let model = Running::load(folder("model")?, reporter)?;
    let clips = ClipSet::open(folder(CLIPS)?)?;
    model.info().check_geometry(clips.dataset())?;
    // Memory is laid out and kernels are chosen in the first run, programs are compiled anew in the second; neither is timed.
    let shape = model.info().input.batch_shape(clips_of_video);
    let nothing = Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    for _ in 0..WARM_UP {
        let _ = model.logits(&nothing)?;
    }
    let indices = clips.indices(Split::Test);
    let task = reporter.task("answering", indices.len() as u64, "clips");
    let (execution, runtime) = (model.execution(), Runtime::Libtorch);
    let mut answers = Answers::awaited(indices.len(), job.threads, execution, runtime);
    let settings = LoaderSettings::in_order(clips_of_video, model.info());
    Loader::new(&clips, &indices, settings)?.run(0, |batch| {
        reporter.go_on().map_err(|_| NetsError::Stopped)?;
        let began = Instant::now();
        let logits = model.logits(&batch.clips)?;
        answers.seconds.push(began.elapsed().as_secs_f64());
        let rows = logits.softmax(-1, Kind::Double);
        for row in 0..rows.size()[0] {
            let row = Vec::<f64>::try_from(&rows.get(row))?;
            answers.probabilities.push(row);
        }
        task.advance(batch.indices.len() as u64);
        Ok::<(), NetsError>(())
    })?;
    Ok(answers)
}

/// A model as it runs here: a quantized one in int8 kernels, where this libtorch has them.
enum Running {
    Model(Box<Model>),
    Int8(Box<ExecutedModel>),
}

impl Running {
    fn load(folder: &Path, reporter: &Reporter) -> Result<Self, NetsError> {
        let model = Model::load(folder, Device::Cpu)?;
        if let Model::Quantized(quantized) = &model {
            match ExecutedModel::compile(quantized) {
                Ok(executed) => return Ok(Self::Int8(Box::new(executed))),
                Err(error) => reporter.warn(format!(
                    "the int8 network cannot run here and is only simulated: {error}"
                )),
            }
        }
        Ok(Self::Model(Box::new(model)))
    }

    fn info(&self) -> &ModelInfo {
        match self {
            Self::Model(model) => model.info(),
            Self::Int8(model) => &model.info,
        }
    }

    fn execution(&self) -> Execution {
        match self {
            Self::Int8(_) => Execution::Int8,
            Self::Model(model) => match **model {
                Model::Float(_) => Execution::Float32,
                Model::Quantized(_) => Execution::SimulatedInt8,
            },
        }
    }

    fn logits(&self, clips: &Tensor) -> Result<Tensor, NetsError> {
        match self {
            Self::Model(model) => Ok(no_grad(|| model.classify(clips))),
            Self::Int8(model) => model.logits(clips),
        }
    }
}

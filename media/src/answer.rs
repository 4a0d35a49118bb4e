//! What a quantized model says of clips that nobody has labelled, by oneDNN alone.

use std::time::Instant;

use fedact_clips::{ClipSet, ClipsError, Split};
use fedact_int8::{Int8Error, Int8Network};
use fedact_predict::{ANSWERS, Answers, Attempt, CLIPS, Execution, Runtime, request, write};
use fedact_stage::{Job, Metrics, Reporter, StageError, Stopped};

/// Why there are no answers.
#[derive(Debug, thiserror::Error)]
enum AnswerError {
    #[error("the job has no input `{0}`")]
    Lacking(&'static str),
    #[error(transparent)]
    Clips(#[from] ClipsError),
    #[error(transparent)]
    Network(#[from] Int8Error),
    #[error(
        "the model takes {taken:?} of frames, height and width, but the clips have {found:?}; extract the clips with the \
         geometry of those that the model was trained on"
    )]
    Geometry {
        taken: [usize; 3],
        found: [usize; 3],
    },
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl AnswerError {
    /// Whether libtorch may do it all the same.
    fn is_of_this_machine(&self) -> bool {
        matches!(
            self,
            Self::Network(Int8Error::Unavailable(_) | Int8Error::Refused { .. })
        )
    }
}

/// The work of [`fedact_predict::ANSWER_INT8`]. The request is the number of clips of a video.
///
/// # Errors
/// A model or clips that cannot be read or do not fit.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let clips: usize = request(job).map_err(|error| StageError::failed(&error))?;
    let attempt = match answers(job, clips, reporter) {
        Ok(answers) => Attempt::Answered(answers),
        Err(error) if error.is_of_this_machine() => Attempt::Unable(error.to_string()),
        Err(AnswerError::Stopped(stopped)) => return Err(stopped.into()),
        Err(error) => return Err(StageError::invalid(&error)),
    };
    write(&job.output, ANSWERS, &attempt).map_err(|error| StageError::failed(&error))?;
    Ok(Metrics::new())
}

fn answers(job: &Job, clips_of_video: usize, reporter: &Reporter) -> Result<Answers, AnswerError> {
    let folder = |name: &'static str| job.optional(name).ok_or(AnswerError::Lacking(name));
    let mut network = Int8Network::open(folder("model")?)?;
    network.set_threads(job.threads);
    let clips = ClipSet::open(folder(CLIPS)?)?;
    let seen = Seen::of(&network, &clips)?;
    // Primitives are made for this number of clips, and memory is touched, before anything is timed.
    let _ = network.logits(&vec![0; clips_of_video * network.clip_bytes()])?;
    let indices = clips.indices(Split::Test);
    let task = reporter.task("answering", indices.len() as u64, "clips");
    let (execution, runtime) = (Execution::Int8, Runtime::Onednn);
    let mut answers = Answers::awaited(indices.len(), job.threads, execution, runtime);
    let classes = network.description().classes.len();
    let (mut pixels, mut room) = (Vec::new(), Vec::new());
    for video in indices.chunks(clips_of_video) {
        reporter.go_on()?;
        pixels.clear();
        for clip in video {
            pixels.extend_from_slice(&clips.pixels(*clip, &mut room)?[seen.bytes()]);
        }
        let began = Instant::now();
        let logits = network.logits(&pixels)?;
        answers.seconds.push(began.elapsed().as_secs_f64());
        answers
            .probabilities
            .extend(logits.chunks(classes).map(softmax));
        task.advance(video.len() as u64);
    }
    Ok(answers)
}

/// What a network sees of a clip: the frames in its middle.
struct Seen {
    first: usize,
    frames: usize,
    frame_bytes: usize,
}

impl Seen {
    fn of(network: &Int8Network, clips: &ClipSet) -> Result<Self, AnswerError> {
        let description = network.description();
        let input = description.input;
        let stored = description.window_of.unwrap_or(input.frames);
        let taken = [stored, input.height, input.width].map(|side| side as usize);
        let dataset = clips.dataset();
        let found = [dataset.frames, dataset.height, dataset.width];
        let frames = input.frames as usize;
        if taken != found || frames > taken[0] {
            return Err(AnswerError::Geometry { taken, found });
        }
        Ok(Self {
            first: (taken[0] - frames) / 2,
            frames,
            frame_bytes: network.clip_bytes() / frames,
        })
    }

    fn bytes(&self) -> std::ops::Range<usize> {
        let first = self.first * self.frame_bytes;
        first..first + self.frames * self.frame_bytes
    }
}

/// Probabilities of logits.
fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = logits.iter().map(|logit| f64::from(logit - largest).exp());
    let powers: Vec<f64> = powers.collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_up_to_one_however_large_logits_are() {
        let probabilities = softmax(&[1000.0, 1000.0, f32::from(-8i8)]);
        assert_eq!(probabilities, [0.5, 0.5, 0.0]);
        let even = softmax(&[0.0, 3.0f32.ln()]);
        assert!((even[1] - 0.75).abs() < 1e-6, "{even:?}");
    }
}

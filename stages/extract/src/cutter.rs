//! Videos cut in workers: a file over which FFmpeg crashes, or never returns, is that file's problem.
//!
//! A question names a file, a part of it and a number of clips; the rest is what the worker was forked with. An answer
//! is the length of its JSON (8 bytes), the JSON, and the pixels.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Duration;

use fedact_clips::{Problem, Reason};
use fedact_extract_params::ExtractParams;
use fedact_worker::{Crew, Death};
use serde::{Deserialize, Serialize};

use crate::cut::{Cut, Summary, cut, problem};
use crate::error::ExtractError;
use crate::layout::Candidate;
use crate::part::Part;

/// By how much a worker may exceed the limit of time, which it looks at itself between packets, before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// What a worker may have for everything that is not counted against the limit of memory, in bytes.
const UNCOUNTED: u64 = 256 << 20;

/// Cuts clips in workers.
#[derive(Debug)]
pub(crate) struct Cutter {
    crew: Crew,
    limit: Duration,
}

#[derive(Serialize, Deserialize)]
struct Question {
    /// Names of files need not be text.
    path: Vec<u8>,
    part: Option<Vec<u8>>,
    clips: usize,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Clips {
        summary: Summary,
        /// The seconds of the summary, which are not kept with it.
        seconds: [f64; 3],
    },
    Problem(Problem),
}

impl Cutter {
    /// Must be called before there are threads. Long videos are cut into parts of so many `seconds`, where they are given
    /// ([`part_of`](crate::unlabelled::part_of)).
    ///
    /// # Errors
    /// The system gives no process.
    pub(crate) fn of(params: &ExtractParams, seconds: Option<f64>) -> Result<Self, ExtractError> {
        fedact_video::catch_log();
        let limit = Duration::from_secs_f64(params.time_limit_seconds);
        let crew = Crew::start(Some(memory(params)), |question| {
            answer(question, params, seconds)
        })?;
        Ok(Self { crew, limit })
    }

    /// The clips of a candidate, or what is wrong with it.
    ///
    /// # Errors
    /// There can be no worker.
    pub(crate) fn cut(
        &self,
        candidate: &Candidate,
        clips: usize,
    ) -> Result<Result<Cut, Problem>, ExtractError> {
        let question = Question {
            path: candidate.path.as_os_str().as_bytes().to_vec(),
            part: candidate.part.as_ref().map(|part| part.key().to_vec()),
            clips,
        };
        // Plain data, which has JSON; a worker that gets none says so.
        let question = serde_json::to_vec(&question).unwrap_or_default();
        let patience = self.limit + GRACE;
        let mut end = End::of(self.crew.ask(&question, patience, understood)?);
        if matches!(end, End::Crash(_)) {
            // Perhaps a file before it had damaged the worker: one that has seen no other decides.
            end = End::of(self.crew.ask_anew(&question, patience, understood)?);
        }
        Ok(match end {
            End::Answer(answer) => answer.map_err(|problem| Problem {
                path: candidate.name.clone(),
                ..problem
            }),
            End::Overdue => Err(fatal(
                candidate,
                Reason::TimeLimit,
                format!(
                    "it took longer than {} s (`time_limit_seconds`) and did not let go: its process was killed",
                    self.limit.as_secs_f64()
                ),
            )),
            End::Crash(how) => Err(fatal(
                candidate,
                Reason::Crashed,
                format!("its process crashed: {how}; so did another that did nothing else"),
            )),
        })
    }
}

/// How a question ends.
enum End {
    Answer(Result<Cut, Problem>),
    Overdue,
    /// How the worker died.
    Crash(String),
}

impl End {
    fn of(answer: Result<Result<Cut, Problem>, Death>) -> Self {
        match answer {
            Ok(answer) => Self::Answer(answer),
            Err(Death::Overdue) => Self::Overdue,
            Err(death) => Self::Crash(death.to_string()),
        }
    }
}

fn fatal(candidate: &Candidate, reason: Reason, message: String) -> Problem {
    Problem {
        path: candidate.name.clone(),
        reason,
        message,
        ffmpeg: Vec::new(),
    }
}

/// Bytes that a worker may have: the limit once more for decoders that allocate by themselves, whose pictures are
/// limited and not counted, and the frames that are asked for, in order and out of order, and on their way back.
fn memory(params: &ExtractParams) -> u64 {
    let sampling = &params.sampling;
    let clips = u64::from(sampling.train_clips.max(sampling.test_clips));
    let side = u64::from(params.size);
    let pixels = clips * u64::from(params.frames) * side * side * 3;
    2 * (u64::from(params.memory_limit_mib) << 20) + 4 * pixels + UNCOUNTED
}

/// What a worker does.
fn answer(question: &[u8], params: &ExtractParams, seconds: Option<f64>) -> Vec<u8> {
    let (answer, pixels) = match worked(question, params, seconds) {
        Ok(cut) => {
            let summary = cut.summary;
            let seconds = [
                summary.open_seconds,
                summary.decode_seconds,
                summary.scale_seconds,
            ];
            (Answer::Clips { summary, seconds }, cut.pixels)
        }
        Err(problem) => (Answer::Problem(problem), Vec::new()),
    };
    let head = serde_json::to_vec(&answer).unwrap_or_default();
    let mut bytes = Vec::with_capacity(8 + head.len() + pixels.len());
    bytes.extend_from_slice(&(head.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&pixels);
    bytes
}

fn worked(question: &[u8], params: &ExtractParams, seconds: Option<f64>) -> Result<Cut, Problem> {
    let not_understood = |what: String| Problem {
        path: String::new(),
        reason: Reason::Crashed,
        message: format!("its process was not told what to do: {what}"),
        ffmpeg: Vec::new(),
    };
    let question: Question =
        serde_json::from_slice(question).map_err(|error| not_understood(error.to_string()))?;
    let part = match question.part.as_deref().map(Part::from_key) {
        Some(None) => return Err(not_understood("it names no part".to_owned())),
        Some(part) => part,
        None => None,
    };
    let path = OsString::from_vec(question.path);
    cut(
        Path::new(&path),
        part.as_ref(),
        params,
        (question.clips, seconds),
    )
    .map_err(|fault| problem("", &fault))
}

/// A worker's answer; `None` where it makes no sense, as that of a worker may that is damaged and does not know.
fn understood(mut bytes: Vec<u8>) -> Option<Result<Cut, Problem>> {
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk::<8>()?)).ok()?;
    let end = length.checked_add(8)?;
    Some(match serde_json::from_slice(bytes.get(8..end)?).ok()? {
        Answer::Problem(problem) => Err(problem),
        Answer::Clips { summary, seconds } => {
            let [open_seconds, decode_seconds, scale_seconds] = seconds;
            bytes.drain(..end);
            Ok(Cut {
                summary: Summary {
                    open_seconds,
                    decode_seconds,
                    scale_seconds,
                    ..summary
                },
                pixels: bytes,
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_understood_and_rubbish_is_not() {
        let params = ExtractParams::default();
        let nobody = serde_json::to_vec(&Question {
            path: b"/no/such/file".to_vec(),
            part: None,
            clips: 1,
        });
        let bytes = answer(&nobody.unwrap(), &params, None);
        let problem = understood(bytes.clone()).unwrap().unwrap_err();
        assert_eq!(problem.reason, Reason::Unreadable);
        let told_nothing = understood(answer(b"", &params, None)).unwrap().unwrap_err();
        assert_eq!(told_nothing.reason, Reason::Crashed);
        for rubbish in [&b""[..], b"short", &[0xff; 40], &bytes[..bytes.len() - 1]] {
            assert!(understood(rubbish.to_vec()).is_none(), "{rubbish:?}");
        }
    }
}

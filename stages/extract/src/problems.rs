//! What is wrong with files: found, counted, told, and too much of it refused.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use fedact_clips::{ClipsError, Problem, Reason, Split, files, write_problems};
use fedact_extract_params::{Duplicates, ExtractParams};
use fedact_stage::{Job, Reporter};

use crate::decode::Outcome;
use crate::error::ExtractError;
use crate::layout::{Candidate, Found};
use crate::part::Part;

/// Problems that are named in a warning or an error; all are in `problems.jsonl`.
const NAMED: usize = 3;

/// Where all problems are listed if they stop the step: among its checkpoints, which stay, as its output does not.
#[derive(Debug)]
pub(crate) struct ProblemList(PathBuf);

impl ProblemList {
    pub(crate) fn of(job: &Job) -> Self {
        Self(job.checkpoints.clone())
    }

    pub(crate) fn write(&self, problems: &[Problem]) -> Result<(), ExtractError> {
        std::fs::create_dir_all(&self.0).map_err(|source| ClipsError::Write {
            path: self.0.clone(),
            source,
        })?;
        Ok(write_problems(&self.0, problems)?)
    }
}

impl fmt::Display for ProblemList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.join(files::PROBLEMS).display().fmt(f)
    }
}

/// Whether the file itself is at fault.
pub(crate) fn bad(reason: Reason) -> bool {
    reason.left_out() && !matches!(reason, Reason::Missing | Reason::Duplicate)
}

/// Refuses a folder of which more is missing than allowed, before anything is decoded.
pub(crate) fn few_missing(
    found: &Found,
    params: &ExtractParams,
    list: &ProblemList,
) -> Result<(), ExtractError> {
    let missing: Vec<&Problem> = of(&found.problems, |reason| reason == Reason::Missing);
    let listed = found.candidates.len() + found.problems.len();
    let limit = params.max_missing_share(found.layout);
    if missing.len() as f64 > limit * listed as f64 {
        list.write(&found.problems)?;
        return Err(ExtractError::TooManyMissing {
            missing: missing.len(),
            listed,
            limit,
            examples: examples(&missing),
            list: list.to_string(),
        });
    }
    Ok(())
}

/// Refuses more bad files among `files` than allowed, and duplicates where they are not to be left out.
pub(crate) fn few_bad(
    problems: &[Problem],
    files: usize,
    params: &ExtractParams,
    list: &ProblemList,
) -> Result<(), ExtractError> {
    let spoilt = of(problems, bad);
    if spoilt.len() as f64 > params.max_bad_share * files as f64 {
        list.write(problems)?;
        return Err(ExtractError::TooManyBad {
            bad: spoilt.len(),
            files,
            limit: params.max_bad_share,
            examples: examples(&spoilt),
            list: list.to_string(),
        });
    }
    let twice = of(problems, |reason| reason == Reason::Duplicate);
    if params.duplicates == Duplicates::Fail && !twice.is_empty() {
        list.write(problems)?;
        return Err(ExtractError::Duplicates {
            count: twice.len(),
            examples: examples(&twice),
            list: list.to_string(),
        });
    }
    Ok(())
}

/// Videos whose clips are in the set although something is wrong with the file.
pub(crate) fn suspect(candidates: &[Candidate], outcomes: &[Outcome]) -> Vec<Problem> {
    candidates
        .iter()
        .zip(outcomes)
        .filter_map(|(candidate, outcome)| {
            let damage = outcome.result.as_ref().ok()?.summary.damage.clone()?;
            Some(Problem {
                path: candidate.name.clone(),
                reason: Reason::Damaged,
                message: damage.message,
                ffmpeg: damage.ffmpeg,
            })
        })
        .collect()
}

/// Takes out the training videos whose content is also among the test videos: the other way round, the
/// test would no longer be the one that others measure on.
pub(crate) fn leave_out_duplicates(
    candidates: &[Candidate],
    outcomes: &mut [Outcome],
    splits: &[Split],
) {
    let mut tested: BTreeMap<[u8; 32], Vec<&Candidate>> = BTreeMap::new();
    for ((candidate, outcome), split) in candidates.iter().zip(outcomes.iter()).zip(splits) {
        if let (Ok(_), Some(digest), Split::Test) = (&outcome.result, outcome.digest, split) {
            tested.entry(digest).or_default().push(candidate);
        }
    }
    for ((candidate, outcome), split) in candidates.iter().zip(outcomes.iter_mut()).zip(splits) {
        if *split == Split::Test || outcome.result.is_err() {
            continue;
        }
        let twin = outcome
            .digest
            .and_then(|digest| tested.get(&digest))
            .and_then(|twins| {
                let part = candidate.part.as_ref();
                twins
                    .iter()
                    .find(|twin| Part::overlap(part, twin.part.as_ref()))
            });
        if let Some(twin) = twin {
            outcome.result = Err(Problem {
                path: candidate.name.clone(),
                reason: Reason::Duplicate,
                message: format!(
                    "this training video has the same content as the test video {}",
                    twin.id()
                ),
                ffmpeg: Vec::new(),
            });
        }
    }
}

/// One warning per kind of problem.
pub(crate) fn warn(problems: &[Problem], reporter: &Reporter) {
    for (affected, what) in [
        (
            of(problems, |reason| reason == Reason::Missing),
            "are listed and not there",
        ),
        (of(problems, bad), "are left out"),
        (
            of(problems, |reason| reason == Reason::Damaged),
            "are used although they are damaged",
        ),
        (
            of(problems, |reason| reason == Reason::Duplicate),
            "are left out because the same content is used already",
        ),
    ] {
        if !affected.is_empty() {
            reporter.warn(format!(
                "{} files {what}: {}; all are listed in problems.jsonl",
                affected.len(),
                examples(&affected)
            ));
        }
    }
}

fn of(problems: &[Problem], wanted: impl Fn(Reason) -> bool) -> Vec<&Problem> {
    problems
        .iter()
        .filter(|problem| wanted(problem.reason))
        .collect()
}

fn examples(problems: &[&Problem]) -> String {
    let mut text: Vec<String> = problems
        .iter()
        .take(NAMED)
        .map(|problem| format!("{} ({})", problem.path, problem.message))
        .collect();
    if problems.len() > NAMED {
        text.push(format!("{} more", problems.len() - NAMED));
    }
    text.join(", ")
}

//! From candidates to what became of each: many videos at once, one thread each, what is finished found again.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use fedact_clips::{ClipSet, Encoding, Problem, Reason, Split};
use fedact_stage::{Job, Reporter, Shard, Task};
use rayon::prelude::*;

use crate::cut::{Cut, Summary, digest};
use crate::cutter::Cutter;
use crate::earlier::{Clips, Earlier, Found, Line};
use crate::error::ExtractError;
use crate::layout::Candidate;
use crate::pieces::{Name, Piece, PieceFolder, lasting};
use crate::run::{encoding, sampling, settings_of};
use fedact_extract_params::ExtractParams;

/// The problem of a file that somebody writes to.
const CHANGED: &str = "it changed while it was read";

/// How often the pace is shown, even while no video is finished.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// What is to be cut: the files, and how many clips of each.
pub(crate) struct Work<'a>(Vec<(&'a Candidate, usize)>);

impl<'a> Work<'a> {
    pub(crate) fn of(
        candidates: &'a [Candidate],
        splits: &[Split],
        params: &ExtractParams,
    ) -> Self {
        let clips = |split: &Split| match split {
            Split::Train => params.sampling.train_clips as usize,
            Split::Test => params.sampling.test_clips as usize,
        };
        Self(candidates.iter().zip(splits.iter().map(clips)).collect())
    }

    /// Those of one shard: by their names, which are the same on all machines and cost no reading.
    pub(crate) fn of_shard(&self, shard: Shard) -> Self {
        let mine = |(candidate, _): &&(&Candidate, usize)| shard.holds(&candidate.name);
        Self(self.0.iter().filter(mine).copied().collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// What became of a candidate: its content, and its clips or its problem.
pub(crate) struct Outcome {
    pub(crate) digest: Option<[u8; 32]>,
    pub(crate) origin: Origin,
    /// None for a file that cannot be read.
    name: Option<Name>,
    pub(crate) result: Result<Done, Problem>,
}

impl Outcome {
    /// As a line of the clip set that it is part of, with the lines of its clips; `None` for what is to be tried
    /// again.
    pub(crate) fn line(&self, clips: Vec<usize>) -> Option<Line> {
        let name = self.name.clone()?;
        match &self.result {
            Ok(done) => Some(Line::clips(name, clips, done.summary.clone())),
            Err(problem) => lasting(problem).then(|| Line::problem(name, problem.clone())),
        }
    }
}

/// Where an outcome comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The file itself, in this run.
    File,
    /// A piece that another run left.
    Piece,
    /// The clip set of an earlier run.
    Earlier,
}

/// A video whose clips are there.
pub(crate) struct Done {
    pub(crate) summary: Summary,
    clips: usize,
    name: Name,
    /// Where its clips lie if not in a piece.
    earlier: Option<Clips>,
}

/// The pixels of all clips of a video.
pub(crate) enum Pixels<'a> {
    /// One clip after the other.
    Cut(Vec<u8>),
    /// A set, and the number in it of each clip.
    Earlier(&'a ClipSet, &'a [usize]),
}

/// Cuts clips out of files, or finds them cut.
pub(crate) struct Decoder<'a> {
    pub(crate) params: &'a ExtractParams,
    pub(crate) reporter: &'a Reporter,
    /// As many threads as the job has.
    pub(crate) pool: rayon::ThreadPool,
    cutter: Cutter,
    earlier: Earlier,
    pieces: PieceFolder,
}

impl<'a> Decoder<'a> {
    pub(crate) fn of(
        job: &Job,
        params: &'a ExtractParams,
        reporter: &'a Reporter,
    ) -> Result<Self, ExtractError> {
        let settings = settings_of(&sampling(params));
        let sets = job.pieces.as_ref().map(|pieces| pieces.earlier.as_slice());
        // Before there are threads.
        let cutter = Cutter::of(params, None)?;
        let threads = job.threads.max(1);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .map_err(|source| ExtractError::Threads { threads, source })?;
        Ok(Self {
            params,
            reporter,
            pool,
            cutter,
            earlier: Earlier::open(sets.unwrap_or_default(), encoding(params)),
            pieces: PieceFolder::of(job, &settings, encoding(params) != Encoding::Raw),
        })
    }

    /// Finds or decodes every candidate, as many at once as there are threads.
    pub(crate) fn all(&self, work: &Work<'_>) -> Result<Vec<Outcome>, ExtractError> {
        let task = self.reporter.task("decoding", work.len() as u64, "videos");
        let clips = AtomicU64::new(0);
        let (finished, ticking) = channel::<()>();
        std::thread::scope(|scope| {
            let (task, clips) = (&task, &clips);
            scope.spawn(move || {
                let began = Instant::now();
                while ticking.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                    show_pace(task, clips, began);
                }
            });
            let outcomes = self.pool.install(|| {
                work.0
                    .par_iter()
                    .with_max_len(1)
                    .map(|(candidate, count)| {
                        self.reporter.go_on()?;
                        let outcome = self.one(candidate, *count)?;
                        if outcome.result.is_ok() {
                            clips.fetch_add(*count as u64, Ordering::Relaxed);
                        }
                        task.advance(1);
                        Ok(outcome)
                    })
                    .collect()
            });
            drop(finished);
            outcomes
        })
    }

    /// Decodes one candidate, or finds it finished.
    fn one(&self, candidate: &Candidate, clips: usize) -> Result<Outcome, ExtractError> {
        let before = stamp(&candidate.path);
        let digest = match digest(&candidate.path) {
            Ok(digest) => digest,
            Err(error) => {
                return Ok(Outcome {
                    digest: None,
                    origin: Origin::File,
                    name: None,
                    result: Err(unreadable(candidate, error.to_string())),
                });
            }
        };
        let part = candidate.part.as_ref();
        let name = self.pieces.name(&digest, part, clips);
        let done = |summary, earlier| Done {
            summary,
            clips,
            name: name.clone(),
            earlier,
        };
        let here = |problem: Problem| Problem {
            path: candidate.name.clone(),
            ..problem
        };
        let (origin, result) = if let Some(found) = self.earlier.find(&name) {
            let result = match found {
                Found::Clips(clips, summary) => Ok(done(summary.clone(), Some(clips))),
                Found::Problem(problem) => Err(here(problem.clone())),
            };
            (Origin::Earlier, result)
        } else if let Some(piece) = self.pieces.load(&name) {
            let result = match piece {
                Piece::Clips(cut) => Ok(done(cut.summary, None)),
                Piece::Problem(problem) => Err(here(problem)),
            };
            (Origin::Piece, result)
        } else {
            let result = match self.cutter.cut(candidate, clips)? {
                // What was decoded may not be what the digest is of.
                _ if stamp(&candidate.path) != before => Err(unreadable(candidate, CHANGED)),
                Ok(cut) => {
                    let summary = cut.summary.clone();
                    self.pieces.save(&name, &Piece::Clips(cut))?;
                    Ok(done(summary, None))
                }
                Err(problem) => {
                    if lasting(&problem) {
                        self.pieces.save(&name, &Piece::Problem(problem.clone()))?;
                    }
                    Err(problem)
                }
            };
            (Origin::File, result)
        };
        Ok(Outcome {
            digest: Some(digest),
            origin,
            name: Some(name),
            result,
        })
    }

    /// The pixels of a video that is done. A piece that another job has spent meanwhile is made again.
    pub(crate) fn pixels<'d>(
        &'d self,
        candidate: &Candidate,
        done: &'d Done,
    ) -> Result<Pixels<'d>, ExtractError> {
        if let Some(video) = &done.earlier {
            return Ok(self.earlier.pixels(video));
        }
        if let Some(Piece::Clips(Cut { pixels, .. })) = self.pieces.load(&done.name) {
            return Ok(Pixels::Cut(pixels));
        }
        match self.cutter.cut(candidate, done.clips)? {
            Ok(cut) => Ok(Pixels::Cut(cut.pixels)),
            Err(problem) => Err(ExtractError::Lost {
                path: candidate.path.clone(),
                reason: problem.message,
            }),
        }
    }

    /// Moves the pieces that are in the clip set now to the checkpoints, which go when it is published.
    pub(crate) fn spend(&self, outcomes: &[Outcome]) -> Result<(), ExtractError> {
        outcomes
            .iter()
            .filter(|outcome| outcome.origin != Origin::Earlier)
            .filter_map(|outcome| outcome.name.as_ref())
            .try_for_each(|name| self.pieces.spend(name))
    }
}

/// What changes in a file's stats when its content does.
fn stamp(path: &Path) -> Option<[i64; 6]> {
    let stat = std::fs::metadata(path).ok()?;
    Some([
        stat.size() as i64,
        stat.ino() as i64,
        stat.mtime(),
        stat.mtime_nsec(),
        stat.ctime(),
        stat.ctime_nsec(),
    ])
}

fn unreadable(candidate: &Candidate, message: impl Into<String>) -> Problem {
    Problem {
        path: candidate.name.clone(),
        reason: Reason::Unreadable,
        message: message.into(),
        ffmpeg: Vec::new(),
    }
}

fn show_pace(task: &Task, clips: &AtomicU64, began: Instant) {
    let pace = clips.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    task.detail(format!("{pace:.1} clips/s"));
}

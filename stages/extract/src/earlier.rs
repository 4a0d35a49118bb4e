//! Clip sets of earlier runs, whose clips are taken over where the same pieces are wanted again.
//!
//! Each clip set says in `pieces.jsonl` of which pieces it is made, one a line and in the order of the files:
//!
//! ```text
//! {"piece": "5d1f...", "clips": [3, 4], "summary": {"times": [[0, 500000], [500000, 1000000]], ...}}
//! {"piece": "02ac...", "problem": {"path": "sit/notes.doc", "reason": "not-a-video", ...}}
//! ```
//!
//! `clips` are lines of `clips.jsonl`, counted from 0. So a set is its own index: growing a folder by one video
//! costs no disk but for the new clips, and decodes one video.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use fedact_clips::{ClipSet, Encoding, Problem};
use serde::{Deserialize, Serialize};

use crate::cut::Summary;
use crate::decode::Pixels;
use crate::error::ExtractError;
use crate::pieces::Name;

/// The file's name in the folder of a clip set.
const FILE: &str = "pieces.jsonl";

/// A piece of a clip set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    piece: Name,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", untagged)]
enum What {
    Clips { clips: Vec<usize>, summary: Summary },
    Problem { problem: Problem },
}

impl Line {
    /// A video that gave clips.
    pub(crate) fn clips(piece: Name, clips: Vec<usize>, summary: Summary) -> Self {
        let what = What::Clips { clips, summary };
        Self { piece, what }
    }

    /// A file that gave none, and never will.
    pub(crate) fn problem(piece: Name, problem: Problem) -> Self {
        let what = What::Problem { problem };
        Self { piece, what }
    }
}

/// Writes `pieces.jsonl` into the folder of a clip set.
pub(crate) fn write(
    folder: &Path,
    lines: impl IntoIterator<Item = Line>,
) -> Result<(), ExtractError> {
    let path = folder.join(FILE);
    let write = || {
        let mut file = BufWriter::new(File::create(&path)?);
        for line in lines {
            serde_json::to_writer(&mut file, &line)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    write().map_err(|source| ExtractError::Piece {
        path: path.clone(),
        source,
    })
}

/// Clip sets of earlier runs.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    sets: Vec<ClipSet>,
    pieces: HashMap<Name, (usize, What)>,
}

/// What became of a video in an earlier run.
pub(crate) enum Found<'a> {
    Clips(Clips, &'a Summary),
    Problem(&'a Problem),
}

/// The clips of one video in one of the sets.
#[derive(Debug, Clone)]
pub(crate) struct Clips {
    set: usize,
    clips: Vec<usize>,
}

impl Earlier {
    /// Opens clip sets that a set of this encoding can take clips over from. One that cannot be read, or
    /// contradicts itself, is passed over: nothing is lost but time. So is one of JPEGs where other bytes are
    /// wanted: encoded a second time, its frames would not be those of the video.
    pub(crate) fn open(folders: &[PathBuf], wanted: Encoding) -> Self {
        let mut earlier = Self::default();
        for folder in folders {
            let (Ok(set), Some(lines)) = (ClipSet::open(folder), read(&folder.join(FILE))) else {
                continue;
            };
            if ![Encoding::Raw, wanted].contains(&set.dataset().encoding) {
                continue;
            }
            let fits = |line: &Line| match &line.what {
                What::Clips { clips, summary } => {
                    clips.len() == summary.times.len() && clips.iter().all(|clip| *clip < set.len())
                }
                What::Problem { .. } => true,
            };
            if !lines.iter().all(fits) {
                continue;
            }
            let number = earlier.sets.len();
            for line in lines {
                earlier
                    .pieces
                    .entry(line.piece)
                    .or_insert((number, line.what));
            }
            earlier.sets.push(set);
        }
        earlier
    }

    /// What became of a piece; `None` as well where clips are no longer what was written.
    pub(crate) fn find(&self, name: &Name) -> Option<Found<'_>> {
        let (set, what) = self.pieces.get(name)?;
        Some(match what {
            What::Problem { problem } => Found::Problem(problem),
            What::Clips { clips, summary } => {
                let whole = |clip: &usize| self.sets[*set].check_pixels(*clip).is_ok();
                if !clips.iter().all(whole) {
                    return None;
                }
                let (set, clips) = (*set, clips.clone());
                Found::Clips(Clips { set, clips }, summary)
            }
        })
    }

    /// The pixels of a video's clips.
    pub(crate) fn pixels<'a>(&'a self, video: &'a Clips) -> Pixels<'a> {
        Pixels::Earlier(&self.sets[video.set], &video.clips)
    }
}

fn read(path: &Path) -> Option<Vec<Line>> {
    BufReader::new(File::open(path).ok()?)
        .lines()
        .map(|line| serde_json::from_str(&line.ok()?).ok())
        .collect()
}

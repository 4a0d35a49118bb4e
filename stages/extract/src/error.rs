//! Why no clips could be made.

use std::path::PathBuf;

use fedact_clips::ClipsError;
use fedact_stage::{StageError, Stopped};
use fedact_video::VideoError;

/// Why no clips could be made.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The folder of videos, or one below it, cannot be read.
    #[error("cannot read the folder {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The folder has no class folders.
    #[error("{path} holds no videos in class folders{}", also(*files))]
    NoClasses {
        /// The folder.
        path: PathBuf,
        /// Files that lie in it directly.
        files: usize,
    },
    /// Of the classes asked for, one is not there.
    #[error("the class `{class}` of `{param}` is not in {path}; there are: {}", known.join(", "))]
    UnknownClass {
        /// The class.
        class: String,
        /// The param that names it.
        param: &'static str,
        /// The folder.
        path: PathBuf,
        /// The classes that are there.
        known: Vec<String>,
    },
    /// The official lists are not there, or not the one asked for.
    #[error("the layout ucf101 needs {path}, which cannot be read")]
    NoList {
        /// The list.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line of a list that names no video of a class.
    #[error("{path}, line {line}: `{text}` is not of the form Class/video")]
    ListLine {
        /// The list.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A class that cannot be split because it has fewer than two videos.
    #[error("the class `{class}` has {}, and at least two are needed: one to train and one to test", videos(*count))]
    TooFewVideos {
        /// The class.
        class: String,
        /// Its usable videos.
        count: usize,
    },
    /// A class of which nothing is on one side of the split.
    #[error("no {split} video of the class `{class}` is left: {reason}")]
    EmptySplit {
        /// The class.
        class: String,
        /// `train` or `test`.
        split: &'static str,
        /// How that came about.
        reason: String,
        /// What to do.
        remedy: String,
    },
    /// More files are bad than allowed.
    #[error(
        "{bad} of {files} files are missing or cannot be used as videos, more than the share of {limit} that is allowed: {examples}"
    )]
    TooManyBad {
        /// How many.
        bad: usize,
        /// Of how many.
        files: usize,
        /// The share allowed.
        limit: f64,
        /// The first few with their reasons.
        examples: String,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many.
        threads: usize,
        /// What stands in the way.
        source: rayon::ThreadPoolBuildError,
    },
    /// A finished video could not be kept or found again.
    #[error("cannot keep finished work in {path}")]
    Piece {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A video that was decoded a moment ago does not decode now.
    #[error(
        "the clips of {path} were lost before they could be written, and it cannot be decoded again"
    )]
    Lost {
        /// The video.
        path: PathBuf,
        /// Why.
        source: VideoError,
    },
    /// The clip set could not be written.
    #[error(transparent)]
    Clips(#[from] ClipsError),
    /// The runner asked it to.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl ExtractError {
    /// What would mend it.
    fn remedy(&self) -> Option<String> {
        Some(match self {
            Self::Folder { .. } => {
                "check the path of the input `videos` in the pipeline file, or give another with --input videos=FOLDER".into()
            }
            Self::NoClasses { .. } => {
                "give each class a folder of its own, as in FOLDER/walk/clip1.mp4".into()
            }
            Self::UnknownClass { param, .. } => format!("correct the param `{param}`"),
            Self::NoList { .. } => {
                "put UCF101's ucfTrainTestlist folder beside the class folders, choose another `split_list`, or set `layout: folders`".into()
            }
            Self::ListLine { .. } => "correct the list, or set `layout: folders`".into(),
            Self::TooFewVideos { class, .. } => {
                format!("add videos to {class}, or leave the class out with `exclude: [{class}]`")
            }
            Self::EmptySplit { remedy, .. } => remedy.clone(),
            Self::TooManyBad { .. } => {
                "remove or mend these files, or raise `max_bad_share`".into()
            }
            Self::Lost { .. } => "run again".into(),
            Self::Threads { .. } | Self::Clips(_) | Self::Stopped(_) => return None,
            Self::Piece { .. } => {
                "see that the disk is not full and that the store may be written".into()
            }
        })
    }

    /// Whether the machine, and not the data or the params, is at fault.
    fn machine(&self) -> bool {
        matches!(
            self,
            Self::Threads { .. } | Self::Piece { .. } | Self::Lost { .. } | Self::Clips(_)
        )
    }
}

impl From<ExtractError> for StageError {
    fn from(error: ExtractError) -> Self {
        if let ExtractError::Stopped(stopped) = error {
            return stopped.into();
        }
        let failure = if error.machine() {
            Self::failed(&error)
        } else {
            Self::invalid(&error)
        };
        match error.remedy() {
            Some(remedy) => failure.with_remedy(remedy),
            None => failure,
        }
    }
}

fn also(files: usize) -> String {
    match files {
        0 => String::new(),
        1 => " (only 1 file that is in no class)".into(),
        more => format!(" (only {more} files that are in no class)"),
    }
}

fn videos(count: usize) -> String {
    match count {
        0 => "no usable video".into(),
        1 => "only one usable video".into(),
        more => format!("{more} usable videos"),
    }
}

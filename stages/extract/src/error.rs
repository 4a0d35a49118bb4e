//! Why no clips could be made.

use std::path::PathBuf;

use fedact_clips::ClipsError;
use fedact_stage::{StageError, Stopped};
use fedact_worker::WorkerError;

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
    /// The folder has the lists of more than one data set.
    #[error("{path} holds the lists of {}", layouts.join(" and of "))]
    SeveralLayouts {
        /// The folder.
        path: PathBuf,
        /// The layouts that they belong to.
        layouts: Vec<&'static str>,
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
    /// The params leave no class.
    #[error("`include` and `exclude` leave no class of {path}; there are: {}", known.join(", "))]
    NothingSelected {
        /// The folder.
        path: PathBuf,
        /// The classes that are there.
        known: Vec<String>,
    },
    /// The lists of the layout are not there, or not the one asked for.
    #[error("the layout {layout} needs {expected}, which {path} does not hold")]
    NoLists {
        /// The layout.
        layout: &'static str,
        /// The files.
        expected: String,
        /// Where they should be.
        path: PathBuf,
    },
    /// A list cannot be read.
    #[error("the list {path} cannot be read")]
    ListFile {
        /// The list.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Something in a list cannot be right.
    #[error("{path}, {place}: {fault}")]
    BadList {
        /// The list.
        path: PathBuf,
        /// As in `line 12`.
        place: String,
        /// What is wrong, with the value.
        fault: String,
        /// What to do about it.
        remedy: String,
    },
    /// Classes that have fewer videos than there are sides of the split.
    #[error(
        "{}, and {}{}",
        counted(classes),
        if *sides > 1 { "at least two are needed: one to train and one to test" } else { "one is needed to train" },
        list.as_ref().map(|list| format!("; why others cannot be used is in {list}")).unwrap_or_default()
    )]
    TooFewVideos {
        /// The classes, each with its usable videos.
        classes: Vec<(String, usize)>,
        /// The sides that need one each.
        sides: usize,
        /// The file that lists those that cannot be used, where they were tried.
        list: Option<String>,
    },
    /// Classes of which nothing is on one side of the split.
    #[error("no {split} video of {} is left: {reason}", classes_named(classes))]
    EmptySplit {
        /// `train` or `test`.
        split: &'static str,
        /// The classes.
        classes: Vec<String>,
        /// Classes that have videos on both sides.
        others: Vec<String>,
        /// How that came about.
        reason: String,
        /// What to do other than leaving the classes out.
        remedy: &'static str,
    },
    /// More of the listed videos are missing than allowed.
    #[error(
        "{missing} of {listed} listed videos are missing, more than the share of {limit} that is allowed: {examples}; all are in {list}"
    )]
    TooManyMissing {
        /// How many.
        missing: usize,
        /// Of how many.
        listed: usize,
        /// The share allowed.
        limit: f64,
        /// The first few.
        examples: String,
        /// The file that lists all.
        list: String,
    },
    /// The same content lies on both sides of the split.
    #[error(
        "{count} training videos are among the test videos as well: {examples}; all are in {list}"
    )]
    Duplicates {
        /// How many.
        count: usize,
        /// The first few.
        examples: String,
        /// The file that lists all.
        list: String,
    },
    /// More files are bad than allowed.
    #[error(
        "{bad} of {files} files cannot be used as videos, more than the share of {limit} that is allowed: {examples}; all are in {list}"
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
        /// The file that lists all.
        list: String,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many.
        threads: usize,
        /// What stands in the way.
        source: rayon::ThreadPoolBuildError,
    },
    /// There can be no process for a video.
    #[error(transparent)]
    Worker(#[from] WorkerError),
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
        "the clips of {path} were lost before they could be written, and it cannot be decoded again: {reason}"
    )]
    Lost {
        /// The video.
        path: PathBuf,
        /// Why.
        reason: String,
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
                "give each class a folder of its own, as in FOLDER/walk/clip1.mp4, or put a manifest.csv with the columns path and label into the folder".into()
            }
            Self::SeveralLayouts { layouts, .. } => {
                format!("say which of them counts, as in `layout: {}`", layouts[0])
            }
            Self::UnknownClass { param, .. } => format!("correct the param `{param}`"),
            Self::NothingSelected { .. } => {
                "take a class out of `exclude`, or add one to `include`".into()
            }
            Self::NoLists { .. } => {
                "put the lists into the folder of videos or into a folder in it, or set another `layout` or `split_list`".into()
            }
            Self::ListFile { .. } => "see that it is a text file (UTF-8) that may be read".into(),
            Self::BadList { remedy, .. } => remedy.clone(),
            Self::TooFewVideos { classes, .. } => {
                let names: Vec<String> = classes.iter().map(|(class, _)| class.clone()).collect();
                format!("add videos, or leave out what is not to be learned with `exclude: {}`", list(&names))
            }
            Self::EmptySplit { classes, others, remedy, .. } => {
                let without = if others.is_empty() {
                    String::new()
                } else if others.len() < classes.len() {
                    format!(", or take the classes that are there with `include: {}`", list(others))
                } else {
                    format!(", or leave classes out with `exclude: {}`", list(classes))
                };
                format!("{remedy}{without}")
            }
            Self::TooManyMissing { .. } => {
                "see that the videos are unpacked into the folder of the input `videos`, or raise `max_missing_share`".into()
            }
            Self::Duplicates { .. } => {
                "take them out of one side, or set `duplicates: leave-out`".into()
            }
            Self::TooManyBad { .. } => {
                "remove or mend these files, or raise `max_bad_share`".into()
            }
            Self::Lost { .. } => "run again".into(),
            Self::Worker(_) => {
                "see that the system has memory left and allows more processes (`ulimit -u`), then run again".into()
            }
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
            Self::Threads { .. }
                | Self::Worker(_)
                | Self::Piece { .. }
                | Self::Lost { .. }
                | Self::Clips(_)
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

/// `the class `a` has only one usable video`, and the same of several.
fn counted(classes: &[(String, usize)]) -> String {
    match classes {
        [(class, 0)] => format!("the class `{class}` has no usable video"),
        [(class, _)] => format!("the class `{class}` has only one usable video"),
        several => {
            let each: Vec<String> = several
                .iter()
                .map(|(class, count)| format!("`{class}` ({count})"))
                .collect();
            format!(
                "{} classes have too few usable videos: {}",
                several.len(),
                each.join(", ")
            )
        }
    }
}

fn classes_named(classes: &[String]) -> String {
    match classes {
        [class] => format!("the class `{class}`"),
        several => format!("{} classes (`{}`)", several.len(), several.join("`, `")),
    }
}

/// A list as it may stand in a pipeline file: names with anything but letters and digits in quotes.
fn list(names: &[String]) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = |name: &str| {
        !WORDS.contains(&name.to_ascii_lowercase().as_str())
            && name.starts_with(|first: char| first.is_ascii_alphabetic())
            && name
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-'))
    };
    let items: Vec<String> = names
        .iter()
        .map(|name| {
            if plain(name) {
                name.clone()
            } else {
                format!("'{}'", name.replace('\'', "''"))
            }
        })
        .collect();
    format!("[{}]", items.join(", "))
}

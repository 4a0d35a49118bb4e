//! From a folder to a list of videos with their classes, and to the official split where there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fedact_clips::Split;
use walkdir::WalkDir;

use crate::error::ExtractError;
use fedact_extract_params::{ExtractParams, Layout};

/// UCF101's folder of split lists.
const UCF_LISTS: &str = "ucfTrainTestlist";

/// The folder into which UCF101's archive unpacks its classes.
const UCF_VIDEOS: &str = "UCF-101";

/// Extensions of files that accompany videos and are none.
const COMPANIONS: [&str; 13] = [
    "txt", "csv", "tsv", "json", "jsonl", "md", "xml", "yaml", "yml", "srt", "vtt", "npy", "npz",
];

/// A file that should be a video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Path within the folder of videos, with `/` between the parts.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Index in [`Found::classes`].
    pub(crate) label: usize,
}

impl Candidate {
    /// The name without its folders.
    pub(crate) fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// The name without its extension.
    pub(crate) fn stem(&self) -> &str {
        stem(&self.name)
    }
}

/// What a folder holds.
#[derive(Debug)]
pub(crate) struct Found {
    /// `folders` or `ucf101`.
    pub(crate) layout: &'static str,
    pub(crate) classes: Vec<String>,
    /// Ordered by name.
    pub(crate) candidates: Vec<Candidate>,
    /// The side of each candidate, where official lists say so.
    pub(crate) official: Option<Vec<Split>>,
    /// Videos that the lists name and that are not there.
    pub(crate) missing: Vec<String>,
    /// Videos that are there and that no list names: they are left out.
    pub(crate) unlisted: usize,
}

/// Looks through a folder of videos.
pub(crate) fn find(root: &Path, params: &ExtractParams) -> Result<Found, ExtractError> {
    let lists = root.join(UCF_LISTS);
    let listed = match params.layout {
        Layout::Folders => false,
        Layout::Ucf101 => true,
        Layout::Auto => lists.join(list_name("train", params.split_list)).is_file(),
    };
    let nested = root.join(UCF_VIDEOS);
    let base = if listed && nested.is_dir() {
        nested
    } else {
        root.to_owned()
    };
    let (mut classes, loose) = class_folders(&base)?;
    for (param, names) in [("include", &params.include), ("exclude", &params.exclude)] {
        if let Some(class) = names.iter().find(|name| !classes.contains(name)) {
            return Err(ExtractError::UnknownClass {
                class: class.clone(),
                param,
                path: base,
                known: classes,
            });
        }
    }
    classes.retain(|name| {
        (params.include.is_empty() || params.include.contains(name))
            && !params.exclude.contains(name)
    });
    if listed {
        in_list_order(&mut classes, &lists);
    }
    let mut candidates = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        videos_of(root, &base.join(class), label, &mut candidates)?;
    }
    if candidates.is_empty() {
        return Err(ExtractError::NoClasses {
            path: base,
            files: loose,
        });
    }
    candidates.sort_by(|a, b| a.name.cmp(&b.name));
    let found = Found {
        layout: if listed { "ucf101" } else { "folders" },
        classes,
        candidates,
        official: None,
        missing: Vec::new(),
        unlisted: 0,
    };
    if listed {
        by_lists(found, &lists, params.split_list)
    } else {
        Ok(found)
    }
}

/// Names of the folders that may be classes, sorted, and the number of files beside them.
fn class_folders(base: &Path) -> Result<(Vec<String>, usize), ExtractError> {
    let unreadable = |source| ExtractError::Folder {
        path: base.to_owned(),
        source,
    };
    let mut classes = Vec::new();
    let mut files = 0;
    for entry in std::fs::read_dir(base).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') || name == UCF_LISTS {
            continue;
        }
        if entry.path().is_dir() {
            classes.push(name);
        } else {
            files += 1;
        }
    }
    classes.sort();
    Ok((classes, files))
}

/// Adds the files of a class's folder and of those below it, but for hidden ones and companions.
fn videos_of(
    root: &Path,
    folder: &Path,
    label: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<(), ExtractError> {
    let visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
    };
    for entry in WalkDir::new(folder)
        .follow_links(true)
        .into_iter()
        .filter_entry(visible)
    {
        let entry = entry.map_err(|error| ExtractError::Folder {
            path: error.path().unwrap_or(folder).to_owned(),
            source: error.into(),
        })?;
        let extension = entry
            .path()
            .extension()
            .map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        let companion = extension.is_some_and(|extension| COMPANIONS.contains(&extension.as_str()));
        if entry.file_type().is_dir() || companion {
            continue;
        }
        let within = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let parts: Vec<_> = within
            .components()
            .map(|part| part.as_os_str().to_string_lossy())
            .collect();
        candidates.push(Candidate {
            name: parts.join("/"),
            path: entry.into_path(),
            label,
        });
    }
    Ok(())
}

/// `trainlist01.txt`.
fn list_name(side: &str, number: u32) -> String {
    format!("{side}list{number:02}.txt")
}

/// Puts classes into the order of `classInd.txt`, where there is one; others follow.
fn in_list_order(classes: &mut [String], lists: &Path) {
    let Ok(text) = std::fs::read_to_string(lists.join("classInd.txt")) else {
        return;
    };
    let rank: BTreeMap<&str, usize> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .enumerate()
        .map(|(rank, name)| (name, rank))
        .collect();
    classes.sort_by_key(|name| rank.get(name.as_str()).copied().unwrap_or(usize::MAX));
}

/// Sorts the candidates into the sides that UCF101's lists say. Lists name the original `.avi` files;
/// another extension will do.
fn by_lists(mut found: Found, lists: &Path, number: u32) -> Result<Found, ExtractError> {
    let mut sides: BTreeMap<String, Split> = BTreeMap::new();
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    for (side, split) in [("train", Split::Train), ("test", Split::Test)] {
        let path = lists.join(list_name(side, number));
        let text = std::fs::read_to_string(&path).map_err(|source| ExtractError::NoList {
            path: path.clone(),
            source,
        })?;
        for (index, line) in text.lines().enumerate() {
            let Some(video) = line.split_whitespace().next() else {
                continue;
            };
            let Some((class, _)) = video.split_once('/') else {
                return Err(ExtractError::ListLine {
                    path,
                    line: index + 1,
                    text: line.to_owned(),
                });
            };
            if found.classes.iter().any(|name| name == class) {
                sides.insert(stem(video).to_owned(), split);
                named.insert(stem(video).to_owned(), video.to_owned());
            }
        }
    }
    let prefix = format!("{UCF_VIDEOS}/");
    let key = |candidate: &Candidate| {
        let stem = candidate.stem();
        stem.strip_prefix(&prefix).unwrap_or(stem).to_owned()
    };
    let total = found.candidates.len();
    found
        .candidates
        .retain(|candidate| sides.contains_key(&key(candidate)));
    found.unlisted = total - found.candidates.len();
    let present: BTreeSet<String> = found.candidates.iter().map(key).collect();
    found.missing = named
        .into_iter()
        .filter(|(stem, _)| !present.contains(stem))
        .map(|(_, video)| video)
        .collect();
    found.official = Some(
        found
            .candidates
            .iter()
            .filter_map(|candidate| sides.get(&key(candidate)).copied())
            .collect(),
    );
    Ok(found)
}

/// A name without its extension.
fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !extension.contains('/') && !stem.is_empty() => stem,
        _ => name,
    }
}

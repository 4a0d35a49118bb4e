//! From a folder to a list of videos with their classes, and to the split where lists rule it.
//!
//! One file per data set reads its lists into a [`listing::Listing`]; [`listing`] then finds the videos that
//! they name among the [`files`] of the folder. Class folders ([`folders`]) need no list.

mod detect;
mod files;
mod folders;
mod hmdb51;
mod jester;
mod kinetics;
mod listing;
mod manifest;
mod something;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod ucf101;

use std::path::{Path, PathBuf};

use fedact_clips::{Problem, Split};
use fedact_extract_params::{ExtractParams, Layout};

use crate::error::ExtractError;
use crate::part::Part;

pub(crate) use hmdb51::source;
pub(crate) use text::stem;

/// A file that should be a video, or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    /// Path within the folder of videos, with `/` between the parts.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Index in [`Found::classes`].
    pub(crate) label: usize,
    /// The seconds that are meant; `None` is all of them.
    pub(crate) part: Option<Part>,
    /// The person or recording, where a list says it.
    pub(crate) group: Option<String>,
}

impl Candidate {
    /// The name, with the seconds where a part is meant: no two candidates have the same.
    pub(crate) fn id(&self) -> String {
        match &self.part {
            Some(part) => format!("{}@{part}", self.name),
            None => self.name.clone(),
        }
    }

    /// The name without its folders.
    pub(crate) fn file_name(&self) -> &str {
        text::file_name(&self.name)
    }

    /// The name without its extension.
    pub(crate) fn stem(&self) -> &str {
        text::stem(&self.name)
    }
}

/// What a folder holds.
#[derive(Debug)]
pub(crate) struct Found {
    /// Never [`Layout::Auto`].
    pub(crate) layout: Layout,
    pub(crate) classes: Vec<String>,
    /// Ordered by name, and by time within a file.
    pub(crate) candidates: Vec<Candidate>,
    /// The side of each candidate, where lists say so.
    pub(crate) official: Option<Vec<Split>>,
    /// Videos that the lists name and that are not there, or that they name in contradiction to themselves.
    pub(crate) problems: Vec<Problem>,
    /// Files that are there and that no list names: they are left out.
    pub(crate) unlisted: usize,
    /// Listed videos that are on neither side: HMDB51's spare ones, a second list to measure on.
    pub(crate) unused: usize,
}

/// Looks through a folder of videos.
pub(crate) fn find(root: &Path, params: &ExtractParams) -> Result<Found, ExtractError> {
    let lists = files::Lists::of(root)?;
    let layout = detect::layout(&lists, params)?;
    let listing = match layout {
        Layout::Auto | Layout::Folders => return folders::find(&lists, params),
        Layout::Ucf101 => ucf101::read(&lists, params.split_list)?,
        Layout::Hmdb51 => hmdb51::read(&lists, params.split_list)?,
        Layout::Kinetics => kinetics::read(&lists)?,
        Layout::SomethingSomething => something::read(&lists)?,
        Layout::Jester => jester::read(&lists)?,
        Layout::Manifest => manifest::read(&lists, params.manifest.as_deref())?,
    };
    listing::find(root, layout, listing, params)
}

/// The classes that `include` and `exclude` leave, in their order.
///
/// # Errors
/// A param that names a class that is not there; params that leave none of those that are.
fn selected(
    classes: &[String],
    params: &ExtractParams,
    root: &Path,
) -> Result<Vec<String>, ExtractError> {
    for (param, names) in [("include", &params.include), ("exclude", &params.exclude)] {
        if let Some(class) = names.iter().find(|name| !classes.contains(name)) {
            return Err(ExtractError::UnknownClass {
                class: class.clone(),
                param,
                path: root.to_owned(),
                known: classes.to_vec(),
            });
        }
    }
    let wanted = |class: &&String| {
        (params.include.is_empty() || params.include.contains(class))
            && !params.exclude.contains(class)
    };
    let selected: Vec<String> = classes.iter().filter(wanted).cloned().collect();
    if selected.is_empty() && !classes.is_empty() {
        return Err(ExtractError::NothingSelected {
            path: root.to_owned(),
            known: classes.to_vec(),
        });
    }
    Ok(selected)
}

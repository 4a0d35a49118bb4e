//! Class folders: `<Class>/<file>`, also in folders below.

use std::path::Path;

use fedact_extract_params::{ExtractParams, Layout};

use super::files::{Lists, name_of, videos_below};
use super::{Candidate, Found, hmdb51, selected, ucf101};
use crate::error::ExtractError;

pub(super) fn find(lists: &Lists, params: &ExtractParams) -> Result<Found, ExtractError> {
    let root = lists.root.as_path();
    let (mut all, loose) = class_folders(root)?;
    all.retain(|class| !holds_lists(lists, &root.join(class)));
    let classes = selected(&all, params, root)?;
    let mut candidates = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        let files = videos_below(root, &root.join(class))?;
        candidates.extend(files.into_iter().map(|file| Candidate {
            name: file.name,
            path: file.path,
            label,
            part: None,
            group: None,
        }));
    }
    if candidates.is_empty() {
        return Err(ExtractError::NoClasses {
            path: root.to_owned(),
            files: loose,
        });
    }
    candidates.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Found {
        layout: Layout::Folders,
        classes,
        candidates,
        official: None,
        problems: Vec::new(),
        unlisted: 0,
        unused: 0,
    })
}

/// Names of the folders that may be classes, sorted, and the number of files beside them.
fn class_folders(root: &Path) -> Result<(Vec<String>, usize), ExtractError> {
    let unreadable = |source| ExtractError::Folder {
        path: root.to_owned(),
        source,
    };
    let mut classes = Vec::new();
    let mut files = 0;
    for entry in std::fs::read_dir(root).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
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

/// Whether a folder is there for the lists of a data set, which the user chose not to follow.
fn holds_lists(lists: &Lists, folder: &Path) -> bool {
    lists
        .files
        .iter()
        .filter(|file| file.parent() == Some(folder))
        .any(|file| ucf101::is_list(&name_of(file)) || hmdb51::is_list(&name_of(file)))
}

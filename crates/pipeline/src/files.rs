//! What differs between two artifacts, file by file.

use fedact_artifact::{Digest, Entry, EntryKind, Manifest, Store};
use serde::Serialize;

use crate::{Change, PipelineError};

/// One path that is not the same in two artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Where it is.
    pub path: String,
    /// What happened to it.
    pub change: FileEvent,
    /// What was there.
    pub old: Option<EntryKind>,
    /// What is there now.
    pub new: Option<EntryKind>,
}

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileEvent {
    /// It has other content, or is something else now.
    Changed,
    /// It was not there before.
    Added,
    /// It is no longer there.
    Removed,
}

/// All paths that differ, in their order.
pub fn file_changes(old: &Manifest, new: &Manifest) -> Vec<FileChange> {
    let (mut before, mut after) = (
        old.entries().iter().peekable(),
        new.entries().iter().peekable(),
    );
    let mut changes = Vec::new();
    loop {
        // Both are sorted by path: of two different ones, the smaller is missing on the other side.
        let (old, new) = match (before.peek(), after.peek()) {
            (None, None) => return changes,
            (Some(old), Some(new)) if old.path == new.path => (before.next(), after.next()),
            (Some(old), Some(new)) if old.path > new.path => (None, after.next()),
            (Some(_), _) => (before.next(), None),
            (None, Some(_)) => (None, after.next()),
        };
        let kind = |entry: Option<&Entry>| entry.map(|entry| entry.kind.clone());
        let change = match (old, new) {
            (Some(old), Some(new)) if old.kind == new.kind => continue,
            (Some(_), Some(_)) => FileEvent::Changed,
            (None, _) => FileEvent::Added,
            (_, None) => FileEvent::Removed,
        };
        changes.push(FileChange {
            path: old
                .or(new)
                .map_or_else(String::new, |entry| entry.path.to_string()),
            change,
            old: kind(old),
            new: kind(new),
        });
    }
}

/// The paths that differ between two artifacts of a store; `None` where it has lost the list of one.
///
/// # Errors
/// A store that cannot be read.
pub fn files_between(
    store: &Store,
    old: &Digest,
    new: &Digest,
) -> Result<Option<Vec<FileChange>>, PipelineError> {
    if old == new {
        return Ok(Some(Vec::new()));
    }
    let (old, new) = (store.manifest(old)?, store.manifest(new)?);
    Ok(old.zip(new).map(|(old, new)| file_changes(&old, &new)))
}

/// A change, and for an input with other content what changed in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The change.
    #[serde(flatten)]
    pub change: Change,
    /// The paths that differ; left out where the change is no content's, `null` where the store has lost
    /// a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<Option<Vec<FileChange>>>,
}

impl Explained {
    /// With what the store knows about it.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn of(change: Change, store: &Store) -> Result<Self, PipelineError> {
        let files = match &change {
            Change::Content { old, new, .. } => Some(files_between(store, old, new)?),
            _ => None,
        };
        Ok(Self { change, files })
    }
}

#[cfg(test)]
mod tests {
    use fedact_artifact::EntryPath;

    use super::*;

    fn manifest(files: &[(&str, &str)]) -> Manifest {
        let entry = |(path, content): &(&str, &str)| Entry {
            path: EntryPath::new(path).unwrap(),
            kind: EntryKind::File {
                size: content.len() as u64,
                sha256: Digest::of(content),
                executable: false,
            },
        };
        Manifest::new(files.iter().map(entry).collect()).unwrap()
    }

    fn told(old: &[(&str, &str)], new: &[(&str, &str)]) -> Vec<(String, FileEvent)> {
        file_changes(&manifest(old), &manifest(new))
            .into_iter()
            .map(|change| (change.path, change.change))
            .collect()
    }

    #[test]
    fn each_path_that_differs_is_told_once_and_equal_ones_are_not() {
        let old = [("a", "1"), ("b", "2"), ("c/d", "3"), ("z", "9")];
        let new = [
            ("a", "1"),
            ("b", "two"),
            ("c/e", "3"),
            ("d", "4"),
            ("z", "9"),
        ];
        let expected = [
            ("b", FileEvent::Changed),
            ("c/d", FileEvent::Removed),
            ("c/e", FileEvent::Added),
            ("d", FileEvent::Added),
        ];
        assert_eq!(
            told(&old, &new),
            expected.map(|(path, change)| (path.to_owned(), change))
        );
        assert_eq!(told(&old, &old), []);
        assert_eq!(told(&[], &new).len(), 5);
        assert_eq!(told(&old, &[]).len(), 4);
    }
}

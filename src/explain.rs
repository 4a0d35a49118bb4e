//! Changes and files that differ, in words: `why` and `diff` say them alike.

use fedact_artifact::EntryKind;
use fedact_pipeline::{Explained, FileChange, FileEvent};

use crate::output;

/// How many files of a change are listed.
const FILES: usize = 5;

/// A change, and below it the files that it consists of.
pub fn change(explained: &Explained, indent: &str) -> String {
    let mut text = format!("{indent}{}", explained.change);
    match &explained.files {
        None => text.push('\n'),
        Some(None) => text.push_str(": the store no longer has the list of its files\n"),
        Some(Some(files)) => {
            text.push_str(&format!(": {}\n", summary(files)));
            text.push_str(&list(files, &format!("{indent}  ")));
        }
    }
    text
}

/// As in `2 files changed, 1 added`.
pub fn summary(files: &[FileChange]) -> String {
    let mut parts = Vec::new();
    for (event, verb) in [
        (FileEvent::Changed, "changed"),
        (FileEvent::Added, "added"),
        (FileEvent::Removed, "removed"),
    ] {
        let count = files.iter().filter(|file| file.change == event).count();
        let files = if count == 1 { "file" } else { "files" };
        match (count, parts.is_empty()) {
            (0, _) => {}
            (_, true) => parts.push(format!("{count} {files} {verb}")),
            (_, false) => parts.push(format!("{count} {verb}")),
        }
    }
    if parts.is_empty() {
        "no file differs".to_owned()
    } else {
        parts.join(", ")
    }
}

/// The first few, one a line: those that changed before those that came or went.
pub fn list(files: &[FileChange], indent: &str) -> String {
    let mut order: Vec<&FileChange> = files.iter().collect();
    order.sort_by_key(|file| file.change);
    let mut text = String::new();
    for file in order.iter().take(FILES) {
        let what = match (&file.old, &file.new) {
            (Some(old), Some(new)) => {
                format!("changed  {}  {} to {}", file.path, kind(old), kind(new))
            }
            (None, Some(new)) => format!("added    {}  {}", file.path, kind(new)),
            (Some(old), None) => format!("removed  {}  {}", file.path, kind(old)),
            (None, None) => file.path.clone(),
        };
        text.push_str(&format!("{indent}{what}\n"));
    }
    if files.len() > FILES {
        let more = files.len() - FILES;
        text.push_str(&format!("{indent}and {more} more (--json lists all)\n"));
    }
    text
}

fn kind(kind: &EntryKind) -> String {
    match kind {
        EntryKind::File {
            size,
            sha256,
            executable,
        } => format!(
            "{} ({}{})",
            sha256.short(),
            output::size(*size),
            if *executable { ", executable" } else { "" }
        ),
        EntryKind::Directory => "an empty folder".to_owned(),
        EntryKind::Symlink { target } => format!("a link to {}", target.as_path().display()),
    }
}

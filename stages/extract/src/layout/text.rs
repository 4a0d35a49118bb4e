//! Names and lists as text.

use std::path::Path;

use crate::error::ExtractError;

/// A name without its extension.
pub(crate) fn stem(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !extension.contains('/') && !stem.is_empty() => stem,
        _ => name,
    }
}

/// A path without its folders.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A list, without the byte order mark that some editors put before it.
pub(super) fn read(path: &Path) -> Result<String, ExtractError> {
    let text = std::fs::read_to_string(path).map_err(|source| ExtractError::ListFile {
        path: path.to_owned(),
        source,
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

/// The lines that hold anything, trimmed, with their numbers from 1.
pub(super) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty())
}

/// What is wrong with a line of a list.
pub(super) fn fault(path: &Path, line: usize, fault: String, remedy: &str) -> ExtractError {
    ExtractError::BadList {
        path: path.to_owned(),
        place: format!("line {line}"),
        fault,
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_keep_dots_of_folders_and_of_names() {
        assert_eq!(stem("a.b/c"), "a.b/c");
        assert_eq!(stem("a/UPDATED!!!!_wave.x.avi"), "a/UPDATED!!!!_wave.x");
        assert_eq!(stem(".hidden"), ".hidden");
        assert_eq!(file_name("a/b/c.avi"), "c.avi");
    }
}

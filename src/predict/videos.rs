//! The videos that the command line names: files, and all that lies in folders.

use std::io;
use std::path::{Path, PathBuf};

use crate::exit::{Code, Refusal};

/// Extensions of files that accompany videos and are none.
const COMPANIONS: [&str; 13] = [
    "txt", "csv", "tsv", "json", "jsonl", "md", "xml", "yaml", "yml", "srt", "vtt", "npy", "npz",
];

/// The files, in the order given; those of a folder by name, without hidden ones and companions. A path that leads
/// nowhere is a file whose problem is told in its place.
///
/// # Errors
/// A folder that cannot be read; nothing at all.
pub fn of(given: &[PathBuf]) -> Result<Vec<PathBuf>, Refusal> {
    let mut videos = Vec::new();
    for path in given {
        if path.is_dir() {
            let failed = |error| Refusal::failed(&format!("read {}", path.display()), &error);
            below(path, &mut videos).map_err(failed)?;
        } else {
            videos.push(path.clone());
        }
    }
    if videos.is_empty() {
        let folders: Vec<String> = given
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(Refusal::new(
            Code::Invalid,
            format!("there is no video in {}", folders.join(", ")),
            "name video files, or folders with video files in them",
        ));
    }
    Ok(videos)
}

/// Whether there is a video in a folder or below it.
///
/// # Errors
/// A folder that cannot be read.
pub fn any(folder: &Path) -> io::Result<bool> {
    let mut videos = Vec::new();
    below(folder, &mut videos)?;
    Ok(!videos.is_empty())
}

fn below(folder: &Path, videos: &mut Vec<PathBuf>) -> io::Result<()> {
    let entries = std::fs::read_dir(folder)?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() && !hidden(&path) {
            below(&path, videos)?;
        } else if !hidden(&path) && !companion(&path) {
            videos.push(path);
        }
    }
    Ok(())
}

fn hidden(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

fn companion(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    COMPANIONS.contains(&extension.to_lowercase().as_str())
}

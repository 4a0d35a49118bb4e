//! Folders of numbered pictures, as which some data sets are published, read like a video.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::VideoError;

/// Extensions of pictures that may make a video.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

/// Characters that mean something in a pattern of the image2 demuxer.
const SPECIAL: &[u8] = b"*?[]{}\\";

/// Whether a file is, by its extension, a picture that may be one of a video's.
pub fn is_picture(path: &Path) -> bool {
    path.extension()
        .map(|extension| extension.to_string_lossy().to_ascii_lowercase())
        .is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// The pictures in a folder in the order of their names, which is that of the frames.
///
/// # Errors
/// A folder that cannot be read, has no pictures, or has pictures whose names differ in length or in their
/// extension: `10.jpg` comes before `2.jpg`.
pub fn pictures(folder: &Path) -> Result<Vec<PathBuf>, VideoError> {
    let unreadable = |source| VideoError::Unreadable {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if is_picture(&path) {
            found.push(path);
        }
    }
    found.sort();
    let not_a_video = |reason: String| VideoError::NotAVideo {
        path: folder.to_owned(),
        reason,
        messages: Vec::new(),
    };
    let Some(first) = found.first() else {
        return Err(not_a_video("it is a folder without pictures".to_owned()));
    };
    let shape = |path: &PathBuf| {
        (
            path.as_os_str().len(),
            path.extension().map(ToOwned::to_owned),
        )
    };
    match found.iter().find(|path| shape(path) != shape(first)) {
        Some(other) => Err(not_a_video(format!(
            "the names of its pictures {} and {} do not have the same number of digits and the same extension",
            name(first),
            name(other)
        ))),
        None => Ok(found),
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The pattern by which the image2 demuxer finds the pictures of a folder.
pub(crate) fn pattern(folder: &Path) -> Result<CString, VideoError> {
    let unreadable = |source| VideoError::Unreadable {
        path: folder.to_owned(),
        source,
    };
    let pictures = pictures(folder)?;
    let extension = pictures
        .first()
        .and_then(|picture| picture.extension())
        .unwrap_or_default();
    // From the root: a colon in a relative path could be read as a protocol.
    let folder = folder.canonicalize().map_err(unreadable)?;
    let mut pattern = Vec::new();
    for byte in folder.as_os_str().as_bytes() {
        if SPECIAL.contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.extend_from_slice(b"/*.");
    pattern.extend_from_slice(extension.as_bytes());
    CString::new(pattern).map_err(|error| unreadable(error.into()))
}

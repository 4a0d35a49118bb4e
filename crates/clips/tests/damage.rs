//! Damaged files: whatever happens to a byte, what is read is what was written, or an error.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod kit;

use std::fs;
use std::path::{Path, PathBuf};

use fedact_clips::files;
use kit::{dataset, jpeg_dataset, read, write_scenes};
use proptest::prelude::*;
use proptest::sample::Index;

/// A set of seven clips in several shards, raw or as JPEG.
fn set(jpeg: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    if jpeg {
        write_scenes(folder.path(), &jpeg_dataset(85), 8000);
    } else {
        write_scenes(folder.path(), &dataset(), 300);
    }
    folder
}

/// One of the set's files, by chance.
fn pick(folder: &Path, index: Index) -> PathBuf {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{files:?}");
    index.get(&files).clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_byte_that_changes_is_an_error_or_changes_nothing(
        jpeg: bool,
        file: Index,
        place: Index,
        change in 1u8..,
    ) {
        let folder = set(jpeg);
        let whole = read(folder.path()).unwrap();
        let path = pick(folder.path(), file);
        let mut bytes = fs::read(&path).unwrap();
        let at = place.index(bytes.len());
        bytes[at] ^= change;
        fs::write(&path, bytes).unwrap();
        if let Ok(found) = read(folder.path()) {
            prop_assert!(found == whole, "{path:?} gives other clips");
        }
    }

    #[test]
    fn a_file_that_is_cut_off_or_longer_is_an_error(
        jpeg: bool,
        file: Index,
        length: Index,
        longer: bool,
    ) {
        let folder = set(jpeg);
        let path = pick(folder.path(), file);
        let mut bytes = fs::read(&path).unwrap();
        if longer {
            bytes.extend(vec![b'1'; 1 + length.index(20)]);
        } else {
            bytes.truncate(length.index(bytes.len()));
        }
        fs::write(&path, bytes).unwrap();
        prop_assert!(read(folder.path()).is_err(), "{path:?}");
    }

    /// Nothing vouches for the bytes then; what comes out may be wrong, but it comes out, or is refused.
    #[test]
    fn without_an_index_damage_ends_no_process(
        jpeg: bool,
        file: Index,
        place: Index,
        change in 1u8..,
        cut: Option<Index>,
    ) {
        let folder = set(jpeg);
        let path = pick(folder.path(), file);
        let mut bytes = fs::read(&path).unwrap();
        let at = place.index(bytes.len());
        bytes[at] ^= change;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&path, bytes).unwrap();
        fs::remove_file(folder.path().join(files::INDEX)).unwrap();
        let _ = read(folder.path());
    }
}

#[test]
fn each_byte_of_an_index_counts() {
    let folder = set(false);
    let path = folder.path().join(files::INDEX);
    let whole = fs::read(&path).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x20;
        fs::write(&path, bytes).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("checksum"), "byte {place}: {error}");
    }
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(files::INDEX), "{length} bytes: {error}");
    }
}

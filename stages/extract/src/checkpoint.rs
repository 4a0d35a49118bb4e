//! Finished videos, kept by the content of the file and by everything that decides the pixels, so that a
//! run that was killed goes on where it stopped.
//!
//! A file is `length of the summary (8 bytes) | summary (JSON) | pixels | SHA-256 of all before`. It appears
//! by rename, and is checked in full when it is read: what a crash left behind counts as absent.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cut::{Cut, Summary};
use crate::error::ExtractError;
use crate::part::Part;

/// Changes when the same file and params would give other pixels or another layout of these files.
const VERSION: u32 = 2;

/// The folder of finished videos.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    folder: PathBuf,
    /// Everything but the file and the number of clips that decides the pixels.
    settings: String,
}

/// The name of a finished video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Checkpoints {
    pub(crate) fn open(folder: &Path, settings: &serde_json::Value) -> Result<Self, ExtractError> {
        let folder = folder.join("videos");
        fs::create_dir_all(&folder).map_err(|source| ExtractError::Checkpoint {
            path: folder.clone(),
            source,
        })?;
        Ok(Self {
            folder,
            settings: settings.to_string(),
        })
    }

    /// The name of `clips` clips of a video with this content, or of a part of it.
    pub(crate) fn key(&self, video: &[u8; 32], part: Option<&Part>, clips: usize) -> Key {
        let mut hasher = Sha256::new();
        hasher.update(VERSION.to_le_bytes());
        hasher.update(video);
        hasher.update((clips as u64).to_le_bytes());
        // Settings are JSON and begin with a brace, so what may stand before them cannot be taken for them.
        if let Some(part) = part {
            hasher.update(part.key());
        }
        hasher.update(self.settings.as_bytes());
        Key(hex::encode(hasher.finalize()))
    }

    /// The finished video, if it is there and whole.
    pub(crate) fn load(&self, key: &Key) -> Option<Cut> {
        let bytes = fs::read(self.path(key)).ok()?;
        let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
        if Sha256::digest(content).as_slice() != digest {
            return None;
        }
        let (length, rest) = content.split_first_chunk::<8>()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (summary, pixels) = rest.split_at_checked(length)?;
        let summary: Summary = serde_json::from_slice(summary).ok()?;
        Some(Cut {
            summary,
            pixels: pixels.to_vec(),
        })
    }

    /// Keeps a finished video. `worker` keeps two threads apart that work on equal files.
    pub(crate) fn save(&self, key: &Key, cut: &Cut, worker: usize) -> Result<(), ExtractError> {
        let path = self.path(key);
        let part = self.folder.join(format!("{}.{worker}.part", key.0));
        let written = serde_json::to_vec(&cut.summary)
            .map_err(std::io::Error::from)
            .and_then(|summary| {
                let mut bytes = Vec::with_capacity(40 + summary.len() + cut.pixels.len());
                bytes.extend_from_slice(&(summary.len() as u64).to_le_bytes());
                bytes.extend_from_slice(&summary);
                bytes.extend_from_slice(&cut.pixels);
                let digest = Sha256::digest(&bytes);
                bytes.extend_from_slice(&digest);
                fs::write(&part, bytes)?;
                fs::rename(&part, &path)
            });
        written.map_err(|source| ExtractError::Checkpoint { path, source })
    }

    /// The finished video, which must be there: it was saved or loaded in this run.
    pub(crate) fn must_load(&self, key: &Key) -> Result<Cut, ExtractError> {
        self.load(key).ok_or_else(|| ExtractError::Checkpoint {
            path: self.path(key),
            source: std::io::Error::other("it was written a moment ago and is gone or damaged"),
        })
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(&key.0)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cut() -> Cut {
        Cut {
            summary: Summary {
                times: vec![(500_000, 1_250_000)],
                damage: None,
                tone_mapped: false,
                deinterlaced: false,
                open_seconds: 0.02,
                decode_seconds: 0.1,
                scale_seconds: 0.01,
            },
            pixels: (0..200).collect(),
        }
    }

    #[test]
    fn what_is_kept_is_found_again_under_its_own_key_only() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path(), &json!({"frames": 8})).unwrap();
        let key = checkpoints.key(&[7; 32], None, 1);
        assert_eq!(checkpoints.load(&key), None);
        checkpoints.save(&key, &cut(), 0).unwrap();
        assert_eq!(checkpoints.load(&key), Some(cut()));
        let others = Checkpoints::open(folder.path(), &json!({"frames": 9})).unwrap();
        for other in [
            checkpoints.key(&[8; 32], None, 1),
            checkpoints.key(&[7; 32], None, 2),
            others.key(&[7; 32], None, 1),
            checkpoints.key(&[7; 32], Some(&Part::seconds(0.0, Some(1.0))), 1),
        ] {
            assert_eq!(checkpoints.load(&other), None);
        }
    }

    #[test]
    fn what_a_crash_left_behind_counts_as_absent() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(folder.path(), &json!({})).unwrap();
        let key = checkpoints.key(&[7; 32], None, 1);
        checkpoints.save(&key, &cut(), 0).unwrap();
        let path = checkpoints.path(&key);
        let whole = fs::read(&path).unwrap();
        for length in [0, 7, 40, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(checkpoints.load(&key), None, "{length} bytes");
        }
        let mut flipped = whole;
        flipped[60] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert_eq!(checkpoints.load(&key), None);
        assert!(checkpoints.must_load(&key).is_err());
    }
}

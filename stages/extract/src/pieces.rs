//! Finished videos that are in no clip set yet: of runs that were killed, of shards, of other steps.
//!
//! A piece is named by the digest of everything that decides it: the content of the file, the part of it that is
//! asked for, the number of clips, how frames are chosen and scaled. It is a file of its own:
//!
//! `length of the header (8 bytes) | header (JSON) | pixels | SHA-256 of all before`
//!
//! Pixels are packed with zstd only where the clip set will be of JPEGs, a tenth as large as the pieces would be: packing
//! and unpacking takes a quarter of the time of decoding a small video, and a raw clip set takes the room anyway.
//!
//! It appears by rename, and is checked in full when it is read: what is damaged counts as absent. Files that
//! are no videos or do not decode are pieces too, so that the run that joins shards tries none of them again. What
//! depends on the machine (time, memory, permissions) is tried again.

use std::borrow::Cow;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use fedact_clips::{Problem, Reason};
use fedact_stage::Job;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cut::{Cut, Summary};
use crate::error::ExtractError;
use crate::part::Part;

/// Changes when the same file and params would give other pixels or another layout of these files.
const VERSION: u32 = 5;

/// zstd's fastest level of its usual ones: leaves 53% (`../shared/videos/small`) to 77% (`large`) of the bytes of clips
/// of 16 x 112 x 112, for 4 ms a clip.
const LEVEL: i32 = 1;

/// An empty file among the checkpoints, by which the runner sees that the step goes on from something.
const BEGUN: &str = "begun";

/// The folders of finished videos.
#[derive(Debug)]
pub(crate) struct PieceFolder {
    /// Where they lie until they are in a clip set.
    folder: PathBuf,
    /// Where those go that are in the clip set of this job: with its checkpoints, when it is published.
    spent: PathBuf,
    /// For files that are being written.
    checkpoints: PathBuf,
    /// Whether the checkpoints say that there is something to go on from.
    begun: AtomicBool,
    /// Everything but the file and the number of clips that decides the pixels.
    settings: String,
    /// Whether new pieces are packed.
    packs: bool,
}

/// The name of a piece.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Name(String);

/// What became of a video.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Piece {
    Clips(Cut),
    /// Its path is that of the file that was tried, which may have had another name.
    Problem(Problem),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Header {
    Clips {
        summary: Summary,
        /// Of the pixels, unpacked.
        bytes: usize,
        packed: bool,
    },
    Problem(Problem),
}

impl PieceFolder {
    /// The folders of a job. `settings` is everything but the file and the number of clips that decides a piece;
    /// `packs` says whether new pieces are packed.
    pub(crate) fn of(job: &Job, settings: &serde_json::Value, packs: bool) -> Self {
        let alone = job.checkpoints.join("videos");
        Self {
            folder: job
                .pieces
                .as_ref()
                .map_or(alone, |pieces| pieces.folder.clone()),
            spent: job.checkpoints.join("spent"),
            checkpoints: job.checkpoints.clone(),
            begun: AtomicBool::new(false),
            settings: settings.to_string(),
            packs,
        }
    }

    /// The name of `clips` clips of a video with this content, or of a part of it.
    pub(crate) fn name(&self, video: &[u8; 32], part: Option<&Part>, clips: usize) -> Name {
        let mut hasher = Sha256::new();
        hasher.update(VERSION.to_le_bytes());
        hasher.update(video);
        hasher.update((clips as u64).to_le_bytes());
        // Settings are JSON and begin with a brace, so what may stand before them cannot be taken for them.
        if let Some(part) = part {
            hasher.update(part.key());
        }
        hasher.update(self.settings.as_bytes());
        Name(hex::encode(hasher.finalize()))
    }

    /// The piece, if it is there and whole.
    pub(crate) fn load(&self, name: &Name) -> Option<Piece> {
        [&self.folder, &self.spent]
            .into_iter()
            .find_map(|folder| read(&folder.join(&name.0)))
    }

    /// Keeps a piece.
    pub(crate) fn save(&self, name: &Name, piece: &Piece) -> Result<(), ExtractError> {
        let path = self.folder.join(&name.0);
        let failed = |source| ExtractError::Piece {
            path: path.clone(),
            source,
        };
        let bytes = bytes(piece, self.packs).map_err(failed)?;
        // Another process may remove a folder that is empty at the moment.
        let write = || {
            fs::create_dir_all(&self.folder)?;
            fs::create_dir_all(&self.checkpoints)?;
            if !self.begun.swap(true, Ordering::Relaxed) {
                fs::write(self.checkpoints.join(BEGUN), "")?;
            }
            let mut fresh = tempfile::Builder::new()
                .permissions(fs::Permissions::from_mode(0o666))
                .tempfile_in(&self.checkpoints)?;
            fresh.write_all(&bytes)?;
            fresh.persist(&path).map_err(|error| error.error)
        };
        write()
            .or_else(|error| match error.kind() {
                ErrorKind::NotFound => write(),
                _ => Err(error),
            })
            .map(drop)
            .map_err(failed)
    }

    /// Moves a piece that is in the clip set now to the checkpoints. It may be gone: another job has spent
    /// it, too.
    pub(crate) fn spend(&self, name: &Name) -> Result<(), ExtractError> {
        let failed = |source| ExtractError::Piece {
            path: self.spent.clone(),
            source,
        };
        fs::create_dir_all(&self.spent).map_err(failed)?;
        match fs::rename(self.folder.join(&name.0), self.spent.join(&name.0)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

/// Whether another try on the same file, on any machine, would end in the same way.
pub(crate) fn lasting(problem: &Problem) -> bool {
    matches!(
        problem.reason,
        Reason::NotAVideo | Reason::Undecodable | Reason::TooShort
    )
}

fn bytes(piece: &Piece, packed: bool) -> io::Result<Vec<u8>> {
    let (header, pixels) = match piece {
        Piece::Clips(cut) => (
            Header::Clips {
                summary: cut.summary.clone(),
                bytes: cut.pixels.len(),
                packed,
            },
            if packed {
                Cow::Owned(zstd::bulk::compress(&cut.pixels, LEVEL)?)
            } else {
                Cow::Borrowed(&cut.pixels[..])
            },
        ),
        Piece::Problem(problem) => (Header::Problem(problem.clone()), Cow::Borrowed(&[][..])),
    };
    let header = serde_json::to_vec(&header)?;
    let mut bytes = Vec::with_capacity(40 + header.len() + pixels.len());
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&pixels);
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    Ok(bytes)
}

fn read(path: &Path) -> Option<Piece> {
    let bytes = fs::read(path).ok()?;
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Sha256::digest(content).as_slice() != digest {
        return None;
    }
    let (length, rest) = content.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let (header, stored) = rest.split_at_checked(length)?;
    Some(match serde_json::from_slice(header).ok()? {
        Header::Problem(problem) => Piece::Problem(problem),
        Header::Clips {
            summary,
            bytes,
            packed,
        } => {
            let pixels = if packed {
                zstd::bulk::decompress(stored, bytes).ok()?
            } else {
                stored.to_vec()
            };
            (pixels.len() == bytes).then_some(Piece::Clips(Cut { summary, pixels }))?
        }
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fedact_stage::Pieces;
    use serde_json::{Value, json};

    use super::*;

    fn cut() -> Piece {
        Piece::Clips(Cut {
            summary: Summary {
                times: vec![(500_000, 1_250_000)],
                damage: None,
                tone_mapped: false,
                deinterlaced: false,
                open_seconds: 0.0,
                decode_seconds: 0.0,
                scale_seconds: 0.0,
            },
            pixels: (0..200).collect(),
        })
    }

    fn folder(at: &Path, settings: &Value, packs: bool) -> PieceFolder {
        let job = Job {
            stage: "extract".into(),
            step: "clips".into(),
            params: Value::Null,
            inputs: BTreeMap::new(),
            output: at.join("output"),
            checkpoints: at.join("checkpoints"),
            pieces: Some(Pieces {
                folder: at.join("pieces"),
                earlier: Vec::new(),
                shard: None,
            }),
            threads: 1,
            fleet: None,
        };
        PieceFolder::of(&job, settings, packs)
    }

    #[test]
    fn what_is_kept_is_found_again_under_its_own_name_only() {
        let place = tempfile::tempdir().unwrap();
        let pieces = folder(place.path(), &json!({"frames": 8}), false);
        let name = pieces.name(&[7; 32], None, 1);
        assert_eq!(pieces.load(&name), None);
        pieces.save(&name, &cut()).unwrap();
        assert_eq!(pieces.load(&name), Some(cut()));
        let others = folder(place.path(), &json!({"frames": 9}), false);
        for other in [
            pieces.name(&[8; 32], None, 1),
            pieces.name(&[7; 32], None, 2),
            others.name(&[7; 32], None, 1),
            pieces.name(&[7; 32], Some(&Part::seconds(0.0, Some(1.0))), 1),
        ] {
            assert_eq!(pieces.load(&other), None);
        }
        let problem = Piece::Problem(Problem {
            path: "sit/x.doc".into(),
            reason: Reason::NotAVideo,
            message: "no".into(),
            ffmpeg: vec!["words".into()],
        });
        pieces
            .save(&pieces.name(&[9; 32], None, 1), &problem)
            .unwrap();
        assert_eq!(pieces.load(&pieces.name(&[9; 32], None, 1)), Some(problem));
    }

    #[test]
    fn a_packed_piece_is_smaller_and_found_by_those_who_do_not_pack() {
        let place = tempfile::tempdir().unwrap();
        let even = Piece::Clips(Cut {
            pixels: vec![7; 20_000],
            ..match cut() {
                Piece::Clips(cut) => cut,
                Piece::Problem(problem) => panic!("{problem:?}"),
            }
        });
        for packs in [true, false] {
            let pieces = folder(place.path(), &json!({}), packs);
            let name = pieces.name(&[u8::from(packs); 32], None, 1);
            pieces.save(&name, &even).unwrap();
            let size = fs::metadata(pieces.folder.join(&name.0)).unwrap().len();
            assert_eq!(size < 5_000, packs, "{size} bytes");
            let others = folder(place.path(), &json!({}), !packs);
            assert_eq!(others.load(&name), Some(even.clone()));
        }
    }

    #[test]
    fn what_a_crash_left_behind_counts_as_absent() {
        let place = tempfile::tempdir().unwrap();
        let pieces = folder(place.path(), &json!({}), true);
        let name = pieces.name(&[7; 32], None, 1);
        pieces.save(&name, &cut()).unwrap();
        let path = pieces.folder.join(&name.0);
        let whole = fs::read(&path).unwrap();
        for length in [0, 7, 40, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(pieces.load(&name), None, "{length} bytes");
        }
        for place in [0, 20, whole.len() - 40, whole.len() - 1] {
            let mut flipped = whole.clone();
            flipped[place] ^= 1;
            fs::write(&path, flipped).unwrap();
            assert_eq!(pieces.load(&name), None, "byte {place}");
        }
    }

    #[test]
    fn a_spent_piece_goes_with_the_checkpoints_and_is_found_until_then() {
        let place = tempfile::tempdir().unwrap();
        let pieces = folder(place.path(), &json!({}), false);
        let name = pieces.name(&[7; 32], None, 1);
        pieces.save(&name, &cut()).unwrap();
        pieces.spend(&name).unwrap();
        assert_eq!(fs::read_dir(&pieces.folder).unwrap().count(), 0);
        assert_eq!(pieces.load(&name), Some(cut()));
        pieces.spend(&name).unwrap();
        fs::remove_dir_all(place.path().join("checkpoints")).unwrap();
        fs::remove_dir_all(place.path().join("pieces")).unwrap();
        assert_eq!(pieces.load(&name), None);
        // Both folders are made anew.
        pieces.save(&name, &cut()).unwrap();
        assert_eq!(pieces.load(&name), Some(cut()));
    }
}

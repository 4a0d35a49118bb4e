//! The checkpoint of a run: one file, replaced as a whole.
//!
//! ```text
//! magic      16 bytes   "fedact-federate2"
//! digest     32 bytes   SHA-256 of everything behind it
//! length      8 bytes   of the header, little-endian
//! header                JSON: Header
//! numbers               f32, little-endian: each of Header.vectors in turn
//! ```
//!
//! A file that is cut short, damaged or from another version is no checkpoint: the run starts anew.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::FederateError;

const MAGIC: &[u8; 16] = b"fedact-federate2";
const PREFIX: usize = MAGIC.len() + 32 + 8;

/// File name within the folder for checkpoints.
pub const FILE: &str = "federate.checkpoint";

/// A named row of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Vector {
    /// What it is of the run's.
    pub name: String,
    /// The numbers.
    pub numbers: std::sync::Arc<Vec<f32>>,
}

#[derive(Serialize, Deserialize)]
struct Header<S> {
    state: S,
    history_bytes: u64,
    vectors: Vec<(String, usize)>,
}

/// A run as it was kept.
#[derive(Debug)]
pub struct Checkpoint<S> {
    /// All but the numbers.
    pub state: S,
    /// How much of the history belongs to it.
    pub history_bytes: u64,
    /// The numbers.
    pub vectors: Vec<Vector>,
}

/// Replaces the checkpoint in `folder`.
///
/// # Errors
/// Names the file that cannot be written.
pub fn write<S: Serialize>(
    folder: &Path,
    state: &S,
    history_bytes: u64,
    vectors: &[Vector],
) -> Result<(), FederateError> {
    let path = folder.join(FILE);
    let temporary = folder.join(format!("{FILE}.new"));
    let fail = |path: &PathBuf| {
        let path = path.clone();
        move |source| FederateError::Write { path, source }
    };
    let header = Header {
        state,
        history_bytes,
        vectors: vectors
            .iter()
            .map(|vector| (vector.name.clone(), vector.numbers.len()))
            .collect(),
    };
    let header = serde_json::to_vec(&header).map_err(|error| fail(&path)(error.into()))?;
    let numbers: usize = vectors.iter().map(|vector| vector.numbers.len()).sum();
    let mut body = Vec::with_capacity(8 + header.len() + 4 * numbers);
    body.extend((header.len() as u64).to_le_bytes());
    body.extend(header);
    for vector in vectors {
        for number in vector.numbers.iter() {
            body.extend(number.to_le_bytes());
        }
    }
    let mut file = File::create(&temporary).map_err(fail(&temporary))?;
    file.write_all(MAGIC)
        .and_then(|()| file.write_all(&Sha256::digest(&body)))
        .and_then(|()| file.write_all(&body))
        .and_then(|()| file.sync_all())
        .map_err(fail(&temporary))?;
    std::fs::rename(&temporary, &path).map_err(fail(&path))
}

/// The checkpoint in `folder`, if there is a whole one.
pub fn read<S: DeserializeOwned>(folder: &Path) -> Option<Checkpoint<S>> {
    let bytes = std::fs::read(folder.join(FILE)).ok()?;
    if bytes.len() < PREFIX || &bytes[..16] != MAGIC {
        return None;
    }
    let (digest, body) = bytes[16..].split_at(32);
    if Sha256::digest(body)[..] != *digest {
        return None;
    }
    let (length, rest) = body.split_at(8);
    let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
    if length > rest.len() {
        return None;
    }
    let (header, mut numbers) = rest.split_at(length);
    let header: Header<S> = serde_json::from_slice(header).ok()?;
    let mut vectors = Vec::with_capacity(header.vectors.len());
    for (name, length) in header.vectors {
        let (own, rest) = numbers.split_at_checked(length.checked_mul(4)?)?;
        numbers = rest;
        let own = own
            .chunks_exact(4)
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect();
        vectors.push(Vector {
            name,
            numbers: std::sync::Arc::new(own),
        });
    }
    Some(Checkpoint {
        state: header.state,
        history_bytes: header.history_bytes,
        vectors,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn vectors() -> Vec<Vector> {
        vec![
            Vector {
                name: "0".into(),
                numbers: Arc::new(vec![1.0, -2.5, f32::MIN_POSITIVE]),
            },
            Vector {
                name: "7".into(),
                numbers: Arc::new(vec![0.1]),
            },
        ]
    }

    #[test]
    fn a_checkpoint_comes_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read::<f64>(folder.path()).is_none());
        write(folder.path(), &0.1_f64, 33, &vectors()).unwrap();
        let checkpoint = read::<f64>(folder.path()).unwrap();
        assert_eq!(checkpoint.state.to_bits(), 0.1_f64.to_bits());
        assert_eq!(checkpoint.history_bytes, 33);
        assert_eq!(checkpoint.vectors, vectors());
    }

    #[test]
    fn what_is_cut_short_or_damaged_is_no_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &"state", 33, &vectors()).unwrap();
        let path = folder.path().join(FILE);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 10, PREFIX, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(read::<String>(folder.path()).is_none(), "{length}");
        }
        let mut damaged = whole.clone();
        damaged[whole.len() - 2] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert!(read::<String>(folder.path()).is_none());
        std::fs::write(&path, &whole).unwrap();
        assert!(read::<String>(folder.path()).is_some());
    }
}

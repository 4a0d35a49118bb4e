//! Pieces: what a result is made of, where it is made of pieces that do not depend on one another.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What there is of the pieces of a result already, and which of them are to be made.
///
/// A piece is named by its own content (of a video: the digest of the file) and by all of the params that decides
/// it. Everything else that does (stage, code, libraries) is the runner's care: what is in [`Pieces::folder`]
/// and [`Pieces::earlier`] was made with the same. Pieces only save work: a result is the same, byte for
/// byte, with any of them, and with none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pieces {
    /// A folder that outlives the key of a step, for pieces that are in no result yet. Other processes, on
    /// other machines too, may add to it at the same time, so a piece appears by rename; whatever is found there
    /// may be damaged and must be checked, and may be gone a moment later.
    pub folder: PathBuf,
    /// Results of earlier runs whose pieces are decided by the same, to be read and never written.
    pub earlier: Vec<PathBuf>,
    /// Only the pieces of this shard are to be made, and no output: what is made stays in the folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
}

/// One of several shares of a step's pieces, as in `2/4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shard {
    /// Which one, counted from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

impl Shard {
    /// Whether a piece with this name belongs to the shard. Every name belongs to exactly one of them, whatever
    /// other names there are: a file that is added meanwhile moves no other.
    pub fn holds(self, name: &str) -> bool {
        hash(name.as_bytes()) % u64::from(self.of) == u64::from(self.number - 1)
    }
}

/// FNV-1a (Fowler, Noll and Vo), its high bits mixed into the low ones, which decide here.
fn hash(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// A text that names no shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no shard: write I/N, the I-th of N, as in 2/4; I is between 1 and N, and N at most {MOST}"
)]
pub struct InvalidShard(String);

/// The most shards of a step.
const MOST: u32 = 10_000;

impl FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, InvalidShard> {
        let parsed = text
            .split_once('/')
            .and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((number, of)) if (1..=of).contains(&number) && of <= MOST => {
                Ok(Self { number, of })
            }
            _ => Err(InvalidShard(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_belongs_to_exactly_one_shard_and_shards_are_of_like_size() {
        let names: Vec<String> = (0..4000)
            .map(|number| format!("Class{}/v_{number:05}.avi", number % 7))
            .collect();
        for of in [1, 2, 3, 4, 16] {
            let mut sizes = vec![0; of as usize];
            for name in &names {
                let holders: Vec<u32> = (1..=of)
                    .filter(|number| {
                        Shard {
                            number: *number,
                            of,
                        }
                        .holds(name)
                    })
                    .collect();
                assert_eq!(holders.len(), 1, "{name} of {of}");
                sizes[holders[0] as usize - 1] += 1;
            }
            let even = names.len() / of as usize;
            assert!(
                sizes
                    .iter()
                    .all(|size| (even * 3 / 4..=even * 5 / 4).contains(size)),
                "{sizes:?}"
            );
        }
    }

    #[test]
    fn shards_are_written_as_they_are_read_and_nothing_else_is_taken() {
        let shard: Shard = "2/4".parse().unwrap();
        assert_eq!(
            (shard, shard.to_string()),
            (Shard { number: 2, of: 4 }, "2/4".into())
        );
        for wrong in [
            "", "2", "0/4", "5/4", "1/0", "-1/4", "1/4/2", "one/two", "1/10001",
        ] {
            let error = wrong.parse::<Shard>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("`{wrong}`")) && error.contains("2/4"),
                "{error}"
            );
        }
    }
}

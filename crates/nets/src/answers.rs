//! What teachers say about views of a clip set's training clips, kept so that any number of students costs one
//! pass: `answers.safetensors` and `answers.json`.

use std::collections::BTreeMap;
use std::path::Path;

use fedact_clips::{Clip, ClipSet, Split};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor};

use crate::data::{Augmentation, Batch, Views};
use crate::info::write_json;
use crate::{InputGeometry, NetsError, weights};

/// The version of `answers.json` that this crate writes and reads.
pub const ANSWERS_VERSION: u32 = 1;

/// File names within the folder of answers.
pub mod answers_files {
    /// [`AnswersInfo`](crate::AnswersInfo).
    pub const INFO: &str = "answers.json";
    /// `logits` \[teachers, views, clips, classes\], f32.
    pub const LOGITS: &str = "answers.safetensors";
}

/// What the answers are to: `answers.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswersInfo {
    /// [`ANSWERS_VERSION`].
    pub format_version: u32,
    /// Names of the teachers' steps.
    pub teachers: Vec<String>,
    /// Class names, in the order of the logits.
    pub classes: Vec<String>,
    /// The clips that the teachers take.
    pub input: InputGeometry,
    /// See [`ModelInfo::mean`](crate::ModelInfo::mean).
    pub mean: [f64; 3],
    /// See [`ModelInfo::std`](crate::ModelInfo::std).
    pub std: [f64; 3],
    /// What the views may be.
    pub augmentation: Augmentation,
    /// Which views were drawn.
    pub views: Views,
    /// How many training clips the answers are about: all of the set, in its order.
    pub clips: usize,
    /// [`fingerprint`] of the set.
    pub set: String,
}

/// Answers to look up, batch by batch.
#[derive(Debug)]
pub struct Answers {
    /// What they are to.
    pub info: AnswersInfo,
    logits: Tensor,
    /// Row of each clip of the set; -1 for those that are no training clips.
    rows: Vec<i64>,
}

/// SHA-256, in hex, of all that decides what a set's training clips are: its description, and for each of them its
/// id, label, source and times.
///
/// # Errors
/// A set that is damaged.
pub fn fingerprint(clips: &ClipSet) -> Result<String, NetsError> {
    let mut hash = Sha256::new();
    let mut add = |value: serde_json::Result<Vec<u8>>| {
        hash.update(value.map_err(|error| NetsError::Data(error.to_string()))?);
        hash.update(b"\n");
        Ok::<(), NetsError>(())
    };
    add(serde_json::to_vec(clips.dataset()))?;
    for index in clips.indices(Split::Train) {
        // Where its pixels lie makes no difference.
        let clip = Clip {
            shard: 0,
            row: 0,
            ..clips.clip(index)?
        };
        add(serde_json::to_vec(&clip))?;
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

impl Answers {
    /// Whether a folder holds answers and not a model.
    pub fn are_in(folder: &Path) -> bool {
        folder.join(answers_files::INFO).exists()
    }

    /// Writes `logits` \[teachers, views, clips, classes\] and what they are to into an existing folder.
    ///
    /// # Errors
    /// Names the file that cannot be written.
    pub fn save(info: &AnswersInfo, logits: Tensor, folder: &Path) -> Result<(), NetsError> {
        let tensors = BTreeMap::from([("logits".to_owned(), logits)]);
        weights::write(&folder.join(answers_files::LOGITS), &tensors)?;
        write_json(&folder.join(answers_files::INFO), info)
    }

    /// Reads the answers to the training clips of a set.
    ///
    /// # Errors
    /// Names the file that is missing or damaged; answers about other clips.
    pub fn load(folder: &Path, clips: &ClipSet) -> Result<Self, NetsError> {
        let path = folder.join(answers_files::INFO);
        let text = std::fs::read(&path).map_err(|source| NetsError::Read {
            path: path.clone(),
            source,
        })?;
        let broken = |message: String| NetsError::Info {
            path: path.clone(),
            message,
        };
        let info: AnswersInfo =
            serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        if info.format_version != ANSWERS_VERSION {
            return Err(NetsError::Version {
                path,
                found: info.format_version.to_string(),
                expected: ANSWERS_VERSION,
            });
        }
        if info.set != fingerprint(clips)? {
            return Err(NetsError::Mismatch(format!(
                "they are about {} other clips than the training clips of {}; make them of the same clips",
                info.clips,
                clips.folder().display()
            )));
        }
        let logits_path = folder.join(answers_files::LOGITS);
        let logits = weights::read(&logits_path)?.remove("logits");
        let expected = [
            info.teachers.len(),
            info.views.count as usize,
            info.clips,
            info.classes.len(),
        ]
        .map(|side| side as i64);
        let logits = logits
            .filter(|logits| logits.size() == expected)
            .ok_or_else(|| {
                broken(format!(
                    "the logits beside it are not of the shape {expected:?}"
                ))
            })?;
        let mut rows = vec![-1; clips.len()];
        for (row, index) in clips.indices(Split::Train).into_iter().enumerate() {
            rows[index] = row as i64;
        }
        Ok(Self { info, logits, rows })
    }

    /// What each teacher says about a batch of training clips whose views were drawn as [`AnswersInfo::views`] and
    /// [`AnswersInfo::augmentation`] say, \[clips, classes\].
    pub fn to(&self, batch: &Batch, device: Device) -> Vec<Tensor> {
        let rows: Vec<i64> = batch
            .indices
            .iter()
            .map(|index| self.rows[*index])
            .collect();
        let rows = Tensor::from_slice(&rows);
        let view = self.info.views.of(batch.epoch) as i64 - 1;
        (0..self.info.teachers.len() as i64)
            .map(|teacher| {
                let logits = self.logits.select(0, teacher).select(0, view);
                logits
                    .index_select(0, &rows)
                    .to_kind(Kind::Float)
                    .to_device(device)
            })
            .collect()
    }
}

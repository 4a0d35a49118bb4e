//! Those whom a student listens to: models, and answers that models gave earlier.

use std::path::Path;

use fedact_clips::ClipSet;
use tch::Device;

use crate::{Answers, FloatModel, Model, NetsError};

/// Teachers of the same clips, who look at the same numbers.
#[derive(Debug, Default)]
pub struct Teachers {
    /// Those who are asked about every batch.
    pub models: Vec<FloatModel>,
    /// Those who were asked before.
    pub answers: Vec<Answers>,
    /// Mean and standard deviation by which clips are normalised for all of them.
    normalisation: Option<([f64; 3], [f64; 3])>,
}

impl Teachers {
    /// Reads the folders, each with a name for messages, of models or answers.
    ///
    /// # Errors
    /// Quantized models; models for other classes or another geometry than the clips'; answers about other clips;
    /// teachers who would have to see different numbers. The message names the teacher.
    pub fn load<'a>(
        folders: impl IntoIterator<Item = (&'a str, &'a Path)>,
        clips: &ClipSet,
        device: Device,
    ) -> Result<Self, NetsError> {
        let mut teachers = Self::default();
        let mut first = "";
        for (name, folder) in folders {
            let refused = |error: NetsError| match error {
                NetsError::Mismatch(message) => {
                    NetsError::Mismatch(format!("teacher `{name}`: {message}"))
                }
                other => other,
            };
            let normalisation = teachers.add(folder, clips, device).map_err(refused)?;
            match teachers.normalisation {
                None => first = name,
                Some(before) if before == normalisation => {}
                Some(_) => {
                    return Err(refused(NetsError::Mismatch(format!(
                        "it normalises clips differently than teacher `{first}`, and both must see the same"
                    ))));
                }
            }
            teachers.normalisation = Some(normalisation);
        }
        Ok(teachers)
    }

    /// Adds what a folder holds, and tells how clips are normalised for it.
    fn add(
        &mut self,
        folder: &Path,
        clips: &ClipSet,
        device: Device,
    ) -> Result<([f64; 3], [f64; 3]), NetsError> {
        if Answers::are_in(folder) {
            let answers = Answers::load(folder, clips)?;
            if let Some(other) = self.views()
                && (other.info.views, &other.info.augmentation)
                    != (answers.info.views, &answers.info.augmentation)
            {
                return Err(NetsError::Mismatch(
                    "it answered to other views than the answers before it; ask all of them in one step `teach`, or \
                     give both the same `views`, `seed` and `augmentation`"
                        .to_owned(),
                ));
            }
            let normalisation = (answers.info.mean, answers.info.std);
            self.answers.push(answers);
            return Ok(normalisation);
        }
        let Model::Float(model) = Model::load(folder, device)? else {
            return Err(NetsError::Mismatch(
                "it is quantized; give the float model that it was made from".to_owned(),
            ));
        };
        model.info.check_classes(clips.dataset())?;
        model.info.check_geometry(clips.dataset())?;
        let normalisation = (model.info.mean, model.info.std);
        self.models.push(model);
        Ok(normalisation)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty() && self.answers.is_empty()
    }

    /// Mean and standard deviation by which clips are normalised for all of them; `None` without teachers.
    pub fn normalisation(&self) -> Option<([f64; 3], [f64; 3])> {
        self.normalisation
    }

    /// The answers whose views the student must see, where there are answers.
    pub fn views(&self) -> Option<&Answers> {
        self.answers.first()
    }
}

//! Those whom a student listens to: models, and answers that models gave earlier.

use std::path::Path;

use fedact_clips::ClipSet;
use tch::Device;

use crate::{Answers, FloatModel, InputGeometry, Model, NetsError};

/// Teachers of the same clips, who look at the same numbers.
#[derive(Debug, Default)]
pub struct Teachers {
    /// Those who are asked about every batch.
    pub models: Vec<FloatModel>,
    /// Those who were asked before.
    pub answers: Vec<Answers>,
    /// What they all look at.
    sight: Option<Sight>,
}

/// What a network looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sight {
    /// Mean and standard deviation by which clips are normalised.
    normalisation: ([f64; 3], [f64; 3]),
    /// Frames and pixels of a clip.
    input: InputGeometry,
}

impl Teachers {
    /// Reads the folders, each with a name for messages, of models or answers. `seen` is what their student looks at.
    ///
    /// # Errors
    /// Quantized models; models for other classes or another geometry than the clips'; answers about other clips;
    /// teachers who would have to see other numbers than each other or than the student. The message names the teacher.
    pub fn load<'a>(
        folders: impl IntoIterator<Item = (&'a str, &'a Path)>,
        clips: &ClipSet,
        seen: Option<InputGeometry>,
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
            let sight = teachers.add(folder, clips, device).map_err(refused)?;
            let mismatch = |message: String| Err(refused(NetsError::Mismatch(message)));
            let same = "and both must see the same";
            if let Some(seen) = seen.filter(|seen| *seen != sight.input) {
                return mismatch(format!(
                    "it looks at {} of each clip, and the student at {seen}, {same}; give both the same `frames`",
                    sight.input
                ));
            }
            match teachers.sight {
                None => first = name,
                Some(before) if before.input != sight.input => {
                    return mismatch(format!(
                        "it looks at {} of each clip, and teacher `{first}` at {}, {same}",
                        sight.input, before.input
                    ));
                }
                Some(before) if before != sight => {
                    return mismatch(format!(
                        "it normalises clips differently than teacher `{first}`, {same}"
                    ));
                }
                Some(_) => {}
            }
            teachers.sight = Some(sight);
        }
        Ok(teachers)
    }

    /// Adds what a folder holds, and tells what it looks at.
    fn add(&mut self, folder: &Path, clips: &ClipSet, device: Device) -> Result<Sight, NetsError> {
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
            let sight = Sight {
                normalisation: (answers.info.mean, answers.info.std),
                input: answers.info.input,
            };
            self.answers.push(answers);
            return Ok(sight);
        }
        let Model::Float(model) = Model::load(folder, device)? else {
            return Err(NetsError::Mismatch(
                "it is quantized; give the float model that it was made from".to_owned(),
            ));
        };
        model.info.check_classes(clips.dataset())?;
        model.info.check_geometry(clips.dataset())?;
        let sight = Sight {
            normalisation: (model.info.mean, model.info.std),
            input: model.info.input,
        };
        self.models.push(model);
        Ok(sight)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty() && self.answers.is_empty()
    }

    /// Mean and standard deviation by which clips are normalised for all of them; `None` without teachers.
    pub fn normalisation(&self) -> Option<([f64; 3], [f64; 3])> {
        self.sight.map(|sight| sight.normalisation)
    }

    /// What they look at; `None` without teachers.
    pub fn input(&self) -> Option<InputGeometry> {
        self.sight.map(|sight| sight.input)
    }

    /// The answers whose views the student must see, where there are answers.
    pub fn views(&self) -> Option<&Answers> {
        self.answers.first()
    }
}

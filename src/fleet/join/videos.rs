//! A device's videos, cut once and again when they have changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fedact_extract_params::{DEFINITION, ExtractParams};
use fedact_pipeline::{Launcher, Stop, process};
use fedact_stage::{Input, Job};

use super::hands::Trouble;
use super::shown::Shown;
use crate::exit::{Code, Refusal};
use crate::stage::place::{self, Place};
use crate::{predict, registry};

/// A folder with a folder for each class.
#[derive(Debug)]
pub struct Videos {
    folder: PathBuf,
}

/// The classes of a device.
#[derive(Debug, PartialEq)]
pub struct Classes {
    /// Those that the run knows.
    pub known: Vec<String>,
    /// The others.
    pub unknown: Vec<String>,
}

impl Videos {
    /// Those in a folder.
    ///
    /// # Errors
    /// It is no folder, or has no videos in folders of classes.
    pub fn find(folder: &Path) -> Result<Self, Refusal> {
        let refuse = |problem: String| {
            let help = "give each class a folder of its own, as in FOLDER/walk/clip1.mp4";
            Refusal::new(Code::Invalid, problem, help)
        };
        let found = folder
            .canonicalize()
            .map_err(|error| refuse(format!("--videos {}: {error}", folder.display())))?;
        let videos = Self { folder: found };
        if videos.classes()?.is_empty() {
            return Err(refuse(format!(
                "--videos {}: there is no video in a folder of a class",
                folder.display()
            )));
        }
        Ok(videos)
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The classes that there are videos of, as they are now.
    fn classes(&self) -> Result<Vec<String>, Refusal> {
        let failed = |error| Refusal::failed(&format!("read {}", self.folder.display()), &error);
        let mut classes = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            if !name.starts_with('.')
                && path.is_dir()
                && predict::any_video(&path).map_err(failed)?
            {
                classes.push(name);
            }
        }
        classes.sort();
        Ok(classes)
    }

    /// Its classes by whether a run knows them.
    ///
    /// # Errors
    /// It knows none.
    pub fn classes_of(&self, run: &[String]) -> Result<Classes, Refusal> {
        let (known, unknown): (Vec<_>, Vec<_>) = self
            .classes()?
            .into_iter()
            .partition(|class| run.contains(class));
        if known.is_empty() {
            return Err(Refusal::new(
                Code::Invalid,
                format!(
                    "the videos in {} show {}, and the run is about {}",
                    self.folder.display(),
                    match unknown.as_slice() {
                        [] => "nothing any more".to_owned(),
                        names => names.join(", "),
                    },
                    run.join(", ")
                ),
                "name the folders as the run names its classes",
            ));
        }
        Ok(Classes { known, unknown })
    }

    /// The folder of their clips below `state`, cut now unless they were cut already: with the same program and params, from the
    /// same files. What a process that was stopped has cut is not cut again.
    ///
    /// # Errors
    /// Videos of which no clips can be cut.
    pub fn cut(
        &self,
        params: &ExtractParams,
        state: &Path,
        (launcher, threads): (&Launcher, usize),
        stop: &Stop,
        shown: &Shown,
    ) -> Result<PathBuf, Trouble> {
        let unusable = |refusal| Trouble::Unfit {
            word: "its videos cannot be cut",
            refusal,
        };
        let clips = state.join("clips");
        let failed = |error: &dyn std::error::Error| {
            unusable(Refusal::failed(
                &format!("keep clips in {}", state.display()),
                error,
            ))
        };
        let params = serde_json::to_value(params).map_err(|error| failed(&error))?;
        let input = Input {
            name: "videos".to_owned(),
            path: self.folder.clone(),
        };
        let inputs = BTreeMap::from([("videos".to_owned(), vec![input])]);
        let catalogue = registry::catalogue();
        let code = catalogue
            .get(DEFINITION.name)
            .map(|entry| entry.code.clone())
            .unwrap_or_default();
        let work = place::Work {
            stage: DEFINITION.name,
            code: &code,
            libraries: catalogue.libraries_of(&DEFINITION),
            params: &params,
            inputs: place::listing(&inputs).map_err(unusable)?,
        };
        let stamp = state.join("clips.json");
        let made_of = serde_json::to_vec(&work).map_err(|error| failed(&error))?;
        if std::fs::read(&stamp).is_ok_and(|before| before == made_of) && clips.is_dir() {
            return Ok(clips);
        }
        match std::fs::remove_file(&stamp) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(&error));
            }
            _ => {}
        }
        let place = Place::prepare(&clips, true).map_err(unusable)?;
        place.clear_unless_of(&work).map_err(unusable)?;
        let job = Job {
            stage: DEFINITION.name.to_owned(),
            step: DEFINITION.name.to_owned(),
            params,
            inputs: inputs.clone(),
            output: place.output(),
            checkpoints: place.checkpoints(),
            pieces: None,
            threads,
            fleet: None,
        };
        let command = launcher(&DEFINITION, threads);
        process::execute(command, &job, &place.log(), stop, |event| {
            shown.report("cutting the videos", event);
        })
        .map_err(|unfinished| Trouble::of(unfinished, "its videos cannot be cut"))?;
        place.finish().map_err(unusable)?;
        std::fs::write(&stamp, made_of).map_err(|error| failed(&error))?;
        Ok(clips)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_with_a_video_are_classes_and_those_of_the_run_are_told_from_the_others() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["walk", "jump", "empty", ".hidden", "notes"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let refusal = Videos::find(folder.path()).unwrap_err();
        assert!(refusal.message.contains("no video"), "{refusal:?}");
        for file in ["walk/a.avi", "jump/b.avi", ".hidden/c.avi", "notes/d.txt"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        let videos = Videos::find(folder.path()).unwrap();
        let run = ["sit".to_owned(), "walk".to_owned()];
        let expected = Classes {
            known: vec!["walk".into()],
            unknown: vec!["jump".into()],
        };
        assert_eq!(videos.classes_of(&run).unwrap(), expected);
        let refusal = videos.classes_of(&run[..1]).unwrap_err();
        assert!(
            refusal
                .message
                .contains("show jump, walk, and the run is about sit"),
            "{refusal:?}"
        );
    }
}

//! Which folder of the fleet a step's run lies in.
//!
//! A run outlives the step's own checkpoints, so that it can be replayed and nothing is lost with a store. A folder is named after
//! the step's key; a file among the checkpoints says which one this attempt at the step uses. Without that file the step goes on with
//! a run of its key that never came to a result, and begins anew where there is none: so it is when somebody forces a step.

use std::io::ErrorKind;
use std::path::Path;

use fedact_fleet::setup::{Fleet, RunFolder};

use crate::FederateError;

/// Among the step's checkpoints: the name of its run.
const MARK: &str = "fleet-run";

/// In a run's folder: its result was written.
const DONE: &str = "done";

/// So much of a key tells it from others.
const NAME_LENGTH: usize = 16;

/// The folder of a step's run, which no other process serves meanwhile.
#[derive(Debug)]
pub struct Place(RunFolder);

impl Place {
    /// Takes the folder for a step with these checkpoints.
    ///
    /// # Errors
    /// Another process serves a run of the fleet; a file cannot be read or written.
    pub fn take(fleet: &Fleet, checkpoints: &Path) -> Result<Self, FederateError> {
        let mark = checkpoints.join(MARK);
        let name = match std::fs::read_to_string(&mark) {
            Ok(name) => name.trim().to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => unfinished(fleet, checkpoints),
            Err(source) => return Err(FederateError::Read { path: mark, source }),
        };
        let run = fleet.begin_run(&name)?;
        write(&mark, &name)?;
        Ok(Self(run))
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.0.path
    }

    /// Says that the run has come to its result: whoever begins the step anew begins another run.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn done(self) -> Result<(), FederateError> {
        write(&self.folder().join(DONE), "")
    }
}

/// The first name for a run of this key that none with a result has.
fn unfinished(fleet: &Fleet, checkpoints: &Path) -> String {
    let key = checkpoints.file_name().map_or_else(
        || "run".to_owned(),
        |key| key.to_string_lossy().chars().take(NAME_LENGTH).collect(),
    );
    let mut name = key.clone();
    let mut nth = 1;
    while fleet.runs_folder().join(&name).join(DONE).exists() {
        nth += 1;
        name = format!("{key}-{nth}");
    }
    name
}

fn write(path: &Path, text: &str) -> Result<(), FederateError> {
    std::fs::write(path, text).map_err(|source| FederateError::Write {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use fedact_fleet::Name;
    use fedact_fleet::setup::Setup;

    use super::*;

    #[test]
    fn a_step_goes_on_with_its_run_until_that_has_a_result_and_its_checkpoints_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let device = Name::new("nano-1").unwrap();
        let setup = Setup::on_loopback(Name::new("lab").unwrap(), 4222, vec![device]);
        let fleet = Fleet::init(&folder.path().join("fleet"), &setup).unwrap();
        let checkpoints = folder.path().join("0123456789abcdef0123456789abcdef");
        let fresh = || {
            let _ = std::fs::remove_dir_all(&checkpoints);
            std::fs::create_dir(&checkpoints).unwrap();
        };
        let take = || {
            let place = Place::take(&fleet, &checkpoints).unwrap();
            let name = place.folder().file_name().unwrap();
            let name = name.to_string_lossy().into_owned();
            (place, name)
        };
        fresh();
        let (place, name) = take();
        assert_eq!(name, "0123456789abcdef");
        let taken = Place::take(&fleet, &checkpoints).unwrap_err().to_string();
        assert!(taken.contains("served by another process"), "{taken}");
        drop(place);
        // With its checkpoints and without them, as after a lost store.
        assert_eq!(take().1, name);
        fresh();
        assert_eq!(take().1, name);
        take().0.done().unwrap();
        // The result was not published: the checkpoints are still there.
        assert_eq!(take().1, name);
        fresh();
        assert_eq!(take().1, "0123456789abcdef-2");
    }
}

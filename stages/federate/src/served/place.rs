//! Which folder of the fleet a step's run lies in.
//!
//! A run outlives the step's own checkpoints, so that it can be replayed and nothing is lost with a store. A folder is named after
//! the step's key; a file among the checkpoints says which one this attempt at the step uses. Without that file the step goes on with
//! a run of its key that never came to a result, and begins anew where there is none: so it is when somebody forces a step.
//!
//! Of the runs with a result the last few are kept, to be looked at and replayed; a run without one is kept for ever, because somebody
//! may go on with it.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fedact_fleet::setup::{Fleet, RunFolder};

use crate::FederateError;

/// Among the step's checkpoints: the name of its run.
const MARK: &str = "fleet-run";

/// In a run's folder: its result was written.
const DONE: &str = "done";

/// So many runs with a result are kept beside the one that is served.
const KEPT_RUNS: usize = 3;

/// Where runs go to be removed, so that none that is half removed looks like one to go on with.
const DOOMED: &str = ".doomed";

/// So much of a key tells it from others.
const NAME_LENGTH: usize = 16;

/// The folder of a step's run, which no other process serves meanwhile.
#[derive(Debug)]
pub struct Place(RunFolder);

impl Place {
    /// Takes the folder for a step with these checkpoints, and removes those of runs that came to their result long ago.
    ///
    /// # Errors
    /// Another process serves a run of the fleet; a file cannot be read or written.
    pub fn take(fleet: &Fleet, checkpoints: &Path) -> Result<Self, FederateError> {
        let name = name(fleet, checkpoints)?;
        let run = fleet.begin_run(&name)?;
        write(&checkpoints.join(MARK), &name)?;
        sweep(&fleet.runs_folder(), &name)?;
        Ok(Self(run))
    }

    /// The folder that [`Self::take`] would take; it may not be there.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn path(fleet: &Fleet, checkpoints: &Path) -> Result<PathBuf, FederateError> {
        Ok(fleet.runs_folder().join(name(fleet, checkpoints)?))
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

/// The name of the run of a step with these checkpoints.
fn name(fleet: &Fleet, checkpoints: &Path) -> Result<String, FederateError> {
    let mark = checkpoints.join(MARK);
    match std::fs::read_to_string(&mark) {
        Ok(name) => Ok(name.trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(unfinished(fleet, checkpoints)),
        Err(source) => Err(FederateError::Read { path: mark, source }),
    }
}

/// Removes the runs with a result but the last [`KEPT_RUNS`], and never the one of this name.
fn sweep(runs: &Path, served: &str) -> Result<(), FederateError> {
    let doomed = runs.join(DOOMED);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| FederateError::Write { path, source }
    };
    let mut done: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(runs).map_err(failed(runs))? {
        let path = entry.map_err(failed(runs))?.path();
        let since = path.join(DONE).metadata();
        let since = since.as_ref().map(Metadata::modified);
        if let Ok(Ok(since)) = since
            && path != runs.join(served)
            && path != doomed
        {
            done.push((since, path));
        }
    }
    done.sort();
    done.truncate(done.len().saturating_sub(KEPT_RUNS));
    for (_, path) in done {
        // What an earlier sweep did not come to the end of goes first.
        remove(&doomed)?;
        std::fs::rename(&path, &doomed).map_err(failed(&path))?;
    }
    remove(&doomed)
}

fn remove(folder: &Path) -> Result<(), FederateError> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(FederateError::Write {
            path: folder.to_owned(),
            source,
        }),
        _ => Ok(()),
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
    use std::time::Duration;

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

    #[test]
    fn the_last_runs_with_a_result_are_kept_and_all_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let run = |name: &str, done: Option<u64>| {
            let path = runs.join(name);
            std::fs::create_dir_all(path.join("versions")).unwrap();
            if let Some(seconds) = done {
                let file = std::fs::File::create(path.join(DONE)).unwrap();
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
                file.set_modified(at).unwrap();
            }
        };
        // Those with a result come in another order than their names.
        let done = ["e", "a", "d", "b", "c"];
        for (nth, name) in done.iter().enumerate() {
            run(name, Some(1000 + nth as u64));
        }
        run("served", Some(1));
        run("interrupted", None);
        run(DOOMED, Some(2));
        sweep(&runs, "served").unwrap();
        let mut left: Vec<String> = std::fs::read_dir(&runs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["b", "c", "d", "interrupted", "served"]);
        assert_eq!(done.len() - 2, KEPT_RUNS);
    }
}

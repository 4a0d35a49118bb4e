//! The hidden folder beside the output in which a single stage works.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fedact_stage::Input;
use serde::Serialize;
use serde_json::Value;

use crate::exit::{Code, Refusal};

/// What is being made: checkpoints of one thing are of no use to another.
#[derive(Debug, Serialize)]
pub(crate) struct Work<'a> {
    pub(crate) stage: &'a str,
    /// Digest of the stage's code.
    pub(crate) code: &'a str,
    pub(crate) libraries: BTreeMap<String, String>,
    pub(crate) params: &'a Value,
    pub(crate) inputs: BTreeMap<&'a str, Vec<Listing>>,
}

/// The files of an input folder as the file system tells them apart, without reading them.
#[derive(Debug, Serialize)]
pub(crate) struct Listing {
    /// The name that the stage sees.
    name: String,
    folder: PathBuf,
    files: Vec<Listed>,
}

/// One file: everything of it that changes when its content does.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Listed {
    path: PathBuf,
    size: u64,
    modified_ns: i128,
    changed_ns: i128,
    inode: u64,
}

/// The files of all inputs.
pub(crate) fn listing(
    inputs: &BTreeMap<String, Vec<Input>>,
) -> Result<BTreeMap<&str, Vec<Listing>>, Refusal> {
    let list = |input: &Input| -> io::Result<Listing> {
        let mut files = Vec::new();
        list_into(&input.path, &mut files)?;
        files.sort();
        Ok(Listing {
            name: input.name.clone(),
            folder: input.path.clone(),
            files,
        })
    };
    inputs
        .iter()
        .map(|(name, items)| {
            let listings = items.iter().map(list).collect::<io::Result<Vec<_>>>();
            let failed = |error| Refusal::failed(&format!("list the input `{name}`"), &error);
            Ok((name.as_str(), listings.map_err(failed)?))
        })
        .collect()
}

fn list_into(folder: &Path, files: &mut Vec<Listed>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Through links, as the stage reads.
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() {
            list_into(&path, files)?;
            continue;
        }
        let nanoseconds =
            |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        files.push(Listed {
            size: metadata.size(),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            path,
        });
    }
    Ok(())
}

/// Where a stage works until its output is complete: a hidden folder beside it.
///
/// ```text
/// .<output>.fedact/
///   lock           held while a process works here
///   work.json      what is being made; the checkpoints of anything else are removed
///   checkpoints/   of a run that was stopped or killed
///   output/        becomes the output folder when it is complete
///   log            standard error of the stage
/// ```
pub(crate) struct Place {
    target: PathBuf,
    work: PathBuf,
    _lock: File,
}

impl Place {
    pub(crate) fn prepare(target: &Path, force: bool) -> Result<Self, Refusal> {
        let failed = |action: &str| {
            let action = format!("{action} {}", target.display());
            move |error: std::io::Error| Refusal::failed(&action, &error)
        };
        let target = std::path::absolute(target).map_err(failed("find"))?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Refusal::new(
                Code::Usage,
                format!("{} cannot be an output folder", target.display()),
                "give the path of a folder that does not exist yet",
            ));
        };
        let something = match fs::read_dir(&target) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            // A file, or what cannot be read: not to be replaced by accident.
            Err(_) => true,
        };
        if something && !force {
            return Err(Refusal::new(
                Code::Usage,
                format!("the output folder {} is not empty", target.display()),
                "name another one, or replace it with --force",
            ));
        }
        let work = parent.join(format!(".{}.fedact", name.to_string_lossy()));
        fs::create_dir_all(&work).map_err(failed("make the folder beside"))?;
        let lock = File::create(work.join("lock")).map_err(failed("lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Refusal::new(
                    Code::Usage,
                    format!("another process is making {}", target.display()),
                    "wait for it, or name another output folder",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error)),
        }
        let place = Self {
            target: target.clone(),
            work,
            _lock: lock,
        };
        remove(&place.output())
            .and_then(|()| fs::create_dir(place.output()))
            .map_err(failed("clear the folder beside"))?;
        Ok(place)
    }

    /// Removes what an earlier run left if that was to make something else; says whether there is
    /// something to go on from.
    pub(crate) fn clear_unless_of(&self, work: &Work<'_>) -> Result<bool, Refusal> {
        let failed = |error| Refusal::failed(&format!("use {}", self.work.display()), &error);
        let description = serde_json::to_vec(work).map_err(|error| failed(error.into()))?;
        let file = self.work.join("work.json");
        let checkpoints = self.checkpoints();
        if fs::read(&file).is_ok_and(|before| before == description) && checkpoints.is_dir() {
            let mut inside = fs::read_dir(&checkpoints).map_err(failed)?;
            return Ok(inside.next().is_some());
        }
        // In this order: a description never stands beside checkpoints of something else.
        remove(&file).map_err(failed)?;
        remove(&checkpoints).map_err(failed)?;
        fs::create_dir(&checkpoints).map_err(failed)?;
        fs::write(&file, description).map_err(failed)?;
        Ok(false)
    }

    pub(crate) fn output(&self) -> PathBuf {
        self.work.join("output")
    }

    pub(crate) fn checkpoints(&self) -> PathBuf {
        self.work.join("checkpoints")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.work.join("log")
    }

    /// Moves the complete output into its place. An old one is moved aside first, so that a kill at any
    /// moment leaves one of the two whole.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        let failed = |error| Refusal::failed(&format!("write {}", self.target.display()), &error);
        let old = self.work.join("old");
        remove(&old).map_err(failed)?;
        match fs::rename(&self.target, &old) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        fs::rename(self.output(), &self.target).map_err(failed)?;
        remove(&self.work).map_err(failed)
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

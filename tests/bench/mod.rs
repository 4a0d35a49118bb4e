//! A folder with a pipeline file in it, and the command run there.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;

/// Two videos of two persons: the smallest set that the stages take. A second or two.
pub const TINY: &str =
    "{actions: [Walk, Squat], subjects: 2, clips: 1, seconds: 0.5, fps: 8, width: 64, height: 64}";

pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new(steps: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self { folder };
        bench.write(&format!("version: 1\nsteps:\n{steps}"));
        bench
    }

    pub fn write(&self, text: &str) {
        std::fs::write(self.path("pipeline.yaml"), text).unwrap();
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fedact"));
        command.current_dir(self.folder.path()).args(arguments);
        // What the tester's own environment says of remotes is not meant.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if ["FEDACT_", "AWS_"]
                .iter()
                .any(|start| text.starts_with(start))
            {
                command.env_remove(&name);
            }
        }
        command
    }

    pub fn fedact(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments).output().unwrap())
    }
}

#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// The command refused with this code, and standard error has all these words.
    #[track_caller]
    pub fn refused(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:#?}");
        assert!(self.stderr.starts_with("error: "), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:#?}");
        }
    }

    #[track_caller]
    pub fn done(&self) -> &Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }
}

//! A folder of videos and the stage as the runner calls it, on videos made for the purpose.

#![allow(clippy::unwrap_used, dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fedact_clips::{Clip, ClipSet, Problem, Split, read_problems};
use fedact_extract::{DEFINITION, run};
use fedact_stage::{Event, Input, Job, Metrics, Pieces, Reporter, StageError};
use fedact_video::{Codec, VideoWriter};
use serde_json::Value;

/// A folder with videos and a place for the step's output.
pub struct Place {
    pub folder: tempfile::TempDir,
    runs: std::cell::Cell<usize>,
    clocks: std::cell::Cell<u8>,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("videos")).unwrap();
        Self {
            folder,
            runs: 0.into(),
            clocks: 0.into(),
        }
    }

    pub fn videos(&self) -> PathBuf {
        self.folder.path().join("videos")
    }

    /// A video whose colour says which it is.
    pub fn video(&self, name: &str, colour: u8) {
        let path = self.videos().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = VideoWriter::create(&path, 64, 48, 30, Codec::Mpeg4).unwrap();
        for frame in 0..12u8 {
            writer
                .write(&[colour.wrapping_add(frame); 64 * 48 * 3])
                .unwrap();
        }
        writer.finish().unwrap();
    }

    /// A video of ten frames a second that gets redder with time: by one a frame, from 16 on, so that the red
    /// of a pixel tells the second it was shown in. No two are alike: their blue differs.
    pub fn clock(&self, name: &str, seconds: u32) {
        let path = self.videos().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut writer = VideoWriter::create(&path, 64, 48, 10, Codec::Mpeg4).unwrap();
        self.clocks.set(self.clocks.get() + 1);
        let blue = 40 + 10 * self.clocks.get();
        for frame in 0..seconds * 10 {
            let pixel = [16 + frame as u8, 60, blue];
            writer.write(&pixel.repeat(64 * 48)).unwrap();
        }
        writer.finish().unwrap();
    }

    pub fn file(&self, name: &str, content: &[u8]) {
        let path = self.videos().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Two classes of three persons with two videos each.
    pub fn persons() -> Self {
        let place = Self::new();
        for (label, class) in ["sit", "stand"].into_iter().enumerate() {
            for person in 0..3 {
                for take in 0..2 {
                    let colour = 20 + (label * 6 + person * 2 + take) as u8 * 17;
                    place.video(&format!("{class}/person{person}_{take}.avi"), colour);
                }
            }
        }
        place
    }

    /// Runs the stage into a fresh output folder; checkpoints stay.
    pub fn run(&self, params: Value) -> Outcome {
        self.run_with(params, 2)
    }

    pub fn run_with(&self, params: Value, threads: usize) -> Outcome {
        self.run_of_pieces(params, threads, None)
    }

    /// The pieces that a runner would offer: all of unfinished runs, and the results of finished ones.
    pub fn pieces(&self, earlier: &[&Outcome], shard: Option<&str>) -> Pieces {
        Pieces {
            folder: self.folder.path().join("pieces"),
            earlier: earlier
                .iter()
                .map(|outcome| outcome.output.clone())
                .collect(),
            shard: shard.map(|shard| shard.parse().unwrap()),
        }
    }

    /// The files of the pieces that are in no result.
    pub fn loose(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.folder.path().join("pieces"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    /// As when a result is published.
    pub fn forget_checkpoints(&self) {
        fs::remove_dir_all(self.folder.path().join("checkpoints")).unwrap();
    }

    pub fn run_of_pieces(
        &self,
        mut params: Value,
        threads: usize,
        pieces: Option<Pieces>,
    ) -> Outcome {
        self.runs.set(self.runs.get() + 1);
        for (key, value) in [("frames", 4), ("size", 16)] {
            params
                .as_object_mut()
                .unwrap()
                .entry(key)
                .or_insert(value.into());
        }
        let output = self
            .folder
            .path()
            .join(format!("output{}", self.runs.get()));
        fs::create_dir(&output).unwrap();
        let job = Job {
            stage: "extract".into(),
            step: "clips".into(),
            params: (DEFINITION.resolve)(&params).unwrap(),
            inputs: BTreeMap::from([(
                "videos".into(),
                vec![Input {
                    name: "videos".into(),
                    path: self.videos(),
                }],
            )]),
            output: output.clone(),
            checkpoints: self.folder.path().join("checkpoints"),
            pieces,
            threads,
            fleet: None,
        };
        let warnings = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&warnings);
        let reporter = Reporter::to_function(move |event| {
            if let Event::Message { text, .. } = event {
                sink.lock().unwrap().push(text.clone());
            }
        });
        let result = run(&job, &reporter);
        let warnings = warnings.lock().unwrap().clone();
        Outcome {
            output,
            result,
            warnings,
        }
    }
}

pub struct Outcome {
    pub output: PathBuf,
    pub result: Result<Metrics, StageError>,
    pub warnings: Vec<String>,
}

impl Outcome {
    pub fn set(&self) -> ClipSet {
        ClipSet::open(&self.output).unwrap()
    }

    /// All clips of the set, ordered by id.
    pub fn clips(&self) -> Vec<Clip> {
        let set = self.set();
        (0..set.len()).map(|clip| set.clip(clip).unwrap()).collect()
    }

    pub fn pixels(&self, clip: usize) -> Vec<u8> {
        let mut room = Vec::new();
        self.set().pixels(clip, &mut room).unwrap().to_vec()
    }

    pub fn metric(&self, name: &str) -> u64 {
        self.result.as_ref().unwrap()[name].as_u64().unwrap()
    }

    pub fn problems(&self) -> Vec<Problem> {
        read_problems(&self.output).unwrap()
    }

    /// The error, which must be the user's to mend and say how.
    pub fn refusal(self) -> String {
        let error = self.result.unwrap_err();
        assert!(error.invalid_input, "{error:?}");
        format!("{} | {}", error.message, error.remedy.expect("a remedy"))
    }
}

/// Video, group and side of each clip.
pub fn rows(outcome: &Outcome) -> Vec<(String, String, Split)> {
    let clips = outcome.clips().into_iter();
    clips
        .map(|clip| (clip.id, clip.group, clip.split))
        .collect()
}

/// The videos on each side.
pub fn sides(outcome: &Outcome) -> (Vec<String>, Vec<String>) {
    let of = |side| {
        rows(outcome)
            .into_iter()
            .filter(|row| row.2 == side)
            .map(|row| row.0.split('#').next().unwrap().to_owned())
            .collect()
    };
    (of(Split::Train), of(Split::Test))
}

/// The files of a folder, by name.
pub fn bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        })
        .collect()
}

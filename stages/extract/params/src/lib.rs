//! Params of the stage `extract`, and its definition: all that planning needs of it, without torch and FFmpeg.
//!
//! The work is in `fedact-extract`, one folder up.

mod definition;
mod source;

use fedact_stage::{OutOfRange, Params};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use definition::DEFINITION;
pub use source::{Duplicates, Layout, Validation};

/// Which frames make a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Frames at equal distances, the first and the last included; clips are equal parts of the video, one
    /// after the other.
    Uniform,
    /// One frame from each of as many equal segments as a clip has frames (temporal segment networks):
    /// every clip covers the whole video.
    Segments,
    /// A window of frames at `fps` frames a second, whatever the video's own rate.
    Windows,
    /// A run of every `stride`-th frame as the video has them.
    Dense,
}

/// What a window or a run does that is longer than its video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Short {
    /// The video begins again.
    Loop,
    /// Its last frame is held.
    Hold,
}

/// What becomes of videos with a high dynamic range (PQ or HLG).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HighDynamicRange {
    /// It is mapped to the range of an ordinary screen.
    Map,
    /// They are left out, as problems.
    Refuse,
}

/// What becomes of interlaced frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Deinterlace {
    /// Frames that are flagged as interlaced are deinterlaced (bwdif).
    Auto,
    /// Fields stay woven together.
    Off,
}

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As they are.
    Raw,
    /// Each frame as JPEG.
    Jpeg,
}

/// How frames are chosen, always by presentation time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// `segments` or `uniform` (over the whole video), `windows` (at a fixed rate) or `dense` (at the
    /// video's own).
    pub method: Method,
    /// Frames a second within a window; 0.1 to 240. For `windows` only.
    pub fps: f64,
    /// From one frame of a run to the next, in frames of the video; 1 to 64. For `dense` only.
    pub stride: u32,
    /// What a window or a run does that is longer than its video: `loop` or `hold` the last frame.
    pub short: Short,
    /// Clips from each video of the training split, evenly spread in time; 1 to 100.
    pub train_clips: u32,
    /// Clips from each video of the test split, evenly spread in time; 1 to 100.
    pub test_clips: u32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            method: Method::Segments,
            fps: 15.0,
            stride: 2,
            short: Short::Loop,
            train_clips: 1,
            test_clips: 1,
        }
    }
}

/// The params of `extract`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ExtractParams {
    /// Frames of a clip; 1 to 512.
    pub frames: u32,
    /// Side of the square frames in pixels, cut from the middle; 8 to 1024.
    pub size: u32,
    /// Short side in pixels to which a video is scaled before the square is cut out; `size` to 4 times
    /// `size`. By default 8/7 of `size`: 128 for 112.
    pub resize: Option<u32>,
    /// Which frames, and how many clips a video gives.
    pub sampling: Sampling,
    /// Videos with a high dynamic range: `map` it to that of an ordinary screen, or `refuse` them.
    pub high_dynamic_range: HighDynamicRange,
    /// Frames that are flagged as interlaced: deinterlaced (`auto`), or left as they are (`off`).
    pub deinterlace: Deinterlace,
    /// Pictures a second of a video that is a folder of numbered pictures, as Jester is published; 0.1 to 240.
    pub picture_rate: f64,
    /// How pixels are stored: `raw`, or `jpeg`, which takes a tenth of the room, loses a little and is decoded
    /// whenever a clip is read.
    pub encoding: Encoding,
    /// Quality of the JPEGs; 1 to 100. Without effect for `raw`.
    pub jpeg_quality: u8,
    /// How the folder is organised: `folders`, `ucf101`, `hmdb51`, `kinetics`, `something-something`, `jester`,
    /// `manifest`, or `auto` to see by the lists in it.
    pub layout: Layout,
    /// Which of the official split lists is used where there are several (UCF101, HMDB51); 1 to 3.
    pub split_list: u32,
    /// The manifest, as a path within the folder; by default `manifest.csv` or `manifest.jsonl`.
    pub manifest: Option<String>,
    /// What becomes of the videos of a validation list: `test` (they measure, and a test list is left out), `train`
    /// (they are trained on), `leave-out`; `auto` is `test` for data sets whose test labels are not
    /// published (Kinetics, Something-Something, Jester) or where there is no test list, else `leave-out`.
    pub validation: Validation,
    /// A regular expression over file names whose one capture group is the person or recording, as in
    /// `(person\d+)`: clips of one group stay on one side of the split. By default the column `group` of a
    /// manifest, the `gNN` of UCF101's names, the source of HMDB51's, the id of Kinetics's; where there is
    /// none of them, each video is a group of its own.
    pub group_pattern: Option<String>,
    /// Share of each class's videos that is kept back for testing, as far as whole groups allow, where
    /// no official list says which; at least 0 and below 1. 0: all are trained on, as on a device of a fleet.
    pub test_share: f64,
    /// Seed of the split.
    pub seed: u64,
    /// Classes to take; all where the list is empty.
    pub include: Vec<String>,
    /// Classes to leave out.
    pub exclude: Vec<String>,
    /// Share of the listed videos that may be missing before the step fails; 0 to 1. By default 0.5 for Kinetics,
    /// of which the web loses some every day, and 0.1 for every other layout.
    pub max_missing_share: Option<f64>,
    /// Share of the files that may be unreadable or no videos before the step fails; 0 to 1.
    pub max_bad_share: f64,
    /// What happens when a file has the same content on both sides of the split: `leave-out` (the one to train
    /// on is left out, so that the test stays what it is) or `fail`.
    pub duplicates: Duplicates,
    /// Seconds that one file may take before it is left out; 1 to 86400.
    pub time_limit_seconds: f64,
    /// Memory in MiB that reading and decoding one file may take before it is left out; 64 to 65536.
    pub memory_limit_mib: u32,
}

impl Default for ExtractParams {
    fn default() -> Self {
        Self {
            frames: 16,
            size: 112,
            resize: None,
            sampling: Sampling::default(),
            high_dynamic_range: HighDynamicRange::Map,
            deinterlace: Deinterlace::Auto,
            picture_rate: 12.0,
            encoding: Encoding::Raw,
            jpeg_quality: 80,
            layout: Layout::Auto,
            split_list: 1,
            manifest: None,
            validation: Validation::Auto,
            group_pattern: None,
            test_share: 0.3,
            seed: 0,
            include: Vec::new(),
            exclude: Vec::new(),
            max_missing_share: None,
            max_bad_share: 0.1,
            duplicates: Duplicates::LeaveOut,
            time_limit_seconds: 120.0,
            memory_limit_mib: 1024,
        }
    }
}

impl ExtractParams {
    /// The short side before the square is cut out.
    pub fn resize(&self) -> u32 {
        self.resize.unwrap_or((self.size * 8 + 3) / 7)
    }

    /// The share of listed videos that may be missing from a folder of this layout.
    pub fn max_missing_share(&self, layout: Layout) -> f64 {
        self.max_missing_share
            .unwrap_or_else(|| layout.usually_missing())
    }
}

impl Params for ExtractParams {
    fn check(&self) -> Result<(), OutOfRange> {
        let between = |value: u32, low: u32, high: u32, key: &str| {
            OutOfRange::unless(
                (low..=high).contains(&value),
                key,
                value,
                &format!("between {low} and {high}"),
            )
        };
        between(self.frames, 1, 512, "frames")?;
        between(self.size, 8, 1024, "size")?;
        if let Some(resize) = self.resize {
            between(resize, self.size, 4 * self.size, "resize")?;
        }
        between(self.sampling.train_clips, 1, 100, "sampling.train_clips")?;
        between(self.sampling.test_clips, 1, 100, "sampling.test_clips")?;
        for (key, rate) in [
            ("sampling.fps", self.sampling.fps),
            ("picture_rate", self.picture_rate),
        ] {
            OutOfRange::unless(
                (0.1..=240.0).contains(&rate),
                key,
                rate,
                "between 0.1 and 240",
            )?;
        }
        between(self.sampling.stride, 1, 64, "sampling.stride")?;
        between(self.jpeg_quality.into(), 1, 100, "jpeg_quality")?;
        between(self.split_list, 1, 3, "split_list")?;
        let share = self.test_share;
        OutOfRange::unless(
            (0.0..1.0).contains(&share),
            "test_share",
            share,
            "at least 0 and below 1",
        )?;
        for (key, share) in [
            ("max_bad_share", Some(self.max_bad_share)),
            ("max_missing_share", self.max_missing_share),
        ] {
            let share = share.unwrap_or(0.0);
            OutOfRange::unless((0.0..=1.0).contains(&share), key, share, "between 0 and 1")?;
        }
        if let Some(manifest) = &self.manifest {
            OutOfRange::unless(
                matches!(self.layout, Layout::Auto | Layout::Manifest),
                "manifest",
                manifest,
                "left out, or the layout `manifest`",
            )?;
            let extension = std::path::Path::new(manifest)
                .extension()
                .and_then(|extension| extension.to_str());
            OutOfRange::unless(
                matches!(extension, Some("csv" | "jsonl")),
                "manifest",
                manifest,
                "a .csv or .jsonl file in the folder of videos",
            )?;
        }
        let limit = self.time_limit_seconds;
        OutOfRange::unless(
            (1.0..=86_400.0).contains(&limit),
            "time_limit_seconds",
            limit,
            "between 1 and 86400",
        )?;
        between(self.memory_limit_mib, 64, 65_536, "memory_limit_mib")?;
        if let Some(pattern) = &self.group_pattern {
            let expected = match Regex::new(pattern) {
                Ok(regex) if regex.captures_len() == 2 => return Ok(()),
                Ok(_) => "a regular expression with exactly one capture group, as in (person\\d+)"
                    .to_owned(),
                Err(error) => {
                    let reason = error.to_string();
                    let reason = reason.lines().last().unwrap_or_default();
                    format!("a regular expression ({reason})")
                }
            };
            OutOfRange::unless(false, "group_pattern", pattern, &expected)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use fedact_stage::resolve;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_written_out() {
        let resolved = resolve::<ExtractParams>(&Value::Null).unwrap();
        assert_eq!(resolved["sampling"]["method"], "segments");
        assert_eq!(ExtractParams::default().resize(), 128);
        assert_eq!(
            ExtractParams {
                size: 56,
                ..Default::default()
            }
            .resize(),
            64
        );
    }

    #[test]
    fn values_out_of_range_are_named() {
        for (given, key) in [
            (json!({"frames": 0}), "frames"),
            (json!({"size": 112, "resize": 100}), "resize"),
            (json!({"sampling": {"fps": 0.0}}), "sampling.fps"),
            (json!({"picture_rate": 0}), "picture_rate"),
            (json!({"sampling": {"stride": 0}}), "sampling.stride"),
            (
                json!({"sampling": {"test_clips": 0}}),
                "sampling.test_clips",
            ),
            (json!({"jpeg_quality": 0}), "jpeg_quality"),
            (json!({"test_share": 1.0}), "test_share"),
            (json!({"split_list": 4}), "split_list"),
            (json!({"group_pattern": "person"}), "group_pattern"),
            (json!({"group_pattern": "(person"}), "group_pattern"),
            (json!({"max_bad_share": -0.1}), "max_bad_share"),
            (json!({"max_missing_share": 1.5}), "max_missing_share"),
            (json!({"manifest": "mine.txt"}), "manifest"),
            (
                json!({"manifest": "mine.csv", "layout": "folders"}),
                "manifest",
            ),
            (json!({"layout": "kinetic"}), "layout"),
            (json!({"duplicates": "keep"}), "duplicates"),
            (json!({"validation": "maybe"}), "validation"),
            (json!({"time_limit_seconds": 0}), "time_limit_seconds"),
            (json!({"memory_limit_mib": 63}), "memory_limit_mib"),
        ] {
            let error = resolve::<ExtractParams>(&given).unwrap_err();
            assert_eq!(error.key(), key, "{error}");
        }
    }
}

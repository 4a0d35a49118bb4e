//! The stage as the planner sees it.

use fedact_stage::{Arity, Cores, Definition, InputSpec, Kind, Library, resolve, schema};

use serde_json::Value;

use crate::ExtractParams;

/// The stage as the planner sees it.
pub static DEFINITION: Definition = Definition {
    name: "extract",
    summary: "Cut clips of equal size out of a folder of videos",
    package: "fedact-extract",
    inputs: &[InputSpec {
        name: "videos",
        kinds: &[Kind::Videos],
        arity: Arity::One,
        summary: "A folder of videos: one folder per class, a manifest, or UCF101, HMDB51, Kinetics, Something-Something, Jester with their lists",
    }],
    output: Kind::Clips,
    libraries: &[Library::Ffmpeg],
    resolve: resolve::<ExtractParams>,
    schema: schema::<ExtractParams>,
    cores: |_| Cores::All,
    memory: |_| Some(MEMORY),
    pieces: Some(pieces),
};

/// Measured below 200 MiB at 320 x 240; a decoder of 1920 x 1080 keeps up to seventeen frames of 3 MiB on each
/// of a few threads.
const MEMORY: u64 = 512 << 20;

/// Params that decide which videos are cut, into how many clips, on which side of the split, and when that fails:
/// nothing about a single clip. Whatever is not named here counts as deciding it.
const NOT_OF_A_CLIP: [&str; 14] = [
    "layout",
    "split_list",
    "manifest",
    "validation",
    "group_pattern",
    "test_share",
    "seed",
    "include",
    "exclude",
    "max_missing_share",
    "max_bad_share",
    "duplicates",
    "time_limit_seconds",
    "memory_limit_mib",
];

/// The same within `sampling`.
const NOT_OF_A_CLIP_IN_SAMPLING: [&str; 2] = ["train_clips", "test_clips"];

/// What decides the clips of a video.
fn pieces(params: &Value) -> Value {
    let mut deciding = params.clone();
    if let Value::Object(deciding) = &mut deciding {
        NOT_OF_A_CLIP
            .iter()
            .for_each(|key| drop(deciding.remove(*key)));
        if let Some(Value::Object(sampling)) = deciding.get_mut("sampling") {
            NOT_OF_A_CLIP_IN_SAMPLING
                .iter()
                .for_each(|key| drop(sampling.remove(*key)));
        }
    }
    deciding
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(given: &Value) -> Value {
        pieces(&(DEFINITION.resolve)(given).unwrap())
    }

    #[test]
    fn another_split_of_the_same_videos_is_made_of_the_same_pieces() {
        let plain = of(&json!({}));
        for same in [
            json!({"test_share": 0.5, "seed": 9, "group_pattern": r"(g\d+)", "split_list": 2}),
            json!({"include": ["sit"], "max_bad_share": 1.0, "time_limit_seconds": 5}),
            json!({"sampling": {"test_clips": 10}}),
        ] {
            assert_eq!(of(&same), plain, "{same}");
        }
        for other in [
            json!({"frames": 8}),
            json!({"size": 56}),
            json!({"resize": 200}),
            json!({"sampling": {"method": "windows"}}),
            json!({"sampling": {"fps": 10.0}}),
            json!({"sampling": {"short": "hold"}}),
        ] {
            assert_ne!(of(&other), plain, "{other}");
        }
    }

    #[test]
    fn every_param_that_is_left_out_exists() {
        let params = (DEFINITION.resolve)(&Value::Null).unwrap();
        for key in NOT_OF_A_CLIP {
            assert!(params.get(key).is_some(), "{key}");
        }
        for key in NOT_OF_A_CLIP_IN_SAMPLING {
            assert!(params["sampling"].get(key).is_some(), "{key}");
        }
    }
}

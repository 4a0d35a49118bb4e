//! Params of the stage `synthesize`, and its definition: all that planning needs of it, without torch and FFmpeg.
//!
//! The work is in `fedact-synthesize`, one folder up.

mod action;
mod definition;

use fedact_stage::{OutOfRange, Params as _, ParamsError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use action::{Action, Rhythm, Set};
pub use definition::DEFINITION;

/// Params of `synthesize`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// `large` or `small`: chooses the default actions and the persons. No person is in both sets.
    pub set: Set,
    /// The actions, each a class. Default: the fourteen of the large or the six of the small set.
    pub actions: Vec<Action>,
    /// How many persons (groups gNN) perform, 2 to 999. Default: 18 in the large set, 14 in the small
    /// one, where each of them is a client of the federation.
    pub subjects: Option<u32>,
    /// How many clips of every action each person gives, 1 to 999. Default: 2 in the large set, 3 in
    /// the small one.
    pub clips: Option<u32>,
    /// The share of persons whose clips are the test split, above 0 and below 1; at least one person
    /// is on each side.
    pub test_share: f64,
    /// The length of a video in seconds, 0.5 to 30; each differs from it by up to a fifth.
    pub seconds: f64,
    /// Frames a second, 5 to 120.
    pub fps: u32,
    /// Width in pixels, even, 48 to 1920.
    pub width: u32,
    /// Height in pixels, even, 48 to 1080.
    pub height: u32,
    /// How hard the clips are to tell apart, 0 to 1: scales every variation between persons and between
    /// clips. 0 is one plain view of an ordinary person, 1 is a shaky hand-held camera in a
    /// dim room.
    pub difficulty: f64,
    /// Variation of the camera (angle, distance, pan, shake) at a given difficulty, 0 to 2; 1 is
    /// ordinary.
    pub camera: f64,
    /// Variation of light (direction, brightness, colour) at a given difficulty, 0 to 2; 1 is ordinary.
    pub light: f64,
    /// Strength of sensor noise and of the texture behind the figure at a given difficulty, 0 to 2; 1 is
    /// ordinary.
    pub noise: f64,
    /// Seed of everything random. Equal seeds give equal videos.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            set: Set::Large,
            actions: Vec::new(),
            subjects: None,
            clips: None,
            test_share: 0.25,
            seconds: 2.0,
            fps: 15,
            width: 112,
            height: 112,
            difficulty: 0.5,
            camera: 1.0,
            light: 1.0,
            noise: 1.0,
            seed: 1,
        }
    }
}

impl Params {
    /// The same with the defaults that hang on the set filled in, and the actions in the order of
    /// their names: the canonical form.
    #[must_use]
    pub fn completed(mut self) -> Self {
        if self.actions.is_empty() {
            self.actions = self.set.actions();
        }
        self.actions.sort_by_key(|action| action.name());
        self.subjects.get_or_insert(self.set.subjects());
        self.clips.get_or_insert(self.set.clips());
        self
    }

    /// How many persons perform.
    pub fn subject_count(&self) -> u32 {
        self.subjects.unwrap_or(self.set.subjects())
    }

    /// How many clips of an action a person gives.
    pub fn clip_count(&self) -> u32 {
        self.clips.unwrap_or(self.set.clips())
    }

    /// How many persons are in the test split: those with the lowest numbers, as in UCF101's first
    /// split.
    pub fn test_subjects(&self) -> u32 {
        let subjects = self.subject_count();
        let share = (self.test_share * f64::from(subjects)).round() as u32;
        share.clamp(1, subjects - 1)
    }
}

impl fedact_stage::Params for Params {
    fn check(&self) -> Result<(), OutOfRange> {
        let mut seen = Vec::new();
        for action in &self.actions {
            OutOfRange::unless(
                !seen.contains(action),
                "actions",
                format!("a list with {} twice", action.name()),
                "a list of different actions",
            )?;
            seen.push(*action);
        }
        OutOfRange::unless(
            self.actions.len() != 1,
            "actions",
            "a list of one",
            "empty (the actions of the set) or a list of at least two",
        )?;
        let within = |key: &str, value: f64, low: f64, high: f64| {
            OutOfRange::unless(
                (low..=high).contains(&value),
                key,
                value,
                &format!("between {low} and {high}"),
            )
        };
        within("subjects", f64::from(self.subject_count()), 2.0, 999.0)?;
        within("clips", f64::from(self.clip_count()), 1.0, 999.0)?;
        OutOfRange::unless(
            self.test_share > 0.0 && self.test_share < 1.0,
            "test_share",
            self.test_share,
            "above 0 and below 1",
        )?;
        within("seconds", self.seconds, 0.5, 30.0)?;
        within("fps", f64::from(self.fps), 5.0, 120.0)?;
        for (key, side, limit) in [("width", self.width, 1920), ("height", self.height, 1080)] {
            OutOfRange::unless(
                side.is_multiple_of(2) && (48..=limit).contains(&side),
                key,
                side,
                &format!("an even number between 48 and {limit}"),
            )?;
        }
        within("difficulty", self.difficulty, 0.0, 1.0)?;
        within("camera", self.camera, 0.0, 2.0)?;
        within("light", self.light, 0.0, 2.0)?;
        within("noise", self.noise, 0.0, 2.0)
    }
}

/// Fills in and checks the params; defaults that hang on the set become visible, so that a default
/// written out gives the same key as one left out.
fn resolve(given: &Value) -> Result<Value, ParamsError> {
    let resolved = fedact_stage::resolve::<Params>(given)?;
    let unreadable = |error: serde_json::Error| ParamsError::Type {
        key: String::new(),
        message: error.to_string(),
    };
    let params: Params = serde_json::from_value(resolved).map_err(unreadable)?;
    let params = params.completed();
    params.check()?;
    serde_json::to_value(&params).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_set_written_out_resolve_alike() {
        let plain = resolve(&json!({"set": "small"})).unwrap();
        let written = resolve(&json!({
            "subjects": 14,
            "clips": 3,
            "actions": ["Throw", "March", "SideStep", "ArmCircles", "PutDown", "PickUp"],
            "set": "small",
        }))
        .unwrap();
        assert_eq!(plain, written);
        assert_eq!(plain["actions"][0], "ArmCircles");
        assert_eq!(resolve(&plain).unwrap(), plain);
    }

    #[test]
    fn values_out_of_range_are_refused_by_key() {
        for (key, value) in [
            ("subjects", json!(1)),
            ("clips", json!(0)),
            ("test_share", json!(0.0)),
            ("test_share", json!(1.0)),
            ("seconds", json!(0.1)),
            ("fps", json!(4)),
            ("width", json!(113)),
            ("height", json!(2000)),
            ("difficulty", json!(1.5)),
            ("camera", json!(-0.1)),
            ("light", json!(2.1)),
            ("noise", json!(3)),
            ("actions", json!(["Walk"])),
            ("actions", json!(["Walk", "Walk"])),
        ] {
            let error = resolve(&json!({ key: value })).unwrap_err();
            assert_eq!(error.key(), key, "{error}");
        }
        let error = resolve(&json!({"actions": ["Walk", "Fly"]})).unwrap_err();
        assert!(error.to_string().contains("Fly"), "{error}");
    }

    #[test]
    fn somebody_is_left_on_both_sides_of_the_split() {
        for (subjects, share, expected) in [(2, 0.01, 1), (2, 0.99, 1), (18, 0.25, 5), (4, 0.5, 2)]
        {
            let params = Params {
                subjects: Some(subjects),
                test_share: share,
                ..Params::default()
            };
            assert_eq!(params.test_subjects(), expected);
        }
    }
}

//! The catalogue of actions: names, sets, rhythm, and which are each other's reversal.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A set of actions and the persons who perform them; no action and no person is in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Set {
    /// Fourteen actions, to train a teacher on.
    Large,
    /// Six others, to fine-tune on devices.
    Small,
}

impl Set {
    /// The actions that make the set by default, sorted by name.
    pub fn actions(self) -> Vec<Action> {
        let mut actions: Vec<Action> = Action::ALL
            .into_iter()
            .filter(|action| action.set() == self)
            .collect();
        actions.sort_by_key(|action| action.name());
        actions
    }

    /// How many persons perform by default.
    pub fn subjects(self) -> u32 {
        match self {
            Self::Large => 18,
            Self::Small => 14,
        }
    }

    /// How many clips of an action a person gives by default.
    pub fn clips(self) -> u32 {
        match self {
            Self::Large => 2,
            Self::Small => 3,
        }
    }
}

/// What a figure does in a video: the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs)] // The names say it.
pub enum Action {
    Walk,
    Run,
    Jump,
    JumpingJack,
    WaveOneHand,
    WaveBothHands,
    Squat,
    Kick,
    Punch,
    Clap,
    SitDown,
    StandUp,
    BendDown,
    StraightenUp,
    March,
    SideStep,
    ArmCircles,
    Throw,
    PickUp,
    PutDown,
}

/// How an action fills a video.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rhythm {
    /// Again and again; one cycle takes this many seconds at an ordinary tempo.
    Cycle {
        /// Seconds of a cycle.
        seconds: f32,
    },
    /// Once, over most of the video.
    Once,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 20] = [
        Self::Walk,
        Self::Run,
        Self::Jump,
        Self::JumpingJack,
        Self::WaveOneHand,
        Self::WaveBothHands,
        Self::Squat,
        Self::Kick,
        Self::Punch,
        Self::Clap,
        Self::SitDown,
        Self::StandUp,
        Self::BendDown,
        Self::StraightenUp,
        Self::March,
        Self::SideStep,
        Self::ArmCircles,
        Self::Throw,
        Self::PickUp,
        Self::PutDown,
    ];

    /// The class name, as in the folder's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Walk => "Walk",
            Self::Run => "Run",
            Self::Jump => "Jump",
            Self::JumpingJack => "JumpingJack",
            Self::WaveOneHand => "WaveOneHand",
            Self::WaveBothHands => "WaveBothHands",
            Self::Squat => "Squat",
            Self::Kick => "Kick",
            Self::Punch => "Punch",
            Self::Clap => "Clap",
            Self::SitDown => "SitDown",
            Self::StandUp => "StandUp",
            Self::BendDown => "BendDown",
            Self::StraightenUp => "StraightenUp",
            Self::March => "March",
            Self::SideStep => "SideStep",
            Self::ArmCircles => "ArmCircles",
            Self::Throw => "Throw",
            Self::PickUp => "PickUp",
            Self::PutDown => "PutDown",
        }
    }

    /// The set that has the action by default.
    pub fn set(self) -> Set {
        match self {
            Self::March
            | Self::SideStep
            | Self::ArmCircles
            | Self::Throw
            | Self::PickUp
            | Self::PutDown => Set::Small,
            _ => Set::Large,
        }
    }

    /// How it fills a video.
    pub fn rhythm(self) -> Rhythm {
        let seconds = match self {
            Self::Walk => 1.1,
            Self::Run => 0.72,
            Self::Jump => 1.2,
            Self::JumpingJack => 1.0,
            Self::WaveOneHand => 0.6,
            Self::WaveBothHands => 0.8,
            Self::Squat => 1.5,
            Self::Kick => 1.2,
            Self::Punch => 0.9,
            Self::Clap => 0.55,
            Self::March => 1.1,
            Self::SideStep => 1.0,
            Self::ArmCircles => 1.1,
            Self::SitDown
            | Self::StandUp
            | Self::BendDown
            | Self::StraightenUp
            | Self::Throw
            | Self::PickUp
            | Self::PutDown => return Rhythm::Once,
        };
        Rhythm::Cycle { seconds }
    }

    /// The action that this one becomes when its film runs backwards; such a pair differs in nothing
    /// but the order of time.
    pub fn reversal(self) -> Option<Self> {
        match self {
            Self::SitDown => Some(Self::StandUp),
            Self::StandUp => Some(Self::SitDown),
            Self::BendDown => Some(Self::StraightenUp),
            Self::StraightenUp => Some(Self::BendDown),
            Self::PickUp => Some(Self::PutDown),
            Self::PutDown => Some(Self::PickUp),
            _ => None,
        }
    }

    /// The action whose motion is played, and whether it is played backwards.
    pub fn played(self) -> (Self, bool) {
        match self {
            Self::StandUp => (Self::SitDown, true),
            Self::StraightenUp => (Self::BendDown, true),
            Self::PutDown => (Self::PickUp, true),
            other => (other, false),
        }
    }

    /// How the body moves over the floor, in metres a second at an ordinary tempo: to the left and to
    /// the front.
    pub fn travel(self) -> (f32, f32) {
        match self {
            Self::Walk => (0.0, 1.3),
            Self::Run => (0.0, 2.8),
            Self::SideStep => (0.7, 0.0),
            _ => (0.0, 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_share_no_action_and_names_are_those_of_serde() {
        assert_eq!(Set::Large.actions().len(), 14);
        assert_eq!(Set::Small.actions().len(), 6);
        for action in Action::ALL {
            assert_eq!(
                serde_json::to_value(action).unwrap(),
                serde_json::Value::from(action.name())
            );
        }
    }

    #[test]
    fn reversal_is_mutual_and_stays_within_a_set() {
        for action in Action::ALL {
            if let Some(other) = action.reversal() {
                assert_eq!(other.reversal(), Some(action));
                assert_eq!(other.set(), action.set());
                assert_eq!(other.played().0, action.played().0);
                assert_ne!(other.played().1, action.played().1);
            }
        }
    }
}

//! Where videos come from: params about the folder and its lists.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a folder of videos is organised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Whatever the lists in the folder belong to; `folders` where there are none.
    Auto,
    /// `<Class>/<file>`; the split is made by groups.
    Folders,
    /// UCF101 (Soomro et al. 2012): `trainlist0N.txt` and `testlist0N.txt` are the split.
    Ucf101,
    /// HMDB51 (Kuehne et al. 2011): `<class>_test_splitN.txt` are the split.
    Hmdb51,
    /// Kinetics (Kay et al. 2017): csv files with `label`, `youtube_id`, `time_start`, `time_end`, `split`.
    Kinetics,
    /// Something-Something v2 (Goyal et al. 2017): `labels.json`, `train.json`, `validation.json`.
    SomethingSomething,
    /// Jester (Materzynska et al. 2019): csv files with `;`, as Something-Something v1 has them too.
    Jester,
    /// A list of one's own: csv or JSON Lines with `path`, `label` and, where wanted, `start`, `end`, `split`,
    /// `group`.
    Manifest,
}

impl Layout {
    /// As in a pipeline file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Folders => "folders",
            Self::Ucf101 => "ucf101",
            Self::Hmdb51 => "hmdb51",
            Self::Kinetics => "kinetics",
            Self::SomethingSomething => "something-something",
            Self::Jester => "jester",
            Self::Manifest => "manifest",
        }
    }

    /// Whether the labels of its test list are unpublished or hardly used, so that results are
    /// reported on its validation list.
    pub fn measured_on_validation(self) -> bool {
        matches!(
            self,
            Self::Kinetics | Self::SomethingSomething | Self::Jester
        )
    }

    /// The share of listed videos that may be missing where nothing else is said.
    pub(crate) fn usually_missing(self) -> f64 {
        match self {
            Self::Kinetics => 0.5,
            _ => 0.1,
        }
    }
}

/// What becomes of the videos of a validation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Validation {
    /// `test` where results are reported on it or no test list is there, else `leave-out`.
    Auto,
    /// They measure; a test list is left out.
    Test,
    /// They are trained on.
    Train,
    /// They are left out.
    LeaveOut,
}

/// What happens when a file has the same content on both sides of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicates {
    /// The one to train on is left out.
    LeaveOut,
    /// The step fails.
    Fail,
}

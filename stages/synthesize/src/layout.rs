//! UCF101's folder: names of videos and the lists of its train and test split.
//!
//! The formats are those of the data set's own `ucfTrainTestlist` (Soomro et al. 2012): numbered
//! classes, labelled training videos, bare test videos.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use fedact_synthesize_params::Action;

/// The folder of the lists.
pub(crate) const LISTS: &str = "ucfTrainTestlist";

/// One video of the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Video {
    pub(crate) action: Action,
    /// From 1; UCF101's group.
    pub(crate) subject: u32,
    /// From 1.
    pub(crate) clip: u32,
}

impl Video {
    /// `Class/v_Class_gNN_cNN.ext`, with a slash on every platform: the lists hold it, too.
    pub(crate) fn path(&self, extension: &str) -> String {
        let class = self.action.name();
        format!(
            "{class}/v_{class}_g{:02}_c{:02}.{extension}",
            self.subject, self.clip
        )
    }
}

/// All videos in the order of the lists: by class, person, clip.
pub(crate) fn videos(actions: &[Action], subjects: u32, clips: u32) -> Vec<Video> {
    let mut videos = Vec::new();
    for &action in actions {
        for subject in 1..=subjects {
            for clip in 1..=clips {
                videos.push(Video {
                    action,
                    subject,
                    clip,
                });
            }
        }
    }
    videos
}

/// Name and content of each list; persons up to `test_subjects` are in the test split. Line ends are
/// a bare newline.
pub(crate) fn lists(
    actions: &[Action],
    videos: &[Video],
    test_subjects: u32,
    extension: &str,
) -> [(PathBuf, String); 3] {
    let (mut classes, mut train, mut test) = (String::new(), String::new(), String::new());
    // Writing to a string cannot fail.
    for (index, action) in actions.iter().enumerate() {
        let _ = writeln!(classes, "{} {}", index + 1, action.name());
    }
    for video in videos {
        let path = video.path(extension);
        let label = actions.iter().position(|action| *action == video.action);
        if video.subject <= test_subjects {
            let _ = writeln!(test, "{path}");
        } else if let Some(label) = label {
            let _ = writeln!(train, "{path} {}", label + 1);
        }
    }
    let folder = Path::new(LISTS);
    [
        (folder.join("classInd.txt"), classes),
        (folder.join("trainlist01.txt"), train),
        (folder.join("testlist01.txt"), test),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_lists_are_those_of_ucf101() {
        let actions = [Action::Clap, Action::Walk];
        let videos = videos(&actions, 2, 2);
        let [classes, train, test] = lists(&actions, &videos, 1, "avi");
        assert_eq!(classes.1, "1 Clap\n2 Walk\n");
        assert_eq!(
            train.1,
            "Clap/v_Clap_g02_c01.avi 1\nClap/v_Clap_g02_c02.avi 1\n\
             Walk/v_Walk_g02_c01.avi 2\nWalk/v_Walk_g02_c02.avi 2\n"
        );
        assert_eq!(
            test.1,
            "Clap/v_Clap_g01_c01.avi\nClap/v_Clap_g01_c02.avi\n\
             Walk/v_Walk_g01_c01.avi\nWalk/v_Walk_g01_c02.avi\n"
        );
        assert_eq!(train.0, Path::new("ucfTrainTestlist/trainlist01.txt"));
    }
}

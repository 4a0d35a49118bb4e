//! Tests in several views, and networks that see a window of a clip.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests, too.

mod squares;

use std::path::Path;

use fedact_clips::{Clip, ClipSet, ClipSetWriter, Dataset, Split};
use fedact_nets::score::{Predictions, Scores, TestViews, predict, predict_views};
use fedact_nets::train::TrainingSettings;
use fedact_nets::{FloatModel, InputGeometry, ModelInfo, NetsError};
use tch::{Device, Kind, Tensor};

use squares::{FRAMES, SIDE, fresh, moving_squares, settings, train};

/// Two clips of each of two videos, and the mirror image of the first clip as a third video's only one.
fn videos(folder: &Path) -> ClipSet {
    let (other, room) = (tempfile::tempdir().unwrap(), &mut Vec::new());
    let squares = moving_squares(other.path(), 0, 4);
    let classes = squares.dataset().classes.clone();
    let mut writer =
        ClipSetWriter::create(folder, Dataset::new(classes, FRAMES, SIDE, SIDE)).unwrap();
    for (from, id, label) in [
        (0, "a#00", 0),
        (1, "a#01", 0),
        (2, "b#00", 2),
        (3, "b#01", 2),
        (0, "c#00", 1),
    ] {
        let mut pixels = squares.pixels(from, room).unwrap().to_vec();
        if label == 1 {
            for row in pixels.chunks_exact_mut(3 * SIDE) {
                let mirrored: Vec<u8> = row.chunks_exact(3).rev().flatten().copied().collect();
                row.copy_from_slice(&mirrored);
            }
        }
        let clip = Clip {
            id: id.to_owned(),
            label,
            ..squares.clip(from).unwrap()
        };
        writer.push(clip, &pixels).unwrap();
    }
    writer.finish().unwrap();
    ClipSet::open(folder).unwrap()
}

const MIRRORED: [usize; 4] = [1, 0, 2, 3];

fn ask(model: &FloatModel, clips: &ClipSet, views: TestViews) -> (Predictions, usize) {
    let (indices, mut seen) = (clips.indices(Split::Test), 0);
    let count = |clips: usize| seen += clips;
    let predictions = predict_views(model, clips, &indices, 2, &views, &MIRRORED, count).unwrap();
    (predictions, seen)
}

fn probabilities(predictions: &Predictions) -> Tensor {
    predictions.logits.softmax(-1, Kind::Double)
}

fn close(one: &Tensor, other: &Tensor) -> bool {
    one.allclose(other, 1e-5, 1e-6, false)
}

#[test]
fn one_view_of_single_clips_is_the_plain_test() {
    let folder = tempfile::tempdir().unwrap();
    let clips = videos(folder.path());
    let model = fresh(&clips, 3);
    let (views, seen) = ask(&model, &clips, TestViews::default());
    let plain = predict(&model, &clips, &clips.indices(Split::Test), 2, |_| {}).unwrap();
    assert!(views.logits.equal(&plain.logits));
    assert_eq!(seen, 5);
}

#[test]
fn mirrored_views_make_a_clip_and_its_mirror_image_say_the_same_of_mirrored_classes() {
    let folder = tempfile::tempdir().unwrap();
    let clips = videos(folder.path());
    let model = fresh(&clips, 3);
    for crops in [1, 3, 5] {
        let views = |flip| TestViews {
            crops,
            flip,
            videos: false,
        };
        let swapped = |predictions: &Predictions| {
            let classes = Tensor::from_slice(&MIRRORED.map(|class| class as i64));
            let rows = probabilities(predictions);
            (rows.get(0), rows.get(4).index_select(0, &classes))
        };
        let (both, seen) = ask(&model, &clips, views(true));
        assert_eq!(seen, 5 * 2 * crops as usize);
        let (clip, image) = swapped(&both);
        assert!(close(&clip, &image), "{crops} crops: {clip} and {image}");
        let (clip, image) = swapped(&ask(&model, &clips, views(false)).0);
        assert!(!close(&clip, &image), "{crops} crops agree by chance");
    }
}

#[test]
fn the_clips_of_a_video_are_one_answer_by_the_mean_of_their_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let clips = videos(folder.path());
    let model = fresh(&clips, 3);
    let views = |videos| TestViews {
        videos,
        ..TestViews::default()
    };
    let (single, _) = ask(&model, &clips, views(false));
    let (together, _) = ask(&model, &clips, views(true));
    assert_eq!(together.indices, [0, 2, 4]);
    assert!(together.labels.equal(&Tensor::from_slice(&[0i64, 2, 1])));
    let (each, mean) = (probabilities(&single), probabilities(&together));
    for (video, of) in [(0, &[0i64, 1][..]), (1, &[2, 3]), (2, &[4])] {
        let clips = each.index_select(0, &Tensor::from_slice(of));
        let expected = clips.mean_dim(0, false, Kind::Double);
        assert!(close(&mean.get(video), &expected), "video {video}");
    }
    let scores = Scores::from(&together);
    assert_eq!(scores.confusion.iter().flatten().sum::<u32>(), 3);
    assert!(scores.loss.is_finite());
}

#[test]
fn a_network_of_fewer_frames_than_are_stored_learns_from_windows_and_is_tested_in_the_middle() {
    let folder = tempfile::tempdir().unwrap();
    let clips = moving_squares(folder.path(), 64, 32);
    let whole = InputGeometry::from(clips.dataset());
    let info = ModelInfo::new(
        fedact_nets::Architecture::r3d(10, 4),
        clips.dataset().classes.clone(),
        whole,
    );
    let info = ModelInfo {
        input: InputGeometry { frames: 2, ..whole },
        window_of: Some(whole.frames),
        ..info
    };
    let model = FloatModel::new(info.clone(), 3, Device::Cpu).unwrap();
    let training = TrainingSettings { ..settings(16) };
    train(&model, &clips, &training, None, &mut ()).unwrap();
    let test = clips.indices(Split::Test);
    let predictions = predict(&model, &clips, &test, 8, |_| {}).unwrap();
    let scores = Scores::from(&predictions);
    // Chance is 0.25; two frames show the motion.
    assert!(scores.top1 > 0.5, "{scores:?}");
    let saved = tempfile::tempdir().unwrap();
    model.save(saved.path()).unwrap();
    let loaded = FloatModel::load(saved.path(), Device::Cpu).unwrap();
    assert_eq!(loaded.info, info);
    let again = predict(&loaded, &clips, &test, 8, |_| {}).unwrap();
    assert!(again.logits.equal(&predictions.logits));
    // Without saying of what it is a window, the same clips are others.
    let unsaid = FloatModel::new(
        ModelInfo {
            window_of: None,
            ..info
        },
        3,
        Device::Cpu,
    )
    .unwrap();
    let error = predict(&unsaid, &clips, &test, 8, |_| {}).unwrap_err();
    assert!(matches!(error, NetsError::Mismatch(_)), "{error}");
}

//! Several looks at what is tested: crops, mirrored ones, all clips of a video.

use std::collections::BTreeMap;

use fedact_clips::ClipSet;
use fedact_recipe::TestViews;
use tch::{Kind, Tensor};

use super::{Predictions, ask, predict};
use crate::data::View;
use crate::{Classifier, InputGeometry, NetsError};

/// The side of a crop, as a share of the picture's: 224 of 256, as has become usual.
const SIDE: f64 = 0.875;

/// Asks a classifier about the clips at `indices` as [`predict`] does, in several views, and gives the logarithm of
/// the mean of their probabilities as logits. With `views.videos` a row is a video: all of its clips with one
/// label, averaged likewise; its index is that of the first of them. One view of single clips is what `predict` gives.
///
/// `mirrored` names for each class the class that a mirrored clip belongs to
/// ([`mirrored_labels`](crate::data::mirrored_labels)). `seen` hears of every batch of every view.
///
/// # Errors
/// As [`predict`].
pub fn predict_views(
    classifier: &impl Classifier,
    clips: &ClipSet,
    indices: &[usize],
    batch_size: usize,
    views: &TestViews,
    mirrored: &[usize],
    mut seen: impl FnMut(usize),
) -> Result<Predictions, NetsError> {
    let predictions = if views.count() == 1 {
        predict(classifier, clips, indices, batch_size, seen)?
    } else {
        let info = classifier.info();
        let (frames, stored) = (info.input.frames, clips.dataset().frames);
        let classes: Vec<i64> = mirrored.iter().map(|class| *class as i64).collect();
        let classes = Tensor::from_slice(&classes);
        let mut looks = Vec::with_capacity(views.count());
        let mut asked = None;
        for place in crops(info.input, views.crops) {
            for flip in [false, true].into_iter().take(1 + usize::from(views.flip)) {
                let view = View::still(place, flip, frames, stored);
                let answer = ask(
                    classifier,
                    clips,
                    indices,
                    batch_size,
                    Some(view),
                    &mut seen,
                )?;
                let probabilities = answer.logits.softmax(-1, Kind::Double);
                looks.push(if flip {
                    probabilities.index_select(1, &classes)
                } else {
                    probabilities
                });
                asked = Some(answer);
            }
        }
        let Some(asked) = asked else {
            return Err(NetsError::Data("there is no view to test in".to_owned()));
        };
        Predictions {
            logits: logits_of(&Tensor::stack(&looks, 0).mean_dim(0, false, Kind::Double)),
            ..asked
        }
    };
    if views.videos {
        by_video(&predictions, clips)
    } else {
        Ok(predictions)
    }
}

/// Logits whose softmax these probabilities are.
fn logits_of(probabilities: &Tensor) -> Tensor {
    let positive = probabilities.clamp_min(f64::MIN_POSITIVE);
    positive.log().to_kind(Kind::Float)
}

/// Left, top, width and height of each crop, as shares of the picture's sides.
fn crops(input: InputGeometry, crops: u32) -> Vec<[f64; 4]> {
    let (near, middle, far) = (0.0, (1.0 - SIDE) / 2.0, 1.0 - SIDE);
    let places: &[(f64, f64)] = match crops {
        3 if input.height > input.width => &[(middle, near), (middle, middle), (middle, far)],
        3 => &[(near, middle), (middle, middle), (far, middle)],
        5 => &[
            (middle, middle),
            (near, near),
            (far, near),
            (near, far),
            (far, far),
        ],
        _ => return vec![[0.0, 0.0, 1.0, 1.0]],
    };
    places
        .iter()
        .map(|(left, top)| [*left, *top, SIDE, SIDE])
        .collect()
}

/// The clips of each video that have the same label, as places in `indices`, in the order of the first of them.
///
/// # Errors
/// A clip whose entry cannot be read.
pub fn videos(clips: &ClipSet, indices: &[usize]) -> Result<Vec<Vec<usize>>, NetsError> {
    let mut videos: Vec<Vec<usize>> = Vec::new();
    let mut known: BTreeMap<(String, usize), usize> = BTreeMap::new();
    for (place, index) in indices.iter().enumerate() {
        let id = clips.clip(*index)?.id;
        let video = id.rsplit_once('#').map_or(id.as_str(), |(video, _)| video);
        let key = (video.to_owned(), clips.label(*index));
        let number = *known.entry(key).or_insert(videos.len());
        if number == videos.len() {
            videos.push(Vec::new());
        }
        videos[number].push(place);
    }
    Ok(videos)
}

/// One row for all clips of a video that have the same label.
fn by_video(predictions: &Predictions, clips: &ClipSet) -> Result<Predictions, NetsError> {
    let videos = videos(clips, &predictions.indices)?;
    let probabilities = predictions.logits.softmax(-1, Kind::Double);
    let means: Vec<Tensor> = videos
        .iter()
        .map(|rows| {
            let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
            let clips = probabilities.index_select(0, &Tensor::from_slice(&rows));
            clips.mean_dim(0, false, Kind::Double)
        })
        .collect();
    let first: Vec<i64> = videos.iter().map(|rows| rows[0] as i64).collect();
    Ok(Predictions {
        logits: logits_of(&Tensor::stack(&means, 0)),
        labels: predictions
            .labels
            .index_select(0, &Tensor::from_slice(&first)),
        indices: first
            .iter()
            .map(|row| predictions.indices[*row as usize])
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_lie_in_the_picture_and_three_along_its_longer_side() {
        let input = |height, width| InputGeometry {
            frames: 1,
            height,
            width,
        };
        for (count, input) in [
            (1, input(8, 8)),
            (3, input(8, 16)),
            (3, input(16, 8)),
            (5, input(8, 8)),
        ] {
            let crops = crops(input, count);
            assert_eq!(crops.len(), count as usize);
            for [left, top, width, height] in &crops {
                assert!(*left >= 0.0 && left + width <= 1.0 && *top >= 0.0 && top + height <= 1.0);
            }
        }
        assert_eq!(
            crops(input(8, 16), 3)
                .iter()
                .map(|crop| crop[0])
                .collect::<Vec<_>>(),
            [0.0, 0.0625, 0.125]
        );
        assert_eq!(
            crops(input(16, 8), 3)
                .iter()
                .map(|crop| crop[1])
                .collect::<Vec<_>>(),
            [0.0, 0.0625, 0.125]
        );
    }
}

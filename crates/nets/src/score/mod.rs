//! How good a classifier is.

mod calibration;
mod views;

use fedact_clips::ClipSet;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::data::{Loader, LoaderSettings, View};
use crate::{Classifier, NetsError, loss};

pub use fedact_recipe::TestViews;
pub use views::{predict_views, videos};

/// A classifier's answers to clips whose classes are known.
#[derive(Debug)]
pub struct Predictions {
    /// \[clips, classes\] on the CPU.
    pub logits: Tensor,
    /// \[clips\], i64, on the CPU.
    pub labels: Tensor,
    /// Index in the clip set of each row.
    pub indices: Vec<usize>,
}

/// Accuracies in 0..=1 and the mean cross-entropy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Share of clips whose class has the highest logit.
    pub top1: f64,
    /// Share of clips whose class is among the five highest logits.
    pub top5: f64,
    /// Mean over classes of each class's own top-1 share; classes without clips do not count.
    pub mean_class_accuracy: f64,
    /// Mean cross-entropy.
    pub loss: f64,
    /// Expected calibration error, in 0..=1: how far confidence and accuracy are apart (Guo et al. 2017,
    /// arXiv 1706.04599, 15 bins of equal width).
    pub ece: f64,
    /// `confusion[true class][predicted class]`, in clips.
    pub confusion: Vec<Vec<u32>>,
}

/// Asks a classifier about the clips at `indices`, `batch_size` at a time, unaugmented and in order.
/// The next batch is read while one is computed. `seen` hears how many clips each batch had.
///
/// # Errors
/// Clips of another geometry than the classifier's; nothing to ask about.
pub fn predict(
    classifier: &impl Classifier,
    clips: &ClipSet,
    indices: &[usize],
    batch_size: usize,
    mut seen: impl FnMut(usize),
) -> Result<Predictions, NetsError> {
    ask(classifier, clips, indices, batch_size, None, &mut seen)
}

/// The same in one view of every clip; `None` is the whole picture.
fn ask(
    classifier: &impl Classifier,
    clips: &ClipSet,
    indices: &[usize],
    batch_size: usize,
    view: Option<View>,
    seen: &mut impl FnMut(usize),
) -> Result<Predictions, NetsError> {
    let info = classifier.info();
    info.check_geometry(clips.dataset())?;
    let settings = LoaderSettings {
        device: classifier.device(),
        view,
        ..LoaderSettings::in_order(batch_size, info)
    };
    let loader = Loader::new(clips, indices, settings)?;
    let mut logits = Vec::new();
    let mut labels = Vec::new();
    let mut order = Vec::new();
    loader.run(0, |batch| {
        let answers = classifier.classify(&batch.clips);
        logits.push(answers.to_device(tch::Device::Cpu).to_kind(Kind::Float));
        labels.push(batch.labels.to_device(tch::Device::Cpu));
        seen(batch.indices.len());
        order.extend(batch.indices);
        Ok::<(), NetsError>(())
    })?;
    Ok(Predictions {
        logits: Tensor::cat(&logits, 0),
        labels: Tensor::cat(&labels, 0),
        indices: order,
    })
}

impl Predictions {
    /// The logits row by row.
    pub fn rows(&self) -> Vec<Vec<f32>> {
        let classes = self.logits.size().last().copied().unwrap_or(1).max(1) as usize;
        let flat = values(&self.logits);
        flat.chunks_exact(classes).map(<[f32]>::to_vec).collect()
    }
}

fn values(logits: &Tensor) -> Vec<f32> {
    let logits = logits.contiguous();
    let mut flat = vec![0.0; logits.numel()];
    let count = flat.len();
    logits.copy_data(&mut flat, count);
    flat
}

impl From<&Predictions> for Scores {
    /// Among equal logits the class that comes first counts as higher. An empty set scores 0.
    fn from(predictions: &Predictions) -> Self {
        let rows = predictions.rows();
        let mut labels = vec![0i64; rows.len()];
        predictions.labels.copy_data(&mut labels, rows.len());
        let classes = rows.first().map_or(0, Vec::len);
        let mut confusion = vec![vec![0u32; classes]; classes];
        let mut in_five = 0u32;
        let mut answers = Vec::with_capacity(rows.len());
        for (row, label) in rows.iter().zip(labels) {
            let label = label as usize;
            let before =
                |k: usize, other: usize| row[other] > row[k] || (row[other] == row[k] && other < k);
            let rank = |k: usize| (0..classes).filter(|other| before(k, *other)).count();
            let best = (0..classes).find(|k| rank(*k) == 0).unwrap_or(0);
            confusion[label][best] += 1;
            answers.push((confidence(row), best == label));
            in_five += u32::from(rank(label) < 5);
        }
        let clips = rows.len().max(1) as f64;
        let right: u32 = (0..classes).map(|k| confusion[k][k]).sum();
        let by_class: Vec<f64> = confusion
            .iter()
            .enumerate()
            .filter_map(|(class, row)| {
                let total: u32 = row.iter().sum();
                (total > 0).then(|| f64::from(row[class]) / f64::from(total))
            })
            .collect();
        let mean = |list: &[f64]| list.iter().sum::<f64>() / list.len().max(1) as f64;
        let loss = if rows.is_empty() {
            0.0
        } else {
            loss::cross_entropy(&predictions.logits, &predictions.labels, 0.0).double_value(&[])
        };
        Self {
            top1: f64::from(right) / clips,
            top5: f64::from(in_five) / clips,
            mean_class_accuracy: mean(&by_class),
            loss,
            ece: calibration::expected_error(answers),
            confusion,
        }
    }
}

/// The probability of the class with the highest logit; 0 where there is none.
fn confidence(row: &[f32]) -> f64 {
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let others = row.iter().map(|logit| f64::from(logit - highest).exp());
    let sum: f64 = others.sum();
    if sum > 0.0 { 1.0 / sum } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_counted_by_hand() {
        let rows: [[f32; 7]; 4] = [
            [9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0], // class 0 is first
            [9.0, 8.0, 2.0, 3.0, 4.0, 5.0, 6.0], // class 1 is second
            [6.0, 5.0, 0.0, 3.0, 4.0, 2.0, 1.0], // class 2 is last
            [0.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0], // class 1 is first
        ];
        let flat: Vec<f32> = rows.into_iter().flatten().collect();
        let scores = Scores::from(&Predictions {
            logits: Tensor::from_slice(&flat).reshape([4, 7]),
            labels: Tensor::from_slice(&[0i64, 1, 2, 1]),
            indices: vec![0, 1, 2, 3],
        });
        assert_eq!(scores.top1, 0.5);
        assert_eq!(scores.top5, 0.75);
        assert_eq!(scores.mean_class_accuracy, (1.0 + 0.5 + 0.0) / 3.0);
        assert_eq!(scores.confusion[1][..2], [1, 1]);
        assert_eq!(scores.confusion[2][0], 1);
        assert!(scores.loss > 0.0);
        // Rows 1 and 4 are right, 2 and 3 wrong; their confidences by the definition of the softmax.
        let softmax = |row: &[f32; 7]| {
            let sum: f64 = row.iter().map(|logit| f64::from(*logit).exp()).sum();
            row.iter()
                .map(|logit| f64::from(*logit).exp() / sum)
                .fold(0.0, f64::max)
        };
        let confidences = rows.each_ref().map(softmax);
        let right = [true, false, false, true];
        let ece = calibration::expected_error(confidences.into_iter().zip(right));
        assert!((scores.ece - ece).abs() < 1e-9 && ece > 0.1, "{ece}");
    }

    #[test]
    fn equal_logits_do_not_count_as_right() {
        let scores = Scores::from(&Predictions {
            logits: Tensor::zeros([2, 8], (Kind::Float, tch::Device::Cpu)),
            labels: Tensor::from_slice(&[0i64, 7]),
            indices: vec![0, 1],
        });
        assert_eq!((scores.top1, scores.top5), (0.5, 0.5));
    }
}

//! What training minimises.

mod attention;
mod decoupled;
mod similarity;

use tch::{Kind, Reduction, Tensor};

use crate::data::{Batch, Mixed};

pub use attention::attention;
pub use decoupled::decoupled;
pub use similarity::similarity;

/// Mean cross-entropy of logits \[clips, classes\] against labels \[clips\] (i64). `smoothing` moves
/// that share of each label to all classes alike (Szegedy et al. 2016, arXiv 1512.00567, section 7).
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Tensor {
    logits.cross_entropy_loss(labels, None::<&Tensor>, Reduction::Mean, -100, smoothing)
}

/// The mean cross-entropy of logits against what is in a batch: against both labels by their shares where clips
/// are mixed (Zhang et al. 2018, arXiv 1710.09412), each clip with the weight of its class where classes are weighted.
/// The weighted mean is over clips and not over weights, so that it is an unbiased estimate of the mean over all
/// clips.
pub fn of_labels(logits: &Tensor, batch: &Batch, smoothing: f64) -> Tensor {
    let against = |labels: &Tensor| match &batch.class_weights {
        Some(weights) => {
            let unweighted = None::<&Tensor>;
            let each =
                logits.cross_entropy_loss(labels, unweighted, Reduction::None, -100, smoothing);
            (each * weights.index_select(0, labels)).mean(Kind::Float)
        }
        None => cross_entropy(logits, labels, smoothing),
    };
    match &batch.mixed {
        Some(Mixed { labels, share }) => {
            against(&batch.labels) * (1.0 - *share) + against(labels) * *share
        }
        None => against(&batch.labels),
    }
}

/// The teachers' probabilities at a temperature, averaged over the teachers: \[clips, classes\].
/// `None` without teachers.
pub fn soften(teachers: &[&Tensor], temperature: f64) -> Option<Tensor> {
    let sum = teachers
        .iter()
        .map(|logits| (*logits / temperature).softmax(-1, Kind::Float))
        .reduce(|sum, probabilities| sum + probabilities)?;
    Some(sum / teachers.len() as f64)
}

/// `T² · KL(p ‖ softmax(z/T))`, summed over classes and averaged over clips, for the softened
/// probabilities `p` of [`soften`] and the student's logits `z`. The factor T² keeps the gradient's
/// size whatever the temperature (Hinton et al. 2015, arXiv 1503.02531, section 2).
pub fn divergence(student: &Tensor, probabilities: &Tensor, temperature: f64) -> Tensor {
    let log_student = (student / temperature).log_softmax(-1, Kind::Float);
    let clips = student.size()[0] as f64;
    let divergence = log_student.kl_div(probabilities, Reduction::Sum, false);
    divergence * (temperature * temperature / clips)
}

/// `(1-λ)·CE(y, z_s) + λ·T²·KL(p ‖ softmax(z_s/T))`, where `p` are the teachers' softened
/// probabilities as [`soften`] gives them. The labels' cross-entropy is that of [`of_labels`].
pub fn distillation(
    student: &Tensor,
    probabilities: &Tensor,
    batch: &Batch,
    lambda: f64,
    temperature: f64,
    smoothing: f64,
) -> Tensor {
    of_labels(student, batch, smoothing) * (1.0 - lambda)
        + divergence(student, probabilities, temperature) * lambda
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch with these labels; its clips do not matter.
    fn batch(class_weights: Option<&[f32]>, mixed: Option<Mixed>) -> Batch {
        Batch {
            clips: Tensor::zeros([2, 0], (Kind::Float, tch::Device::Cpu)),
            labels: labels(),
            indices: vec![0, 1],
            epoch: 1,
            class_weights: class_weights.map(Tensor::from_slice),
            mixed,
            waited: std::time::Duration::ZERO,
        }
    }

    fn value(tensor: &Tensor) -> f64 {
        tensor.double_value(&[])
    }

    fn logits() -> Tensor {
        Tensor::from_slice(&[2.0f32, 1.0, 0.0, -1.0, 0.0, 3.0]).reshape([2, 3])
    }

    fn labels() -> Tensor {
        Tensor::from_slice(&[0i64, 1])
    }

    /// ln of the sum of exponentials.
    fn lse(z: [f64; 3]) -> f64 {
        z.iter().map(|v| v.exp()).sum::<f64>().ln()
    }

    #[test]
    fn cross_entropy_is_that_of_the_definition() {
        // Row 1: ln(e^2 + e + 1) - 2 = 0.407606; row 2: ln(e^-1 + 1 + e^3) - 0 = 3.065887...
        let expected = ((lse([2.0, 1.0, 0.0]) - 2.0) + (lse([-1.0, 0.0, 3.0]) - 0.0)) / 2.0;
        assert!((lse([2.0, 1.0, 0.0]) - 2.0 - 0.407_606).abs() < 1e-6);
        assert!((value(&cross_entropy(&logits(), &labels(), 0.0)) - expected).abs() < 1e-6);
    }

    #[test]
    fn smoothing_gives_a_share_of_the_label_to_all_classes() {
        let row = |z: [f64; 3], label: usize| {
            let nll = |k: usize| lse(z) - z[k];
            0.9 * nll(label) + 0.1 * (nll(0) + nll(1) + nll(2)) / 3.0
        };
        let expected = (row([2.0, 1.0, 0.0], 0) + row([-1.0, 0.0, 3.0], 1)) / 2.0;
        assert!((value(&cross_entropy(&logits(), &labels(), 0.1)) - expected).abs() < 1e-6);
    }

    #[test]
    fn a_mixed_clip_counts_for_both_its_labels_by_their_shares() {
        let mixed = Mixed {
            labels: Tensor::from_slice(&[1i64, 0]),
            share: 0.25,
        };
        let swapped = Tensor::from_slice(&[1i64, 0]);
        let expected = 0.75 * value(&cross_entropy(&logits(), &labels(), 0.1))
            + 0.25 * value(&cross_entropy(&logits(), &swapped, 0.1));
        let found = value(&of_labels(&logits(), &batch(None, Some(mixed)), 0.1));
        assert!((found - expected).abs() < 1e-6);
    }

    #[test]
    fn a_clip_counts_as_much_as_its_class() {
        let nll = |z: [f64; 3], label: usize| lse(z) - z[label];
        let expected = (0.5 * nll([2.0, 1.0, 0.0], 0) + 2.0 * nll([-1.0, 0.0, 3.0], 1)) / 2.0;
        let weighted = batch(Some(&[0.5, 2.0, 7.0]), None);
        assert!((value(&of_labels(&logits(), &weighted, 0.0)) - expected).abs() < 1e-6);
        // All alike is the plain mean.
        let alike = batch(Some(&[1.0; 3]), None);
        let plain = value(&of_labels(&logits(), &batch(None, None), 0.1));
        assert!((value(&of_labels(&logits(), &alike, 0.1)) - plain).abs() < 1e-6);
    }

    #[test]
    fn divergence_is_hintons_summed_over_classes_and_averaged_over_clips() {
        let teacher = [[1.0, 0.5, -1.0], [0.0, 2.0, 1.0]];
        let student = [[2.0, 1.0, 0.0], [-1.0, 0.0, 3.0]];
        let (lambda, temperature) = (0.7, 4.0);
        let mut sum = 0.0;
        for (t, s) in teacher.iter().zip(&student) {
            let (t, s) = (t.map(|v| v / temperature), s.map(|v| v / temperature));
            for k in 0..3 {
                let log_p = t[k] - lse(t);
                sum += log_p.exp() * (log_p - (s[k] - lse(s)));
            }
        }
        let kl = sum / 2.0 * temperature * temperature;
        let flat: Vec<f32> = teacher.iter().flatten().map(|v| *v as f32).collect();
        let probabilities = soften(&[&Tensor::from_slice(&flat).reshape([2, 3])], temperature);
        let probabilities = probabilities.unwrap();
        assert!((value(&divergence(&logits(), &probabilities, temperature)) - kl).abs() < 1e-5);
        let loss = distillation(
            &logits(),
            &probabilities,
            &batch(None, None),
            lambda,
            temperature,
            0.0,
        );
        let expected = 0.3 * value(&cross_entropy(&logits(), &labels(), 0.0)) + 0.7 * kl;
        assert!((value(&loss) - expected).abs() < 1e-5);
    }

    #[test]
    fn a_student_equal_to_its_teacher_has_nothing_to_learn() {
        let probabilities = soften(&[&logits()], 2.0).unwrap();
        let student = logits().set_requires_grad(true);
        let loss = divergence(&student, &probabilities, 2.0);
        loss.backward();
        assert!(value(&loss).abs() < 1e-6);
        assert!(value(&student.grad().abs().max()) < 1e-6);
    }

    #[test]
    fn several_teachers_are_averaged_after_softening() {
        assert!(soften(&[], 1.0).is_none());
        let other = logits().flip([1]);
        let both = soften(&[&logits(), &other], 1.0).unwrap();
        let expected = (logits().softmax(-1, Kind::Float) + other.softmax(-1, Kind::Float)) / 2.0;
        assert!(both.allclose(&expected, 1e-6, 1e-7, false));
        assert!((value(&both.sum(Kind::Float)) - 2.0).abs() < 1e-6);
    }
}

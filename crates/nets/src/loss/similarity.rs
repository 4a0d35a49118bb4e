//! Feature transfer by similarities (Tung and Mori 2019, arXiv 1907.09682).

use tch::{Kind, Tensor};

/// How differently student and teacher find the clips of a batch alike: `‖G_t - G_s‖² / clips²` (equation 4), where `G`
/// are the inner products between the features of all pairs of clips, each row scaled to length 1.
///
/// `student` and `teacher` are features \[clips, features\]; their numbers of features may differ, which is why
/// nothing needs to be learned beside the network.
pub fn similarity(student: &Tensor, teacher: &Tensor) -> Tensor {
    let clips = student.size()[0] as f64;
    (alike(teacher) - alike(student)).square().sum(Kind::Float) / (clips * clips)
}

/// How alike the clips are, \[clips, clips\].
fn alike(features: &Tensor) -> Tensor {
    let features = features.to_kind(Kind::Float);
    let products = features.matmul(&features.tr());
    let length = products
        .square()
        .sum_dim_intlist([1i64].as_slice(), true, Kind::Float)
        .sqrt();
    &products / length.clamp_min(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_definition() {
        // Products [[4, 0], [0, 1]] and [[1, 1], [1, 1]]; rows of length 1: the identity, and all 1/√2.
        let student = Tensor::from_slice(&[2.0f32, 0.0, 0.0, 1.0]).reshape([2, 2]);
        let teacher = Tensor::from_slice(&[1.0f32, 1.0]).reshape([2, 1]);
        let share = 0.5f64.sqrt();
        let expected = (2.0 * (1.0 - share).powi(2) + 2.0 * share * share) / 4.0;
        let found = similarity(&student, &teacher).double_value(&[]);
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    #[test]
    fn turned_and_scaled_features_are_alike_in_the_same_way() {
        let features = Tensor::from_slice(&[1.0f32, 2.0, 3.0, -1.0, 0.5, 1.0]).reshape([3, 2]);
        let turn = Tensor::from_slice(&[0.0f32, 1.0, -1.0, 0.0]).reshape([2, 2]);
        let turned = features.matmul(&turn) * 7.0;
        assert!(similarity(&features, &turned).double_value(&[]) < 1e-10);
    }
}

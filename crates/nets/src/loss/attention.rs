//! Attention transfer (Zagoruyko and Komodakis 2017, arXiv 1612.03928).

use tch::{Kind, Tensor};

/// How differently student and teacher distribute their attention over frames and space: the squared distance
/// between their attention maps, averaged over clips and summed over the student's stages; from 0 to 2 for each.
///
/// The map of a stage is the mean square over its channels, scaled to length 1 (section 3.1, with p = 2). `student` and
/// `teacher` are what comes out of their stages, \[clips, channels, frames, height, width\], from the first to the
/// last, at least one. Stages are paired by how deep they lie; where the maps of a pair differ in size, the larger is averaged down.
pub fn attention(student: &[Tensor], teacher: &[Tensor]) -> Tensor {
    let pairs = student.iter().enumerate().map(|(index, stage)| {
        let paired = &teacher[((index + 1) * teacher.len()).div_ceil(student.len()) - 1];
        let (own, other) = (stage.size(), paired.size());
        let size: Vec<i64> = (2..5).map(|axis| own[axis].min(other[axis])).collect();
        let distance = (map(stage, &size) - map(paired, &size)).square();
        distance.sum(Kind::Float) / stage.size()[0] as f64
    });
    pairs
        .reduce(|sum, distance| sum + distance)
        .unwrap_or_else(|| Tensor::from(0f32))
}

/// The attention map of a stage at a size, \[clips, positions\], of length 1 for each clip.
fn map(stage: &Tensor, size: &[i64]) -> Tensor {
    let energy = stage
        .to_kind(Kind::Float)
        .square()
        .mean_dim([1i64].as_slice(), true, Kind::Float);
    let energy = match energy.size()[2..] == *size {
        true => energy,
        false => energy.adaptive_avg_pool3d(size),
    };
    let flat = energy.flatten(1, -1);
    let length = flat
        .square()
        .sum_dim_intlist([1i64].as_slice(), true, Kind::Float)
        .sqrt();
    &flat / length.clamp_min(1e-12)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    fn stage(values: &[f32], shape: [i64; 5]) -> Tensor {
        Tensor::from_slice(values).reshape(shape)
    }

    #[test]
    fn maps_are_mean_squares_of_length_one() {
        // Two channels, two positions: squares (9, 0) and (1, 4) have means 5 and 2.
        let student = stage(&[3.0, 0.0, 1.0, 2.0], [1, 2, 1, 1, 2]);
        let teacher = stage(&[0.0, 5.0], [1, 1, 1, 1, 2]);
        let length = 29.0f64.sqrt();
        let expected = (5.0 / length).powi(2) + (2.0 / length - 1.0).powi(2);
        let found = attention(&[student], &[teacher]).double_value(&[]);
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    #[test]
    fn neither_scale_nor_the_number_of_channels_matters() {
        let maps = |channels| Tensor::ones([2, channels, 2, 3, 3], (Kind::Float, Device::Cpu));
        let found = attention(&[maps(2)], &[maps(8) * 100.0]).double_value(&[]);
        assert!(found < 1e-10, "{found}");
    }

    #[test]
    fn maps_without_a_common_position_are_two_apart_for_each_stage() {
        let here = stage(&[1.0, 0.0], [1, 1, 1, 1, 2]);
        let there = stage(&[0.0, 1.0], [1, 1, 1, 1, 2]);
        let (student, teacher) = ([here.shallow_clone(), here], [there.shallow_clone(), there]);
        assert!((attention(&student, &teacher).double_value(&[]) - 4.0).abs() < 1e-6);
    }

    #[test]
    fn stages_are_paired_by_depth_and_sizes_by_averaging() {
        let first = stage(&[1.0, 0.0], [1, 1, 1, 1, 2]);
        let last = stage(&[0.0, 1.0], [1, 1, 1, 1, 2]);
        // Twice as many stages and positions: those that count are the second and the fourth.
        let wide = |left: f32| stage(&[left, left, 1.0 - left, 1.0 - left], [1, 1, 1, 1, 4]);
        let teacher = [wide(0.0), wide(1.0), wide(1.0), wide(0.0)];
        let student = [first.set_requires_grad(true), last.set_requires_grad(true)];
        let loss = attention(&student, &teacher);
        assert!(loss.double_value(&[]) < 1e-10);
        loss.backward();
        assert!(student[0].grad().defined());
    }
}

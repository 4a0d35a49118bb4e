//! Decoupled distillation (Zhao et al. 2022, arXiv 2203.08679).

use tch::{Kind, Tensor};

/// Below this the teachers leave nothing to the other classes that 32 bits could show.
const NOTHING: f64 = 1e-30;

/// `T² · (α·KL(b ‖ b_s) + β·KL(p̂ ‖ p̂_s))`, averaged over clips (equation 7): `b` is how sure the teachers are of the
/// clip's own class, against all others together; `p̂` is how they divide what is left among the others. In Hinton's
/// divergence the second counts the less, the surer the teachers are, though it is what they know about the wrong
/// classes.
///
/// `student` are logits \[clips, classes\], `probabilities` the softened ones of [`super::soften`], `labels` \[clips\]
/// (i64); at least two classes.
pub fn decoupled(
    student: &Tensor,
    probabilities: &Tensor,
    labels: &Tensor,
    temperature: f64,
    target_weight: f64,
    others_weight: f64,
) -> Tensor {
    let own = labels.unsqueeze(1);
    let mask = student
        .zeros_like()
        .scatter_value(1, &own, 1)
        .to_kind(Kind::Bool);
    let softened = student / temperature;
    let all = softened.logsumexp([1i64].as_slice(), true);
    let log_own = softened.gather(1, &own, false) - &all;
    let others = softened.masked_fill(&mask, f64::NEG_INFINITY);
    let log_others = others.logsumexp([1i64].as_slice(), true) - &all;

    let sure = probabilities.gather(1, &own, false);
    let rest = probabilities.masked_fill(&mask, 0.0);
    // Summed rather than taken from 1, so that the little that sure teachers leave keeps its digits.
    let left = rest.sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
    let target = sure.xlogy(&sure) - &sure * log_own + left.xlogy(&left) - &left * log_others;

    let divided = &rest / left.clamp_min(NOTHING);
    // The own class has no share on either side; its minus infinity must not meet its 0.
    let log_divided = others.log_softmax(-1, Kind::Float).masked_fill(&mask, 0.0);
    let others = divided.xlogy(&divided) - &divided * log_divided;
    let others = others.sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
    let clips = student.size()[0] as f64;
    (target * target_weight + others * others_weight).sum(Kind::Float)
        * (temperature * temperature / clips)
}

#[cfg(test)]
mod tests {
    use super::super::{divergence, soften};
    use super::*;

    const TEACHER: [[f64; 3]; 2] = [[1.0, 0.5, -1.0], [0.0, 2.0, 1.0]];
    const STUDENT: [[f64; 3]; 2] = [[2.0, 1.0, 0.0], [-1.0, 0.0, 3.0]];
    const LABELS: [usize; 2] = [0, 1];

    fn tensor(rows: [[f64; 3]; 2]) -> Tensor {
        let flat: Vec<f32> = rows.iter().flatten().map(|value| *value as f32).collect();
        Tensor::from_slice(&flat).reshape([2, 3])
    }

    fn labels() -> Tensor {
        Tensor::from_slice(&LABELS.map(|label| label as i64))
    }

    fn softmax(row: &[f64], temperature: f64) -> Vec<f64> {
        let exponentials: Vec<f64> = row
            .iter()
            .map(|value| (value / temperature).exp())
            .collect();
        let sum: f64 = exponentials.iter().sum();
        exponentials.iter().map(|value| value / sum).collect()
    }

    fn kl(p: &[f64], q: &[f64]) -> f64 {
        p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum()
    }

    fn loss(student: &Tensor, temperature: f64, target: f64, others: f64) -> f64 {
        let probabilities = soften(&[&tensor(TEACHER)], temperature).unwrap();
        decoupled(
            student,
            &probabilities,
            &labels(),
            temperature,
            target,
            others,
        )
        .double_value(&[])
    }

    #[test]
    fn both_parts_are_those_of_the_definition() {
        let temperature = 3.0;
        let (mut target, mut others) = (0.0, 0.0);
        for ((teacher, student), own) in TEACHER.iter().zip(&STUDENT).zip(LABELS) {
            let (p, q) = (softmax(teacher, temperature), softmax(student, temperature));
            target += kl(&[p[own], 1.0 - p[own]], &[q[own], 1.0 - q[own]]);
            let without = |row: &[f64; 3]| -> Vec<f64> {
                let rest = (0..3).filter(|class| *class != own).map(|class| row[class]);
                softmax(&rest.collect::<Vec<_>>(), temperature)
            };
            others += kl(&without(teacher), &without(student));
        }
        let scale = temperature * temperature / 2.0;
        let student = tensor(STUDENT);
        assert!((loss(&student, temperature, 1.0, 0.0) - scale * target).abs() < 1e-5);
        assert!((loss(&student, temperature, 0.0, 1.0) - scale * others).abs() < 1e-5);
        let both = scale * (2.0 * target + 8.0 * others);
        assert!((loss(&student, temperature, 2.0, 8.0) - both).abs() < 1e-4);
    }

    /// Equation 5: Hinton's divergence weighs the second part by what the teacher leaves to the other classes.
    #[test]
    fn hintons_divergence_is_the_sum_with_the_others_weighed_by_what_the_teacher_leaves_them() {
        let temperature = 2.0;
        let one = |row: usize| {
            let teacher = tensor(TEACHER).narrow(0, row as i64, 1);
            let student = tensor(STUDENT).narrow(0, row as i64, 1);
            let probabilities = soften(&[&teacher], temperature).unwrap();
            let left = 1.0 - softmax(&TEACHER[row], temperature)[LABELS[row]];
            let label = labels().narrow(0, row as i64, 1);
            let parts = decoupled(&student, &probabilities, &label, temperature, 1.0, left);
            let whole = divergence(&student, &probabilities, temperature);
            (parts.double_value(&[]), whole.double_value(&[]))
        };
        for row in 0..2 {
            let (parts, whole) = one(row);
            assert!((parts - whole).abs() < 1e-5, "{parts} {whole}");
        }
    }

    #[test]
    fn a_student_equal_to_its_teacher_has_nothing_to_learn_and_a_sure_teacher_gives_finite_gradients()
     {
        let student = tensor(TEACHER).set_requires_grad(true);
        let probabilities = soften(&[&tensor(TEACHER)], 4.0).unwrap();
        let equal = decoupled(&student, &probabilities, &labels(), 4.0, 1.0, 8.0);
        equal.backward();
        assert!(equal.double_value(&[]).abs() < 1e-5);
        assert!(student.grad().abs().max().double_value(&[]) < 1e-5);

        let sure = tensor([[400.0, 0.0, -3.0], [0.0, 400.0, 1.0]]);
        let probabilities = soften(&[&sure], 1.0).unwrap();
        let student = tensor(STUDENT).set_requires_grad(true);
        let loss = decoupled(&student, &probabilities, &labels(), 1.0, 1.0, 8.0);
        loss.backward();
        assert!(loss.double_value(&[]).is_finite());
        assert!(bool::try_from(student.grad().isfinite().all()).unwrap());
    }
}

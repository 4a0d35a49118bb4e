//! Arithmetic on flat rows of `f32`: the hot loops of the server, one pass over memory each.
//!
//! Loops over elements are left to the compiler, which turns them into vector instructions. Sums are not
//! its to reorder, so they are kept in eight lanes by hand; their order is fixed, and so are their bits.

/// Lanes of a sum: two vector registers of `f64` with AVX-512, four with AVX2.
const LANES: usize = 8;

/// The Euclidean norm. Not finite if, and only if, one of the numbers is not: the square of an `f32` fits
/// into an `f64` whatever it is.
pub fn norm(numbers: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let mut rows = numbers.chunks_exact(LANES);
    for row in rows.by_ref() {
        for (lane, number) in lanes.iter_mut().zip(row) {
            *lane += f64::from(*number) * f64::from(*number);
        }
    }
    for (lane, number) in lanes.iter_mut().zip(rows.remainder()) {
        *lane += f64::from(*number) * f64::from(*number);
    }
    lanes.iter().sum::<f64>().sqrt()
}

/// The Euclidean norm of `a - b`. Not finite if one of the numbers is not.
///
/// # Panics
/// If the rows differ in length, which validation has ruled out.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "rows of different lengths");
    let square = |a: &f32, b: &f32| (f64::from(*a) - f64::from(*b)).powi(2);
    let mut lanes = [0.0_f64; LANES];
    let (mut rows_a, mut rows_b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (row_a, row_b) in rows_a.by_ref().zip(rows_b.by_ref()) {
        for (lane, (a, b)) in lanes.iter_mut().zip(row_a.iter().zip(row_b)) {
            *lane += square(a, b);
        }
    }
    let rest = rows_a.remainder().iter().zip(rows_b.remainder());
    for (lane, (a, b)) in lanes.iter_mut().zip(rest) {
        *lane += square(a, b);
    }
    lanes.iter().sum::<f64>().sqrt()
}

/// `sum = sum + weight·numbers`.
///
/// # Panics
/// If the rows differ in length.
pub fn add_scaled(sum: &mut [f32], numbers: &[f32], weight: f64) {
    assert_eq!(sum.len(), numbers.len(), "rows of different lengths");
    let weight = weight as f32;
    for (sum, number) in sum.iter_mut().zip(numbers) {
        *sum += weight * number;
    }
}

/// `numbers = weight·numbers`.
pub fn scale(numbers: &mut [f32], weight: f64) {
    let weight = weight as f32;
    for number in numbers {
        *number *= weight;
    }
}

/// `model = (1 - weight)·model + weight·update`, element by element.
///
/// # Panics
/// If the rows differ in length.
pub fn mix(model: &mut [f32], update: &[f32], weight: f64) {
    assert_eq!(model.len(), update.len(), "rows of different lengths");
    let (kept, taken) = ((1.0 - weight) as f32, weight as f32);
    for (number, new) in model.iter_mut().zip(update) {
        *number = kept * *number + taken * new;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_weight_replaces_and_none_keeps() {
        let mut model = [0.1_f32, 0.2];
        mix(&mut model, &[0.7, 0.9], 0.0);
        assert_eq!(model, [0.1, 0.2]);
        mix(&mut model, &[0.7, 0.9], 1.0);
        assert_eq!(model, [0.7, 0.9]);
    }

    #[test]
    fn a_norm_is_finite_exactly_if_all_numbers_are() {
        assert!(norm(&[f32::MAX; 19]).is_finite());
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in 0..19 {
                let mut numbers = [1.0; 19];
                numbers[place] = bad;
                assert!(!norm(&numbers).is_finite());
                assert!(!distance(&numbers, &[1.0; 19]).is_finite());
            }
        }
    }

    proptest! {
        #[test]
        fn norms_and_distances_are_those_of_the_plain_sum(
            pairs in prop::collection::vec((-1e3..1e3_f32, -1e3..1e3_f32), 0..70),
        ) {
            let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let plain: f64 = a.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            prop_assert!((norm(&a) - plain).abs() <= 1e-9 * plain);
            let pairs = a.iter().zip(&b);
            let plain: f64 = pairs.map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>().sqrt();
            prop_assert!((distance(&a, &b) - plain).abs() <= 1e-9 * plain);
        }
    }
}

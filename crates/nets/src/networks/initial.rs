//! Fresh parameters.

use tch::Tensor;
use tch::nn::Path;

use crate::random::{Purpose, key, normal, stream};

/// The place of a dotted name.
pub(super) fn descend<'a>(root: &Path<'a>, name: &str) -> Path<'a> {
    name.split('.')
        .fold(root.clone(), |path, part| path.sub(part))
}

/// A variable drawn from a normal distribution; its stream depends on the seed and its name alone.
pub(super) fn random(path: &Path, name: &str, shape: &[i64], deviation: f64, seed: u64) -> Tensor {
    let count = shape.iter().product::<i64>() as usize;
    let mut source = stream(Purpose::Initialisation, seed, key(&path.path(name)), 0);
    let values = Tensor::from_slice(&normal(&mut source, count, deviation)).reshape(shape);
    path.var_copy(name, &values)
}

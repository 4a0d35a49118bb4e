//! How a model's tensors lie in one flat slice of numbers.

use serde::{Deserialize, Serialize};

/// Bytes that travel with every model or update beside its numbers: run, task, client, version,
/// sample count and layout digest.
pub const HEADER_BYTES: u64 = 64;

/// One tensor of a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorLayout {
    /// The parameter's name, as in `layer1.0.conv1.0.weight`.
    pub name: String,
    /// Its extents, outermost first; empty for a single number.
    pub shape: Vec<usize>,
}

/// The tensors of a model in the order in which they lie in the flat slice, row-major, without gaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    tensors: Vec<TensorLayout>,
}

impl Layout {
    /// A layout of these tensors in this order.
    pub fn new(tensors: Vec<TensorLayout>) -> Self {
        Self { tensors }
    }

    /// A layout of a single row of `length` numbers: for models that are no network.
    pub fn vector(length: usize) -> Self {
        Self::new(vec![TensorLayout {
            name: "x".into(),
            shape: vec![length],
        }])
    }

    /// The tensors in order.
    pub fn tensors(&self) -> &[TensorLayout] {
        &self.tensors
    }

    /// How many numbers the flat slice has.
    pub fn len(&self) -> usize {
        self.tensors
            .iter()
            .map(|tensor| tensor.shape.iter().product::<usize>())
            .sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of a message that carries the model as `f32`, header included.
    pub fn message_bytes(&self) -> u64 {
        self.len() as u64 * 4 + HEADER_BYTES
    }

    /// A 64-bit fingerprint (FNV-1a) of names and shapes. An update carries it, so that one made for
    /// another network of the same size is noticed. It guards against mistakes, not against forgery.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut feed = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for tensor in &self.tensors {
            feed(tensor.name.as_bytes());
            feed(&[0]);
            for extent in &tensor.shape {
                feed(&(*extent as u64).to_le_bytes());
            }
            feed(&[0xff]);
        }
        hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(name: &str, shape: &[usize]) -> Layout {
        Layout::new(vec![TensorLayout {
            name: name.into(),
            shape: shape.to_vec(),
        }])
    }

    #[test]
    fn a_message_is_its_numbers_and_the_header() {
        let layout = Layout::new(vec![
            TensorLayout {
                name: "weight".into(),
                shape: vec![2, 3],
            },
            TensorLayout {
                name: "scale".into(),
                shape: vec![],
            },
        ]);
        assert_eq!(layout.len(), 7);
        assert_eq!(layout.message_bytes(), 7 * 4 + 64);
    }

    #[test]
    fn equal_sizes_with_other_names_or_shapes_have_other_fingerprints() {
        let fingerprints = [
            layout("a", &[2, 3]).fingerprint(),
            layout("b", &[2, 3]).fingerprint(),
            layout("a", &[3, 2]).fingerprint(),
            layout("a", &[6]).fingerprint(),
        ];
        for (index, fingerprint) in fingerprints.iter().enumerate() {
            assert!(!fingerprints[..index].contains(fingerprint));
        }
        assert_eq!(fingerprints[0], layout("a", &[2, 3]).fingerprint());
    }
}

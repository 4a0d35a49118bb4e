//! The one object that an archive holds, as a pickle of protocol 2.
//!
//! What is written: an instance of the archive's class whose state is a pair, a dictionary of tensors by name and
//! `False` (it is not being trained). Numbers do not lie in the pickle: a tensor names the record that has them.
//! The opcodes are those of Python's `pickletools`; nothing is written twice, so that no memo is needed.

use tch::Kind;

use crate::NetsError;

const PROTOCOL: &[u8] = b"\x80\x02";
const GLOBAL: u8 = b'c';
const EMPTY_TUPLE: u8 = b')';
const NEW_OBJECT: u8 = 0x81;
const EMPTY_DICTIONARY: u8 = b'}';
const MARK: u8 = b'(';
const TUPLE: u8 = b't';
const PAIR: u8 = 0x86;
const UNICODE: u8 = b'X';
const PERSISTENT_ID: u8 = b'Q';
const INTEGER: u8 = b'J';
const FALSE: u8 = 0x89;
const REDUCE: u8 = b'R';
const SET_ITEMS: u8 = b'u';
const BUILD: u8 = b'b';
const STOP: u8 = b'.';

/// An empty tuple: the constants of code that has none.
pub(super) fn nothing() -> Vec<u8> {
    [PROTOCOL, &[EMPTY_TUPLE, STOP]].concat()
}

/// A tensor whose numbers stand row by row in a record of its own.
pub(super) struct Place<'a> {
    pub name: &'a str,
    /// The record's name.
    pub record: String,
    pub kind: Kind,
    pub shape: Vec<i64>,
}

/// An instance of `class` (of module `__torch__`) with these tensors.
///
/// # Errors
/// A kind of number that archives of ours do not hold, a side beyond 2^31.
pub(super) fn object(class: &str, tensors: &[Place]) -> Result<Vec<u8>, NetsError> {
    let mut pickle = Pickle(PROTOCOL.to_vec());
    pickle.global("__torch__", class);
    pickle.put(&[EMPTY_TUPLE, NEW_OBJECT]);
    // libtorch wants to be told the type of a container, which else could not be known of an empty one.
    pickle.global("torch.jit._pickle", "restore_type_tag");
    pickle.put(&[EMPTY_DICTIONARY, MARK]);
    for tensor in tensors {
        pickle.text(tensor.name);
        pickle.tensor(tensor)?;
    }
    pickle.put(&[SET_ITEMS]);
    pickle.text("Dict[str, Tensor]");
    pickle.put(&[PAIR, REDUCE, FALSE, PAIR, BUILD, STOP]);
    Ok(pickle.0)
}

struct Pickle(Vec<u8>);

impl Pickle {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn global(&mut self, module: &str, name: &str) {
        self.put(&[GLOBAL]);
        self.put(format!("{module}\n{name}\n").as_bytes());
    }

    fn text(&mut self, text: &str) {
        self.put(&[UNICODE]);
        self.put(&(text.len() as u32).to_le_bytes());
        self.put(text.as_bytes());
    }

    fn integer(&mut self, value: i64) -> Result<(), NetsError> {
        let value = i32::try_from(value).map_err(|_| {
            NetsError::Mismatch(format!(
                "an archive cannot hold {value} numbers in one tensor"
            ))
        })?;
        self.put(&[INTEGER]);
        self.put(&value.to_le_bytes());
        Ok(())
    }

    fn integers(&mut self, values: &[i64]) -> Result<(), NetsError> {
        self.put(&[MARK]);
        for value in values {
            self.integer(*value)?;
        }
        self.put(&[TUPLE]);
        Ok(())
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`.
    fn tensor(&mut self, tensor: &Place) -> Result<(), NetsError> {
        let storage = match tensor.kind {
            Kind::Int8 => "CharStorage",
            Kind::Float => "FloatStorage",
            other => {
                let name = tensor.name;
                return Err(NetsError::Torch(format!(
                    "`{name}` has numbers of kind {other:?}, which no archive of ours holds"
                )));
            }
        };
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.put(&[MARK]);
        self.put(&[MARK]);
        self.text("storage");
        self.global("torch", storage);
        self.text(&tensor.record);
        self.text("cpu");
        self.integer(tensor.shape.iter().product())?;
        self.put(&[TUPLE, PERSISTENT_ID]);
        self.integer(0)?;
        self.integers(&tensor.shape)?;
        self.integers(&row_major(&tensor.shape))?;
        self.put(&[FALSE]);
        self.global("collections", "OrderedDict");
        self.put(&[EMPTY_TUPLE, REDUCE, TUPLE, REDUCE]);
        Ok(())
    }
}

/// How far apart neighbours stand along each side.
fn row_major(shape: &[i64]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for side in (1..shape.len()).rev() {
        strides[side - 1] = strides[side] * shape[side];
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_by_hand() {
        assert_eq!(row_major(&[2, 3, 4]), [12, 4, 1]);
        assert_eq!(row_major(&[7]), [1]);
        assert!(row_major(&[]).is_empty());
    }

    #[test]
    fn a_kind_that_archives_do_not_hold_is_refused_by_the_tensors_name() {
        let place = Place {
            name: "fc.bias",
            record: "0".to_owned(),
            kind: Kind::Double,
            shape: vec![3],
        };
        let error = object("Network", &[place]).unwrap_err().to_string();
        assert!(
            error.contains("fc.bias") && error.contains("Double"),
            "{error}"
        );
    }
}

//! The tensors of a checkpoint, whoever wrote it: safetensors, or what `torch.save` writes and has written.
//!
//! A `.pth` is a pickle, which in Python is a program. Here it is read by `pytorch-reader`, which builds
//! tensors and plain values and runs nothing: a file that calls for more than that is refused.

use std::collections::BTreeMap;
use std::path::Path;

use pytorch_reader::{DType, PytorchReader, Tensor as Stored};
use tch::{Kind, Tensor};

use crate::{NetsError, weights};

/// The keys under which training programs store a network's tensors beside their own state.
const HOLDERS: [&str; 5] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "state",
];

/// Reads the tensors of the network in a checkpoint, to the CPU.
///
/// # Errors
/// Names the file that is missing, damaged, without a tensor or with one that libtorch lacks.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, NetsError> {
    if path
        .extension()
        .is_some_and(|ending| ending == "safetensors")
    {
        return weights::read(path);
    }
    // So that a missing file is a missing file, and not a checkpoint that cannot be read.
    std::fs::File::open(path).map_err(|source| NetsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let refuse = |message: String| NetsError::Checkpoint {
        path: path.to_owned(),
        message,
    };
    let reader = PytorchReader::new(path).map_err(|error| refuse(error.to_string()))?;
    let all: BTreeMap<&str, &Stored> = reader
        .tensors()
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    let mut tensors = BTreeMap::new();
    for (name, stored) in of_the_network(all) {
        let kind = kind(stored.dtype()).ok_or_else(|| {
            refuse(format!(
                "`{name}` holds numbers of type {:?}",
                stored.dtype()
            ))
        })?;
        let bytes = stored.read().map_err(|error| refuse(error.to_string()))?;
        let shape: Vec<i64> = stored.shape().iter().map(|side| *side as i64).collect();
        tensors.insert(
            name.to_owned(),
            Tensor::f_from_data_size(&bytes, &shape, kind)?,
        );
    }
    if tensors.is_empty() {
        return Err(refuse("there is no tensor in it".to_owned()));
    }
    Ok(tensors)
}

/// Those under the first holder that there is, or all.
fn of_the_network<'a>(all: BTreeMap<&'a str, &'a Stored>) -> BTreeMap<&'a str, &'a Stored> {
    for holder in HOLDERS {
        let held: BTreeMap<&str, &Stored> = all
            .iter()
            .filter_map(|(name, tensor)| {
                let rest = name.strip_prefix(holder)?.strip_prefix('.')?;
                Some((rest, *tensor))
            })
            .collect();
        if !held.is_empty() {
            return held;
        }
    }
    all
}

fn kind(dtype: DType) -> Option<Kind> {
    Some(match dtype {
        DType::Bool => Kind::Bool,
        DType::U8 => Kind::Uint8,
        DType::I8 => Kind::Int8,
        DType::I16 => Kind::Int16,
        DType::I32 => Kind::Int,
        DType::I64 => Kind::Int64,
        DType::F16 => Kind::Half,
        DType::BF16 => Kind::BFloat16,
        DType::F32 => Kind::Float,
        DType::F64 => Kind::Double,
        DType::U16 | DType::U32 | DType::U64 => return None,
    })
}

//! Weights in and out: safetensors, checked name by name and shape by shape.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};
use tch::nn::VarStore;
use tch::{Kind, Tensor, no_grad};

use crate::NetsError;

/// How many names an error lists before it counts the rest.
const LISTED: usize = 8;

/// Reads every tensor of a safetensors file, to the CPU.
///
/// # Errors
/// Names the file that is missing, damaged or holds a number format that libtorch lacks.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, NetsError> {
    let bytes = std::fs::read(path).map_err(|source| NetsError::Read {
        path: path.to_owned(),
        source,
    })?;
    let damaged = |message: String| NetsError::Safetensors {
        path: path.to_owned(),
        message,
    };
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.iter() {
        let kind = kind(view.dtype())
            .ok_or_else(|| damaged(format!("`{name}` holds {:?} numbers", view.dtype())))?;
        let shape: Vec<i64> = view.shape().iter().map(|side| *side as i64).collect();
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)?;
        tensors.insert(name.to_owned(), tensor);
    }
    Ok(tensors)
}

/// Writes tensors to a safetensors file, from whatever device and memory layout; equal tensors give
/// equal bytes.
///
/// # Errors
/// Names the file that cannot be written.
pub fn write(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), NetsError> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        views.push((name.as_str(), Bytes::of(tensor)?));
    }
    safetensors::serialize_to_file(views, None, path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => NetsError::Write {
            path: path.to_owned(),
            source,
        },
        other => NetsError::Write {
            path: path.to_owned(),
            source: std::io::Error::other(other.to_string()),
        },
    })
}

/// Everything in a variable store, by name; shares memory with the store.
pub fn of(store: &VarStore) -> BTreeMap<String, Tensor> {
    store.variables().into_iter().collect()
}

/// Copies tensors into the variables of a store: every variable must be there with its shape, and
/// nothing else. Numbers are converted to the variable's format. `path` is for the message only.
///
/// # Errors
/// Lists what is missing, unexpected and of another shape; nothing has been copied then.
pub fn assign(
    store: &VarStore,
    tensors: &BTreeMap<String, Tensor>,
    path: &Path,
) -> Result<(), NetsError> {
    check(store, tensors, path)?;
    no_grad(|| {
        for (name, mut variable) in of(store) {
            variable.f_copy_(&tensors[&name])?;
        }
        Ok(())
    })
}

/// Refuses tensors that [`assign`] would refuse.
///
/// # Errors
/// As there.
pub(crate) fn check(
    store: &VarStore,
    tensors: &BTreeMap<String, Tensor>,
    path: &Path,
) -> Result<(), NetsError> {
    let variables = of(store);
    let missing: Vec<String> = names(variables.keys().filter(|name| !tensors.contains_key(*name)));
    let unexpected: Vec<String> =
        names(tensors.keys().filter(|name| !variables.contains_key(*name)));
    let mut reshaped = Vec::new();
    for (name, variable) in &variables {
        if let Some(tensor) = tensors.get(name)
            && tensor.size() != variable.size()
        {
            let (found, expected) = (tensor.size(), variable.size());
            reshaped.push(format!(
                "{name} is {found:?} in the file and {expected:?} in the network"
            ));
        }
    }
    let parts: Vec<String> = [
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", reshaped),
    ]
    .into_iter()
    .filter(|(_, list)| !list.is_empty())
    .map(|(what, list)| format!("{what}: {}", shortened(&list)))
    .collect();
    if !parts.is_empty() {
        return Err(NetsError::Weights {
            path: path.to_owned(),
            mismatch: parts.join("; "),
        });
    }
    Ok(())
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    names.cloned().collect()
}

fn shortened(list: &[String]) -> String {
    let shown = list[..list.len().min(LISTED)].join(", ");
    match list.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn kind(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::BOOL => Kind::Bool,
        Dtype::U8 => Kind::Uint8,
        Dtype::I8 => Kind::Int8,
        Dtype::I16 => Kind::Int16,
        Dtype::I32 => Kind::Int,
        Dtype::I64 => Kind::Int64,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        _ => return None,
    })
}

fn dtype(kind: Kind) -> Option<Dtype> {
    Some(match kind {
        Kind::Bool => Dtype::BOOL,
        Kind::Uint8 => Dtype::U8,
        Kind::Int8 => Dtype::I8,
        Kind::Int16 => Dtype::I16,
        Kind::Int => Dtype::I32,
        Kind::Int64 => Dtype::I64,
        Kind::Half => Dtype::F16,
        Kind::BFloat16 => Dtype::BF16,
        Kind::Float => Dtype::F32,
        Kind::Double => Dtype::F64,
        _ => return None,
    })
}

/// A tensor's bytes in row-major order.
struct Bytes {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

impl Bytes {
    fn of(tensor: &Tensor) -> Result<Self, NetsError> {
        let kind = tensor.kind();
        let dtype = dtype(kind)
            .ok_or_else(|| NetsError::Torch(format!("cannot write numbers of kind {kind:?}")))?;
        let tensor = no_grad(|| tensor.detach().to_device(tch::Device::Cpu).contiguous());
        let mut data = vec![0; tensor.numel() * kind.elt_size_in_bytes()];
        tensor.f_copy_data_u8(&mut data, tensor.numel())?;
        Ok(Self {
            dtype,
            shape: tensor.size().iter().map(|side| *side as usize).collect(),
            data,
        })
    }
}

impl View for Bytes {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn tensors_of_every_layout_survive_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let grid = Tensor::arange(6, (Kind::Float, Device::Cpu)).reshape([2, 3]);
        let tensors = BTreeMap::from([
            ("grid".to_owned(), grid.shallow_clone()),
            ("turned".to_owned(), grid.transpose(0, 1)),
            ("count".to_owned(), Tensor::from(7i64)),
            ("bytes".to_owned(), Tensor::from_slice(&[-1i8, 127])),
            (
                "empty".to_owned(),
                Tensor::zeros([0, 3], (Kind::Float, Device::Cpu)),
            ),
        ]);
        write(&path, &tensors).unwrap();
        let read = read(&path).unwrap();
        assert_eq!(read.len(), tensors.len());
        for (name, tensor) in &tensors {
            assert_eq!(read[name].kind(), tensor.kind(), "{name}");
            assert_eq!(read[name].size(), tensor.size(), "{name}");
            assert!(read[name].equal(tensor), "{name}");
        }
    }

    #[test]
    fn a_mismatch_lists_all_that_does_not_fit_and_changes_nothing() {
        let store = VarStore::new(Device::Cpu);
        let kept = store.root().ones("kept", &[2]);
        let _ = store.root().ones("reshaped", &[2]);
        let _ = store.root().ones("absent", &[2]);
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        let tensors = BTreeMap::from([
            ("kept".to_owned(), zeros(&[2])),
            ("reshaped".to_owned(), zeros(&[3])),
            ("strange".to_owned(), zeros(&[1])),
        ]);
        let error = assign(&store, &tensors, Path::new("m/model.safetensors")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("m/model.safetensors"), "{text}");
        assert!(text.contains("missing: absent"), "{text}");
        assert!(text.contains("unexpected: strange"), "{text}");
        assert!(
            text.contains("reshaped is [3] in the file and [2] in the network"),
            "{text}"
        );
        assert_eq!(kept.sum(Kind::Float).double_value(&[]), 2.0);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, b"not at all").unwrap();
        let text = read(&path).unwrap_err().to_string();
        assert!(text.contains("model.safetensors"), "{text}");
    }
}

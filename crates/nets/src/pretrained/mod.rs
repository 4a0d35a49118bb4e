//! Weights to begin with: from a model of this program, or from a checkpoint that others have published.

mod checkpoint;
mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tch::{Tensor, no_grad};

use crate::{FloatModel, ModelInfo, NetsError, files, weights};

/// How the file of a published checkpoint may end.
const ENDINGS: [&str; 6] = ["safetensors", "pth", "pt", "pyth", "tar", "bin"];

/// The weights in a folder: `model.safetensors` where there is a `model.json`, or else the only
/// checkpoint there.
#[derive(Debug)]
pub struct Pretrained {
    file: PathBuf,
    info: Option<ModelInfo>,
    tensors: BTreeMap<String, Tensor>,
}

/// What became of pretrained weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// The file that they came from.
    pub file: PathBuf,
    /// Tensors that the network took from it.
    pub tensors: usize,
    /// Why the last layer is fresh, where it is.
    pub fresh_head: Option<String>,
}

impl Pretrained {
    /// Reads the weights in a folder, to the CPU. Names of other projects become those of this one.
    ///
    /// # Errors
    /// Names the folder without a checkpoint or with several, the file that is damaged or holds what is no
    /// plain tensor, the quantized model.
    pub fn open(folder: &Path) -> Result<Self, NetsError> {
        let mut info = None;
        let file = if folder.join(files::INFO).is_file() {
            let found = ModelInfo::load(folder)?;
            if found.quantization.is_some() {
                return Err(NetsError::Info {
                    path: folder.join(files::INFO),
                    message:
                        "this model is quantized; begin with the float model that it was made \
                              from"
                            .to_owned(),
                });
            }
            info = Some(found);
            folder.join(files::WEIGHTS)
        } else {
            only_checkpoint(folder)?
        };
        let tensors = names::translated(checkpoint::read(&file)?);
        Ok(Self {
            file,
            info,
            tensors,
        })
    }

    /// Mean and standard deviation that the weights expect clips to be normalised with, where a model of
    /// this program says so.
    pub fn normalisation(&self) -> Option<([f64; 3], [f64; 3])> {
        self.info.as_ref().map(|info| (info.mean, info.std))
    }

    /// Copies the weights into a network, which must have every tensor of the file and no other. The last
    /// layer stays fresh where it is for other classes. Counters of batches may be missing, as in
    /// checkpoints of PyTorch before 0.4.1.
    ///
    /// # Errors
    /// Lists what is missing, unexpected and of another shape; nothing has been copied then.
    pub fn give_to(&self, model: &FloatModel) -> Result<Adopted, NetsError> {
        let head = model.info.architecture.layout()?.head().name.clone();
        let head = ["weight", "bias"].map(|part| format!("{head}.{part}"));
        let fresh_head = self.why_fresh(model, &head);
        let mut given = BTreeMap::new();
        let mut taken = 0;
        for (name, variable) in weights::of(model.var_store()) {
            let keeps = (fresh_head.is_some() && head.contains(&name))
                || (name.ends_with(".num_batches_tracked") && !self.tensors.contains_key(&name));
            if keeps {
                given.insert(name, no_grad(|| variable.detach().copy()));
            } else if self.tensors.contains_key(&name) {
                taken += 1;
            }
        }
        for (name, tensor) in &self.tensors {
            let replaced = fresh_head.is_some() && head.contains(name);
            if !replaced {
                given.insert(name.clone(), tensor.shallow_clone());
            }
        }
        weights::assign(model.var_store(), &given, &self.file).map_err(|error| match error {
            NetsError::Weights { path, mismatch } => NetsError::Weights {
                path,
                mismatch: format!(
                    "{mismatch}; set `model` to the network that they are of (here it is {})",
                    model.info.architecture
                ),
            },
            other => other,
        })?;
        Ok(Adopted {
            file: self.file.clone(),
            tensors: taken,
            fresh_head,
        })
    }

    /// Why the last layer cannot be that of the file.
    fn why_fresh(&self, model: &FloatModel, head: &[String; 2]) -> Option<String> {
        if let Some(info) = &self.info
            && info.classes != model.info.classes
        {
            return Some(format!(
                "the file's {} classes are not the {} of the clips",
                info.classes.len(),
                model.info.classes.len()
            ));
        }
        let variables = weights::of(model.var_store());
        head.iter()
            .find_map(|name| match (self.tensors.get(name), &variables[name]) {
                (None, _) => Some(format!("the file has no `{name}`")),
                (Some(tensor), variable) if tensor.size() != variable.size() => Some(format!(
                    "`{name}` is {:?} in the file and {:?} for the classes of the clips",
                    tensor.size(),
                    variable.size()
                )),
                _ => None,
            })
    }
}

/// The checkpoint in a folder that holds one.
fn only_checkpoint(folder: &Path) -> Result<PathBuf, NetsError> {
    let unreadable = |source| NetsError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(NetsError::Data(format!(
            "{} holds no weights: neither a model.json, as `fedact distill` makes it, nor a checkpoint \
             (a file that ends in .{})",
            folder.display(),
            ENDINGS.join(", .")
        ))),
        _ => {
            let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
            let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
            Err(NetsError::Data(format!(
                "{} holds several checkpoints: {}; leave the one to begin with in a folder of its own",
                folder.display(),
                names.join(", ")
            )))
        }
    }
}

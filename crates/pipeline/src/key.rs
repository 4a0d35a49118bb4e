//! The key of a step: one digest that stands for everything that decides its result.
//!
//! | enters the key                       | why                                                       |
//! | ------------------------------------ | --------------------------------------------------------- |
//! | version of this format               | another way to make keys must not meet old results        |
//! | name of the stage                    | different work on equal inputs                             |
//! | digest of the stage's sources, of the workspace crates under it, and of the versions of the external crates those use | an edit may change results; one in another stage may not |
//! | params, every default filled in      | a default written out is no change; a changed default is  |
//! | digest of each input's content       | equal content gives equal results, whoever made it        |
//! | names of the items of a list input   | the stage sees them (`evaluate` writes them into tables)  |
//! | versions of libtorch and FFmpeg, for the stages that use them | last bits and decoded pixels differ between them |
//!
//! | stays out                            | why                                                       |
//! | ------------------------------------ | --------------------------------------------------------- |
//! | name of the step                     | the same work under two names is done once                |
//! | name of what a single input is bound to | the stage has no use for it                            |
//! | keys of the steps before             | only their content counts: an equal output cuts off what is downstream |
//! | paths, times, owners, the machine    | they decide nothing, and would part two machines           |
//! | cores (`--jobs`) of stages that use all | their results do not depend on the number; where results do, the number is a param |
//! | order of keys, comments, anchors in the pipeline file | the file is data, not text                |
//! | file modification times              | user folders are digested by content                      |
//!
//! The JSON that is digested (the preimage) is kept beside the result, so that [`crate::changes`] can say
//! later what has changed.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use fedact_artifact::{Digest, canonical_json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Node, Source};

/// The version of the preimage's format.
pub const KEY_VERSION: u32 = 1;

/// Everything that decides a step's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preimage {
    /// Version of this format.
    pub format: u32,
    /// Name of the stage.
    pub stage: String,
    /// Digest of the code.
    pub code: String,
    /// Versions of libraries by name.
    pub libraries: BTreeMap<String, String>,
    /// Resolved params.
    pub params: Value,
    /// What each input is bound to.
    pub inputs: BTreeMap<String, Bound>,
}

/// What an input is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// One artifact.
    One(Digest),
    /// A list, in order.
    List(Vec<Named>),
}

/// One item of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The name that the stage sees.
    pub name: String,
    /// Its content.
    pub digest: Digest,
}

/// The contents known so far: outputs of steps and folders of the user's.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Digest of each step's output.
    pub steps: HashMap<String, Digest>,
    /// Digest of each folder.
    pub folders: HashMap<PathBuf, Digest>,
}

impl Contents {
    /// The digest of what an input is bound to, if it is known already.
    pub fn of(&self, source: &Source) -> Option<Digest> {
        match source {
            Source::Step(name) => self.steps.get(name),
            Source::Folder(path) => self.folders.get(path),
        }
        .copied()
    }
}

impl Preimage {
    /// Of a step, once the content of each of its inputs is known.
    pub fn of(node: &Node, contents: &Contents) -> Option<Self> {
        let mut inputs = BTreeMap::new();
        for binding in &node.inputs {
            let mut items = Vec::with_capacity(binding.sources.len());
            for source in &binding.sources {
                items.push(Named {
                    name: source.name(),
                    digest: contents.of(source)?,
                });
            }
            let bound = match items.first() {
                Some(only) if !binding.list => Bound::One(only.digest),
                _ => Bound::List(items),
            };
            inputs.insert(binding.input.clone(), bound);
        }
        Some(Self {
            format: KEY_VERSION,
            stage: node.definition().name.to_owned(),
            code: node.stage.code.clone(),
            libraries: (*node.libraries).clone(),
            params: node.params.clone(),
            inputs,
        })
    }

    /// As JSON, to be kept with the result.
    pub fn to_json(&self) -> Value {
        json!({
            "format": self.format,
            "stage": self.stage,
            "code": self.code,
            "libraries": self.libraries,
            "params": self.params,
            "inputs": self.inputs,
        })
    }

    /// From the JSON kept with a result; `None` for what another version of the format wrote.
    pub fn from_json(json: &Value) -> Option<Self> {
        let preimage: Self = serde_json::from_value(json.clone()).ok()?;
        (preimage.format == KEY_VERSION).then_some(preimage)
    }

    /// The key: the digest of [`Self::to_json`] in its canonical form, made without that value, which would be a
    /// copy of all params.
    pub fn key(&self) -> Digest {
        let small = |value: Value| canonical_json(&value);
        Digest::of(format!(
            r#"{{"code":{},"format":{},"inputs":{},"libraries":{},"params":{},"stage":{}}}"#,
            small(json!(self.code)),
            self.format,
            small(json!(self.inputs)),
            small(json!(self.libraries)),
            canonical_json(&self.params),
            small(json!(self.stage)),
        ))
    }
}

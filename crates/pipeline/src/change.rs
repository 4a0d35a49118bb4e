//! What differs between two preimages, typed; [`Change`]'s `Display` is the one place that words it.

use std::collections::BTreeMap;
use std::fmt;

use fedact_artifact::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Preimage;
use crate::key::{Bound, Named};

/// One difference between what a result was made from and what it would be made from now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Change {
    /// The step runs another stage.
    Stage {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// The stage's code, or that of a crate it uses, is another.
    Code {
        /// The stage.
        stage: String,
        /// Digest before.
        old: String,
        /// Digest now.
        new: String,
    },
    /// A library has another version, or came or went.
    Library {
        /// The library.
        name: String,
        /// Version before.
        old: Option<String>,
        /// Version now.
        new: Option<String>,
    },
    /// A param has another value, or came or went.
    Param {
        /// Dotted path.
        key: String,
        /// Value before.
        old: Option<Value>,
        /// Value now.
        new: Option<Value>,
    },
    /// An input was bound or is no longer.
    Input {
        /// The input.
        name: String,
        /// Whether it is bound now.
        bound: bool,
    },
    /// An input has other content.
    Content {
        /// The input.
        name: String,
        /// The item, where the input is a list.
        item: Option<String>,
        /// Digest before.
        old: Digest,
        /// Digest now.
        new: Digest,
    },
    /// A list has other items, or the same in another order.
    Items {
        /// The input.
        name: String,
        /// Names before.
        old: Vec<String>,
        /// Names now.
        new: Vec<String>,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stage { old, new } => write!(f, "the stage was {old} and is {new}"),
            Self::Code { stage, .. } => {
                write!(
                    f,
                    "the code of stage {stage}, or of a crate it uses, has changed"
                )
            }
            Self::Library { name, old, new } => {
                write!(
                    f,
                    "{name} was {} and is {}",
                    word(old.as_ref()),
                    word(new.as_ref())
                )
            }
            Self::Param { key, old, new } => match (old, new) {
                (Some(old), Some(new)) => write!(f, "param `{key}` was {old} and is {new}"),
                (None, Some(new)) => write!(f, "param `{key}` is new, with the value {new}"),
                (Some(old), None) => write!(f, "param `{key}` is gone; it was {old}"),
                (None, None) => write!(f, "param `{key}` has changed"),
            },
            Self::Input { name, bound: true } => write!(f, "input `{name}` was not there before"),
            Self::Input { name, bound: false } => write!(f, "input `{name}` is no longer there"),
            Self::Content {
                name,
                item: None,
                old,
                new,
            } => write!(
                f,
                "the content of input `{name}` has changed ({} to {})",
                old.short(),
                new.short()
            ),
            Self::Content {
                name,
                item: Some(item),
                old,
                new,
            } => write!(
                f,
                "the content of `{item}` in input `{name}` has changed ({} to {})",
                old.short(),
                new.short()
            ),
            Self::Items { name, old, new } => write!(
                f,
                "input `{name}` listed {} and lists {}",
                old.join(", "),
                new.join(", ")
            ),
        }
    }
}

fn word(version: Option<&String>) -> &str {
    version.map_or("not used", String::as_str)
}

/// What differs, in the order in which it is most likely to be the reason: stage, code, libraries,
/// params, inputs. Empty exactly when the keys are equal.
pub fn changes(old: &Preimage, new: &Preimage) -> Vec<Change> {
    let mut changes = Vec::new();
    if old.stage != new.stage {
        changes.push(Change::Stage {
            old: old.stage.clone(),
            new: new.stage.clone(),
        });
    }
    if old.code != new.code {
        changes.push(Change::Code {
            stage: new.stage.clone(),
            old: old.code.clone(),
            new: new.code.clone(),
        });
    }
    for (name, old, new) in both(&old.libraries, &new.libraries) {
        if old != new {
            changes.push(Change::Library {
                name: name.clone(),
                old: old.cloned(),
                new: new.cloned(),
            });
        }
    }
    params(
        String::new(),
        Some(&old.params),
        Some(&new.params),
        &mut changes,
    );
    for (name, old, new) in both(&old.inputs, &new.inputs) {
        inputs(name, old, new, &mut changes);
    }
    changes
}

/// All keys of two maps in order, each with the value on either side.
fn both<'a, V>(
    old: &'a BTreeMap<String, V>,
    new: &'a BTreeMap<String, V>,
) -> impl Iterator<Item = (&'a String, Option<&'a V>, Option<&'a V>)> {
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .map(|key| (key, old.get(key), new.get(key)))
}

/// Goes down into mappings; anything else is compared as a whole. The comparison is that of the
/// canonical JSON, so that it agrees with the key.
fn params(key: String, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (old, new) {
        let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let below = if key.is_empty() {
                name.clone()
            } else {
                format!("{key}.{name}")
            };
            params(below, old.get(name), new.get(name), changes);
        }
        return;
    }
    let canonical = |value: Option<&Value>| value.map(fedact_artifact::canonical_json);
    if canonical(old) != canonical(new) {
        changes.push(Change::Param {
            key,
            old: old.cloned(),
            new: new.cloned(),
        });
    }
}

fn inputs(name: &str, old: Option<&Bound>, new: Option<&Bound>, changes: &mut Vec<Change>) {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (old, new) => {
            if old.is_some() != new.is_some() {
                changes.push(Change::Input {
                    name: name.to_owned(),
                    bound: new.is_some(),
                });
            }
            return;
        }
    };
    let content = |item: Option<&str>, old: Digest, new: Digest| Change::Content {
        name: name.to_owned(),
        item: item.map(str::to_owned),
        old,
        new,
    };
    match (old, new) {
        (Bound::One(old), Bound::One(new)) => {
            if old != new {
                changes.push(content(None, *old, *new));
            }
        }
        (Bound::List(old), Bound::List(new)) => {
            let names = |items: &[Named]| -> Vec<String> {
                items.iter().map(|item| item.name.clone()).collect()
            };
            if names(old) != names(new) {
                changes.push(Change::Items {
                    name: name.to_owned(),
                    old: names(old),
                    new: names(new),
                });
            }
            for item in new {
                let before = old.iter().find(|other| other.name == item.name);
                if let Some(before) = before.filter(|before| before.digest != item.digest) {
                    changes.push(content(Some(&item.name), before.digest, item.digest));
                }
            }
        }
        // Only another version of the stage turns one into a list; its code says so, too.
        (Bound::One(_), Bound::List(items)) | (Bound::List(items), Bound::One(_)) => {
            let listed: Vec<String> = items.iter().map(|item| item.name.clone()).collect();
            let single = vec!["one without a name".to_owned()];
            let (old, new) = match new {
                Bound::List(_) => (single, listed),
                Bound::One(_) => (listed, single),
            };
            changes.push(Change::Items {
                name: name.to_owned(),
                old,
                new,
            });
        }
    }
}

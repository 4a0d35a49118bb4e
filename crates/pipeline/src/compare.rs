//! Two results side by side: what they were made from, what their figures are, which files differ.

use std::collections::BTreeMap;

use fedact_artifact::{Action, Digest, Provenance, Store, canonical_json};
use serde::Serialize;
use serde_json::Value;

use crate::change::changes;
use crate::files::{Explained, FileChange, files_between};
use crate::{Concern, PipelineError, Preimage};

/// One of the two results.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The step.
    pub step: String,
    /// Its key.
    pub key: Digest,
    /// Digest of its output.
    pub output: Digest,
    /// How it came about.
    pub provenance: Provenance,
}

impl From<&Action> for Compared {
    fn from(action: &Action) -> Self {
        Self {
            step: action.provenance.step.clone(),
            key: action.key,
            output: action.output,
            provenance: action.provenance.clone(),
        }
    }
}

/// A param or a figure of both.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// Its name; the parts of a nested one are joined by dots.
    pub name: String,
    /// On the left; `None` where it is not there.
    pub left: Option<Value>,
    /// On the right.
    pub right: Option<Value>,
    /// Right minus left, where both are numbers.
    pub difference: Option<f64>,
}

impl Figure {
    /// Whether both sides are the same, as the key sees it.
    pub fn same(&self) -> bool {
        self.left.as_ref().map(canonical_json) == self.right.as_ref().map(canonical_json)
    }
}

/// Two results side by side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The one, usually the older.
    pub left: Compared,
    /// The other.
    pub right: Compared,
    /// All params, those of nested mappings with dotted names.
    pub params: Vec<Figure>,
    /// All figures that the stages ended with.
    pub metrics: Vec<Figure>,
    /// What else differs between what they were made from; left out what another version of fedact wrote
    /// down in another way.
    pub changes: Vec<Explained>,
    /// Whether the outputs are the same, byte for byte.
    pub same_output: bool,
    /// The paths of the outputs that differ; `None` where the store has lost a list.
    pub files: Option<Vec<FileChange>>,
}

impl Comparison {
    /// Compares two results of a store.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn of(left: &Action, right: &Action, store: &Store) -> Result<Self, PipelineError> {
        let preimages =
            Preimage::from_json(&left.preimage).zip(Preimage::from_json(&right.preimage));
        let changes = preimages
            .map(|(left, right)| changes(&left, &right))
            .unwrap_or_default()
            .into_iter()
            .filter(|change| change.concern() != Concern::Params)
            .map(|change| Explained::of(change, store))
            .collect::<Result<_, _>>()?;
        let metrics = |action: &Action| Value::Object(action.provenance.metrics.clone());
        Ok(Self {
            params: figures(&left.preimage["params"], &right.preimage["params"]),
            metrics: figures(&metrics(left), &metrics(right)),
            changes,
            same_output: left.output == right.output,
            files: files_between(store, &left.output, &right.output)?,
            left: left.into(),
            right: right.into(),
        })
    }
}

/// All values of two mappings, in the order of their names.
fn figures(left: &Value, right: &Value) -> Vec<Figure> {
    let (mut on_left, mut on_right) = (BTreeMap::new(), BTreeMap::new());
    flatten(String::new(), left, &mut on_left);
    flatten(String::new(), right, &mut on_right);
    let names: std::collections::BTreeSet<String> =
        on_left.keys().chain(on_right.keys()).cloned().collect();
    names
        .into_iter()
        .map(|name| {
            let (left, right) = (on_left.remove(&name), on_right.remove(&name));
            let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_f64);
            Figure {
                difference: number(&right)
                    .zip(number(&left))
                    .map(|(right, left)| right - left),
                name,
                left,
                right,
            }
        })
        .collect()
}

fn flatten(name: String, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let below = if name.is_empty() {
                    key.clone()
                } else {
                    format!("{name}.{key}")
                };
                flatten(below, value, into);
            }
        }
        _ if name.is_empty() => {}
        value => {
            into.insert(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn figures_stand_side_by_side_with_the_difference_of_numbers() {
        let left = json!({"a": 1, "same": 1, "deep": {"b": "x"}, "gone": null});
        let right = json!({"a": 3.5, "same": 1, "deep": {"b": "y", "new": true}});
        let told: Vec<_> = figures(&left, &right)
            .into_iter()
            .map(|figure| {
                let same = figure.same();
                (
                    figure.name,
                    figure.left,
                    figure.right,
                    figure.difference,
                    same,
                )
            })
            .collect();
        let row = |name: &str, left: Option<Value>, right: Option<Value>, difference, same| {
            (name.to_owned(), left, right, difference, same)
        };
        assert_eq!(
            told,
            [
                row("a", Some(json!(1)), Some(json!(3.5)), Some(2.5), false),
                row("deep.b", Some(json!("x")), Some(json!("y")), None, false),
                row("deep.new", None, Some(json!(true)), None, false),
                row("gone", Some(json!(null)), None, None, false),
                row("same", Some(json!(1)), Some(json!(1)), Some(0.0), true),
            ]
        );
    }
}

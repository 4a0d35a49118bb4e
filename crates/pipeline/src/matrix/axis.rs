//! One axis of a matrix, as written.

use serde_json::Value;

use super::label;
use crate::file::{SourceEntry, Target};
use crate::yaml::Spot;
use crate::{Origin, Problem};

/// One list of a matrix.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    /// What it varies.
    pub(crate) varies: Varies,
    /// Its name: the key without `params.` or `inputs.`.
    pub(crate) name: String,
    /// How messages call it.
    pub(crate) key: String,
    pub(crate) spot: Spot,
    pub(crate) values: Vec<AxisValue>,
}

/// What an axis varies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Varies {
    /// The param at this path.
    Param(Vec<String>),
    /// The input of this name.
    Input(String),
}

/// One value of an axis.
#[derive(Debug, Clone)]
pub(crate) struct AxisValue {
    /// The value; for an input the name of what it is bound to.
    pub(crate) value: Value,
    /// Its text in names.
    pub(crate) text: String,
    /// What an input is bound to.
    pub(crate) source: Option<SourceEntry>,
    pub(crate) origin: Origin,
}

impl Axis {
    /// An axis without values, for `params.KEY` or `inputs.NAME`; `None` for any other key.
    pub(crate) fn new(key: &str, path: &str, spot: Spot) -> Option<Self> {
        let fit = |name: &str| {
            let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            name.bytes().all(fit) && name.split('.').all(|segment| !segment.is_empty())
        };
        let (varies, name) = if let Some(name) = key.strip_prefix("params.") {
            let path = name.split('.').map(str::to_owned).collect();
            (Varies::Param(path), name)
        } else {
            let name = key.strip_prefix("inputs.")?;
            (Varies::Input(name.to_owned()), name)
        };
        fit(name).then(|| Self {
            varies,
            name: name.to_owned(),
            key: path.to_owned(),
            spot,
            values: Vec::new(),
        })
    }

    pub(crate) fn is_input(&self) -> bool {
        matches!(self.varies, Varies::Input(_))
    }

    /// Adds a value of a param.
    pub(crate) fn push(&mut self, value: Value, origin: Origin) {
        self.values.push(AxisValue {
            text: label::text_of(&value),
            value,
            source: None,
            origin,
        });
    }

    /// Adds what an input may be bound to.
    pub(crate) fn push_source(&mut self, source: SourceEntry, origin: Origin) {
        let name = match &source.target {
            Target::Step(name) => name.clone(),
            Target::Folder(path) => path.display().to_string(),
        };
        self.push(Value::String(name), origin);
        if let Some(last) = self.values.last_mut() {
            last.source = Some(source);
        }
    }

    /// Two equal values would be two instances with one name.
    pub(crate) fn take_out_repeated(&mut self, problems: &mut Vec<Problem>) {
        let mut seen = std::collections::HashSet::new();
        let key = &self.key;
        self.values.retain(|value| {
            let first = seen.insert(value.text.clone());
            if !first {
                problems.push(Problem::RepeatedValue {
                    origin: value.origin.clone(),
                    key: key.clone(),
                    value: value.value.to_string(),
                });
            }
            first
        });
    }
}

//! Params: from what a user wrote to a complete, checked, canonical value.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The params of a stage: a struct with `#[serde(default, deny_unknown_fields)]` whose `Default` is
/// the documented default, and whose ranges [`Params::check`] guards.
pub trait Params: Serialize + DeserializeOwned + JsonSchema {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// The first value that cannot be used, with what would be right.
    fn check(&self) -> Result<(), OutOfRange>;
}

/// A value that parses but cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` is {value}, but must be {expected}")]
pub struct OutOfRange {
    /// Dotted path within the params, as in `model.width`.
    pub key: String,
    /// What was given.
    pub value: String,
    /// What would be right, as in `between 1 and 512`.
    pub expected: String,
}

impl OutOfRange {
    /// Refuses `value` unless `holds`.
    ///
    /// # Errors
    /// The refusal.
    pub fn unless(
        holds: bool,
        key: &str,
        value: impl std::fmt::Display,
        expected: &str,
    ) -> Result<(), Self> {
        if holds {
            return Ok(());
        }
        Err(Self {
            key: key.to_owned(),
            value: value.to_string(),
            expected: expected.to_owned(),
        })
    }

    /// The same with the key one level further down: a refusal by a part of the params, as the params see it.
    #[must_use]
    pub fn within(self, part: &str) -> Self {
        Self {
            key: format!("{part}.{}", self.key),
            ..self
        }
    }
}

/// Why params were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// A key that the stage does not know.
    #[error("unknown key `{key}`{}; known here: {}", did_you_mean(suggestion.as_deref()), known.join(", "))]
    UnknownKey {
        /// Dotted path of the key.
        key: String,
        /// The known key that looks most like it.
        suggestion: Option<String>,
        /// All keys that are known at that place.
        known: Vec<String>,
    },
    /// A value of the wrong type or an unknown variant.
    #[error("`{key}`: {message}")]
    Type {
        /// Dotted path of the key.
        key: String,
        /// What the parser says.
        message: String,
    },
    /// A value out of range.
    #[error(transparent)]
    OutOfRange(#[from] OutOfRange),
}

impl ParamsError {
    /// Dotted path of the key at fault.
    pub fn key(&self) -> &str {
        match self {
            Self::UnknownKey { key, .. } | Self::Type { key, .. } => key,
            Self::OutOfRange(out_of_range) => &out_of_range.key,
        }
    }
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(" (did you mean `{name}`?)"))
}

/// Parses, fills in the defaults and checks: the `resolve` of a [`crate::Definition`].
///
/// # Errors
/// The first key or value that cannot be used.
pub fn resolve<P: Params>(given: &Value) -> Result<Value, ParamsError> {
    let given = match given {
        Value::Null => Value::Object(serde_json::Map::new()),
        other => other.clone(),
    };
    let params: P = serde_path_to_error::deserialize(given).map_err(|error| refusal(&error))?;
    params.check()?;
    serde_json::to_value(&params).map_err(|error| ParamsError::Type {
        key: String::new(),
        message: error.to_string(),
    })
}

/// The JSON schema of the params: the `schema` of a [`crate::Definition`].
pub fn schema<P: Params>() -> Value {
    schemars::schema_for!(P).to_value()
}

/// Turns serde's words about an unknown field into a typed refusal with a suggestion.
fn refusal(error: &serde_path_to_error::Error<serde_json::Error>) -> ParamsError {
    let path = error.path().to_string();
    let key = if path == "." { String::new() } else { path };
    let message = error.inner().to_string();
    if let Some((field, known)) = unknown_field(&message) {
        let suggestion = known
            .iter()
            .map(|name| (strsim::jaro_winkler(name, &field), name))
            .filter(|(likeness, _)| *likeness > 0.75)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name.clone());
        let key = if key.is_empty() || key == field || key.ends_with(&format!(".{field}")) {
            if key.is_empty() { field } else { key }
        } else {
            format!("{key}.{field}")
        };
        return ParamsError::UnknownKey {
            key,
            suggestion,
            known,
        };
    }
    ParamsError::Type { key, message }
}

/// The field and the known fields of serde's `unknown field` message.
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (field, rest) = rest.split_once('`')?;
    let known = rest
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    Some((field.to_owned(), known))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Example {
        epochs: u32,
        model: Nested,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Nested {
        width: u32,
    }

    impl Default for Example {
        fn default() -> Self {
            Self {
                epochs: 3,
                model: Nested::default(),
            }
        }
    }

    impl Default for Nested {
        fn default() -> Self {
            Self { width: 16 }
        }
    }

    impl Params for Example {
        fn check(&self) -> Result<(), OutOfRange> {
            OutOfRange::unless(self.epochs > 0, "epochs", self.epochs, "at least 1")
        }
    }

    #[test]
    fn a_default_written_out_resolves_like_one_left_out() {
        let all = resolve::<Example>(&json!({"model": {"width": 16}, "epochs": 3})).unwrap();
        assert_eq!(all, resolve::<Example>(&Value::Null).unwrap());
        assert_eq!(all, json!({"epochs": 3, "model": {"width": 16}}));
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_path_and_the_right_word() {
        let error = resolve::<Example>(&json!({"epochz": 3})).unwrap_err();
        assert_eq!(error.key(), "epochz");
        assert!(
            error.to_string().contains("did you mean `epochs`?"),
            "{error}"
        );
        let error = resolve::<Example>(&json!({"model": {"wdith": 3}})).unwrap_err();
        assert_eq!(error.key(), "model.wdith");
        assert!(
            error.to_string().contains("did you mean `width`?"),
            "{error}"
        );
    }

    #[test]
    fn wrong_types_and_ranges_name_the_key_and_the_value() {
        let error = resolve::<Example>(&json!({"model": {"width": "wide"}})).unwrap_err();
        assert_eq!(error.key(), "model.width");
        assert!(error.to_string().contains("wide"), "{error}");
        let error = resolve::<Example>(&json!({"epochs": 0})).unwrap_err();
        assert_eq!(error.to_string(), "`epochs` is 0, but must be at least 1");
    }
}

//! `--set`: one value of a step's params, from the command line.

use serde_json::{Map, Value};

use crate::PipelineError;

/// One `--set STEP.key=value`.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The step.
    pub step: String,
    /// What is set in its params.
    pub assignment: Assignment,
}

/// One `key=value` with dots between nested keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// As the user wrote it, for messages.
    pub text: String,
    /// The path within the params.
    pub path: Vec<String>,
    /// The value, read as YAML.
    pub value: Value,
}

impl Override {
    /// Reads `STEP.key=value`.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn parse(text: &str) -> Result<Self, PipelineError> {
        const REMEDY: &str = "write `--set STEP.key=value`, as in `--set student.epochs=4`";
        let mut assignment = Assignment::read(text, REMEDY)?;
        if assignment.path.len() < 2 {
            return Err(refusal(text, "names a step but no key of it", REMEDY));
        }
        let step = assignment.path.remove(0);
        Ok(Self { step, assignment })
    }
}

impl Assignment {
    /// Reads `key=value`.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn parse(text: &str) -> Result<Self, PipelineError> {
        Self::read(
            text,
            "write `--set key=value`, as in `--set model.width=32`",
        )
    }

    fn read(text: &str, remedy: &str) -> Result<Self, PipelineError> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(refusal(text, "has no `=`", remedy));
        };
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(refusal(text, "has an empty key", remedy));
        }
        let value = serde_yaml::from_str(value)
            .map_err(|error| refusal(text, &format!("the value is not YAML: {error}"), remedy))?;
        Ok(Self {
            text: text.to_owned(),
            path,
            value,
        })
    }

    /// Puts the value into params, making the mappings on the way; a value that is in the way of a
    /// mapping is replaced by one, and the stage then judges the whole.
    pub fn apply(&self, params: &mut Value) {
        let mut place = params;
        for key in &self.path {
            let index = key.parse().ok();
            place = match index.filter(|index: &usize| place.get(index).is_some()) {
                Some(index) => &mut place[index],
                None => {
                    if !place.is_object() {
                        *place = Value::Object(Map::new());
                    }
                    &mut place[key.as_str()]
                }
            };
        }
        *place = self.value.clone();
    }

    /// Whether this set the value at `dotted`, the mapping it is in, or something below it.
    pub(crate) fn touches(&self, dotted: &str) -> bool {
        let other = segments(dotted);
        self.path
            .iter()
            .zip(&other)
            .all(|(mine, theirs)| mine == theirs)
    }
}

/// The keys of a path as serde writes it: `a.b[2].c`.
pub(crate) fn segments(dotted: &str) -> Vec<String> {
    dotted
        .split(['.', '[', ']'])
        .filter(|segment| !segment.is_empty())
        .map(str::to_owned)
        .collect()
}

fn refusal(text: &str, problem: &str, remedy: &str) -> PipelineError {
    PipelineError::Override {
        text: text.to_owned(),
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_yaml_and_keys_nest_by_dots() {
        let set = Override::parse("student.model.depth=18").unwrap();
        assert_eq!(set.step, "student");
        let mut params = json!({"epochs": 3, "model": {"width": 8}});
        set.assignment.apply(&mut params);
        assert_eq!(
            params,
            json!({"epochs": 3, "model": {"width": 8, "depth": 18}})
        );
        let mut params = Value::Null;
        Assignment::parse("a.b=[1, x, {c: 2.5}]")
            .unwrap()
            .apply(&mut params);
        assert_eq!(params, json!({"a": {"b": [1, "x", {"c": 2.5}]}}));
        Assignment::parse("a.b.1=y").unwrap().apply(&mut params);
        assert_eq!(params["a"]["b"][1], "y");
        Assignment::parse("text=a=b").unwrap().apply(&mut params);
        assert_eq!(params["text"], "a=b");
    }

    #[test]
    fn what_cannot_be_read_says_how_to_write_it() {
        for text in [
            "student",
            "student.epochs",
            "student=3",
            ".epochs=3",
            "a.=1",
            "a.b={",
        ] {
            let error = Override::parse(text).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("--set {text}: ")),
                "{error}"
            );
            assert!(error.remedy().unwrap().contains("STEP.key=value"));
        }
    }

    #[test]
    fn an_override_answers_for_its_key_and_what_is_above_and_below() {
        let set = Assignment::parse("model.width=1").unwrap();
        assert!(set.touches("model.width"));
        assert!(set.touches("model"));
        assert!(set.touches("model.width.deep"));
        assert!(!set.touches("model.depth"));
        assert!(!set.touches("epochs"));
    }
}

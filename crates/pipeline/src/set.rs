//! `--set`: one value of a step's params, from the command line.

use serde_json::{Map, Value};

use crate::{PipelineError, Problem, yaml};

/// One `--set STEP.key=value`, or `--set STEP@axis=value.key=value` for some instances of a matrix step.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The step as named in the file.
    pub(crate) step: String,
    pub(crate) scope: Scope,
}

/// What of a step an override changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scope {
    /// The step, and with it all its instances.
    Step(Assignment),
    /// Some instances. Where the selection ends and the key begins (`lr@rate=0.5.epochs=3`) shows once the
    /// values of the axes are known.
    Instances(String),
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

/// How an override is to be written.
const REMEDY: &str = "write `--set STEP.key=value`, as in `--set student.epochs=4`";

impl Override {
    /// Reads `STEP.key=value`.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn parse(text: &str) -> Result<Self, PipelineError> {
        let target = text.split('=').next().unwrap_or(text);
        if let Some((step, _)) = target.split_once('@')
            && !step.contains('.')
        {
            return Ok(Self {
                step: step.to_owned(),
                scope: Scope::Instances(text.to_owned()),
            });
        }
        let mut assignment = Assignment::read(text, text, REMEDY)?;
        if assignment.path.len() < 2 {
            return Err(refusal(text, "names a step but no key of it", REMEDY).into());
        }
        let step = assignment.path.remove(0);
        Ok(Self {
            step,
            scope: Scope::Step(assignment),
        })
    }

    /// As the user wrote it.
    pub(crate) fn text(&self) -> &str {
        match &self.scope {
            Scope::Step(assignment) => &assignment.text,
            Scope::Instances(text) => text,
        }
    }
}

/// Splits `STEP@axis=value.key=value` behind the longest selection that `selects` something.
pub(crate) fn split_selection(
    text: &str,
    mut selects: impl FnMut(&str) -> bool,
) -> Result<(&str, Assignment), Problem> {
    let begin = text.find('@').map_or(0, |at| at + 1);
    let dots = text[begin..].match_indices('.').map(|(at, _)| begin + at);
    let end = dots.rev().find(|&dot| selects(&text[begin..dot]));
    let Some(end) = end else {
        return Err(refusal(
            text,
            "selects no instance of the step's matrix, or names no key",
            "write `--set STEP@axis=value.key=value`; `fedact graph` shows the axes and their values",
        ));
    };
    let assignment = Assignment::read(text, &text[end + 1..], REMEDY)?;
    Ok((&text[begin..end], assignment))
}

impl Assignment {
    /// Reads `key=value`.
    ///
    /// # Errors
    /// Says what is missing.
    pub fn parse(text: &str) -> Result<Self, PipelineError> {
        Ok(Self::read(
            text,
            text,
            "write `--set key=value`, as in `--set model.width=32`",
        )?)
    }

    fn read(text: &str, assignment: &str, remedy: &str) -> Result<Self, Problem> {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(refusal(text, "has no `=`", remedy));
        };
        let path: Vec<String> = key.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(refusal(text, "has an empty key", remedy));
        }
        let value = yaml::read(value).map_err(|error| {
            let problem = format!("the value is not YAML: {}", error.message);
            refusal(text, &problem, remedy)
        })?;
        if let Some(twice) = value.duplicates.first() {
            let problem = format!("the value has `{}` twice", twice.path.join("."));
            return Err(refusal(text, &problem, remedy));
        }
        Ok(Self {
            text: text.to_owned(),
            path,
            value: value.root.to_json(),
        })
    }

    /// Puts the value into params, making the mappings on the way.
    pub fn apply(&self, params: &mut Value) {
        put(params, &self.path, &self.value);
    }
}

/// Whether one of two paths leads to the other's value, or to a mapping around it.
pub(crate) fn touches(one: &[String], other: &[String]) -> bool {
    one.iter().zip(other).all(|(one, other)| one == other)
}

/// Puts a value under a path of keys, making the mappings on the way; a value that is in the way of a mapping
/// is replaced by one, and the stage then judges the whole.
pub(crate) fn put(params: &mut Value, path: &[String], value: &Value) {
    let mut place = params;
    for key in path {
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
    *place = value.clone();
}

/// The keys of a path as serde writes it: `a.b[2].c`.
pub(crate) fn segments(dotted: &str) -> Vec<String> {
    dotted
        .split(['.', '[', ']'])
        .filter(|segment| !segment.is_empty())
        .map(str::to_owned)
        .collect()
}

fn refusal(text: &str, problem: &str, remedy: &str) -> Problem {
    Problem::Override {
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
        let Scope::Step(assignment) = set.scope else {
            panic!("no instance is named");
        };
        let mut params = json!({"epochs": 3, "model": {"width": 8}});
        assignment.apply(&mut params);
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
        let touched = |dotted: &str| touches(&set.path, &segments(dotted));
        assert!(touched("model.width"));
        assert!(touched("model"));
        assert!(touched("model.width.deep"));
        assert!(!touched("model.depth"));
        assert!(!touched("epochs"));
    }

    #[test]
    fn a_selection_ends_where_the_longest_one_does() {
        let split = |text: &str| {
            let known = ["rate=0", "rate=0.5", "rate=0.5,seed=1"];
            split_selection(text, |selection| known.contains(&selection))
                .map(|(selection, set)| (selection.to_owned(), set.path.join("/")))
        };
        let is = |selection: &str, key: &str| Ok((selection.to_owned(), key.to_owned()));
        assert_eq!(split("a@rate=0.lr=1"), is("rate=0", "lr"));
        assert_eq!(split("a@rate=0.5.model.lr=0.1"), is("rate=0.5", "model/lr"));
        assert_eq!(
            split("a@rate=0.5,seed=1.lr=a.b=c"),
            is("rate=0.5,seed=1", "lr")
        );
        let error = split("a@rate=7.lr=1").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("--set a@rate=7.lr=1: selects no instance"),
            "{error}"
        );
    }
}

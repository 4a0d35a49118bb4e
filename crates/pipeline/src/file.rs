//! `pipeline.yaml`: read strictly, every key with its place.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::place::{self, Places};
use crate::set::segments;
use crate::suggest::nearest;
use crate::{Origin, Override, PipelineError, Place};

/// The version of the pipeline format that this crate reads.
pub const PIPELINE_VERSION: u64 = 1;

/// The name that no step may have: the folder of the store stands beside those of the steps.
const RESERVED: &str = "store";

/// A pipeline file as written, shapes checked and overrides applied; what the names in it mean is for
/// [`crate::Graph`] to find out.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The file, as the user named it.
    pub file: PathBuf,
    /// The steps, in the order of the file.
    pub steps: Vec<Step>,
    places: Places,
    overrides: Vec<Override>,
}

/// One entry of `steps:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name, which is also that of its folder of outputs.
    pub name: String,
    /// The stage it runs.
    pub stage: String,
    /// Its inputs, in the order of the file.
    pub inputs: Vec<InputEntry>,
    /// Its params as written, with overrides.
    pub params: Value,
}

/// One entry of `inputs:`.
#[derive(Debug, Clone, PartialEq)]
pub struct InputEntry {
    /// The input's name.
    pub name: String,
    /// What it is bound to.
    pub sources: Vec<SourceEntry>,
    /// Whether it was written as a list.
    pub list: bool,
}

/// What an input is bound to, as written.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceEntry {
    /// The output of a step.
    Step(String),
    /// A folder of the user's; a relative path is already joined to the folder of the pipeline file.
    Folder(PathBuf),
}

impl Pipeline {
    /// Reads a file and applies overrides to it.
    ///
    /// # Errors
    /// The first thing that is wrong with it, by place.
    pub fn load(file: &Path, overrides: Vec<Override>) -> Result<Self, PipelineError> {
        let text = std::fs::read_to_string(file).map_err(|source| PipelineError::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        Self::parse(&text, file, overrides)
    }

    /// The same from text; `file` serves messages and relative paths.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str, file: &Path, overrides: Vec<Override>) -> Result<Self, PipelineError> {
        let places = Places::read(text, file).map_err(|fault| match fault {
            place::Fault::Syntax { place, message } => PipelineError::Syntax { place, message },
            place::Fault::Duplicate {
                place,
                path,
                first_line,
            } => PipelineError::DuplicateKey {
                place,
                key: path.join("."),
                first_line,
            },
        })?;
        let document = values(text, &places)?;
        let reader = Reader {
            places: &places,
            folder: file.parent().unwrap_or(Path::new("")),
        };
        let mut steps = reader.document(&document)?;
        for set in &overrides {
            let known = || steps.iter().map(|step| step.name.as_str());
            let suggestion = nearest(&set.step, known());
            let all = known().map(str::to_owned).collect();
            let Some(step) = steps.iter_mut().find(|step| step.name == set.step) else {
                return Err(PipelineError::UnknownKey {
                    origin: Origin::Override(set.assignment.text.clone()),
                    key: set.step.clone(),
                    suggestion,
                    known: all,
                });
            };
            set.assignment.apply(&mut step.params);
        }
        Ok(Self {
            file: file.to_owned(),
            steps,
            places,
            overrides,
        })
    }

    /// The place of a key by its path, as in `["steps", "student", "inputs"]`; of the nearest key
    /// around it where it has none of its own.
    pub fn place(&self, path: &[&str]) -> Place {
        let path: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
        self.places.of(&path)
    }

    /// Where a step's param came from: the last override that touches it, else its place in the file.
    pub fn origin_of_param(&self, step: &str, dotted: &str) -> Origin {
        let set = self
            .overrides
            .iter()
            .rev()
            .find(|set| set.step == step && set.assignment.touches(dotted));
        if let Some(set) = set {
            return Origin::Override(set.assignment.text.clone());
        }
        let mut path = vec!["steps".to_owned(), step.to_owned(), "params".to_owned()];
        path.extend(segments(dotted));
        Origin::File(self.places.of(&path))
    }

    /// The folder that relative paths count from.
    pub fn folder(&self) -> &Path {
        match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }
}

/// Carries out merge keys, innermost first: serde_yaml leaves the `<<` of a mapping that is itself merged.
fn merge(value: &mut serde_yaml::Value) -> Result<(), serde_yaml::Error> {
    match value {
        serde_yaml::Value::Mapping(mapping) => mapping.values_mut().try_for_each(merge)?,
        serde_yaml::Value::Sequence(items) => items.iter_mut().try_for_each(merge)?,
        _ => {}
    }
    value.apply_merge()
}

/// The document as JSON, with merge keys (`<<`) carried out.
fn values(text: &str, places: &Places) -> Result<Value, PipelineError> {
    let syntax = |error: &serde_yaml::Error| PipelineError::Syntax {
        place: error.location().map_or_else(
            || places.place(1, 1),
            |location| places.place(location.line(), location.column()),
        ),
        message: error.to_string(),
    };
    let mut yaml: serde_yaml::Value = serde_yaml::from_str(text).map_err(|error| syntax(&error))?;
    merge(&mut yaml).map_err(|error| syntax(&error))?;
    serde_json::to_value(&yaml).map_err(|error| PipelineError::Syntax {
        place: places.place(1, 1),
        message: error.to_string(),
    })
}

/// Turns values into steps.
struct Reader<'a> {
    places: &'a Places,
    folder: &'a Path,
}

impl Reader<'_> {
    fn document(&self, document: &Value) -> Result<Vec<Step>, PipelineError> {
        let top = self.mapping(document, &[], "a mapping with `version` and `steps`")?;
        self.known_keys(top, &[], &["version", "steps"])?;
        let version = self.required(top, &[], "version", "1")?;
        if version.as_u64() != Some(PIPELINE_VERSION) {
            return Err(self.shape(
                &["version"],
                version,
                "1, the only version of the format so far",
            ));
        }
        let steps = self.required(top, &[], "steps", "a mapping from a name to a step")?;
        let steps = self.mapping(steps, &["steps"], "a mapping from a name to a step")?;
        if steps.is_empty() {
            return Err(self.shape(
                &["steps"],
                &Value::Object(Map::new()),
                "a mapping with at least one step",
            ));
        }
        steps
            .iter()
            .map(|(name, step)| self.step(name, step))
            .collect()
    }

    fn step(&self, name: &str, step: &Value) -> Result<Step, PipelineError> {
        let path = ["steps", name];
        if !valid_step_name(name) {
            return Err(PipelineError::StepName {
                place: self.place(&path),
                name: name.to_owned(),
            });
        }
        let step = self.mapping(step, &path, "a mapping with `stage`, `inputs` and `params`")?;
        self.known_keys(step, &path, &["stage", "inputs", "params"])?;
        let stage = self.required(step, &path, "stage", "the name of a stage")?;
        let Some(stage) = stage.as_str() else {
            return Err(self.shape(&["steps", name, "stage"], stage, "the name of a stage"));
        };
        let inputs = match step.get("inputs") {
            None | Some(Value::Null) => Vec::new(),
            Some(inputs) => self
                .mapping(
                    inputs,
                    &["steps", name, "inputs"],
                    "a mapping from an input to a step",
                )?
                .iter()
                .map(|(input, bound)| self.input(name, input, bound))
                .collect::<Result<_, _>>()?,
        };
        let params = match step.get("params") {
            None | Some(Value::Null) => Value::Object(Map::new()),
            Some(params) => {
                self.mapping(
                    params,
                    &["steps", name, "params"],
                    "a mapping of the stage's params",
                )?;
                params.clone()
            }
        };
        Ok(Step {
            name: name.to_owned(),
            stage: stage.to_owned(),
            inputs,
            params,
        })
    }

    fn input(&self, step: &str, name: &str, bound: &Value) -> Result<InputEntry, PipelineError> {
        let path = ["steps", step, "inputs", name];
        let sources = match bound {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    let index = index.to_string();
                    self.source(&["steps", step, "inputs", name, &index], item)
                })
                .collect::<Result<_, _>>()?,
            single => vec![self.source(&path, single)?],
        };
        Ok(InputEntry {
            name: name.to_owned(),
            sources,
            list: bound.is_array(),
        })
    }

    fn source(&self, path: &[&str], source: &Value) -> Result<SourceEntry, PipelineError> {
        const EXPECTED: &str =
            "the name of a step, a list of such names, or `{path: FOLDER}` for files of your own";
        match source {
            Value::String(step) => Ok(SourceEntry::Step(step.clone())),
            Value::Object(mapping) => {
                self.known_keys(mapping, path, &["path"])?;
                match mapping.get("path") {
                    Some(Value::String(folder)) if !folder.is_empty() => {
                        Ok(SourceEntry::Folder(self.folder.join(folder)))
                    }
                    Some(other) => Err(self.shape(path, other, "the path of a folder")),
                    None => Err(self.shape(path, source, EXPECTED)),
                }
            }
            other => Err(self.shape(path, other, EXPECTED)),
        }
    }

    fn mapping<'v>(
        &self,
        value: &'v Value,
        path: &[&str],
        expected: &str,
    ) -> Result<&'v Map<String, Value>, PipelineError> {
        value
            .as_object()
            .ok_or_else(|| self.shape(path, value, expected))
    }

    fn required<'v>(
        &self,
        mapping: &'v Map<String, Value>,
        path: &[&str],
        key: &str,
        expected: &str,
    ) -> Result<&'v Value, PipelineError> {
        mapping.get(key).ok_or_else(|| PipelineError::MissingKey {
            place: self.place(path),
            key: join(path, key),
            expected: expected.to_owned(),
        })
    }

    fn known_keys(
        &self,
        mapping: &Map<String, Value>,
        path: &[&str],
        known: &[&str],
    ) -> Result<(), PipelineError> {
        let Some(key) = mapping.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(());
        };
        let mut full: Vec<&str> = path.to_vec();
        full.push(key);
        Err(PipelineError::UnknownKey {
            origin: Origin::File(self.place(&full)),
            key: full.join("."),
            suggestion: nearest(key, known.iter().copied()),
            known: known.iter().map(|&key| key.to_owned()).collect(),
        })
    }

    fn place(&self, path: &[&str]) -> Place {
        let path: Vec<String> = path.iter().map(|&key| key.to_owned()).collect();
        self.places.of(&path)
    }

    fn shape(&self, path: &[&str], found: &Value, expected: &str) -> PipelineError {
        PipelineError::Shape {
            place: self.place(path),
            key: if path.is_empty() {
                "the file".to_owned()
            } else {
                path.join(".")
            },
            found: describe(found),
            expected: expected.to_owned(),
        }
    }
}

fn valid_step_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || byte == b'-' || byte == b'_')
        && name != RESERVED
}

fn join(path: &[&str], key: &str) -> String {
    let mut full = path.to_vec();
    full.push(key);
    full.join(".")
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(mapping) if mapping.is_empty() => "an empty mapping".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(text: &str) -> Result<Pipeline, PipelineError> {
        Pipeline::parse(text, Path::new("work/pipeline.yaml"), Vec::new())
    }

    fn refusal(text: &str) -> (String, String) {
        let error = parse(text).unwrap_err();
        (error.to_string(), error.remedy().unwrap_or_default())
    }

    #[test]
    fn merged_mappings_may_be_merged_again() {
        let text = "
version: 1
steps:
  a: {stage: distill, params: &a {<<: &base {epochs: 2, seed: 1}, threads: 1}}
  b: {stage: distill, params: {<<: *a, epochs: 4}}
";
        let pipeline = parse(text).unwrap();
        let expected = json!({"threads": 1, "epochs": 4, "seed": 1});
        assert_eq!(pipeline.steps[1].params, expected);
    }

    #[test]
    fn steps_keep_their_order_and_inputs_take_three_forms() {
        let text = "
version: 1
steps:
  z: {stage: extract, inputs: {videos: {path: data/mine}}, params: {frames: 8}}
  a:
    stage: evaluate
    inputs:
      models: [z, other]
      clips: z
";
        let pipeline = parse(text).unwrap();
        assert_eq!(pipeline.steps[0].name, "z");
        assert_eq!(pipeline.steps[0].params, json!({"frames": 8}));
        assert_eq!(
            pipeline.steps[0].inputs[0].sources,
            [SourceEntry::Folder("work/data/mine".into())]
        );
        let models = &pipeline.steps[1].inputs[0];
        assert_eq!((models.list, models.sources.len()), (true, 2));
        let clips = &pipeline.steps[1].inputs[1];
        assert_eq!((clips.list, clips.sources.len()), (false, 1));
    }

    #[test]
    fn a_misspelt_key_is_refused_with_its_place_and_the_right_word() {
        let (message, remedy) =
            refusal("version: 1\nsteps:\n  a:\n    stage: extract\n    parms: {frames: 8}\n");
        assert_eq!(
            message,
            "work/pipeline.yaml:5:5: unknown key `steps.a.parms` (did you mean `params`?)"
        );
        assert_eq!(remedy, "known here: stage, inputs, params");
    }

    #[test]
    fn wrong_shapes_say_what_would_be_right() {
        let (message, _) = refusal("version: 2\nsteps: {a: {stage: x}}\n");
        assert!(
            message.contains(":1:1: `version` is 2, but must be 1"),
            "{message}"
        );
        let (message, remedy) = refusal("steps: {a: {stage: x}}\n");
        assert!(message.contains("`version` is missing"), "{message}");
        assert!(remedy.contains("add `version`: 1"), "{remedy}");
        let (message, _) = refusal("version: 1\nsteps: {}\n");
        assert!(
            message.contains(":2:1: `steps` is an empty mapping"),
            "{message}"
        );
        let (message, _) = refusal("version: 1\nsteps:\n  a: {stage: x, inputs: {m: 3}}\n");
        assert!(
            message.contains(":3:26: `steps.a.inputs.m` is 3, but must be the name"),
            "{message}"
        );
        let (message, _) = refusal("version: 1\nsteps:\n  a: {stage: x, inputs: {m: {paht: d}}}\n");
        assert!(message.contains("did you mean `path`?"), "{message}");
        let (message, _) = refusal("");
        assert!(message.contains("`the file` is empty"), "{message}");
    }

    #[test]
    fn names_that_cannot_be_folders_are_refused() {
        for name in ["store", "Upper", "-a", "a/b", "'..'", "'a b'"] {
            let (message, remedy) =
                refusal(&format!("version: 1\nsteps:\n  {name}: {{stage: x}}\n"));
            assert!(message.contains(":3:3: "), "{message}");
            assert!(remedy.contains("small letter"), "{remedy}");
        }
    }

    #[test]
    fn an_override_of_an_unknown_step_is_refused() {
        let set = Override::parse("studnt.epochs=3").unwrap();
        let error = Pipeline::parse(
            "version: 1\nsteps: {student: {stage: distill}}\n",
            Path::new("p.yaml"),
            vec![set],
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "--set studnt.epochs=3: unknown key `studnt` (did you mean `student`?)"
        );
    }
}

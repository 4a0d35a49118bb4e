//! From the tree of a pipeline file to its steps. Goes on after a fault, so that all are found at once.

mod remote;

use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::file::{InputEntry, PIPELINE_VERSION, Pipeline, SourceEntry, Step, Target};
use crate::matrix::Axis;
use crate::resources::{Resources, parse_bytes};
use crate::suggest::nearest;
use crate::yaml::{Content, Entry, Node, Spot};
use crate::{Origin, Problem};

/// The name that no step may have: the folder of the store stands beside those of the steps.
const RESERVED: &str = "store";

/// The keys of a step.
const STEP_KEYS: [&str; 5] = ["stage", "inputs", "params", "matrix", "resources"];

/// What a source of an input may be.
const SOURCE: &str =
    "the name of a step, a list of such names, or `{path: FOLDER}` for files of your own";

/// Fills in the steps of a pipeline, its remote, and what is wrong with their shapes.
pub(crate) fn document(root: &Node, pipeline: &mut Pipeline) {
    let mut reader = Reader {
        problems: Vec::new(),
        pipeline,
    };
    let steps = reader.document(root);
    let remote = root
        .get("remote")
        .and_then(|remote| reader.remote(At::below(remote, "remote")));
    let problems = reader.problems;
    pipeline.problems.extend(problems);
    pipeline.steps = steps;
    pipeline.remote = remote;
}

/// A value on its way from the tree, with the words that messages call it by.
#[derive(Clone, Copy)]
struct At<'a> {
    node: &'a Node,
    /// Where a message points: the key before the value.
    spot: Spot,
    path: &'a str,
}

impl<'a> At<'a> {
    fn below(entry: &'a Entry, path: &'a str) -> Self {
        Self {
            node: &entry.value,
            spot: entry.spot,
            path,
        }
    }

    fn is_null(self) -> bool {
        matches!(self.node.content, Content::Scalar(Value::Null))
    }

    fn text(self) -> Option<&'a str> {
        match &self.node.content {
            Content::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}

/// A key of a step as messages call it.
fn path(parts: &[&str]) -> String {
    parts.join(".")
}

struct Reader<'p> {
    pipeline: &'p Pipeline,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn document(&mut self, root: &Node) -> Vec<Step> {
        let at = At {
            node: root,
            spot: root.spot,
            path: "the file",
        };
        let Some(top) = self.mapping(at, "a mapping with `version` and `steps`") else {
            return Vec::new();
        };
        self.known_keys(top, "", &["version", "remote", "steps"]);
        match root.get("version") {
            None => self.missing(root.spot, "version", "1"),
            Some(version) => {
                let is_known = matches!(&version.value.content,
                    Content::Scalar(Value::Number(number)) if number.as_u64() == Some(PIPELINE_VERSION));
                if !is_known {
                    let at = At::below(version, "version");
                    self.shape(at, "1, the only version of the format so far");
                }
            }
        }
        let Some(steps) = root.get("steps") else {
            self.missing(root.spot, "steps", "a mapping from a name to a step");
            return Vec::new();
        };
        let at = At::below(steps, "steps");
        let Some(steps) = self.mapping(at, "a mapping from a name to a step") else {
            return Vec::new();
        };
        if steps.is_empty() {
            self.shape(at, "a mapping with at least one step");
        }
        steps.iter().map(|entry| self.step(entry)).collect()
    }

    fn step(&mut self, entry: &Entry) -> Step {
        let name = entry.key.as_str();
        if !valid_step_name(name) {
            self.problems.push(Problem::StepName {
                place: self.pipeline.place(entry.spot),
                name: name.to_owned(),
            });
        }
        let mut step = Step {
            name: name.to_owned(),
            spot: entry.spot,
            stage: None,
            inputs: Vec::new(),
            inputs_spot: entry.spot,
            params: Value::Object(Map::new()),
            written_params: None,
            matrix: Vec::new(),
            resources: Resources::default(),
        };
        let here = path(&["steps", name]);
        let at = At::below(entry, &here);
        let Some(keys) = self.mapping(at, "a mapping with `stage`, `inputs` and `params`") else {
            return step;
        };
        self.known_keys(keys, &here, &STEP_KEYS);
        let below = |key: &str| {
            entry
                .value
                .get(key)
                .map(|entry| (entry, format!("{here}.{key}")))
        };
        match below("stage") {
            None => {
                self.missing(entry.spot, &format!("{here}.stage"), "the name of a stage");
            }
            Some((stage, path)) => {
                let at = At::below(stage, &path);
                match at.text() {
                    Some(text) => step.stage = Some((text.to_owned(), stage.spot)),
                    None => self.shape(at, "the name of a stage"),
                }
            }
        }
        if let Some((inputs, path)) = below("inputs") {
            step.inputs_spot = inputs.spot;
            step.inputs = self.inputs(At::below(inputs, &path));
        }
        if let Some((params, path)) = below("params") {
            let at = At::below(params, &path);
            if !at.is_null()
                && self
                    .mapping(at, "a mapping of the stage's params")
                    .is_some()
            {
                step.params = params.value.to_json();
                step.written_params = Some((Arc::clone(&params.value), params.spot));
            }
        }
        if let Some((matrix, path)) = below("matrix") {
            step.matrix = self.matrix(At::below(matrix, &path));
        }
        if let Some((resources, path)) = below("resources") {
            step.resources = self.resources(At::below(resources, &path));
        }
        step
    }

    fn inputs(&mut self, at: At<'_>) -> Vec<InputEntry> {
        if at.is_null() {
            return Vec::new();
        }
        let Some(inputs) = self.mapping(at, "a mapping from an input to a step") else {
            return Vec::new();
        };
        inputs
            .iter()
            .map(|entry| {
                let path = path(&[at.path, &entry.key]);
                let (list, sources): (bool, Vec<_>) = match &entry.value.content {
                    Content::List(items) => {
                        let sources = items.iter().map(|item| self.item_source(item, &path));
                        (true, sources.collect())
                    }
                    _ => (false, vec![self.source(At::below(entry, &path))]),
                };
                InputEntry {
                    name: entry.key.clone(),
                    spot: entry.spot,
                    list,
                    whole: sources.iter().all(Option::is_some),
                    sources: sources.into_iter().flatten().collect(),
                }
            })
            .collect()
    }

    /// One source in a list.
    fn item_source(&mut self, item: &Node, path: &str) -> Option<SourceEntry> {
        self.source(At {
            node: item,
            spot: item.spot,
            path,
        })
    }

    fn source(&mut self, at: At<'_>) -> Option<SourceEntry> {
        let entry = |target| {
            Some(SourceEntry {
                spot: at.spot,
                target,
            })
        };
        if let Some(step) = at.text() {
            return entry(Target::Step(step.to_owned()));
        }
        let Content::Mapping(keys) = &at.node.content else {
            self.shape(at, SOURCE);
            return None;
        };
        self.known_keys(keys, at.path, &["path"]);
        let Some(folder) = at.node.get("path") else {
            if keys.is_empty() {
                self.shape(at, SOURCE);
            }
            return None;
        };
        match At::below(folder, at.path).text() {
            Some(text) if !text.is_empty() => {
                let parent = self.pipeline.file.parent().unwrap_or("".as_ref());
                entry(Target::Folder(parent.join(text)))
            }
            _ => {
                self.shape(At::below(folder, at.path), "the path of a folder");
                None
            }
        }
    }

    fn matrix(&mut self, at: At<'_>) -> Vec<Axis> {
        if at.is_null() {
            return Vec::new();
        }
        let expected = "a mapping from `params.KEY` or `inputs.NAME` to a list of values";
        let Some(axes) = self.mapping(at, expected) else {
            return Vec::new();
        };
        axes.iter()
            .filter_map(|entry| {
                let path = path(&[at.path, &entry.key]);
                self.axis(At::below(entry, &path), &entry.key)
            })
            .collect()
    }

    fn axis(&mut self, at: At<'_>, key: &str) -> Option<Axis> {
        let Some(mut axis) = Axis::new(key, at.path, at.spot) else {
            self.problems.push(Problem::UnknownKey {
                origin: self.pipeline.origin(at.spot),
                key: at.path.to_owned(),
                suggestion: Some(format!("params.{key}"))
                    .filter(|key| Axis::new(key, "", at.spot).is_some()),
                known: vec!["params.KEY".to_owned(), "inputs.NAME".to_owned()],
            });
            return None;
        };
        let items = match &at.node.content {
            Content::List(items) if !items.is_empty() => items,
            _ => {
                self.shape(at, "a list of one or more values");
                return None;
            }
        };
        for item in items {
            let origin = self.pipeline.origin(item.spot);
            if axis.is_input() {
                axis.push_source(self.item_source(item, at.path)?, origin);
            } else {
                axis.push(item.to_json(), origin);
            }
        }
        axis.take_out_repeated(&mut self.problems);
        Some(axis)
    }

    fn resources(&mut self, at: At<'_>) -> Resources {
        let mut resources = Resources::default();
        if at.is_null() {
            return resources;
        }
        let Some(keys) = self.mapping(at, "a mapping with `memory` and `cores`") else {
            return resources;
        };
        self.known_keys(keys, at.path, &["memory", "cores"]);
        for entry in keys {
            let path = path(&[at.path, &entry.key]);
            let value = At::below(entry, &path);
            match entry.key.as_str() {
                "memory" => {
                    resources.memory = match &value.node.content {
                        Content::Scalar(Value::Number(bytes)) => {
                            bytes.as_u64().filter(|&bytes| bytes > 0)
                        }
                        _ => value.text().and_then(parse_bytes),
                    };
                    if resources.memory.is_none() {
                        self.shape(value, "an amount of memory, as in `4GiB` or `500MB`");
                    }
                }
                "cores" => {
                    let cores = match &value.node.content {
                        Content::Scalar(Value::Number(cores)) => cores.as_u64(),
                        _ => None,
                    };
                    let cores = cores.and_then(|cores| usize::try_from(cores).ok());
                    resources.cores = cores
                        .filter(|&cores| cores > 0)
                        .map(|cores| (cores, entry.spot));
                    if resources.cores.is_none() {
                        self.shape(value, "a number of cores, at least 1");
                    }
                }
                _ => {}
            }
        }
        resources
    }

    fn mapping<'a>(&mut self, at: At<'a>, expected: &str) -> Option<&'a [Entry]> {
        if let Content::Mapping(entries) = &at.node.content {
            return Some(entries);
        }
        self.shape(at, expected);
        None
    }

    fn missing(&mut self, spot: Spot, key: &str, expected: &str) {
        self.problems.push(Problem::MissingKey {
            place: self.pipeline.place(spot),
            key: key.to_owned(),
            expected: expected.to_owned(),
        });
    }

    fn known_keys(&mut self, entries: &[Entry], path: &str, known: &[&str]) {
        for entry in entries
            .iter()
            .filter(|entry| !known.contains(&entry.key.as_str()))
        {
            let mut key = path.to_owned();
            let dot = if path.is_empty() { "" } else { "." };
            let _ = write!(key, "{dot}{}", entry.key);
            self.problems.push(Problem::UnknownKey {
                origin: Origin::File(self.pipeline.place(entry.spot)),
                key,
                suggestion: nearest(&entry.key, known.iter().copied()),
                known: known.iter().map(|&key| key.to_owned()).collect(),
            });
        }
    }

    fn shape(&mut self, at: At<'_>, expected: &str) {
        self.problems.push(Problem::Shape {
            place: self.pipeline.place(at.spot),
            key: at.path.to_owned(),
            found: describe(at.node),
            expected: expected.to_owned(),
        });
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

fn describe(node: &Node) -> String {
    match &node.content {
        Content::Scalar(Value::Null) => "empty".to_owned(),
        Content::Scalar(value) => value.to_string(),
        Content::List(items) if items.is_empty() => "an empty list".to_owned(),
        Content::List(_) => "a list".to_owned(),
        Content::Mapping(entries) if entries.is_empty() => "an empty mapping".to_owned(),
        Content::Mapping(_) => "a mapping".to_owned(),
    }
}

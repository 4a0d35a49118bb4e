//! What the names in a pipeline mean: stages, inputs of the right kinds, an order without circles.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use fedact_stage::{Arity, Definition, InputSpec, Kind};
use serde::Serialize;
use serde_json::Value;

use crate::file::{InputEntry, SourceEntry, Step};
use crate::suggest::nearest;
use crate::{Catalogue, Pipeline, PipelineError, StageEntry};

/// A pipeline that can be planned: every stage is known, every input is of a kind it may be, every
/// param is in range.
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: Vec<Node>,
    file: PathBuf,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its stage.
    pub stage: StageEntry,
    /// Versions of the libraries that decide its results.
    pub libraries: std::collections::BTreeMap<String, String>,
    /// Its params, every default filled in.
    pub params: Value,
    /// Its inputs, in the order of the stage's definition.
    pub inputs: Vec<Binding>,
}

/// What one input is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// The input.
    pub input: String,
    /// Whether the stage sees a list with names.
    pub list: bool,
    /// What it is bound to, in the order of the file.
    pub sources: Vec<Source>,
}

/// Where an artifact comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The output of a step.
    Step(String),
    /// A folder of the user's.
    Folder(PathBuf),
}

impl Source {
    /// The name that a stage sees: the step's, or the last part of the folder's path.
    pub fn name(&self) -> String {
        match self {
            Self::Step(name) => name.clone(),
            Self::Folder(path) => path.file_name().map_or_else(
                || path.display().to_string(),
                |name| name.to_string_lossy().into_owned(),
            ),
        }
    }
}

impl Node {
    /// The stage's definition.
    pub fn definition(&self) -> &'static Definition {
        self.stage.definition
    }

    /// The steps it takes something from, each once, in order.
    pub fn upstream(&self) -> impl Iterator<Item = &str> {
        let mut seen = BTreeSet::new();
        self.sources().filter_map(move |source| match source {
            Source::Step(name) if seen.insert(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Everything its inputs are bound to.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        self.inputs.iter().flat_map(|binding| &binding.sources)
    }
}

impl Graph {
    /// Checks a pipeline against the stages that there are.
    ///
    /// # Errors
    /// The first thing that is wrong, by place.
    pub fn build(pipeline: &Pipeline, catalogue: &Catalogue) -> Result<Self, PipelineError> {
        let stages = pipeline
            .steps
            .iter()
            .map(|step| stage_of(pipeline, catalogue, step))
            .collect::<Result<Vec<_>, _>>()?;
        let outputs: HashMap<&str, Kind> = pipeline
            .steps
            .iter()
            .zip(&stages)
            .map(|(step, stage)| (step.name.as_str(), stage.definition.output))
            .collect();
        let mut nodes = Vec::with_capacity(stages.len());
        for (step, stage) in pipeline.steps.iter().zip(stages) {
            let checker = InputChecker {
                pipeline,
                step,
                definition: stage.definition,
                outputs: &outputs,
            };
            nodes.push(Node {
                name: step.name.clone(),
                libraries: catalogue.libraries_of(stage.definition),
                inputs: checker.bindings()?,
                params: params_of(pipeline, step, stage.definition)?,
                stage,
            });
        }
        let order = order(pipeline, &nodes)?;
        let mut slots: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
        let nodes = order
            .into_iter()
            .filter_map(|index| slots[index].take())
            .collect();
        Ok(Self {
            nodes,
            file: pipeline.file.clone(),
        })
    }

    /// The steps, each after those it needs; otherwise in the order of the file.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The step of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The step of this name.
    ///
    /// # Errors
    /// Names the steps that there are.
    pub fn require(&self, name: &str) -> Result<&Node, PipelineError> {
        self.get(name).ok_or_else(|| {
            let known: Vec<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
            PipelineError::NoSuchStep {
                file: self.file.clone(),
                name: name.to_owned(),
                suggestion: nearest(name, known.iter().map(String::as_str)),
                known,
            }
        })
    }

    /// The same graph with only the steps named and what they need; all steps where none is named.
    ///
    /// # Errors
    /// A name that is no step's.
    pub fn only(&self, targets: &[String]) -> Result<Self, PipelineError> {
        if targets.is_empty() {
            return Ok(self.clone());
        }
        let mut kept = BTreeSet::new();
        let mut open: Vec<&str> = Vec::new();
        for target in targets {
            open.push(&self.require(target)?.name);
        }
        while let Some(name) = open.pop() {
            if kept.insert(name.to_owned()) {
                open.extend(self.get(name).into_iter().flat_map(Node::upstream));
            }
        }
        Ok(Self {
            nodes: self
                .nodes
                .iter()
                .filter(|node| kept.contains(&node.name))
                .cloned()
                .collect(),
            file: self.file.clone(),
        })
    }

    /// Every folder of the user's that a step reads, with the first step and input that does.
    pub fn folders(&self) -> Vec<(&PathBuf, &Node, &Binding)> {
        let mut seen = BTreeSet::new();
        let mut folders = Vec::new();
        for node in &self.nodes {
            for binding in &node.inputs {
                for source in &binding.sources {
                    if let Source::Folder(path) = source
                        && seen.insert(path)
                    {
                        folders.push((path, node, binding));
                    }
                }
            }
        }
        folders
    }
}

fn stage_of(
    pipeline: &Pipeline,
    catalogue: &Catalogue,
    step: &Step,
) -> Result<StageEntry, PipelineError> {
    catalogue
        .get(&step.stage)
        .cloned()
        .ok_or_else(|| PipelineError::UnknownStage {
            place: pipeline.place(&["steps", &step.name, "stage"]),
            step: step.name.clone(),
            stage: step.stage.clone(),
            suggestion: nearest(&step.stage, catalogue.names()),
            known: catalogue.names().map(str::to_owned).collect(),
        })
}

fn params_of(
    pipeline: &Pipeline,
    step: &Step,
    definition: &Definition,
) -> Result<Value, PipelineError> {
    (definition.resolve)(&step.params).map_err(|source| PipelineError::Params {
        origin: pipeline.origin_of_param(&step.name, source.key()),
        step: step.name.clone(),
        stage: definition.name.to_owned(),
        source,
    })
}

/// Binds and checks the inputs of one step.
struct InputChecker<'a> {
    pipeline: &'a Pipeline,
    step: &'a Step,
    definition: &'static Definition,
    outputs: &'a HashMap<&'a str, Kind>,
}

impl InputChecker<'_> {
    fn bindings(&self) -> Result<Vec<Binding>, PipelineError> {
        for entry in &self.step.inputs {
            if self.definition.input(&entry.name).is_none() {
                let known = || self.definition.inputs.iter().map(|input| input.name);
                return Err(PipelineError::UnknownInput {
                    place: self.place(&[&entry.name]),
                    stage: self.definition.name.to_owned(),
                    input: entry.name.clone(),
                    suggestion: nearest(&entry.name, known()),
                    known: known().map(str::to_owned).collect(),
                });
            }
        }
        self.definition
            .inputs
            .iter()
            .filter_map(|spec| self.binding(spec).transpose())
            .collect()
    }

    fn binding(&self, spec: &InputSpec) -> Result<Option<Binding>, PipelineError> {
        let entry = self
            .step
            .inputs
            .iter()
            .find(|entry| entry.name == spec.name);
        let Some(entry) = entry else {
            if spec.arity.required() {
                return Err(PipelineError::MissingInput {
                    place: self.place(&[]),
                    step: self.step.name.clone(),
                    stage: self.definition.name.to_owned(),
                    input: spec.name.to_owned(),
                    summary: spec.summary.to_owned(),
                    kinds: spec.kinds.to_vec(),
                });
            }
            return Ok(None);
        };
        self.check_count(spec, entry)?;
        let sources = entry
            .sources
            .iter()
            .enumerate()
            .map(|(index, source)| self.source(spec, entry, index, source))
            .collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeSet::new();
        for (index, source) in sources.iter().enumerate() {
            let name = source.name();
            if !names.insert(name.clone()) {
                return Err(PipelineError::RepeatedInput {
                    place: self.item_place(entry, index),
                    key: self.key(&entry.name),
                    name,
                });
            }
        }
        // A list that may be empty and is, is the same as one left out.
        if sources.is_empty() {
            return Ok(None);
        }
        Ok(Some(Binding {
            input: spec.name.to_owned(),
            list: spec.arity.list(),
            sources,
        }))
    }

    fn check_count(&self, spec: &InputSpec, entry: &InputEntry) -> Result<(), PipelineError> {
        let count = entry.sources.len();
        let expected = match spec.arity {
            Arity::One if count != 1 => "exactly one",
            Arity::Optional if count > 1 => "one or none",
            Arity::Many if count == 0 => "one or more",
            _ => return Ok(()),
        };
        Err(PipelineError::WrongCount {
            place: self.place(&[&entry.name]),
            key: self.key(&entry.name),
            stage: self.definition.name.to_owned(),
            count,
            expected,
        })
    }

    fn source(
        &self,
        spec: &InputSpec,
        entry: &InputEntry,
        index: usize,
        source: &SourceEntry,
    ) -> Result<Source, PipelineError> {
        match source {
            SourceEntry::Folder(path) => {
                let problem = match std::fs::metadata(path) {
                    Ok(metadata) if metadata.is_dir() => return Ok(Source::Folder(path.clone())),
                    Ok(_) => "is not a folder",
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => "does not exist",
                    Err(_) => "cannot be read",
                };
                Err(PipelineError::Folder {
                    place: self.item_place(entry, index),
                    key: self.key(&entry.name),
                    path: path.clone(),
                    problem,
                })
            }
            SourceEntry::Step(name) => {
                let Some(&found) = self.outputs.get(name.as_str()) else {
                    return Err(PipelineError::UnknownStep {
                        place: self.item_place(entry, index),
                        key: self.key(&entry.name),
                        name: name.clone(),
                        suggestion: nearest(name, self.outputs.keys().copied()),
                    });
                };
                if !spec.kinds.contains(&found) {
                    return Err(PipelineError::WrongKind {
                        place: self.item_place(entry, index),
                        key: self.key(&entry.name),
                        source_step: name.clone(),
                        found,
                        stage: self.definition.name.to_owned(),
                        expected: spec.kinds.to_vec(),
                    });
                }
                Ok(Source::Step(name.clone()))
            }
        }
    }

    fn key(&self, input: &str) -> String {
        format!("steps.{}.inputs.{input}", self.step.name)
    }

    fn place(&self, below_inputs: &[&str]) -> crate::Place {
        let mut path = vec!["steps", &self.step.name];
        if !below_inputs.is_empty() {
            path.push("inputs");
            path.extend(below_inputs);
        }
        self.pipeline.place(&path)
    }

    fn item_place(&self, entry: &InputEntry, index: usize) -> crate::Place {
        if entry.list {
            self.place(&[&entry.name, &index.to_string()])
        } else {
            self.place(&[&entry.name])
        }
    }
}

/// How far the walk over a step is.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Unseen,
    Open,
    Done,
}

/// The indices of the nodes, each after those it needs.
fn order(pipeline: &Pipeline, nodes: &[Node]) -> Result<Vec<usize>, PipelineError> {
    let index: HashMap<&str, usize> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| (node.name.as_str(), index))
        .collect();
    let upstream: Vec<Vec<usize>> = nodes
        .iter()
        .map(|node| {
            node.upstream()
                .filter_map(|name| index.get(name).copied())
                .collect()
        })
        .collect();
    let mut marks = vec![Mark::Unseen; nodes.len()];
    let mut order = Vec::with_capacity(nodes.len());
    for start in 0..nodes.len() {
        if marks[start] != Mark::Unseen {
            continue;
        }
        // The open steps from `start` on, each with how many of its inputs have been followed. A list
        // and not recursion: a chain of steps may be longer than the stack is deep.
        let mut path = vec![(start, 0)];
        marks[start] = Mark::Open;
        while let Some((step, followed)) = path.last_mut() {
            let step = *step;
            let Some(&next) = upstream[step].get(*followed) else {
                marks[step] = Mark::Done;
                order.push(step);
                path.pop();
                continue;
            };
            *followed += 1;
            match marks[next] {
                Mark::Done => {}
                Mark::Unseen => {
                    marks[next] = Mark::Open;
                    path.push((next, 0));
                }
                Mark::Open => {
                    let circle: Vec<String> = path
                        .iter()
                        .map(|(step, _)| *step)
                        .skip_while(|step| *step != next)
                        .chain([next])
                        .map(|step| nodes[step].name.clone())
                        .collect();
                    return Err(PipelineError::Cycle {
                        place: pipeline.place(&["steps", &circle[0], "inputs"]),
                        circle,
                    });
                }
            }
        }
    }
    Ok(order)
}

//! What the names in a pipeline mean: stages, inputs of the right kinds, an order without circles.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use fedact_stage::{Definition, Kind};
use serde::Serialize;
use serde_json::Value;

use crate::inputs::Surroundings;
use crate::matrix::{self, Instance, Label, Selection};
use crate::resources::Needs;
use crate::suggest::nearest;
use crate::{Catalogue, Pipeline, PipelineError, Problem, StageEntry, given};

/// A pipeline that can be planned: every matrix is expanded, every stage is known, every input is of a kind it
/// may be, every param is in range.
#[derive(Debug, Clone)]
pub struct Graph {
    nodes: Vec<Node>,
    /// The index of each node by its name.
    by_name: HashMap<String, usize>,
    file: PathBuf,
}

/// One step, or one instance of a matrix step.
#[derive(Debug, Clone)]
pub struct Node {
    /// Its name; that of an instance says its value on every axis, as in `tuned@seed=0`.
    pub name: String,
    /// The step of the file.
    pub step: String,
    /// Its value on every axis; none for a plain step.
    pub labels: Vec<Label>,
    /// Its stage.
    pub stage: StageEntry,
    /// Versions of the libraries that decide its results.
    pub libraries: Arc<std::collections::BTreeMap<String, String>>,
    /// Its params, every default filled in.
    pub params: Value,
    /// Its inputs, in the order of the stage's definition.
    pub inputs: Vec<Binding>,
    /// What it needs of the machine.
    pub needs: Needs,
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
    /// Everything that is wrong with it, in the order of the file.
    pub fn build(pipeline: &Pipeline, catalogue: &Catalogue) -> Result<Self, PipelineError> {
        let mut problems = pipeline.problems.clone();
        let stages: HashMap<&str, Stage> = catalogue
            .stages()
            .iter()
            .map(|entry| {
                let libraries = Arc::new(catalogue.libraries_of(entry.definition));
                let entry = entry.clone();
                (entry.definition.name, Stage { entry, libraries })
            })
            .collect();
        for step in &pipeline.steps {
            if let Some((stage, spot)) = &step.stage
                && !stages.contains_key(stage.as_str())
            {
                problems.push(Problem::UnknownStage {
                    place: pipeline.place(*spot),
                    step: step.name.clone(),
                    stage: stage.clone(),
                    suggestion: nearest(stage, catalogue.names()),
                    known: catalogue.names().map(str::to_owned).collect(),
                });
            }
        }
        let instances = matrix::expand(pipeline, &mut problems);
        let stage_of = |instance: &Instance<'_>| {
            let (stage, _) = instance.step.stage.as_ref()?;
            stages.get(stage.as_str())
        };
        let mut around = Surroundings {
            pipeline,
            instances: &instances,
            outputs: instances
                .iter()
                .map(|instance| stage_of(instance).map(|stage| stage.entry.definition.output))
                .collect::<Vec<Option<Kind>>>(),
            folders: HashMap::new(),
        };
        let mut nodes = Vec::with_capacity(instances.len());
        for instance in &instances {
            let Some(stage) = stage_of(instance) else {
                continue;
            };
            let mut found = Vec::new();
            let definition = stage.entry.definition;
            let inputs = around.bindings(instance, definition, &mut found);
            let params = given::resolve(pipeline, instance, definition, &mut found);
            if let Some(params) = params {
                let needs = given::needs(pipeline, instance, definition, &params, &mut found);
                nodes.push(Node {
                    name: instance.name.clone(),
                    step: instance.step.name.clone(),
                    labels: instance.labels.clone(),
                    libraries: Arc::clone(&stage.libraries),
                    stage: stage.entry.clone(),
                    params,
                    inputs,
                    needs,
                });
            }
            // What is wrong with a step is wrong with each of its instances, and said once.
            for problem in found {
                if !problems.iter().any(|known| known.says_the_same(&problem)) {
                    problems.push(problem);
                }
            }
        }
        if !problems.is_empty() {
            problems.sort_by_cached_key(Problem::origin);
            return Err(PipelineError::Invalid(problems));
        }
        Ok(Self::of(nodes, pipeline.file.clone()))
    }

    fn of(nodes: Vec<Node>, file: PathBuf) -> Self {
        let by_name = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| (node.name.clone(), index))
            .collect();
        Self {
            nodes,
            by_name,
            file,
        }
    }

    /// The steps, each after those it needs; otherwise in the order of the file. The instances of a matrix step
    /// stand together.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The steps of the file, each with its instances; a plain step is its only one.
    pub fn steps(&self) -> impl Iterator<Item = &[Node]> {
        self.nodes.chunk_by(|one, next| one.step == next.step)
    }

    /// Where in [`Self::nodes`] the step or instance of this name is.
    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The step or instance of this name.
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.by_name.get(name).map(|&index| &self.nodes[index])
    }

    /// The one step or instance of this name.
    ///
    /// # Errors
    /// A name that is no step's, or that stands for several instances: names what there is.
    pub fn require(&self, name: &str) -> Result<&Node, PipelineError> {
        match self.select(name)?.as_slice() {
            [only] => Ok(only),
            several => {
                let example = &several[0].name;
                Err(PipelineError::NoSuchStep {
                    file: self.file.clone(),
                    problem: format!(
                        "`{name}` stands for {} instances, and one is wanted",
                        several.len()
                    ),
                    suggestion: None,
                    known: format!("name one of them, as in `{example}`"),
                })
            }
        }
    }

    /// What a name on the command line stands for: a step, all instances of a matrix step (`tuned`), or some
    /// of them (`tuned@seed=0`). Never empty.
    ///
    /// # Errors
    /// A name that stands for nothing: names what there is.
    pub fn select(&self, name: &str) -> Result<Vec<&Node>, PipelineError> {
        if let Some(node) = self.get(name) {
            return Ok(vec![node]);
        }
        let selection = Selection::parse(name);
        let of_step: Vec<&Node> = self
            .nodes
            .iter()
            .filter(|node| node.step == selection.step)
            .collect();
        let taken: Vec<&Node> = of_step
            .iter()
            .copied()
            .filter(|node| selection.takes(&node.labels))
            .collect();
        if !taken.is_empty() {
            return Ok(taken);
        }
        let (problem, known, suggestion) = match matrix::refuse(&selection, &axes_of(&of_step)) {
            Some((problem, known)) if !of_step.is_empty() => (problem, known, None),
            _ => {
                let names: Vec<&str> = self.steps().map(|nodes| nodes[0].step.as_str()).collect();
                (
                    format!("there is no step `{}`", selection.step),
                    format!("its steps are {}", names.join(", ")),
                    nearest(selection.step, names.iter().copied()),
                )
            }
        };
        Err(PipelineError::NoSuchStep {
            file: self.file.clone(),
            problem,
            suggestion,
            known,
        })
    }

    /// The same graph with only the steps named and what they need; this very graph where none is named.
    ///
    /// # Errors
    /// A name that stands for nothing.
    pub fn only(&self, targets: &[String]) -> Result<Cow<'_, Self>, PipelineError> {
        if targets.is_empty() {
            return Ok(Cow::Borrowed(self));
        }
        let mut kept = BTreeSet::new();
        let mut open: Vec<&Node> = Vec::new();
        for target in targets {
            open.extend(self.select(target)?);
        }
        while let Some(node) = open.pop() {
            if kept.insert(node.name.as_str()) {
                open.extend(node.upstream().filter_map(|name| self.get(name)));
            }
        }
        let kept = self
            .nodes
            .iter()
            .filter(|node| kept.contains(node.name.as_str()));
        let kept = Self::of(kept.cloned().collect(), self.file.clone());
        Ok(Cow::Owned(kept))
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

/// A stage with what is the same for all its steps.
struct Stage {
    entry: StageEntry,
    libraries: Arc<std::collections::BTreeMap<String, String>>,
}

/// The axes that nodes of one step lie along, each with the texts of its values.
fn axes_of(nodes: &[&Node]) -> Vec<(String, Vec<String>)> {
    let mut axes: Vec<(String, Vec<String>)> = Vec::new();
    for label in nodes.iter().flat_map(|node| &node.labels) {
        match axes.iter_mut().find(|(axis, _)| *axis == label.axis) {
            Some((_, texts)) if texts.contains(&label.text) => {}
            Some((_, texts)) => texts.push(label.text.clone()),
            None => axes.push((label.axis.clone(), vec![label.text.clone()])),
        }
    }
    axes
}

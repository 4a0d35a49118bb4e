//! The inputs of one step against what its stage takes.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use fedact_stage::{Arity, Definition, InputSpec, Kind};

use crate::graph::{Binding, Source};
use crate::matrix::{Bound, BoundSource, Instance};
use crate::suggest::nearest;
use crate::yaml::Spot;
use crate::{Pipeline, Problem};

/// What is known of the other steps and of the file system.
pub(crate) struct Surroundings<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) instances: &'a [Instance<'a>],
    /// What each instance makes; `None` where its stage is unknown.
    pub(crate) outputs: Vec<Option<Kind>>,
    /// What is wrong with each folder looked at so far.
    pub(crate) folders: HashMap<&'a Path, Option<&'static str>>,
}

impl<'a> Surroundings<'a> {
    /// Binds the inputs of one instance, in the order of the stage's definition, and complains of what does
    /// not fit.
    pub(crate) fn bindings(
        &mut self,
        instance: &Instance<'a>,
        definition: &'static Definition,
        problems: &mut Vec<Problem>,
    ) -> Vec<Binding> {
        let mut misspelt = Vec::new();
        for bound in &instance.inputs {
            if definition.input(bound.name).is_none() {
                let known = || definition.inputs.iter().map(|input| input.name);
                let suggestion = nearest(bound.name, known());
                misspelt.extend(suggestion.clone());
                problems.push(Problem::UnknownInput {
                    place: self.pipeline.place(bound.spot),
                    stage: definition.name.to_owned(),
                    input: bound.name.to_owned(),
                    suggestion,
                    known: known().map(str::to_owned).collect(),
                });
            }
        }
        let mut bindings = Vec::with_capacity(instance.inputs.len());
        for spec in definition.inputs {
            let bound = instance.inputs.iter().find(|bound| bound.name == spec.name);
            match bound {
                None if misspelt.iter().any(|name| name == spec.name) => {}
                None if spec.arity.required() => problems.push(Problem::MissingInput {
                    place: self.pipeline.place(instance.step.spot),
                    step: instance.step.name.clone(),
                    stage: definition.name.to_owned(),
                    input: spec.name.to_owned(),
                    summary: spec.summary.to_owned(),
                    kinds: spec.kinds.to_vec(),
                }),
                None => {}
                Some(bound) => {
                    let mut checker = Checker {
                        around: self,
                        instance,
                        definition,
                        spec,
                        bound,
                        problems,
                    };
                    bindings.extend(checker.binding());
                }
            }
        }
        bindings
    }
}

/// One input of one instance.
struct Checker<'c, 'a> {
    around: &'c mut Surroundings<'a>,
    instance: &'c Instance<'a>,
    definition: &'static Definition,
    spec: &'static InputSpec,
    bound: &'c Bound<'a>,
    problems: &'c mut Vec<Problem>,
}

impl<'a> Checker<'_, 'a> {
    /// `None` for an empty list, which is the same as none at all.
    fn binding(&mut self) -> Option<Binding> {
        if self.bound.whole {
            self.check_count();
        }
        let mut names = BTreeSet::new();
        let mut sources = Vec::with_capacity(self.bound.sources.len());
        for &(spot, source) in &self.bound.sources {
            let source = match source {
                BoundSource::Folder(path) => self.folder(spot, path),
                BoundSource::Instance(index) => self.step(spot, index),
            };
            let name = source.name();
            if names.contains(&name) {
                self.problems.push(Problem::RepeatedInput {
                    place: self.around.pipeline.place(spot),
                    key: self.key(),
                    name,
                });
                continue;
            }
            names.insert(name);
            sources.push(source);
        }
        (!sources.is_empty()).then(|| Binding {
            input: self.spec.name.to_owned(),
            list: self.spec.arity.list(),
            sources,
        })
    }

    fn check_count(&mut self) {
        let count = self.bound.sources.len();
        let expected = match self.spec.arity {
            Arity::One if count != 1 => "exactly one",
            Arity::Optional if count > 1 => "one or none",
            Arity::Many if count == 0 => "one or more",
            _ => return,
        };
        self.problems.push(Problem::WrongCount {
            place: self.around.pipeline.place(self.bound.spot),
            key: self.key(),
            stage: self.definition.name.to_owned(),
            count,
            expected,
        });
    }

    fn folder(&mut self, spot: Spot, path: &'a Path) -> Source {
        let problem =
            self.around
                .folders
                .entry(path)
                .or_insert_with(|| match std::fs::metadata(path) {
                    Ok(metadata) if metadata.is_dir() => None,
                    Ok(_) => Some("is not a folder"),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                        Some("does not exist")
                    }
                    Err(_) => Some("cannot be read"),
                });
        if let Some(problem) = *problem {
            self.problems.push(Problem::Folder {
                place: self.around.pipeline.place(spot),
                key: self.key(),
                path: path.to_owned(),
                problem,
            });
        }
        Source::Folder(path.to_owned())
    }

    fn step(&mut self, spot: Spot, index: usize) -> Source {
        let source = &self.around.instances[index];
        if let Some(found) = self.around.outputs[index]
            && !self.spec.kinds.contains(&found)
        {
            self.problems.push(Problem::WrongKind {
                place: self.around.pipeline.place(spot),
                key: self.key(),
                source_step: source.step.name.clone(),
                found,
                stage: self.definition.name.to_owned(),
                expected: self.spec.kinds.to_vec(),
            });
        }
        Source::Step(source.name.clone())
    }

    fn key(&self) -> String {
        format!(
            "steps.{}.inputs.{}",
            self.instance.step.name, self.spec.name
        )
    }
}

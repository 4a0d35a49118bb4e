//! From the steps of a file to their instances.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::axis::{Axis, Varies};
use super::label::instance_name;
use super::space::Space;
use super::{Label, Selection, refuse};
use crate::file::{SourceEntry, Step, Target};
use crate::order::order;
use crate::set::{self, Assignment, Scope};
use crate::suggest::nearest;
use crate::yaml::Spot;
use crate::{Origin, Pipeline, Problem};

/// One step to be run: a plain one of the file, or one of the instances of a matrix step.
#[derive(Debug)]
pub(crate) struct Instance<'p> {
    pub(crate) step: &'p Step,
    pub(crate) name: String,
    /// Its value on every axis; none for a plain step.
    pub(crate) labels: Vec<Label>,
    /// Its params as given.
    pub(crate) params: Cow<'p, Value>,
    pub(crate) inputs: Vec<Bound<'p>>,
    /// The paths of params that are not as written under `params:`, and where each came from. The last
    /// prevails.
    pub(crate) given: Vec<(Vec<String>, Origin)>,
}

/// An input, and what this instance has there.
#[derive(Debug)]
pub(crate) struct Bound<'p> {
    pub(crate) name: &'p str,
    pub(crate) spot: Spot,
    pub(crate) sources: Vec<(Spot, BoundSource<'p>)>,
    /// Whether all that was written is there: what is missing was complained of already.
    pub(crate) whole: bool,
}

/// What an input is bound to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum BoundSource<'p> {
    /// The output of this instance, by its index.
    Instance(usize),
    /// A folder of the user's.
    Folder(&'p Path),
}

/// All instances, each after those it needs, otherwise in the order of the file; those of one step stand
/// together, the last axis varying fastest. Whatever does not fit is added to `problems` and left out.
pub(crate) fn expand<'p>(pipeline: &'p Pipeline, problems: &mut Vec<Problem>) -> Vec<Instance<'p>> {
    let mut expander = Expander {
        pipeline,
        index: pipeline
            .steps
            .iter()
            .enumerate()
            .map(|(index, step)| (step.name.as_str(), index))
            .collect(),
        drafts: Vec::new(),
        problems,
        instances: Vec::new(),
    };
    expander.draft();
    for step in expander.order() {
        expander.measure(step);
        expander.make_instances(step);
    }
    expander.instances
}

/// What an input names.
#[derive(Debug, Clone)]
pub(super) enum Named<'p> {
    Step(usize, Selection<'p>),
    Folder(&'p Path),
    /// Something that was complained of.
    Nothing,
}

/// A step on its way to its instances.
pub(super) struct Draft<'p> {
    pub(super) step: &'p Step,
    pub(super) params: Cow<'p, Value>,
    pub(super) axes: Cow<'p, [Axis]>,
    pub(super) given: Vec<(Vec<String>, Origin)>,
    /// Overrides of some of its instances.
    pub(super) partial: Vec<&'p str>,
    /// What each of its inputs names, in their order.
    pub(super) inputs: Vec<Vec<(Spot, Named<'p>)>>,
    /// What each value of each axis names, for axes over inputs.
    pub(super) varied: Vec<Vec<(Spot, Named<'p>)>>,
    pub(super) space: Space,
}

pub(super) struct Expander<'p, 'a> {
    pub(super) pipeline: &'p Pipeline,
    pub(super) index: HashMap<&'p str, usize>,
    pub(super) drafts: Vec<Draft<'p>>,
    pub(super) problems: &'a mut Vec<Problem>,
    pub(super) instances: Vec<Instance<'p>>,
}

impl<'p> Expander<'p, '_> {
    /// Params and axes as overridden, and what each input names.
    fn draft(&mut self) {
        self.drafts = self
            .pipeline
            .steps
            .iter()
            .map(|step| Draft {
                step,
                params: Cow::Borrowed(&step.params),
                axes: Cow::Borrowed(&step.matrix),
                given: Vec::new(),
                partial: Vec::new(),
                inputs: Vec::new(),
                varied: Vec::new(),
                space: Space::default(),
            })
            .collect();
        for set in &self.pipeline.overrides {
            let Some(&index) = self.index.get(set.step.as_str()) else {
                self.problems.push(Problem::UnknownKey {
                    origin: Origin::Override(set.text().to_owned()),
                    key: set.step.clone(),
                    suggestion: nearest(&set.step, self.index.keys().copied()),
                    known: self
                        .pipeline
                        .steps
                        .iter()
                        .map(|step| step.name.clone())
                        .collect(),
                });
                continue;
            };
            match &set.scope {
                Scope::Step(assignment) => self.drafts[index].assign(assignment, self.problems),
                Scope::Instances(text) => self.drafts[index].partial.push(text),
            }
        }
        for index in 0..self.drafts.len() {
            let step = self.drafts[index].step;
            let named =
                |this: &mut Self,
                 input: &str,
                 sources: &mut dyn Iterator<Item = &'p SourceEntry>| {
                    sources
                        .map(|source| (source.spot, this.name(step, input, source)))
                        .collect::<Vec<_>>()
                };
            let inputs = step
                .inputs
                .iter()
                .map(|entry| named(self, &entry.name, &mut entry.sources.iter()))
                .collect();
            let varied = step
                .matrix
                .iter()
                .map(|axis| {
                    let sources = axis.values.iter().filter_map(|value| value.source.as_ref());
                    named(self, &axis.name, &mut { sources })
                })
                .collect();
            self.drafts[index].inputs = inputs;
            self.drafts[index].varied = varied;
        }
    }

    fn name(&mut self, step: &Step, input: &str, source: &'p SourceEntry) -> Named<'p> {
        let text = match &source.target {
            Target::Folder(path) => return Named::Folder(path),
            Target::Step(text) => text,
        };
        let selection = Selection::parse(text);
        if let Some(&index) = self.index.get(selection.step) {
            return Named::Step(index, selection);
        }
        self.problems.push(Problem::UnknownStep {
            place: self.pipeline.place(source.spot),
            key: key_of(step, input),
            name: selection.step.to_owned(),
            suggestion: nearest(selection.step, self.index.keys().copied()),
        });
        Named::Nothing
    }

    /// The steps, each after those it needs.
    fn order(&mut self) -> Vec<usize> {
        let upstream: Vec<Vec<usize>> = self
            .drafts
            .iter()
            .map(|draft| {
                let named = draft.inputs.iter().chain(&draft.varied).flatten();
                let steps = named.filter_map(|(_, named)| match named {
                    Named::Step(index, _) => Some(*index),
                    _ => None,
                });
                steps.collect()
            })
            .collect();
        let (order, circles) = order(&upstream);
        for circle in circles {
            let first = self.drafts[circle[0]].step;
            let names = circle.iter().chain(&circle[..1]);
            self.problems.push(Problem::Cycle {
                place: self.pipeline.place(first.inputs_spot),
                circle: names
                    .map(|step| self.drafts[*step].step.name.clone())
                    .collect(),
            });
        }
        order
    }

    fn make_instances(&mut self, index: usize) {
        let partial = self.partial_overrides(index);
        let draft = &self.drafts[index];
        if !draft.space.there {
            return;
        }
        let mut made = Vec::new();
        for coordinates in draft.space.coordinates() {
            let labels: Vec<Label> = draft
                .space
                .dimensions
                .iter()
                .zip(&coordinates)
                .map(|(dimension, &at)| dimension.labels[at].clone())
                .collect();
            let mut instance = Instance {
                step: draft.step,
                name: instance_name(&draft.step.name, &labels),
                params: draft.params.clone(),
                inputs: self.bind(draft, &labels, &coordinates),
                given: draft.given.clone(),
                labels,
            };
            for (dimension, label) in draft.space.dimensions.iter().zip(&instance.labels) {
                let Some(axis) = dimension.own.map(|own| &draft.axes[own]) else {
                    continue;
                };
                let value = axis.values.iter().find(|value| value.text == label.text);
                if let (Varies::Param(path), Some(value)) = (&axis.varies, value) {
                    set::put(instance.params.to_mut(), path, &value.value);
                    instance.given.push((path.clone(), value.origin.clone()));
                }
            }
            for (selection, assignment) in &partial {
                if selection.takes(&instance.labels) {
                    assignment.apply(instance.params.to_mut());
                    let origin = Origin::Override(assignment.text.clone());
                    instance.given.push((assignment.path.clone(), origin));
                }
            }
            made.push(instance);
        }
        self.instances.extend(made);
    }

    /// The overrides of some of a step's instances.
    fn partial_overrides(&mut self, index: usize) -> Vec<(Selection<'p>, Assignment)> {
        let draft = &self.drafts[index];
        let axes = draft.space.axes();
        let mut overrides = Vec::new();
        for text in &draft.partial {
            let selects = |selection: &str| {
                let selection = format!("{}@{selection}", draft.step.name);
                refuse(&Selection::parse(&selection), &axes).is_none()
            };
            let (selection, assignment) = match set::split_selection(text, selects) {
                Ok(split) => split,
                Err(problem) => {
                    self.problems.push(problem);
                    continue;
                }
            };
            let varied = draft.axes.iter().find(
                |axis| matches!(&axis.varies, Varies::Param(path) if set::touches(path, &assignment.path)),
            );
            if let Some(axis) = varied {
                self.problems.push(Problem::Override {
                    text: (*text).to_owned(),
                    problem: format!("`{}` is an axis of the step's matrix", axis.name),
                    remedy: format!(
                        "name the instances that have the value, or give the axis other values with `--set {}.{}=[..]`",
                        draft.step.name, axis.name
                    ),
                });
                continue;
            }
            let step = text.find('@').map_or(0, |at| at + 1);
            let selection = &text[..step + selection.len()];
            overrides.push((Selection::parse(selection), assignment));
        }
        overrides
    }

    fn bind(&self, draft: &Draft<'p>, labels: &[Label], coordinates: &[usize]) -> Vec<Bound<'p>> {
        let mut inputs = Vec::with_capacity(draft.step.inputs.len());
        let varies = |name: &str| {
            draft
                .axes
                .iter()
                .any(|axis| axis.is_input() && axis.name == name)
        };
        for (entry, sources) in draft.step.inputs.iter().zip(&draft.inputs) {
            if varies(&entry.name) {
                continue;
            }
            let mut bound = Bound {
                name: &entry.name,
                spot: entry.spot,
                sources: Vec::with_capacity(sources.len()),
                whole: entry.whole,
            };
            for (spot, named) in sources {
                self.bind_source(*spot, named, entry.list, labels, coordinates, &mut bound);
            }
            inputs.push(bound);
        }
        for (axis, values) in draft
            .step
            .matrix
            .iter()
            .zip(&draft.varied)
            .filter(|(axis, _)| axis.is_input())
        {
            let mut bound = Bound {
                name: &axis.name,
                spot: axis.spot,
                sources: Vec::with_capacity(1),
                whole: true,
            };
            let text = labels
                .iter()
                .find(|label| label.axis == axis.name)
                .map(|label| &label.text);
            let at = axis
                .values
                .iter()
                .position(|value| Some(&value.text) == text);
            match at.and_then(|at| values.get(at)) {
                Some((spot, named)) => {
                    self.bind_source(*spot, named, false, labels, coordinates, &mut bound)
                }
                None => bound.whole = false,
            }
            inputs.push(bound);
        }
        inputs
    }

    /// Adds what one name means for the instance with these labels: of a single input the one instance that it
    /// follows, of a list all that agree with it.
    fn bind_source(
        &self,
        spot: Spot,
        named: &Named<'p>,
        list: bool,
        labels: &[Label],
        coordinates: &[usize],
        bound: &mut Bound<'p>,
    ) {
        let (upstream, selection) = match named {
            Named::Folder(path) => {
                bound.sources.push((spot, BoundSource::Folder(path)));
                return;
            }
            Named::Step(upstream, selection) if self.drafts[*upstream].space.there => {
                (&self.drafts[*upstream].space, selection)
            }
            _ => {
                bound.whole = false;
                return;
            }
        };
        let mut found = vec![0];
        for dimension in &upstream.dimensions {
            let held = selection
                .held
                .iter()
                .find(|(axis, _)| *axis == dimension.name);
            let own = labels.iter().position(|label| label.axis == dimension.name);
            let position = match (held, own) {
                (Some((_, text)), _) => dimension.position(text, 0),
                (None, Some(own)) => dimension.position(&labels[own].text, coordinates[own]),
                (None, None) => None,
            };
            let size = dimension.labels.len();
            found = match position {
                Some(at) => found.iter().map(|index| index * size + at).collect(),
                None if list => found
                    .iter()
                    .flat_map(|index| (0..size).map(move |at| index * size + at))
                    .collect(),
                None => Vec::new(),
            };
        }
        bound.whole &= !found.is_empty();
        let instances = found
            .iter()
            .map(|index| BoundSource::Instance(upstream.first + index));
        bound
            .sources
            .extend(instances.map(|instance| (spot, instance)));
    }
}

impl Draft<'_> {
    /// Applies an override of the whole step: one of an axis gives it other values.
    fn assign(&mut self, assignment: &Assignment, problems: &mut Vec<Problem>) {
        let origin = Origin::Override(assignment.text.clone());
        let varies =
            |axis: &Axis| matches!(&axis.varies, Varies::Param(path) if *path == assignment.path);
        let Some(at) = self.axes.iter().position(varies) else {
            assignment.apply(self.params.to_mut());
            self.given.push((assignment.path.clone(), origin));
            return;
        };
        let axis = &mut self.axes.to_mut()[at];
        axis.values.clear();
        match &assignment.value {
            Value::Array(values) if values.is_empty() => problems.push(Problem::Override {
                text: assignment.text.clone(),
                problem: format!("leaves the axis `{}` without values", axis.name),
                remedy: "give it a list of one or more values".to_owned(),
            }),
            Value::Array(values) => {
                for value in values {
                    axis.push(value.clone(), origin.clone());
                }
            }
            value => axis.push(value.clone(), origin),
        }
        axis.take_out_repeated(problems);
    }
}

pub(super) fn key_of(step: &Step, input: &str) -> String {
    format!("steps.{}.inputs.{input}", step.name)
}

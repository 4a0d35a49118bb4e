//! Which axes the instances of a step lie along: those of the steps that it follows, then its own.

use super::expand::{Expander, Named, key_of};
use super::space::{Dimension, Space};
use super::{LIMIT, Label, refuse};
use crate::file::Step;
use crate::{Origin, Problem};

impl Expander<'_, '_> {
    /// Finds the axes that the instances of a step lie along: those it follows, then its own.
    pub(super) fn measure(&mut self, index: usize) {
        self.check_selections(index);
        let draft = &self.drafts[index];
        let step = draft.step;
        let mut dimensions: Vec<Dimension> = Vec::new();
        let mut fits = true;
        let varies_input = |name: &str| {
            draft
                .axes
                .iter()
                .any(|axis| axis.is_input() && axis.name == name)
        };
        let mut followed: Vec<Dimension> = Vec::new();
        for (entry, sources) in step.inputs.iter().zip(&draft.inputs) {
            if !entry.list && !varies_input(&entry.name) {
                followed.extend(sources.iter().flat_map(|(_, named)| self.left_open(named)));
            }
        }
        let mut problems = Vec::new();
        for (axis, values) in draft
            .axes
            .iter()
            .zip(&draft.varied)
            .filter(|(axis, _)| axis.is_input())
        {
            let open: Vec<Vec<Dimension>> = values
                .iter()
                .map(|(_, named)| self.left_open(named))
                .collect();
            let names = |dimensions: &[Dimension]| -> Vec<String> {
                dimensions
                    .iter()
                    .map(|dimension| dimension.name.clone())
                    .collect()
            };
            if let Some(odd) = open.iter().position(|one| names(one) != names(&open[0])) {
                fits = false;
                problems.push(Problem::UnevenAxis {
                    origin: axis.values[odd].origin.clone(),
                    key: axis.key.clone(),
                    value: axis.values[odd].value.to_string(),
                    axes: names(&open[odd]),
                    other: axis.values[0].value.to_string(),
                    other_axes: names(&open[0]),
                });
            }
            followed.extend(open.into_iter().flatten());
        }
        let own = draft.axes.iter().enumerate().map(|(at, axis)| Dimension {
            name: axis.name.clone(),
            labels: axis
                .values
                .iter()
                .map(|value| Label {
                    axis: axis.name.clone(),
                    value: value.value.clone(),
                    text: value.text.clone(),
                })
                .collect(),
            source: step.name.clone(),
            own: Some(at),
        });
        for dimension in followed.into_iter().chain(own) {
            let Some(known) = dimensions
                .iter_mut()
                .find(|known| known.name == dimension.name)
            else {
                dimensions.push(dimension);
                continue;
            };
            if let (Some(one), Some(other)) = (known.own, dimension.own) {
                fits = false;
                problems.push(Problem::RepeatedAxis {
                    place: self.pipeline.place(draft.axes[other].spot),
                    step: step.name.clone(),
                    axis: dimension.name,
                    one: draft.axes[one].key.clone(),
                    other: draft.axes[other].key.clone(),
                });
            } else if known.has_the_values_of(&dimension) {
                known.own = known.own.or(dimension.own);
            } else {
                fits = false;
                problems.push(self.differ(step, &dimension, known));
            }
        }
        let lists = step
            .inputs
            .iter()
            .zip(&draft.inputs)
            .filter(|(entry, _)| entry.list);
        for (_, sources) in lists {
            for listed in sources.iter().flat_map(|(_, named)| self.left_open(named)) {
                let shared = dimensions.iter().find(|known| known.name == listed.name);
                if let Some(known) = shared.filter(|known| !known.has_the_values_of(&listed)) {
                    fits = false;
                    problems.push(self.differ(step, known, &listed));
                }
            }
        }
        let count = dimensions
            .iter()
            .try_fold(1usize, |count, dimension| {
                count.checked_mul(dimension.labels.len())
            })
            .filter(|&count| count <= LIMIT);
        if count.is_none() {
            fits = false;
            let sizes = dimensions
                .iter()
                .map(|dimension| dimension.labels.len().to_string());
            let overridden = draft.axes.iter().flat_map(|axis| axis.values.first());
            let overridden = overridden
                .map(|value| value.origin.clone())
                .find(|origin| matches!(origin, Origin::Override(_)));
            problems.push(Problem::TooManyInstances {
                origin: overridden.unwrap_or_else(|| self.pipeline.origin(step.spot)),
                step: step.name.clone(),
                count: sizes.collect::<Vec<_>>().join(" x "),
                limit: LIMIT,
            });
        }
        self.problems.extend(problems);
        self.drafts[index].space = Space {
            dimensions,
            first: self.instances.len(),
            there: fits,
        };
    }

    fn differ(&self, step: &Step, one: &Dimension, other: &Dimension) -> Problem {
        Problem::AxesDiffer {
            place: self.pipeline.place(step.spot),
            step: step.name.clone(),
            axis: one.name.clone(),
            one: one.source.clone(),
            one_values: one.texts(),
            other: other.source.clone(),
            other_values: other.texts(),
        }
    }

    /// The axes of what an input names that the name does not hold at one value.
    fn left_open(&self, named: &Named<'_>) -> Vec<Dimension> {
        let Named::Step(index, selection) = named else {
            return Vec::new();
        };
        let dimensions = self.drafts[*index].space.dimensions.iter();
        dimensions
            .filter(|dimension| !selection.holds(&dimension.name))
            .map(|dimension| Dimension {
                own: None,
                source: self.drafts[*index].step.name.clone(),
                ..dimension.clone()
            })
            .collect()
    }

    /// Complains of names that select nothing, and forgets them.
    pub(super) fn check_selections(&mut self, index: usize) {
        let mut draft_inputs = std::mem::take(&mut self.drafts[index].inputs);
        let mut draft_varied = std::mem::take(&mut self.drafts[index].varied);
        let draft = &self.drafts[index];
        let inputs = draft.step.inputs.iter().map(|entry| entry.name.as_str());
        let axes = draft.step.matrix.iter().map(|axis| axis.name.as_str());
        let named = inputs
            .zip(&mut draft_inputs)
            .chain(axes.zip(&mut draft_varied));
        let mut problems = Vec::new();
        for (input, sources) in named {
            for (spot, named) in sources {
                let Named::Step(upstream, selection) = named else {
                    continue;
                };
                let space = &self.drafts[*upstream].space;
                if !space.there || selection.held.is_empty() {
                    continue;
                }
                if let Some((problem, known)) = refuse(selection, &space.axes()) {
                    problems.push(Problem::UnknownInstance {
                        place: self.pipeline.place(*spot),
                        key: key_of(draft.step, input),
                        problem,
                        known,
                    });
                    *named = Named::Nothing;
                }
            }
        }
        self.drafts[index].inputs = draft_inputs;
        self.drafts[index].varied = draft_varied;
        self.problems.extend(problems);
    }
}

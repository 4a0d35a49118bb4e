//! What repeated runs gain over those of another step: differences of pairs, so that what the seed does to both
//! falls out.

use super::statistics::Sample;
use super::{Refusal, Row};
use crate::exit::Code;

/// The step that others are compared with.
pub(super) struct Baseline<'g> {
    name: String,
    rows: Vec<Row<'g>>,
    /// The axis of repetitions.
    over: String,
    /// The axes on which it was chosen: those of runs that are compared may have other places there.
    held: Vec<String>,
}

impl<'g> Baseline<'g> {
    pub fn new(name: &str, rows: Vec<Row<'g>>, over: String) -> Self {
        Self {
            name: name.to_owned(),
            rows,
            over,
            held: held(name),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The differences of [`Self::differences`] as a sample; `None` if there is no pair.
    ///
    /// # Errors
    /// As there.
    pub fn gain(&self, group: &[&Row<'_>], metric: &str) -> Result<Option<Sample>, Refusal> {
        Ok(Sample::of(&self.differences(group, metric)?))
    }

    /// By how much the runs of a group are above theirs of the baseline.
    ///
    /// # Errors
    /// Where there are several runs of the baseline for one.
    pub fn differences(&self, group: &[&Row<'_>], metric: &str) -> Result<Vec<f64>, Refusal> {
        let mut differences = Vec::new();
        for row in group {
            let mut found = self.rows.iter().filter(|other| self.fits(row, other));
            let Some(other) = found.next() else {
                continue;
            };
            if found.next().is_some() {
                let (name, run) = (&self.name, &row.node.name);
                return Err(Refusal::new(
                    Code::Usage,
                    format!("there are several results of `{name}` to compare `{run}` with"),
                    format!(
                        "name one of them but for {}, as in `--against {}`",
                        self.over,
                        without(&other.node.name, &self.over)
                    ),
                ));
            }
            if let (Some(value), Some(before)) = (row.number(metric), other.number(metric)) {
                differences.push(value - before);
            }
        }
        Ok(differences)
    }

    /// Whether two runs have the same place on every axis that both have, but for those on which this one was chosen.
    fn fits(&self, row: &Row<'_>, other: &Row<'_>) -> bool {
        let mut labels = row.node.labels.iter();
        labels.all(|label| {
            let mut others = other.node.labels.iter();
            let other = others.find(|other| other.axis == label.axis);
            self.held.contains(&label.axis) || other.is_none_or(|other| other.text == label.text)
        })
    }
}

/// The axes that a selection such as `tuned@strategy=fedavg` names.
fn held(name: &str) -> Vec<String> {
    let labels = name.split_once('@').map_or("", |(_, labels)| labels);
    let axes = labels.split(',').filter_map(|label| label.split_once('='));
    axes.map(|(axis, _)| axis.to_owned()).collect()
}

/// The name of an instance without one of its axes.
fn without(name: &str, axis: &str) -> String {
    let Some((step, labels)) = name.split_once('@') else {
        return name.to_owned();
    };
    let begins = format!("{axis}=");
    let kept: Vec<&str> = labels
        .split(',')
        .filter(|label| !label.starts_with(&begins))
        .collect();
    match kept.is_empty() {
        true => step.to_owned(),
        false => format!("{step}@{}", kept.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_names_the_axes_that_it_holds() {
        assert_eq!(held("tuned@strategy=fedavg"), ["strategy"]);
        assert_eq!(
            held("told@seed=0,distillation.temperature=4"),
            ["seed", "distillation.temperature"]
        );
        assert_eq!(held("scratch"), [""; 0]);
    }
}

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
}

impl<'g> Baseline<'g> {
    pub fn new(name: &str, rows: Vec<Row<'g>>, over: String) -> Self {
        Self {
            name: name.to_owned(),
            rows,
            over,
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
            let mut found = self.rows.iter().filter(|other| agree(row, other));
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
}

/// Whether two runs have the same place on every axis that both have.
fn agree(row: &Row<'_>, other: &Row<'_>) -> bool {
    row.node.labels.iter().all(|label| {
        let mut others = other.node.labels.iter();
        let other = others.find(|other| other.axis == label.axis);
        other.is_none_or(|other| other.text == label.text)
    })
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

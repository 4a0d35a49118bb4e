//! Repeated results as a picture: the mean of each, its interval, and the runs that it is of.

use std::path::Path;

use fedact_chart::axis::Quantity;
use fedact_chart::forest::{Estimate, ForestPlot};
use fedact_chart::standalone::standalone;

use super::gain::Baseline;
use super::statistics::Sample;
use super::{Refusal, Row, groups, repetitions, values_of};
use crate::exit::Code;
use crate::output;

/// Width of the picture in pixels.
const WIDTH: f64 = 860.0;

/// Draws the means of one figure, or what they gain over the baseline, into an SVG file.
///
/// # Errors
/// Several figures; results that are not repeated; a file of another kind, or that cannot be written.
pub(super) fn draw(
    rows: &[Row<'_>],
    axes: &[&str],
    metrics: &[&str],
    baseline: Option<&Baseline<'_>>,
    picture: &Path,
    overwrite: bool,
) -> Result<(), Refusal> {
    let [metric] = metrics else {
        return Err(Refusal::new(
            Code::Usage,
            "`--plot` draws one figure, and there are several",
            format!(
                "choose one, as in `--metric {}`",
                metrics.first().unwrap_or(&"top1")
            ),
        ));
    };
    let Some(over) = repetitions(axes) else {
        return Err(Refusal::new(
            Code::Usage,
            "`--plot` draws the means of runs that differ in their seed, and these have no such axis",
            "give the step a matrix, as in `matrix: {params.seed: [0, 1, 2]}`",
        ));
    };
    if picture
        .extension()
        .is_none_or(|extension| extension != "svg")
    {
        return Err(Refusal::new(
            Code::Usage,
            format!(
                "{} is the name of no kind of plot that can be written",
                picture.display()
            ),
            "let it end in .svg",
        ));
    }
    let several = rows.iter().any(|row| row.node.step != rows[0].node.step);
    let mut estimates = Vec::new();
    for group in groups(rows, over) {
        let values = match baseline {
            Some(baseline) => baseline.differences(&group, metric)?,
            None => values_of(&group, metric),
        };
        let Some(sample) = Sample::of(&values) else {
            continue;
        };
        let labels = group[0].node.labels.iter();
        let labels = labels.filter(|label| label.axis != over);
        let labels: Vec<&str> = labels.map(|label| label.text.as_str()).collect();
        let step = (several || labels.is_empty()).then_some(group[0].node.step.as_str());
        let words: Vec<&str> = step.into_iter().chain(labels).collect();
        let style = steps_before(rows, &group[0].node.step);
        estimates.push(Estimate {
            name: words.join("  "),
            mean: sample.mean(),
            interval: sample.interval(),
            values,
            style,
        });
    }
    let title = match baseline {
        Some(baseline) => format!("{metric}: gain over {}", baseline.name()),
        None => (*metric).to_owned(),
    };
    let plot = ForestPlot {
        title: title.clone(),
        description: format!(
            "means over {over} with their 95% intervals, and the single runs below them"
        ),
        x: (
            format!("{title} (mean and 95% interval over {over})"),
            quantity(metric),
        ),
        estimates,
        rule: baseline.map(|_| 0.0),
        width: WIDTH,
    };
    let text = standalone(
        &plot.title,
        &plot.description,
        vec![(plot.svg(), plot.size())],
    );
    output::file(picture, text.as_bytes(), overwrite)
}

/// How many other steps come before this one: its colour.
fn steps_before(rows: &[Row<'_>], step: &str) -> usize {
    let mut steps: Vec<&str> = rows.iter().map(|row| row.node.step.as_str()).collect();
    steps.dedup();
    steps.iter().position(|other| *other == step).unwrap_or(0)
}

/// How a figure is written.
fn quantity(metric: &str) -> Quantity {
    let share = metric.contains("top1")
        || metric.contains("top5")
        || metric.contains("accuracy")
        || metric.ends_with("_share")
        || metric == "agreement";
    if share {
        Quantity::Fraction
    } else if metric.ends_with("seconds") {
        Quantity::Seconds
    } else if metric.ends_with("bytes") {
        Quantity::Bytes
    } else {
        Quantity::Number
    }
}

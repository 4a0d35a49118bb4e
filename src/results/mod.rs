//! The results of several steps, or of the instances of a matrix step, as one table.

mod gain;
mod plot;
mod statistics;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use fedact_artifact::Action;
use fedact_pipeline::{Graph, Node};
use serde_json::{Map, Value, json};

use crate::exit::{Code, Refusal};
use crate::session::Session;
use crate::{output, remote, show};
use gain::Baseline;
use statistics::Sample;

/// How results are put side by side.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// In a table of several results: only these figures. May be given several times.
    #[arg(long, value_name = "NAME")]
    metric: Vec<String>,
    /// In a table of repeated results: what each gains over this step, run by run, with 95% intervals.
    #[arg(long, value_name = "STEP")]
    against: Option<String>,
    /// Draw repeated results into this file (.svg): of one figure the means, or the gains, with 95% intervals.
    #[arg(long, value_name = "FILE", conflicts_with = "frames")]
    plot: Option<PathBuf>,
}

impl Arguments {
    /// Whether a table is wanted, and not what there is to say of one result.
    pub fn given(&self) -> bool {
        !self.metric.is_empty() || self.against.is_some() || self.plot.is_some()
    }
}

/// One instance and what the store knows of it.
struct Row<'g> {
    node: &'g Node,
    /// Its result, and whether a run would leave it as it is.
    result: Option<(Action, bool)>,
}

impl Row<'_> {
    fn metrics(&self) -> impl Iterator<Item = (&String, &Value)> {
        let metrics = self
            .result
            .iter()
            .map(|(action, _)| &action.provenance.metrics);
        metrics.flatten()
    }

    fn number(&self, metric: &str) -> Option<f64> {
        self.metrics().find(|(name, _)| *name == metric)?.1.as_f64()
    }

    /// Its place on every axis but one.
    fn place_without(&self, axis: &str) -> (&str, Vec<(&str, &str)>) {
        let labels = self.node.labels.iter().filter(|label| label.axis != axis);
        let labels = labels.map(|label| (label.axis.as_str(), label.text.as_str()));
        (&self.node.step, labels.collect())
    }
}

/// Prints the results of the named steps beside each other.
///
/// # Errors
/// What is wrong with the store; no result at all.
pub fn command(
    session: &Session,
    remote: &remote::Arguments,
    names: &[String],
    arguments: &Arguments,
    overwrite: bool,
    as_json: bool,
) -> Result<Code, Refusal> {
    let wanted: Vec<String> = names.iter().chain(&arguments.against).cloned().collect();
    let graph = session.graph.only(&wanted)?;
    let remote = remote.named(session)?;
    let store = session.store()?;
    let (records, plan, _) = session.look(&graph, &store, remote)?;
    let rows_of = |names: &[String]| {
        let nodes = selected(&graph, names)?.into_iter();
        nodes
            .map(|node| {
                let result = show::result_of(&node.name, &plan, &records)?;
                Ok(Row { node, result })
            })
            .collect::<Result<Vec<_>, Refusal>>()
    };
    let rows = rows_of(names)?;
    if rows.iter().all(|row| row.result.is_none()) {
        let names = names.join(" ");
        return Err(Refusal::new(
            Code::Failed,
            format!("no result yet of {names}"),
            format!("`fedact run {names}` makes them"),
        ));
    }
    let metrics = columns(&rows, &arguments.metric)?;
    let baseline = match &arguments.against {
        None => None,
        Some(name) => {
            let axes = axes_of(&rows);
            let over = repetitions(&axes).ok_or_else(|| {
                Refusal::new(
                    Code::Usage,
                    format!("`--against {name}` compares runs that differ in their seed, and these have no such axis"),
                    "give the step a matrix, as in `matrix: {params.seed: [0, 1, 2]}`",
                )
            })?;
            Some(Baseline::new(
                name,
                rows_of(std::slice::from_ref(name))?,
                over.to_owned(),
            ))
        }
    };
    if let Some(picture) = &arguments.plot {
        let axes = axes_of(&rows);
        plot::draw(
            &rows,
            &axes,
            &metrics,
            baseline.as_ref(),
            picture,
            overwrite,
        )?;
    }
    if as_json {
        output::json(&as_value(&rows, &metrics, baseline.as_ref())?)?;
    } else {
        output::text(&as_text(&rows, &metrics, baseline.as_ref())?)?;
    }
    Ok(Code::Done)
}

/// The nodes of all names, each once, in the order of the graph.
fn selected<'g>(graph: &'g Graph, names: &[String]) -> Result<Vec<&'g Node>, Refusal> {
    let mut wanted = BTreeSet::new();
    for name in names {
        wanted.extend(graph.select(name)?.into_iter().map(|node| &node.name));
    }
    let nodes = graph.nodes().iter();
    Ok(nodes.filter(|node| wanted.contains(&node.name)).collect())
}

/// What is there first, each once.
fn distinct<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for name in names {
        if !found.contains(&name.as_str()) {
            found.push(name);
        }
    }
    found
}

fn axes_of<'g>(rows: &[Row<'g>]) -> Vec<&'g str> {
    let labels = rows.iter().flat_map(|row| &row.node.labels);
    distinct(labels.map(|label| &label.axis))
}

/// The axis that repeats the same experiment: over it, results have a mean and a deviation.
fn repetitions<'a>(axes: &[&'a str]) -> Option<&'a str> {
    axes.iter()
        .copied()
        .find(|axis| *axis == "seed" || axis.ends_with(".seed"))
}

/// Rows that differ in the repetition alone.
fn groups<'r, 'g>(rows: &'r [Row<'g>], over: &str) -> Vec<Vec<&'r Row<'g>>> {
    let mut groups: Vec<Vec<&Row<'_>>> = Vec::new();
    let repeated = rows.iter().filter(|row| row.result.is_some());
    for row in repeated.filter(|row| row.node.labels.iter().any(|label| label.axis == over)) {
        let place = row.place_without(over);
        match groups
            .iter_mut()
            .find(|group| group[0].place_without(over) == place)
        {
            Some(group) => group.push(row),
            None => groups.push(vec![row]),
        }
    }
    groups
}

fn statistics_of(group: &[&Row<'_>], metric: &str) -> Option<Sample> {
    Sample::of(&values_of(group, metric))
}

fn values_of(group: &[&Row<'_>], metric: &str) -> Vec<f64> {
    group.iter().filter_map(|row| row.number(metric)).collect()
}

/// The metrics that are single values, in the order in which they come; of them those that are wanted, if any are.
fn columns<'r>(rows: &'r [Row<'_>], wanted: &'r [String]) -> Result<Vec<&'r str>, Refusal> {
    let single = |value: &Value| !value.is_array() && !value.is_object();
    let metrics = rows.iter().flat_map(Row::metrics);
    let all = distinct(
        metrics
            .filter(|(_, value)| single(value))
            .map(|(name, _)| name),
    );
    match wanted.iter().find(|name| !all.contains(&name.as_str())) {
        None if wanted.is_empty() => Ok(all),
        None => Ok(distinct(wanted.iter())),
        Some(name) => Err(Refusal::new(
            Code::Usage,
            format!("none of these results has a figure `{name}`"),
            format!("they have {}", all.join(", ")),
        )),
    }
}

fn as_value(
    rows: &[Row<'_>],
    metrics: &[&str],
    baseline: Option<&Baseline<'_>>,
) -> Result<Value, Refusal> {
    let axes = axes_of(rows);
    let labels = |row: &Row<'_>, without: Option<&str>| -> Map<String, Value> {
        let labels = row.node.labels.iter();
        let labels = labels.filter(|label| Some(label.axis.as_str()) != without);
        labels
            .map(|label| (label.axis.clone(), label.value.clone()))
            .collect()
    };
    let table: Vec<Value> = rows
        .iter()
        .map(|row| {
            let result = row.result.as_ref();
            json!({
                "step": row.node.name,
                "of": row.node.step,
                "labels": labels(row, None),
                "fresh": result.is_some_and(|(_, fresh)| *fresh),
                "key": result.map(|(action, _)| action.key),
                "seconds": result.map(|(action, _)| action.provenance.seconds),
                "metrics": result.map(|(action, _)| &action.provenance.metrics),
            })
        })
        .collect();
    let over = repetitions(&axes);
    let mut summary = Vec::new();
    for group in over.map(|over| groups(rows, over)).into_iter().flatten() {
        let mut figures = Map::new();
        for metric in metrics {
            let Some(sample) = statistics_of(&group, metric) else {
                continue;
            };
            let mut figure = sample.as_value();
            if let Some(baseline) = baseline {
                let gain = baseline.gain(&group, metric)?;
                figure["gain"] = gain.map_or(Value::Null, |gain| gain.as_value());
            }
            figures.insert((*metric).to_owned(), figure);
        }
        summary.push(json!({
            "of": group[0].node.step,
            "labels": labels(group[0], over),
            "count": group.len(),
            "metrics": figures,
        }));
    }
    Ok(json!({ "axes": axes, "rows": table, "over": over, "summary": summary }))
}

fn as_text(
    rows: &[Row<'_>],
    metrics: &[&str],
    baseline: Option<&Baseline<'_>>,
) -> Result<String, Refusal> {
    let axes = axes_of(rows);
    let several = rows.iter().any(|row| row.node.step != rows[0].node.step);
    let settled = rows.iter().all(|row| matches!(row.result, Some((_, true))));
    let place = |row: &Row<'_>, axes: &[&str]| -> Vec<String> {
        let step = several.then(|| row.node.step.clone());
        let labels = axes.iter().map(|axis| {
            let label = row.node.labels.iter().find(|label| label.axis == *axis);
            label.map_or_else(String::new, |label| label.text.clone())
        });
        step.into_iter().chain(labels).collect()
    };
    let heading = |axes: &[&str], then: &str| -> Vec<String> {
        let step = several.then_some("step");
        let names = step.into_iter().chain(axes.iter().copied()).chain([then]);
        names
            .chain(metrics.iter().copied())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let mut table = vec![heading(&axes, "")];
    if !settled {
        table[0].push("state".to_owned());
    }
    for row in rows {
        let mut cells = place(row, &axes);
        cells.extend(metrics.iter().map(|metric| {
            let value = row.metrics().find(|(name, _)| name == metric);
            value.map_or_else(String::new, |(_, value)| cell(value))
        }));
        if !settled {
            let state = match &row.result {
                Some((_, true)) => "fresh",
                Some(_) => "stale",
                None => "no result",
            };
            cells.push(state.to_owned());
        }
        table.push(cells);
    }
    let mut text = aligned(&table);
    let Some(over) = repetitions(&axes) else {
        return Ok(text);
    };
    let others: Vec<&str> = axes.iter().copied().filter(|axis| *axis != over).collect();
    let groups = groups(rows, over);
    let mut means = vec![heading(&others, "runs")];
    for group in &groups {
        let mut cells = place(group[0], &others);
        cells.push(group.len().to_string());
        let samples = metrics.iter().map(|metric| statistics_of(group, metric));
        cells.extend(
            samples.map(|sample| sample.map_or_else(String::new, |sample| sample.spread())),
        );
        means.push(cells);
    }
    text.push_str(&format!("\nmean and standard deviation over {over}\n"));
    text.push_str(&aligned(&means));
    if let Some(baseline) = baseline {
        let mut gains = vec![heading(&others, "pairs")];
        for group in &groups {
            let mut cells = place(group[0], &others);
            let mut pairs = 0;
            let mut figures = Vec::new();
            for metric in metrics {
                let gain = baseline.gain(group, metric)?;
                pairs = pairs.max(gain.as_ref().map_or(0, Sample::count));
                figures.push(gain.map_or_else(String::new, |gain| gain.estimate()));
            }
            cells.push(pairs.to_string());
            cells.extend(figures);
            gains.push(cells);
        }
        let name = baseline.name();
        text.push_str(&format!(
            "\ngain over {name}, pair by pair over {over}: mean and its 95% interval\n"
        ));
        text.push_str(&aligned(&gains));
    }
    Ok(text)
}

/// A metric in a cell.
fn cell(value: &Value) -> String {
    match value {
        Value::Number(whole) if whole.is_u64() || whole.is_i64() => whole.to_string(),
        Value::Number(fraction) => fraction.as_f64().map_or_else(String::new, number),
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Four digits, which is more than a sample of runs supports.
fn number(value: f64) -> String {
    number_beside(value, value)
}

/// The same, to as many places as another number has that it is read with.
fn number_beside(value: f64, other: f64) -> String {
    let magnitude = other.abs();
    if magnitude != 0.0 && !(1e-3..1e7).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = match magnitude {
        large if large >= 1000.0 => 0,
        large if large >= 100.0 => 1,
        large if large >= 10.0 => 2,
        large if large >= 1.0 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

/// Columns as wide as their widest cell; numbers to the right.
fn aligned(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = table.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        })
        .collect();
    let numeric: Vec<bool> = (0..columns)
        .map(|column| {
            let digit = |cell: &String| {
                cell.starts_with(|first: char| first.is_ascii_digit() || "+-".contains(first))
            };
            let mut cells = table.iter().skip(1).map(|row| &row[column]);
            cells.all(|cell| cell.is_empty() || digit(cell))
        })
        .collect();
    let mut text = String::new();
    for row in table {
        let mut line = String::new();
        for ((cell, width), numeric) in row.iter().zip(&widths).zip(&numeric) {
            if *numeric {
                line.push_str(&format!("{cell:>width$}  "));
            } else {
                line.push_str(&format!("{cell:<width$}  "));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_they_are_worth() {
        assert_eq!(number(0.81234), "0.8123");
        assert_eq!(number(12.3456), "12.35");
        assert_eq!(number(123456.7), "123457");
        assert_eq!(number(0.0), "0.0000");
        assert_eq!(number(0.000_012_34), "1.234e-5");
        assert_eq!(number_beside(0.000_255, 0.0422), "0.0003");
        assert_eq!(number_beside(0.5, 12.34), "0.50");
    }

    #[test]
    fn columns_line_up() {
        let table = [["seed", "name"], ["0", "a"], ["10", "bcd"]]
            .map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&table), "seed  name\n   0  a\n  10  bcd\n");
    }
}

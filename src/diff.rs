//! `fedact diff`.

use clap::Args;
use fedact_pipeline::{Compared, Comparison, Figure};
use serde_json::Value;

use crate::exit::{Code, Refusal};
use crate::named::Results;
use crate::session::{self, Session};
use crate::{explain, output};

/// `fedact diff`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The step.
    step: String,
    /// What to compare: none for the step's two latest results; one to compare with its latest; or two.
    /// Each is a key, or the beginning of one, or the name of another step.
    #[arg(value_name = "KEY|STEP", num_args = 0..=2)]
    others: Vec<String>,
    #[command(flatten)]
    session: session::Arguments,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints two results side by side.
///
/// # Errors
/// What is wrong with the pipeline or the store; results that are not there.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let session = Session::open(&arguments.session)?;
    session.graph.require(&arguments.step)?;
    let store = session.store()?;
    let results = Results::of(&session, &store);
    let step = arguments.step.as_str();
    let (left, right) = match arguments.others.as_slice() {
        [] => results.two_latest(step)?,
        // An older result stands on the left, another step on the right.
        [other] => match (results.current(step)?, results.named(step, other)?) {
            (current, other) if other.by_key => (other, current),
            (current, other) => (current, other),
        },
        [left, right, ..] => (results.named(step, left)?, results.named(step, right)?),
    };
    let mut comparison = Comparison::of(&left.action, &right.action, &store)?;
    // Steps with equal keys share a result; it bears the name of one of them.
    comparison.left.step = left.step;
    comparison.right.step = right.step;
    if arguments.json {
        output::json(&comparison)?;
    } else {
        output::text(&words(&comparison))?;
    }
    Ok(Code::Done)
}

fn words(comparison: &Comparison) -> String {
    let mut text = String::new();
    for (side, compared) in [("left ", &comparison.left), ("right", &comparison.right)] {
        text.push_str(&format!("{side}  {}\n", heading(compared)));
    }
    let (same, different): (Vec<&Figure>, Vec<&Figure>) =
        comparison.params.iter().partition(|figure| figure.same());
    text.push_str("params\n");
    text.push_str(&table(&different));
    text.push_str(&match same.len() {
        0 => String::new(),
        1 => "  1 is the same\n".to_owned(),
        count => format!("  {count} are the same\n"),
    });
    text.push_str("metrics\n");
    text.push_str(&table(&comparison.metrics.iter().collect::<Vec<_>>()));
    if !comparison.changes.is_empty() {
        text.push_str("what else differs, from left to right\n");
        for explained in &comparison.changes {
            text.push_str(&explain::change(explained, "  "));
        }
    }
    text.push_str("output\n");
    match &comparison.files {
        _ if comparison.same_output => text.push_str("  the same, byte for byte\n"),
        None => text.push_str("  differs; the store no longer has the list of its files\n"),
        Some(files) => {
            text.push_str(&format!("  {}\n", explain::summary(files)));
            text.push_str(&explain::list(files, "    "));
        }
    }
    text
}

fn heading(compared: &Compared) -> String {
    let provenance = &compared.provenance;
    let mut text = format!(
        "{} {}, made {} in {}",
        compared.step,
        compared.key.short(),
        output::moment(provenance.started),
        output::duration(provenance.seconds)
    );
    if let Some(accepted) = provenance.accepted.last() {
        text.push_str(&format!(", accepted {}", output::moment(accepted.at)));
    }
    text
}

/// One a line: name, left, right, difference.
fn table(figures: &[&Figure]) -> String {
    let cell = |value: &Option<Value>| value.as_ref().map_or_else(|| "-".to_owned(), short);
    let rows: Vec<[String; 4]> = figures
        .iter()
        .map(|figure| {
            let difference = figure.difference.filter(|difference| *difference != 0.0);
            [
                figure.name.clone(),
                cell(&figure.left),
                cell(&figure.right),
                difference.map_or_else(String::new, |difference| {
                    format!(
                        "{}{}",
                        if difference > 0.0 { "+" } else { "" },
                        number(difference)
                    )
                }),
            ]
        })
        .collect();
    let width = |column: usize| {
        let lengths = rows.iter().map(|row| row[column].chars().count());
        lengths.max().unwrap_or(0)
    };
    let [name, left, right] = [0, 1, 2].map(width);
    rows.iter()
        .map(|row| {
            let line = format!(
                "  {:name$}  {:>left$}  {:>right$}  {}",
                row[0], row[1], row[2], row[3]
            );
            format!("{}\n", line.trim_end())
        })
        .collect()
}

/// A value in a cell.
fn short(value: &Value) -> String {
    match value {
        Value::Number(_) => value.as_f64().map_or_else(|| value.to_string(), number),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Six digits that count; whole numbers whole.
fn number(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        return format!("{value:.0}");
    }
    let digits = 5 - (value.abs().log10().floor().clamp(-9.0, 5.0) as i32);
    let text = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_count() {
        assert_eq!(number(3.0), "3");
        assert_eq!(number(-0.125), "-0.125");
        assert_eq!(number(0.1 + 0.2), "0.3");
        assert_eq!(number(1234.56789), "1234.57");
        assert_eq!(number(0.000_012_345_678), "0.0000123457");
        assert_eq!(number(1e9), "1000000000");
    }

    #[test]
    fn a_table_lines_up_and_marks_what_is_not_there() {
        let figure = |name: &str, left: Option<Value>, right: Option<Value>, difference| Figure {
            name: name.to_owned(),
            left,
            right,
            difference,
        };
        let rows = [
            figure("top1", Some(0.5.into()), Some(0.625.into()), Some(0.125)),
            figure("kind", Some("a".into()), None, None),
        ];
        assert_eq!(
            table(&rows.iter().collect::<Vec<_>>()),
            "  top1  0.5  0.625  +0.125\n  kind    a      -\n"
        );
    }
}

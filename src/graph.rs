//! `fedact graph`.

use std::collections::HashMap;

use clap::{Args, ValueEnum};
use fedact_pipeline::{Graph, Node, Source};
use serde_json::{Map, Value, json};

use crate::exit::{Code, Refusal};
use crate::output;
use crate::session::{self, Session};

/// `fedact graph`.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    session: session::Arguments,
    /// How to draw it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as --format json.
    #[arg(long)]
    json: bool,
}

/// How to draw a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One step a line.
    Text,
    /// A Mermaid flow chart, which GitHub and others draw.
    Mermaid,
    /// JSON.
    Json,
}

/// Prints the graph.
///
/// # Errors
/// What is wrong with the pipeline.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let graph = Session::open(&arguments.session)?.graph;
    match arguments.format {
        _ if arguments.json => output::json(&as_json(&graph))?,
        Format::Json => output::json(&as_json(&graph))?,
        Format::Text => output::text(&as_text(&graph))?,
        Format::Mermaid => output::text(&as_mermaid(&graph))?,
    }
    Ok(Code::Done)
}

/// A step of the file, with its instances taken together.
struct Drawn<'g> {
    nodes: &'g [Node],
    /// Each input with the names of what it is bound to, in any instance.
    inputs: Vec<(&'g str, Vec<String>)>,
}

impl<'g> Drawn<'g> {
    fn of(graph: &'g Graph, nodes: &'g [Node]) -> Self {
        let mut inputs: Vec<(&str, Vec<String>)> = Vec::new();
        for binding in nodes.iter().flat_map(|node| &node.inputs) {
            let at = inputs.iter().position(|(input, _)| *input == binding.input);
            let at = at.unwrap_or_else(|| {
                inputs.push((&binding.input, Vec::new()));
                inputs.len() - 1
            });
            for source in &binding.sources {
                let name = match source {
                    Source::Step(step) => graph.get(step).map_or(step, |node| &node.step).clone(),
                    Source::Folder(path) => path.display().to_string(),
                };
                if !inputs[at].1.contains(&name) {
                    inputs[at].1.push(name);
                }
            }
        }
        Self { nodes, inputs }
    }

    fn step(&self) -> &str {
        &self.nodes[0].step
    }

    fn stage(&self) -> &'static str {
        self.nodes[0].definition().name
    }

    /// The axes of a matrix step, each with its values.
    fn axes(&self) -> Vec<(&str, Vec<&str>)> {
        let labels = |at: usize| {
            self.nodes
                .iter()
                .filter_map(move |node| node.labels.get(at))
        };
        (0..self.nodes[0].labels.len())
            .map(|at| {
                let mut values: Vec<&str> = Vec::new();
                for label in labels(at) {
                    if !values.contains(&label.text.as_str()) {
                        values.push(&label.text);
                    }
                }
                (self.nodes[0].labels[at].axis.as_str(), values)
            })
            .collect()
    }
}

fn as_text(graph: &Graph) -> String {
    let width = graph.steps().map(|nodes| nodes[0].step.len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for nodes in graph.steps() {
        let step = Drawn::of(graph, nodes);
        text.push_str(&format!("{:width$}  {}", step.step(), step.stage()));
        if !step.inputs.is_empty() {
            let inputs = step.inputs.iter();
            let inputs = inputs.map(|(input, sources)| format!("{input}: {}", sources.join(", ")));
            text.push_str(&format!(" ({})", inputs.collect::<Vec<_>>().join("; ")));
        }
        text.push_str(&format!(" -> {}", nodes[0].definition().output));
        let axes = step.axes();
        if !axes.is_empty() {
            let axes = axes
                .iter()
                .map(|(axis, values)| format!("{axis} ({})", values.join(", ")));
            let axes = axes.collect::<Vec<_>>().join(" x ");
            text.push_str(&format!(", {} instances: {axes}", nodes.len()));
        }
        text.push('\n');
    }
    text
}

fn as_mermaid(graph: &Graph) -> String {
    let mut text = "flowchart LR\n".to_owned();
    // Names of folders, and steps that are called like a word of the language, cannot be identifiers.
    let mut identifiers: HashMap<String, usize> = HashMap::new();
    let mut identifier = |name: &str, text: &mut String, label: &str| {
        let next = identifiers.len();
        let index = *identifiers.entry(name.to_owned()).or_insert_with(|| {
            text.push_str(&format!("  n{next}{label}\n"));
            next
        });
        format!("n{index}")
    };
    for nodes in graph.steps() {
        let step = Drawn::of(graph, nodes);
        let axes: Vec<&str> = step.axes().into_iter().map(|(axis, _)| axis).collect();
        let matrix = if axes.is_empty() {
            String::new()
        } else {
            format!("<br>{} instances: {}", nodes.len(), axes.join(" x "))
        };
        let label = format!("[\"{}<br><i>{}</i>{matrix}\"]", step.step(), step.stage());
        let mut edges = Vec::new();
        for (input, sources) in &step.inputs {
            for from in sources {
                let label = format!("[(\"{}\")]", from.replace('"', "'"));
                edges.push((identifier(from, &mut text, &label), input));
            }
        }
        let to = identifier(step.step(), &mut text, &label);
        for (from, input) in edges {
            text.push_str(&format!("  {from} -->|{input}| {to}\n"));
        }
    }
    text
}

fn as_json(graph: &Graph) -> Value {
    let steps: Vec<Value> = graph
        .nodes()
        .iter()
        .map(|node| {
            json!({
                "step": node.name,
                "of": node.step,
                "labels": labels(node),
                "stage": node.definition().name,
                "output": node.definition().output,
                "inputs": node.inputs,
                "params": node.params,
            })
        })
        .collect();
    json!({ "steps": steps })
}

/// The value of an instance on every axis of its step's matrix.
pub fn labels(node: &Node) -> Map<String, Value> {
    let labels = node.labels.iter();
    labels
        .map(|label| (label.axis.clone(), label.value.clone()))
        .collect()
}

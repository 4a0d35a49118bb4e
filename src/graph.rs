//! `fedact graph`.

use clap::{Args, ValueEnum};
use fedact_pipeline::{Graph, Source};
use serde_json::{Value, json};

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

fn name(source: &Source) -> String {
    match source {
        Source::Step(step) => step.clone(),
        Source::Folder(path) => path.display().to_string(),
    }
}

fn as_text(graph: &Graph) -> String {
    let width = graph.nodes().iter().map(|node| node.name.len()).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for node in graph.nodes() {
        let inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|binding| {
                let sources: Vec<String> = binding.sources.iter().map(name).collect();
                format!("{}: {}", binding.input, sources.join(", "))
            })
            .collect();
        text.push_str(&format!("{:width$}  {}", node.name, node.definition().name));
        if !inputs.is_empty() {
            text.push_str(&format!(" ({})", inputs.join("; ")));
        }
        text.push_str(&format!(" -> {}\n", node.definition().output));
    }
    text
}

fn as_mermaid(graph: &Graph) -> String {
    let mut text = "flowchart LR\n".to_owned();
    // Names of folders, and steps that are called like a word of the language, cannot be identifiers.
    let mut identifiers: Vec<String> = Vec::new();
    let mut identifier = |name: String, text: &mut String, label: &str| {
        let index = identifiers.iter().position(|known| *known == name);
        let index = index.unwrap_or_else(|| {
            text.push_str(&format!("  n{}{label}\n", identifiers.len()));
            identifiers.push(name);
            identifiers.len() - 1
        });
        format!("n{index}")
    };
    for node in graph.nodes() {
        let label = format!("[\"{}<br><i>{}</i>\"]", node.name, node.definition().name);
        let mut edges = Vec::new();
        for binding in &node.inputs {
            for source in &binding.sources {
                let from = name(source);
                let label = format!("[(\"{}\")]", from.replace('"', "'"));
                edges.push((identifier(from, &mut text, &label), binding.input.clone()));
            }
        }
        let to = identifier(node.name.clone(), &mut text, &label);
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
                "stage": node.definition().name,
                "output": node.definition().output,
                "inputs": node.inputs,
                "params": node.params,
            })
        })
        .collect();
    json!({ "steps": steps })
}

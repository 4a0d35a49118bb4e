//! `fedact schema`.

use clap::Args;
use serde_json::Map;

use crate::exit::{Code, Refusal};
use crate::{output, registry};

/// `fedact schema`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The stage; all stages, by name, where none is given.
    stage: Option<String>,
}

/// Prints JSON schemas of params.
///
/// # Errors
/// There is no such stage.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let catalogue = registry::catalogue();
    let schema = match &arguments.stage {
        Some(name) => {
            let Some(entry) = catalogue.get(name) else {
                let known: Vec<&str> = catalogue.names().collect();
                return Err(Refusal::new(
                    Code::Usage,
                    format!("there is no stage `{name}`"),
                    format!("the stages are {}", known.join(", ")),
                ));
            };
            (entry.definition.schema)()
        }
        None => {
            let all: Map<_, _> = catalogue
                .stages()
                .iter()
                .map(|entry| {
                    let definition = entry.definition;
                    (definition.name.to_owned(), (definition.schema)())
                })
                .collect();
            all.into()
        }
    };
    output::text(&format!("{schema:#}\n"))?;
    Ok(Code::Done)
}

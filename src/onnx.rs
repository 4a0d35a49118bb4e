//! `fedact onnx`: a model as ONNX files.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::Args;
use fedact_onnx::{OnnxError, Source};

use crate::exit::{Code, Refusal};
use crate::output;
use crate::predict::model_folder;

/// `fedact onnx`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of a model (with model.json in it), or a step that made one.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// How many clips the files take at a time, for runtimes and converters that want to know all sizes (TFLite,
    /// ncnn); otherwise any number.
    #[arg(long, value_name = "N")]
    clips: Option<NonZeroU32>,
    /// The folder to write into; it is made where there is none.
    #[arg(long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Replace files that are there.
    #[arg(long)]
    overwrite: bool,
    /// The folder in which the outputs of steps are.
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    artifacts: PathBuf,
    /// Print JSON, one line a file.
    #[arg(long)]
    json: bool,
}

/// Writes the model in every form that it has.
///
/// # Errors
/// There is no such model, or it is damaged; a file is there, or cannot be written.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let folder = model_folder(&arguments.model, &arguments.artifacts)?;
    let mut source = Source::open(&folder)?;
    if let Some(clips) = arguments.clips {
        source = source.for_clips(clips);
    }
    let variants = source.variants();
    let path = |name: &str| arguments.output.join(name);
    let there = |name: &&str| !arguments.overwrite && path(name).exists();
    let mut names = variants.iter().map(|variant| variant.file_name());
    if let Some(name) = names.find(|name| there(name)) {
        return Err(output::already_there(&path(name)));
    }
    std::fs::create_dir_all(&arguments.output).map_err(|error| {
        Refusal::failed(&format!("make {}", arguments.output.display()), &error)
    })?;
    for variant in variants {
        let written = source.write(variant, &arguments.output)?;
        let bytes = written
            .metadata()
            .map_err(|error| Refusal::failed(&format!("read {}", written.display()), &error))?
            .len();
        if arguments.json {
            output::json(&serde_json::json!({
                "file": written,
                "precision": variant.precision.name(),
                "dimensions": variant.form.dimensions(),
                "bytes": bytes,
            }))?;
        } else {
            output::text(&format!("{}: {}\n", written.display(), output::size(bytes)))?;
        }
    }
    Ok(Code::Done)
}

impl From<OnnxError> for Refusal {
    fn from(error: OnnxError) -> Self {
        let code = match error {
            OnnxError::Write { .. } => Code::Failed,
            _ => Code::Invalid,
        };
        let cause = std::error::Error::source(&error).map(|source| format!(": {source}"));
        Self {
            code,
            message: format!("{error}{}", cause.unwrap_or_default()),
            help: None,
            others: Vec::new(),
        }
    }
}

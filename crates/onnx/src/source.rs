//! A model's folder, and the ONNX files that can be made of it.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use fedact_recipe::Layout;
use fedact_stored::{DESCRIPTION, Description, Weights};
use prost::Message;

use crate::graph::Graph;
use crate::layers::has_pictures_form;
use crate::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::{Form, OnnxError, Precision, Variant};

/// The version of the format: that of ONNX 1.8, with which operator set 13 came.
const IR_VERSION: i64 = 7;

/// The operators meant: the first set in which weights have a scale an output channel.
const OPERATORS: i64 = 13;

/// A model, float or quantized, read once.
#[derive(Debug)]
pub struct Source {
    folder: PathBuf,
    description: Description,
    layout: Layout,
    weights: Weights,
    clips: Option<NonZeroU32>,
}

impl Source {
    /// Reads `model.json` and `model.safetensors` in the folder of a model.
    ///
    /// # Errors
    /// Names the file that is missing or damaged.
    pub fn open(folder: &Path) -> Result<Self, OnnxError> {
        let description = Description::read(folder)?;
        Ok(Self {
            layout: description.architecture.layout()?,
            weights: Weights::open(folder)?,
            folder: folder.to_owned(),
            description,
            clips: None,
        })
    }

    /// With files that take so many clips at a time instead of any number: all sizes in them are known, as some
    /// runtimes and most converters want it.
    #[must_use]
    pub fn for_clips(self, clips: NonZeroU32) -> Self {
        Self {
            clips: Some(clips),
            ..self
        }
    }

    /// All forms in which the model can be written: float first, and of each precision that with 3-D
    /// convolutions first.
    pub fn variants(&self) -> Vec<Variant> {
        let precisions: &[Precision] = match self.description.quantization {
            Some(_) => &[Precision::Float, Precision::Int8, Precision::SymmetricInt8],
            None => &[Precision::Float],
        };
        let mut variants = Vec::new();
        for &precision in precisions {
            let volumes = Form::Volumes;
            if !matches!(self.layout, Layout::Tsm(_)) {
                variants.push(Variant {
                    precision,
                    form: volumes,
                });
            }
            // TensorRT has 3-D convolutions in int8.
            if self.has_pictures_form() && precision != Precision::SymmetricInt8 {
                let form = Form::Pictures;
                variants.push(Variant { precision, form });
            }
        }
        variants
    }

    fn has_pictures_form(&self) -> bool {
        let convolutions = self.layout.convolutions();
        convolutions.into_iter().all(has_pictures_form)
    }

    /// The model in this form.
    ///
    /// # Errors
    /// A form that the model does not have; names the tensor that is missing, of another shape or not
    /// finite.
    pub fn model(&self, variant: Variant) -> Result<ModelProto, OnnxError> {
        let Variant { precision, form } = variant;
        if precision != Precision::Float && self.description.quantization.is_none() {
            let path = self.folder.clone();
            return Err(OnnxError::NotQuantized { path });
        }
        if form == Form::Pictures && !self.has_pictures_form() {
            let architecture = self.description.architecture.to_string();
            return Err(OnnxError::NoPictures { architecture });
        }
        let form = match self.layout {
            Layout::Tsm(_) => Form::Pictures,
            Layout::Residual(_) | Layout::X3d(_) => form,
        };
        let clips = self.clips.map(|clips| i64::from(clips.get()));
        let written = Variant { precision, form };
        let mut graph = Graph::new(&self.description, &self.weights, written, clips);
        match &self.layout {
            Layout::Residual(layout) => graph.residual(layout)?,
            Layout::X3d(layout) => graph.x3d(layout)?,
            Layout::Tsm(layout) => graph.tsm(layout)?,
        }
        if !graph.places.is_empty() {
            let names: Vec<String> = graph.places.into_keys().collect();
            return Err(OnnxError::UnknownPlaces {
                path: self.folder.join(DESCRIPTION),
                names: names.join(", "),
            });
        }
        Ok(ModelProto {
            ir_version: IR_VERSION,
            producer_name: "fedact".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            doc_string: self.words(),
            graph: Some(graph.finish()),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPERATORS,
            }],
            metadata_props: self.metadata(variant)?,
        })
    }

    /// Writes the model in this form into a folder, under [`Variant::file_name`]; gives its path.
    ///
    /// # Errors
    /// As [`model`](Self::model); names the file that cannot be written.
    pub fn write(&self, variant: Variant, folder: &Path) -> Result<PathBuf, OnnxError> {
        let path = folder.join(variant.file_name());
        let bytes = self.model(variant)?.encode_to_vec();
        std::fs::write(&path, bytes).map_err(|source| OnnxError::Write {
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// What to put in and what comes out, for people.
    fn words(&self) -> String {
        let input = self.description.input;
        let clips = self.clips.map(|clips| format!("{clips} "));
        format!(
            "{}: takes clips as RGB bytes [{}clips, {} frames, {} rows, {} columns, 3] and gives the logits of {} \
             classes, whose names are in the metadata; the softmax of the logits are probabilities",
            self.description.architecture,
            clips.unwrap_or_default(),
            input.frames,
            input.height,
            input.width,
            self.description.classes.len()
        )
    }

    /// All that a program on a device needs to know beside the graph, values as JSON.
    fn metadata(&self, variant: Variant) -> Result<Vec<StringStringEntryProto>, OnnxError> {
        let description = &self.description;
        let input = description.input;
        let mut entries = vec![
            ("architecture", description.architecture.to_string()),
            (
                "classes",
                serde_json::json!(description.classes).to_string(),
            ),
            ("frames", input.frames.to_string()),
            ("height", input.height.to_string()),
            ("width", input.width.to_string()),
            ("mean", serde_json::json!(description.mean).to_string()),
            ("std", serde_json::json!(description.std).to_string()),
            ("precision", variant.precision.name().to_owned()),
            ("source_sha256", self.weights.digest()?),
        ];
        if let Some(clips) = self.clips {
            entries.push(("clips", clips.to_string()));
        }
        if let Some(sampling) = &description.sampling {
            entries.push(("sampling", sampling.to_string()));
        }
        let entry = |(key, value): (&str, String)| StringStringEntryProto {
            key: key.to_owned(),
            value,
        };
        Ok(entries.into_iter().map(entry).collect())
    }
}

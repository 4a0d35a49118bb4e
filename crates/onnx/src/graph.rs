//! The graph while it is built: operations in the order of execution, constants, types of all values.

use std::collections::{BTreeMap, BTreeSet};

use fedact_recipe::Affine;
use fedact_stored::{Description, Weights};

use crate::proto::{
    AttributeProto, Dimension, GraphProto, INT, INTS, Length, NodeProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, kind,
};
use crate::value::{Arrangement, Value};
use crate::{Form, Precision, Variant};

/// What is put in.
pub(crate) const INPUT: &str = "clips";
/// What comes out.
pub(crate) const OUTPUT: &str = "logits";

/// A graph that grows.
pub(crate) struct Graph<'a> {
    pub description: &'a Description,
    pub weights: &'a Weights,
    pub precision: Precision,
    pub form: Form,
    /// How many clips are put in; none: any number.
    clips: Option<i64>,
    /// Whether the model has no batch norm of its own any more.
    pub folded: bool,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    values: Vec<ValueInfoProto>,
    names: BTreeSet<String>,
    /// How the places round that were not met yet.
    pub(crate) places: BTreeMap<String, Affine>,
}

impl<'a> Graph<'a> {
    pub fn new(
        description: &'a Description,
        weights: &'a Weights,
        Variant { precision, form }: Variant,
        clips: Option<i64>,
    ) -> Self {
        let quantization = description.quantization.as_ref();
        let places = match precision {
            Precision::Float => BTreeMap::new(),
            Precision::Int8 | Precision::SymmetricInt8 => quantization
                .iter()
                .flat_map(|quantization| &quantization.activations)
                .map(|activation| (activation.name.clone(), activation.affine))
                .collect(),
        };
        Self {
            description,
            weights,
            precision,
            form,
            clips,
            folded: quantization.is_some(),
            nodes: Vec::new(),
            constants: Vec::new(),
            values: Vec::new(),
            names: [INPUT, OUTPUT].map(str::to_owned).into(),
            places,
        }
    }

    /// A name that no value has yet.
    pub fn fresh(&mut self, wanted: impl Into<String>) -> String {
        let wanted = wanted.into();
        let mut name = wanted.clone();
        let mut again = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{wanted}/{again}");
            again += 1;
        }
        name
    }

    /// Appends an operation that gives `output`.
    pub fn operation(
        &mut self,
        kind: &str,
        inputs: &[&str],
        output: &Value,
        attributes: Vec<AttributeProto>,
    ) {
        self.raw_operation(kind, inputs, &output.name, attributes);
        if output.name != OUTPUT {
            self.values.push(self.info_of(output, kind::FLOAT));
        }
    }

    /// The same for an output that is not of 32-bit numbers.
    pub fn typed_operation(
        &mut self,
        operation: &str,
        inputs: &[&str],
        output: &Value,
        kind: i32,
        attributes: Vec<AttributeProto>,
    ) {
        self.raw_operation(operation, inputs, &output.name, attributes);
        self.values.push(self.info_of(output, kind));
    }

    fn info_of(&self, value: &Value, kind: i32) -> ValueInfoProto {
        let first = self.first_side(value.of_a_clip());
        value_info(&value.name, kind, first, &value.dimensions())
    }

    /// The side along which clips lie, so often each.
    fn first_side(&self, of_a_clip: i64) -> Length {
        match (self.clips, of_a_clip) {
            (Some(clips), _) => Length::Value(clips * of_a_clip),
            (None, 1) => Length::Name("clips".to_owned()),
            (None, _) => Length::Name(format!("clips x {of_a_clip}")),
        }
    }

    /// The same in the shape that a tensor is brought into.
    pub fn first_of_shape(&self, of_a_clip: i64) -> i64 {
        self.clips.map_or(-1, |clips| clips * of_a_clip)
    }

    /// The same for an output that nobody needs to know the type of: constants that become others.
    pub fn raw_operation(
        &mut self,
        kind: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|name| (*name).to_owned()).collect(),
            output: vec![output.to_owned()],
            name: format!("{output}/{kind}"),
            op_type: kind.to_owned(),
            attribute: attributes,
        });
    }

    /// Puts clips in as bytes \[clips, frames, height, width, 3\], as cameras and clip sets have them, and
    /// normalises them: `byte × 1/(255·std) − mean/std`.
    pub fn clips(&mut self) -> Value {
        let size = [
            self.description.input.frames,
            self.description.input.height,
            self.description.input.width,
        ];
        let [frames, height, width] = size;
        let mut state = INPUT.to_owned();
        if self.form == Form::Pictures {
            let pictures = self.first_of_shape(frames);
            let shape = self.integers("pictures", &[pictures, height, width, 3]);
            state = self.plain("Reshape", &[&state, &shape], "clips/pictures", Vec::new());
        }
        let to_float = vec![integer("to", i64::from(kind::FLOAT))];
        state = self.plain("Cast", &[&state], "clips/float", to_float);
        let std = self.description.std;
        let mean = self.description.mean;
        let slope = std.map(|std| (1.0 / (255.0 * std)) as f32);
        let offset: [f32; 3] = std::array::from_fn(|colour| (-mean[colour] / std[colour]) as f32);
        let slope = self.floats("normalisation/slope", &[3], &slope);
        let offset = self.floats("normalisation/offset", &[3], &offset);
        state = self.plain("Mul", &[&state, &slope], "clips/scaled", Vec::new());
        state = self.plain("Add", &[&state, &offset], "clips/shifted", Vec::new());
        let (arrangement, order): (_, &[i64]) = match self.form {
            Form::Volumes => (Arrangement::Volumes, &[0, 4, 1, 2, 3]),
            Form::Pictures => (Arrangement::Pictures, &[0, 3, 1, 2]),
        };
        let value = Value {
            name: self.fresh("clips/normalised"),
            channels: 3,
            size,
            arrangement,
        };
        self.operation(
            "Transpose",
            &[&state],
            &value,
            vec![integers("perm", order)],
        );
        value
    }

    fn plain(
        &mut self,
        kind: &str,
        inputs: &[&str],
        output: &str,
        attributes: Vec<AttributeProto>,
    ) -> String {
        let output = self.fresh(output);
        self.raw_operation(kind, inputs, &output, attributes);
        output
    }

    /// A constant of 32-bit numbers; of equal names there is one.
    pub fn floats(&mut self, name: &str, shape: &[i64], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        self.constant(name, kind::FLOAT, shape, bytes.collect())
    }

    /// A constant list of integers.
    pub fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        let shape = [values.len() as i64];
        self.constant(name, kind::INT64, &shape, bytes.collect())
    }

    /// A constant of any kind.
    pub fn constant(&mut self, name: &str, kind: i32, shape: &[i64], bytes: Vec<u8>) -> String {
        let tensor = TensorProto {
            dims: shape.to_vec(),
            data_type: kind,
            name: name.to_owned(),
            raw_data: bytes,
        };
        if self.constants.contains(&tensor) {
            return tensor.name;
        }
        let name = self.fresh(name);
        self.constants.push(TensorProto {
            name: name.clone(),
            ..tensor
        });
        name
    }

    /// The graph as it stands in the file.
    pub fn finish(self) -> GraphProto {
        let input = self.description.input;
        let clips = [input.frames, input.height, input.width, 3];
        let logits = [self.description.classes.len() as i64];
        let info = |name, kind, sides: &[i64]| value_info(name, kind, self.first_side(1), sides);
        let (input, output) = (
            info(INPUT, kind::UINT8, &clips),
            info(OUTPUT, kind::FLOAT, &logits),
        );
        GraphProto {
            node: self.nodes,
            name: self.description.architecture.to_string(),
            initializer: self.constants,
            input: vec![input],
            output: vec![output],
            value_info: self.values,
        }
    }
}

/// An attribute of one integer.
pub(crate) fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: Some(value),
        ints: Vec::new(),
        r#type: INT,
    }
}

/// An attribute of several.
pub(crate) fn integers(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: None,
        ints: values.to_vec(),
        r#type: INTS,
    }
}

fn value_info(name: &str, kind: i32, first: Length, others: &[i64]) -> ValueInfoProto {
    let others = others.iter().copied().map(Length::Value);
    let sides = std::iter::once(first).chain(others);
    let dimension = |side| Dimension { value: Some(side) };
    let tensor = TensorTypeProto {
        elem_type: kind,
        shape: Some(TensorShapeProto {
            dim: sides.map(dimension).collect(),
        }),
    };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor),
        }),
    }
}

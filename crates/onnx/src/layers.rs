//! Layers as operations, in three dimensions or in two.
//!
//! A convolution of kernel (1, k, k) is one of two dimensions over pictures, one of (k, 1, 1) over the
//! frames of each position; between them the numbers are arranged anew. Where an operation does not care,
//! they stay as they are.

use fedact_recipe::{ConvLayout, HeadLayout, STEM_POOL};

use crate::OnnxError;
use crate::graph::{Graph, OUTPUT, integer, integers};
use crate::value::{Arrangement, Value};

/// Whether two-dimensional convolutions can stand for this one.
pub(crate) fn has_pictures_form(layer: &ConvLayout) -> bool {
    let [_, height, width] = layer.kernel;
    layer.kernel[0] == 1 || ((height, width) == (1, 1) && layer.stride[1..] == [1, 1])
}

impl Graph<'_> {
    /// A convolution with its bias, batch norm folded in.
    pub fn convolve(&mut self, input: &Value, layer: &ConvLayout) -> Result<Value, OnnxError> {
        if input.arrangement == Arrangement::Volumes {
            return self.convolve_as(input, layer, &[0, 1, 2]);
        }
        if layer.kernel[0] == 1 {
            let [frames, height, width] = layer.stride;
            let kept = self.every(input, [frames, 1, 1]);
            let pictures = self.arranged(&kept, Arrangement::Pictures);
            let layer = ConvLayout {
                stride: [1, height, width],
                ..layer.clone()
            };
            return self.convolve_as(&pictures, &layer, &[1, 2]);
        }
        let times = self.arranged(input, Arrangement::Times);
        self.convolve_as(&times, layer, &[0, 1])
    }

    /// A convolution over these of the axes of frames, height and width.
    fn convolve_as(
        &mut self,
        input: &Value,
        layer: &ConvLayout,
        axes: &[usize],
    ) -> Result<Value, OnnxError> {
        let (weight, bias) = self.weights.convolution(layer, self.folded)?;
        let over = |sides: [i64; 3]| axes.iter().map(|axis| sides[*axis]).collect::<Vec<_>>();
        let kernel = over(layer.kernel);
        let shape: Vec<i64> = [layer.outputs, layer.inputs / layer.groups]
            .into_iter()
            .chain(kernel.iter().copied())
            .collect();
        let weight = self.weight(&layer.conv, &weight, &shape)?;
        let bias = self.bias(&layer.conv, &bias);
        let padding = over(layer.padding);
        let mut attributes = vec![
            integers("kernel_shape", &kernel),
            integers("strides", &over(layer.stride)),
            integers("pads", &[padding.clone(), padding].concat()),
        ];
        if layer.groups != 1 {
            attributes.push(integer("group", layer.groups));
        }
        let output = Value {
            channels: layer.outputs,
            size: layer.output_size(input.size),
            ..input.named(self.fresh(&layer.conv))
        };
        let inputs = [&input.name, &weight, &bias].map(String::as_str);
        self.operation("Conv", &inputs, &output, attributes);
        Ok(output)
    }

    /// An operation of one value that keeps its shape.
    pub fn map(&mut self, kind: &str, input: &Value) -> Value {
        let name = format!("{}/{}", input.name, kind.to_lowercase());
        let output = input.named(self.fresh(name));
        self.operation(kind, &[&input.name], &output, Vec::new());
        output
    }

    /// Cuts off at 0.
    pub fn relu(&mut self, input: &Value) -> Value {
        self.map("Relu", input)
    }

    /// Cuts off at 0 and at 6.
    pub fn relu6(&mut self, input: &Value) -> Value {
        let (low, high) = (
            self.floats("zero", &[], &[0.0]),
            self.floats("six", &[], &[6.0]),
        );
        let output = input.named(self.fresh(format!("{}/relu6", input.name)));
        self.operation("Clip", &[&input.name, &low, &high], &output, Vec::new());
        output
    }

    /// `x × sigmoid(x)`.
    pub fn silu(&mut self, input: &Value) -> Value {
        let gate = self.map("Sigmoid", input);
        self.product(input, &gate, &format!("{}/silu", input.name))
    }

    /// Each number times another, or times that of its channel.
    pub fn product(&mut self, input: &Value, factor: &Value, name: &str) -> Value {
        let output = input.named(self.fresh(name));
        self.operation("Mul", &[&input.name, &factor.name], &output, Vec::new());
        output
    }

    /// The sum of two values of one shape.
    pub fn sum(&mut self, one: &Value, other: &Value, name: &str) -> Value {
        let other = self.arranged(other, one.arrangement);
        let output = one.named(self.fresh(name));
        self.operation("Add", &[&one.name, &other.name], &output, Vec::new());
        output
    }

    /// The max-pool behind Hara's stem. In two dimensions it is one over space and then one through time:
    /// the largest of the largest.
    pub fn pooled(&mut self, input: &Value) -> Value {
        if input.arrangement == Arrangement::Volumes {
            return self.pooled_over(input, &[0, 1, 2], [true; 3]);
        }
        let pictures = self.arranged(input, Arrangement::Pictures);
        let across = self.pooled_over(&pictures, &[1, 2], [false, true, true]);
        let times = self.arranged(&across, Arrangement::Times);
        self.pooled_over(&times, &[0, 1], [true, false, false])
    }

    /// A max-pool over the axes of the arrangement; those that are not pooled have a window of 1.
    fn pooled_over(&mut self, input: &Value, axes: &[usize], pooled: [bool; 3]) -> Value {
        let (kernel, stride, padding) = STEM_POOL;
        let over = |inside: i64, outside: i64| {
            let sides = axes
                .iter()
                .map(|axis| if pooled[*axis] { inside } else { outside });
            sides.collect::<Vec<i64>>()
        };
        let size = std::array::from_fn(|axis| {
            let side = input.size[axis];
            if pooled[axis] {
                (side + 2 * padding - kernel) / stride + 1
            } else {
                side
            }
        });
        let output = Value {
            size,
            ..input.named(self.fresh("pool"))
        };
        let padding = over(padding, 0);
        let attributes = vec![
            integers("kernel_shape", &over(kernel, 1)),
            integers("strides", &over(stride, 1)),
            integers("pads", &[padding.clone(), padding].concat()),
        ];
        self.operation("MaxPool", &[&input.name], &output, attributes);
        output
    }

    /// The values at every so many frames, rows and columns.
    pub fn every(&mut self, input: &Value, steps: [i64; 3]) -> Value {
        let [frames, height, width] = steps;
        if input.arrangement == Arrangement::Volumes {
            return self.every_of(input, steps, &[2, 3, 4], [frames, height, width]);
        }
        let mut state = input.clone();
        if frames > 1 {
            state = self.arranged(&state, Arrangement::Times);
            state = self.every_of(&state, [frames, 1, 1], &[2], [frames, 1, 1]);
        }
        if height > 1 || width > 1 {
            state = self.arranged(&state, Arrangement::Pictures);
            state = self.every_of(&state, [1, height, width], &[2, 3], [height, width, 1]);
        }
        state
    }

    /// The values at every so many places of these axes of the tensor.
    fn every_of(&mut self, input: &Value, steps: [i64; 3], axes: &[i64], along: [i64; 3]) -> Value {
        if steps == [1; 3] {
            return input.clone();
        }
        let along = &along[..axes.len()];
        let starts = vec![0; axes.len()];
        let ends: Vec<i64> = axes
            .iter()
            .map(|axis| input.dimensions()[*axis as usize - 1])
            .collect();
        let output = Value {
            size: std::array::from_fn(|axis| (input.size[axis] + steps[axis] - 1) / steps[axis]),
            ..input.named(self.fresh(format!("{}/kept", input.name)))
        };
        self.slice(input, &output, [&starts, &ends, axes, along]);
        output
    }

    /// The part of a tensor from starts to ends on some axes, in steps.
    pub fn slice(&mut self, input: &Value, output: &Value, parts: [&[i64]; 4]) {
        let names = ["starts", "ends", "axes", "steps"];
        let constants: Vec<String> = names
            .iter()
            .zip(parts)
            .map(|(name, values)| self.integers(&format!("{}/{name}", output.name), values))
            .collect();
        let inputs: Vec<&str> = std::iter::once(&input.name)
            .chain(&constants)
            .map(String::as_str)
            .collect();
        self.operation("Slice", &inputs, output, Vec::new());
    }

    /// Zeros around a tensor: so many in front on each axis, and then so many behind.
    pub fn padded(&mut self, input: &Value, output: &Value, zeros: &[i64]) {
        let zeros = self.integers(&format!("{}/zeros", output.name), zeros);
        self.operation("Pad", &[&input.name, &zeros], output, Vec::new());
    }

    /// Zeros in so many new channels behind the old ones.
    pub fn more_channels(&mut self, input: &Value, channels: i64) -> Value {
        let output = Value {
            channels: input.channels + channels,
            ..input.named(self.fresh(format!("{}/padded", input.name)))
        };
        let axes = input.dimensions().len() + 1;
        let mut zeros = vec![0; 2 * axes];
        zeros[axes + 1] = channels;
        self.padded(input, &output, &zeros);
        output
    }

    /// Means over frames and space, each a clip's channel: as features, or as a volume of one number.
    pub fn means(&mut self, input: &Value, features: bool) -> Value {
        let whole = match input.arrangement {
            Arrangement::Pictures => self.arranged(input, Arrangement::Times),
            _ => input.clone(),
        };
        let means = Value {
            size: [1; 3],
            ..whole.named(self.fresh(format!("{}/mean", input.name)))
        };
        self.operation("GlobalAveragePool", &[&whole.name], &means, Vec::new());
        if features { self.flat(&means) } else { means }
    }

    /// One number a channel as features.
    pub fn flat(&mut self, input: &Value) -> Value {
        let output = Value {
            arrangement: Arrangement::Features,
            ..input.named(self.fresh(format!("{}/flat", input.name)))
        };
        self.operation("Flatten", &[&input.name], &output, vec![integer("axis", 1)]);
        output
    }

    /// The last layer, which ends the graph.
    pub fn head(&mut self, features: &Value, layout: &HeadLayout) -> Result<(), OnnxError> {
        let shape = [self.description.classes.len() as i64, layout.inputs];
        let (weight, bias) = self.weights.head(&layout.name, &shape)?;
        let weight = self.weight(&layout.name, &weight, &shape)?;
        let bias = self.bias(&layout.name, &bias);
        let output = Value {
            channels: shape[0],
            ..features.named(OUTPUT.to_owned())
        };
        let inputs = [&features.name, &weight, &bias].map(String::as_str);
        self.operation("Gemm", &inputs, &output, vec![integer("transB", 1)]);
        Ok(())
    }

    /// The same numbers, arranged as pictures or as times.
    pub fn arranged(&mut self, input: &Value, wanted: Arrangement) -> Value {
        let [frames, height, width] = input.size;
        let channels = input.channels;
        let turned = |graph: &mut Self, state: &str, name: &str| {
            let name = graph.fresh(name);
            graph.raw_operation(
                "Transpose",
                &[state],
                &name,
                vec![integers("perm", &[0, 2, 1, 3])],
            );
            name
        };
        let output = |graph: &mut Self, word: &str| Value {
            arrangement: wanted,
            ..input.named(graph.fresh(format!("{}/{word}", input.name)))
        };
        match (input.arrangement, wanted) {
            (Arrangement::Pictures, Arrangement::Times) => {
                let clips = self.first_of_shape(1);
                let shape = self.integers(
                    &format!("shape {frames} {channels} {}", height * width),
                    &[clips, frames, channels, height * width],
                );
                let rows = self.fresh(format!("{}/frames", input.name));
                self.raw_operation("Reshape", &[&input.name, &shape], &rows, Vec::new());
                let output = output(self, "times");
                let turn = vec![integers("perm", &[0, 2, 1, 3])];
                self.operation("Transpose", &[&rows], &output, turn);
                output
            }
            (Arrangement::Times, Arrangement::Pictures) => {
                let rows = turned(self, &input.name, &format!("{}/frames", input.name));
                let pictures = self.first_of_shape(frames);
                let shape = self.integers(
                    &format!("shape {channels} {height} {width}"),
                    &[pictures, channels, height, width],
                );
                let output = output(self, "pictures");
                self.operation("Reshape", &[&rows, &shape], &output, Vec::new());
                output
            }
            _ => input.clone(),
        }
    }
}

//! What a network costs: numbers to store, and work to do for a clip.

use super::{ConvLayout, Layout};

/// What a network costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Trainable numbers.
    pub parameters: u64,
    /// The same once batch norm is folded into the convolutions, which have biases then.
    pub folded_parameters: u64,
    /// Multiplications with an addition that one clip takes, in convolutions and the last layer: half
    /// of its floating-point operations, and what the tables of papers call FLOPs. Pooling, batch norm
    /// and everything else that is done once for a number is left out, as it is there.
    pub multiply_adds: u64,
    /// Numbers that the convolutions put out for one clip.
    pub activations: u64,
}

/// Adds up the work along a clip's way through a network.
#[derive(Debug)]
pub(super) struct Tally {
    /// Frames, height and width of what the clip has become.
    size: [i64; 3],
    multiply_adds: i64,
    activations: i64,
}

impl Tally {
    /// Before the first layer, with a clip of these frames, height and width.
    pub fn new(size: [i64; 3]) -> Self {
        Self {
            size,
            multiply_adds: 0,
            activations: 0,
        }
    }

    /// A convolution that the clip passes.
    pub fn pass(&mut self, layer: &ConvLayout) {
        self.beside(layer, self.size);
        self.size = layer.output_size(self.size);
    }

    /// A convolution beside the clip's way, of an input of this size.
    pub fn beside(&mut self, layer: &ConvLayout, input: [i64; 3]) {
        let positions = layer.output_size(input).iter().product::<i64>();
        self.multiply_adds += positions * layer.weight_shape().iter().product::<i64>();
        self.activations += positions * layer.outputs;
    }

    /// What the clip has become.
    pub fn size(&self) -> [i64; 3] {
        self.size
    }

    /// From here on it has this size.
    pub fn resize(&mut self, size: [i64; 3]) {
        self.size = size;
    }

    pub fn finish(self, layout: &Layout, classes: usize) -> Cost {
        let trainable = |name: &str| name.ends_with(".weight") || name.ends_with(".bias");
        let parameters = layout.state(classes);
        let parameters = parameters.iter().filter(|(name, _)| trainable(name));
        let parameters: i64 = parameters
            .map(|(_, shape)| shape.iter().product::<i64>())
            .sum();
        // A factor and a summand a channel become a summand.
        let normalised = layout.convolutions().into_iter();
        let normalised = normalised.filter(|layer| layer.norm.is_some());
        let folded = parameters - normalised.map(|layer| layer.outputs).sum::<i64>();
        let head = layout.head().inputs * classes as i64;
        Cost {
            parameters: parameters as u64,
            folded_parameters: folded as u64,
            multiply_adds: (self.multiply_adds + head) as u64,
            activations: self.activations as u64,
        }
    }
}

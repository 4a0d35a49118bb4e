//! Layers by name and shape.

/// One convolution, with the batch norm behind it where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvLayout {
    /// Prefix of the convolution's parameters, as in `layer1.0.conv1.0`.
    pub conv: String,
    /// Prefix of the batch norm's parameters, as in `layer1.0.conv1.1`.
    pub norm: Option<String>,
    /// Channels in.
    pub inputs: i64,
    /// Channels out.
    pub outputs: i64,
    /// Groups of channels that do not see each other; 1 but in depthwise convolutions, which have one
    /// a channel.
    pub groups: i64,
    /// Frames, height, width.
    pub kernel: [i64; 3],
    /// Frames, height, width.
    pub stride: [i64; 3],
    /// Frames, height, width; the same at both ends.
    pub padding: [i64; 3],
    /// Whether the convolution adds a bias of its own.
    pub bias: bool,
    /// Whether the weight has no axis of frames, as in networks for images.
    pub planar: bool,
}

impl ConvLayout {
    /// A convolution without bias or batch norm, padded so that a stride of 1 keeps the size.
    pub(super) fn new(
        conv: impl Into<String>,
        (inputs, outputs): (i64, i64),
        kernel: [i64; 3],
        stride: [i64; 3],
    ) -> Self {
        Self {
            conv: conv.into(),
            norm: None,
            inputs,
            outputs,
            groups: 1,
            kernel,
            stride,
            padding: kernel.map(|side| side / 2),
            bias: false,
            planar: false,
        }
    }

    /// The same, each channel on its own.
    pub(super) fn depthwise(self) -> Self {
        Self {
            groups: self.inputs,
            ..self
        }
    }

    /// The same with a batch norm behind it.
    pub(super) fn normalised(self, norm: impl Into<String>) -> Self {
        Self {
            norm: Some(norm.into()),
            ..self
        }
    }

    /// Shape of the weight: outputs, inputs of a group, kernel.
    pub fn weight_shape(&self) -> Vec<i64> {
        let kernel = &self.kernel[usize::from(self.planar)..];
        let channels = [self.outputs, self.inputs / self.groups];
        channels.iter().chain(kernel).copied().collect()
    }

    /// Length of each side of the output for an input of these frames, height and width.
    pub fn output_size(&self, input: [i64; 3]) -> [i64; 3] {
        std::array::from_fn(|axis| {
            (input[axis] + 2 * self.padding[axis] - self.kernel[axis]) / self.stride[axis] + 1
        })
    }

    /// The layer as it stands in front of so many frames, and the middle of its kernel where that is all that sees one: of
    /// a single frame, what a kernel over frames sees beside it is padding.
    pub fn in_front_of(&self, frames: i64) -> (Self, Option<i64>) {
        let mut layer = self.clone();
        let (kernel, padding) = (layer.kernel[0], layer.padding[0]);
        if frames != 1 || kernel == 1 || kernel != 2 * padding + 1 {
            return (layer, None);
        }
        (layer.kernel[0], layer.padding[0]) = (1, 0);
        (layer, Some(padding))
    }

    /// Names and shapes of its part of the checkpoint.
    pub(super) fn state(&self) -> Vec<(String, Vec<i64>)> {
        let mut state = vec![(format!("{}.weight", self.conv), self.weight_shape())];
        if self.bias {
            state.push((format!("{}.bias", self.conv), vec![self.outputs]));
        }
        if let Some(norm) = &self.norm {
            for part in ["weight", "bias", "running_mean", "running_var"] {
                state.push((format!("{norm}.{part}"), vec![self.outputs]));
            }
            state.push((format!("{norm}.num_batches_tracked"), Vec::new()));
        }
        state
    }
}

/// The last layer: from features to the logits of the classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadLayout {
    /// Prefix of its parameters, as in `fc`.
    pub name: String,
    /// Features in.
    pub inputs: i64,
}

impl HeadLayout {
    /// Names and shapes of its part of the checkpoint.
    pub(super) fn state(&self, classes: usize) -> [(String, Vec<i64>); 2] {
        let classes = classes as i64;
        [
            (format!("{}.weight", self.name), vec![classes, self.inputs]),
            (format!("{}.bias", self.name), vec![classes]),
        ]
    }
}

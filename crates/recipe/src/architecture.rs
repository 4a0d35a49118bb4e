//! Which network: family, depth and width, and the convolutions that follow from them.

use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A family of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// 3-D residual networks: every convolution is 3x3x3 (Tran et al. 2018, arXiv 1711.11248; Hara et
    /// al. 2018, arXiv 1711.09577), laid out as torchvision's `r3d_18`.
    #[default]
    R3d,
}

/// A network up to its input and its classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Architecture {
    /// Family of networks; `r3d` is the 3-D residual network.
    pub arch: Family,
    /// Weighted layers: 10, 18, 26 or 34, with 1, 2, 3 or 3-4-6-3 residual blocks a stage.
    pub depth: u32,
    /// Channels of the stem; the four stages have 1, 2, 4 and 8 times as many. 64 is torchvision's.
    pub width: u32,
}

impl Default for Architecture {
    fn default() -> Self {
        Self {
            arch: Family::R3d,
            depth: 18,
            width: 16,
        }
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Family::R3d = self.arch;
        write!(f, "R3D-{} width {}", self.depth, self.width)
    }
}

/// One convolution with the batch norm behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvLayout {
    /// Prefix of the convolution's parameters, as in `layer1.0.conv1.0`.
    pub conv: String,
    /// Prefix of the batch norm's parameters, as in `layer1.0.conv1.1`.
    pub norm: String,
    /// Channels in.
    pub inputs: i64,
    /// Channels out.
    pub outputs: i64,
    /// Frames, height, width.
    pub kernel: [i64; 3],
    /// Frames, height, width.
    pub stride: [i64; 3],
    /// Frames, height, width; the same at both ends.
    pub padding: [i64; 3],
}

impl ConvLayout {
    /// Shape of the weight: outputs, inputs, kernel.
    pub fn weight_shape(&self) -> [i64; 5] {
        let [t, h, w] = self.kernel;
        [self.outputs, self.inputs, t, h, w]
    }

    /// Length of each side of the output for an input of these frames, height and width.
    pub fn output_size(&self, input: [i64; 3]) -> [i64; 3] {
        std::array::from_fn(|axis| {
            (input[axis] + 2 * self.padding[axis] - self.kernel[axis]) / self.stride[axis] + 1
        })
    }
}

/// One residual block: `relu(conv2(relu(conv1(x))) + shortcut(x))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockLayout {
    /// Prefix of the block's parameters, as in `layer1.0`.
    pub name: String,
    /// First convolution, with the block's stride.
    pub conv1: ConvLayout,
    /// Second convolution.
    pub conv2: ConvLayout,
    /// The 1x1x1 convolution of the shortcut, where the shape changes.
    pub downsample: Option<ConvLayout>,
}

/// All layers of a network in the order of execution: stem, blocks, mean over frames and space, `fc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The first convolution.
    pub stem: ConvLayout,
    /// The residual blocks of the four stages.
    pub blocks: Vec<BlockLayout>,
    /// Inputs of `fc`.
    pub features: i64,
}

impl Layout {
    /// Every convolution in the order of execution; a block's shortcut comes after its second.
    pub fn convolutions(&self) -> impl Iterator<Item = &ConvLayout> {
        std::iter::once(&self.stem).chain(self.blocks.iter().flat_map(|block| {
            [&block.conv1, &block.conv2]
                .into_iter()
                .chain(block.downsample.as_ref())
        }))
    }

    /// Names and shapes of everything in the checkpoint for `classes` classes, buffers of the batch
    /// norms included, in the order of torchvision's `state_dict`, shortcuts last in their block.
    pub fn state(&self, classes: usize) -> Vec<(String, Vec<i64>)> {
        let mut state = Vec::new();
        for layer in self.convolutions() {
            state.push((
                format!("{}.weight", layer.conv),
                layer.weight_shape().to_vec(),
            ));
            for part in ["weight", "bias", "running_mean", "running_var"] {
                state.push((format!("{}.{part}", layer.norm), vec![layer.outputs]));
            }
            state.push((format!("{}.num_batches_tracked", layer.norm), Vec::new()));
        }
        let classes = classes as i64;
        state.push(("fc.weight".to_owned(), vec![classes, self.features]));
        state.push(("fc.bias".to_owned(), vec![classes]));
        state
    }

    /// Multiplications with an addition that one clip of these frames, height and width costs.
    pub fn multiply_adds(&self, input: [i64; 3], classes: usize) -> u64 {
        let cost = |layer: &ConvLayout, size: [i64; 3]| {
            layer.weight_shape().iter().product::<i64>() * size.iter().product::<i64>()
        };
        let mut size = self.stem.output_size(input);
        let mut total = cost(&self.stem, size);
        for block in &self.blocks {
            size = block.conv1.output_size(size);
            total += cost(&block.conv1, size) + cost(&block.conv2, size);
            total += block
                .downsample
                .as_ref()
                .map_or(0, |layer| cost(layer, size));
        }
        (total + self.features * classes as i64) as u64
    }
}

impl Architecture {
    /// Refuses depths and widths that do not exist.
    ///
    /// # Errors
    /// The field, its value and what would be right.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let known = self.blocks().is_some();
        OutOfRange::unless(known, "depth", self.depth, "10, 18, 26 or 34")?;
        let fits = (1..=512).contains(&self.width);
        OutOfRange::unless(fits, "width", self.width, "between 1 and 512")
    }

    /// Residual blocks of the four stages; `None` for a depth that does not exist.
    pub fn blocks(&self) -> Option<[usize; 4]> {
        match self.depth {
            10 => Some([1, 1, 1, 1]),
            18 => Some([2, 2, 2, 2]),
            26 => Some([3, 3, 3, 3]),
            34 => Some([3, 4, 6, 3]),
            _ => None,
        }
    }

    /// The layers.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn layout(&self) -> Result<Layout, OutOfRange> {
        self.check()?;
        let counts = self.blocks().unwrap_or_default();
        let width = i64::from(self.width);
        let mut inputs = width;
        let mut blocks = Vec::new();
        for (stage, count) in counts.into_iter().enumerate() {
            let outputs = width << stage;
            for index in 0..count {
                let stride = if stage > 0 && index == 0 { 2 } else { 1 };
                blocks.push(block(stage + 1, index, inputs, outputs, stride));
                inputs = outputs;
            }
        }
        Ok(Layout {
            stem: ConvLayout {
                conv: "stem.0".to_owned(),
                norm: "stem.1".to_owned(),
                inputs: 3,
                outputs: width,
                kernel: [3, 7, 7],
                stride: [1, 2, 2],
                padding: [1, 3, 3],
            },
            blocks,
            features: inputs,
        })
    }
}

/// The basic block `layer<stage>.<index>`.
fn block(stage: usize, index: usize, inputs: i64, outputs: i64, stride: i64) -> BlockLayout {
    let name = format!("layer{stage}.{index}");
    let layer = |part: &str, inputs: i64, kernel: i64, stride: i64| ConvLayout {
        conv: format!("{name}.{part}.0"),
        norm: format!("{name}.{part}.1"),
        inputs,
        outputs,
        kernel: [kernel; 3],
        stride: [stride; 3],
        padding: [kernel / 2; 3],
    };
    BlockLayout {
        conv1: layer("conv1", inputs, 3, stride),
        conv2: layer("conv2", outputs, 3, 1),
        downsample: (stride != 1 || inputs != outputs)
            .then(|| layer("downsample", inputs, 1, stride)),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(depth: u32, width: u32) -> Layout {
        let arch = Family::R3d;
        Architecture { arch, depth, width }.layout().unwrap()
    }

    fn parameters(layout: &Layout, classes: usize) -> i64 {
        layout
            .state(classes)
            .iter()
            .filter(|(name, _)| name.ends_with(".weight") || name.ends_with(".bias"))
            .map(|(_, shape)| shape.iter().product::<i64>())
            .sum()
    }

    #[test]
    fn r3d_18_has_torchvisions_parameters_and_operations() {
        let r3d_18 = layout(18, 64);
        // torchvision's table for R3D_18_Weights.KINETICS400_V1.
        assert_eq!(parameters(&r3d_18, 400), 33_371_472);
        let giga = r3d_18.multiply_adds([16, 112, 112], 400) as f64 / 1e9;
        assert!((giga - 40.70).abs() < 0.05, "{giga}");
    }

    #[test]
    fn names_and_shapes_are_torchvisions() {
        let state = layout(18, 64).state(400);
        let names: Vec<&str> = state.iter().map(|(name, _)| name.as_str()).collect();
        let mut expected = Vec::new();
        let mut unit = |conv: String, norm: String| {
            expected.push(format!("{conv}.weight"));
            for part in [
                "weight",
                "bias",
                "running_mean",
                "running_var",
                "num_batches_tracked",
            ] {
                expected.push(format!("{norm}.{part}"));
            }
        };
        unit("stem.0".into(), "stem.1".into());
        for stage in 1..=4 {
            for block in 0..2 {
                for conv in ["conv1", "conv2"] {
                    let prefix = format!("layer{stage}.{block}.{conv}");
                    unit(format!("{prefix}.0"), format!("{prefix}.1"));
                }
                if stage > 1 && block == 0 {
                    let prefix = format!("layer{stage}.{block}.downsample");
                    unit(format!("{prefix}.0"), format!("{prefix}.1"));
                }
            }
        }
        expected.extend(["fc.weight".to_owned(), "fc.bias".to_owned()]);
        assert_eq!(names, expected);
        let shape = |name: &str| &state.iter().find(|(n, _)| n == name).unwrap().1;
        assert_eq!(*shape("stem.0.weight"), [64, 3, 3, 7, 7]);
        assert_eq!(*shape("layer2.0.conv1.0.weight"), [128, 64, 3, 3, 3]);
        assert_eq!(*shape("layer2.0.downsample.0.weight"), [128, 64, 1, 1, 1]);
        assert_eq!(*shape("layer4.1.conv2.1.running_var"), [512]);
        assert_eq!(*shape("fc.weight"), [400, 512]);
    }

    #[test]
    fn depth_is_the_number_of_weighted_layers() {
        for depth in [10, 18, 26, 34] {
            let layers = layout(depth, 8)
                .convolutions()
                .filter(|layer| !layer.conv.contains("downsample"))
                .count();
            assert_eq!(layers as u32 + 1, depth);
        }
    }

    #[test]
    fn what_does_not_exist_is_refused_with_what_does() {
        let refuse = |depth, width| {
            let arch = Family::R3d;
            Architecture { arch, depth, width }
                .check()
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refuse(17, 64),
            "`depth` is 17, but must be 10, 18, 26 or 34"
        );
        assert_eq!(refuse(18, 0), "`width` is 0, but must be between 1 and 512");
    }
}

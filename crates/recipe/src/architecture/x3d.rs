//! X3D (Feichtenhofer 2020, arXiv 2004.04730), named as pytorchvideo's.
//!
//! A thin and deep network: every block widens by 2.25 with a 1x1x1 convolution, looks around with a
//! depthwise 3x3x3 one and narrows again; every other block weighs its channels by squeeze and excitation
//! (Hu et al. 2018, arXiv 1709.01507). All frames are kept up to the mean at the end. X3D-XS, S and M are
//! this one network on clips of 4x160x160, 13x160x160 and 16x224x224.

use fedact_stage::OutOfRange;

use super::cost::Tally;
use super::{ConvLayout, HeadLayout};

/// Blocks of the four stages: 1, 2, 5 and 3, expanded 2.2 times and rounded up.
const BLOCKS: [usize; 4] = [3, 5, 11, 7];

/// Features that `fc` sees.
const FEATURES: i64 = 2048;

/// An X3D.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct X3d {
    /// Channels of the stem; the four stages have 1, 2, 4 and 8 times as many.
    pub width: u32,
}

impl Default for X3d {
    fn default() -> Self {
        Self { width: 24 }
    }
}

impl std::fmt::Display for X3d {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "X3D width {}", self.width)
    }
}

/// One block: `relu(project(swish(squeeze(depthwise(relu(expand(x)))))) + shortcut(x))`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct X3dBlockLayout {
    /// 1x1x1, to more channels.
    pub expand: ConvLayout,
    /// 3x3x3, each channel on its own.
    pub depthwise: ConvLayout,
    /// The two layers that weigh the channels by their means, a ReLU between them and a sigmoid behind.
    pub squeeze: Option<[ConvLayout; 2]>,
    /// 1x1x1, to fewer channels.
    pub project: ConvLayout,
    /// The 1x1x1 convolution of the shortcut, where the shape changes; without batch norm where only
    /// space does.
    pub shortcut: Option<ConvLayout>,
}

/// All layers in the order of execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct X3dLayout {
    /// Across space, and then through time, each channel on its own; a ReLU behind both.
    pub stem: [ConvLayout; 2],
    /// The blocks of the four stages.
    pub blocks: Vec<X3dBlockLayout>,
    /// Before the mean over frames and space, with a ReLU behind it.
    pub widen: ConvLayout,
    /// Behind the mean, with a ReLU behind it.
    pub lift: ConvLayout,
    /// The last layer.
    pub head: HeadLayout,
}

impl X3d {
    /// Refuses widths that do not exist.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let fits = self.width.is_multiple_of(8) && (8..=256).contains(&self.width);
        let expected = "a multiple of 8 between 8 and 256";
        OutOfRange::unless(fits, "width", self.width, expected)
    }

    pub(super) fn layout(&self) -> X3dLayout {
        let width = i64::from(self.width);
        let mut inputs = width;
        let mut blocks = Vec::new();
        for (stage, count) in BLOCKS.into_iter().enumerate() {
            let outputs = width << stage;
            for index in 0..count {
                blocks.push(block(stage + 1, index, inputs, outputs));
                inputs = outputs;
            }
        }
        let widened = widened(inputs);
        let pool = |part: &str| format!("blocks.5.pool.{part}");
        // pytorchvideo's names of these two are the wrong way round.
        let [across, through] = ["conv_t", "conv_xy"].map(|part| format!("blocks.0.conv.{part}"));
        let across = ConvLayout::new(across, (3, width), [1, 3, 3], [1, 2, 2]);
        let through = ConvLayout::new(through, (width, width), [5, 1, 1], [1; 3]);
        let widen = ConvLayout::new(pool("pre_conv"), (inputs, widened), [1; 3], [1; 3]);
        X3dLayout {
            stem: [across, through.depthwise().normalised("blocks.0.norm")],
            blocks,
            widen: widen.normalised(pool("pre_norm")),
            lift: ConvLayout::new(pool("post_conv"), (widened, FEATURES), [1; 3], [1; 3]),
            head: HeadLayout {
                name: "blocks.5.proj".to_owned(),
                inputs: FEATURES,
            },
        }
    }
}

/// Channels within a block that puts out so many.
fn widened(outputs: i64) -> i64 {
    outputs * 9 / 4
}

/// Channels between the two layers of squeeze and excitation: a sixteenth, rounded to a multiple of 8 and
/// by no more than a tenth downwards.
fn squeezed(channels: i64) -> i64 {
    let wanted = channels as f64 / 16.0;
    let rounded = ((wanted + 4.0) as i64 / 8 * 8).max(8);
    if (rounded as f64) < 0.9 * wanted {
        rounded + 8
    } else {
        rounded
    }
}

/// The block `blocks.<stage>.res_blocks.<index>`.
fn block(stage: usize, index: usize, inputs: i64, outputs: i64) -> X3dBlockLayout {
    let name = |part: &str| format!("blocks.{stage}.res_blocks.{index}.{part}");
    let inner = widened(outputs);
    let stride = if index == 0 { [1, 2, 2] } else { [1; 3] };
    let layer = |conv: &str, channels, kernel, stride| {
        ConvLayout::new(name(conv), channels, kernel, stride)
    };
    let point = |conv: &str, channels| layer(conv, channels, [1; 3], [1; 3]);
    let weighing = |at: usize, channels| ConvLayout {
        bias: true,
        ..point(&format!("branch2.norm_b.1.block.{at}"), channels)
    };
    let between = squeezed(inner);
    let shortcut = (index == 0).then(|| {
        let layer = layer("branch1_conv", (inputs, outputs), [1; 3], stride);
        if inputs == outputs {
            layer
        } else {
            layer.normalised(name("branch1_norm"))
        }
    });
    X3dBlockLayout {
        expand: point("branch2.conv_a", (inputs, inner)).normalised(name("branch2.norm_a")),
        depthwise: layer("branch2.conv_b", (inner, inner), [3; 3], stride)
            .depthwise()
            .normalised(name("branch2.norm_b.0")),
        squeeze: index
            .is_multiple_of(2)
            .then(|| [weighing(0, (inner, between)), weighing(2, (between, inner))]),
        project: point("branch2.conv_c", (inner, outputs)).normalised(name("branch2.norm_c")),
        shortcut,
    }
}

impl X3dLayout {
    /// As [`Layout::convolutions`](super::Layout::convolutions).
    pub fn convolutions(&self) -> impl Iterator<Item = &ConvLayout> {
        let blocks = self.blocks.iter().flat_map(|block| {
            [&block.expand, &block.depthwise]
                .into_iter()
                .chain(block.squeeze.iter().flatten())
                .chain([&block.project])
                .chain(&block.shortcut)
        });
        self.stem
            .iter()
            .chain(blocks)
            .chain([&self.widen, &self.lift])
    }

    pub(super) fn tally(&self, tally: &mut Tally) {
        for layer in &self.stem {
            tally.pass(layer);
        }
        for block in &self.blocks {
            if let Some(layer) = &block.shortcut {
                tally.beside(layer, tally.size());
            }
            tally.pass(&block.expand);
            tally.pass(&block.depthwise);
            for layer in block.squeeze.iter().flatten() {
                tally.beside(layer, [1; 3]);
            }
            tally.pass(&block.project);
        }
        tally.pass(&self.widen);
        tally.beside(&self.lift, [1; 3]);
    }
}

//! The temporal shift module (Lin et al. 2019, arXiv 1811.08383) on MobileNetV2 (Sandler et al. 2018,
//! arXiv 1801.04381), named as torchvision's `mobilenet_v2`.
//!
//! Every frame goes through a network for images. In front of each block with a shortcut, within it, an
//! eighth of the channels comes from the next frame and an eighth from the one before: so frames see each
//! other without a single operation more. The logits are those of the mean over frames.

use fedact_stage::OutOfRange;

use super::cost::Tally;
use super::{ConvLayout, HeadLayout};

/// One of so many channels comes from the next frame, and as many from the one before.
pub const SHIFTED_SHARE: i64 = 8;

/// Expansion, channels out, blocks and stride of each stage (Sandler et al., table 2).
const STAGES: [(i64, i64, usize, i64); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// Channels of the published stem.
const PUBLISHED_WIDTH: i64 = 32;

/// Features that the last layer sees in the published network, and in narrower ones.
const FEATURES: i64 = 1280;

/// TSM on MobileNetV2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tsm {
    /// Channels of the stem; 32 in the published network. All other layers grow with it.
    pub width: u32,
}

impl Default for Tsm {
    fn default() -> Self {
        Self { width: 32 }
    }
}

impl std::fmt::Display for Tsm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TSM-MobileNetV2 width {}", self.width)
    }
}

/// One inverted residual block: `project(depthwise(expand(shift(x))))`, plus `x` where it has a shortcut.
/// A ReLU that ends at 6 stands behind all but the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvertedLayout {
    /// 1x1, to more channels; not in the first block.
    pub expand: Option<ConvLayout>,
    /// 3x3, each channel on its own.
    pub depthwise: ConvLayout,
    /// 1x1, to fewer channels.
    pub project: ConvLayout,
    /// Whether the input is added to the output, and shifted before it is expanded.
    pub shortcut: bool,
}

/// All layers in the order of execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TsmLayout {
    /// The first convolution, with a ReLU that ends at 6.
    pub stem: ConvLayout,
    /// The blocks.
    pub blocks: Vec<InvertedLayout>,
    /// 1x1, to the features, with a ReLU that ends at 6 and the mean over space and frames behind it.
    pub lift: ConvLayout,
    /// The last layer.
    pub head: HeadLayout,
}

impl Tsm {
    /// Refuses widths that do not exist.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let fits = self.width.is_multiple_of(8) && (8..=256).contains(&self.width);
        let expected = "a multiple of 8 between 8 and 256";
        OutOfRange::unless(fits, "width", self.width, expected)
    }

    /// Channels where the published network has `channels`: to scale, rounded to a multiple of 8 and by no
    /// more than a tenth downwards.
    fn scaled(&self, channels: i64) -> i64 {
        let wanted = channels * i64::from(self.width);
        let unit = 8 * PUBLISHED_WIDTH;
        let rounded = ((wanted + unit / 2) / unit).max(1) * unit;
        let rounded = if 10 * rounded < 9 * wanted {
            rounded + unit
        } else {
            rounded
        };
        rounded / PUBLISHED_WIDTH
    }

    pub(super) fn layout(&self) -> TsmLayout {
        let width = self.scaled(PUBLISHED_WIDTH);
        let mut inputs = width;
        let mut blocks = Vec::new();
        for (expansion, channels, count, first_stride) in STAGES {
            let outputs = self.scaled(channels);
            for index in 0..count {
                let stride = if index == 0 { first_stride } else { 1 };
                blocks.push(block(blocks.len() + 1, expansion, inputs, outputs, stride));
                inputs = outputs;
            }
        }
        let features = self.scaled(FEATURES).max(FEATURES);
        let last = format!("features.{}", blocks.len() + 1);
        let (conv, norm) = (format!("{last}.0"), format!("{last}.1"));
        TsmLayout {
            stem: planar("features.0.0", "features.0.1", (3, width), 3, 2),
            blocks,
            lift: planar(conv, norm, (inputs, features), 1, 1),
            head: HeadLayout {
                name: "classifier.1".to_owned(),
                inputs: features,
            },
        }
    }
}

/// A convolution on single frames.
fn planar(
    conv: impl Into<String>,
    norm: impl Into<String>,
    channels: (i64, i64),
    kernel: i64,
    stride: i64,
) -> ConvLayout {
    let kernel = [1, kernel, kernel];
    ConvLayout {
        planar: true,
        ..ConvLayout::new(conv, channels, kernel, [1, stride, stride]).normalised(norm)
    }
}

/// The block `features.<at>`.
fn block(at: usize, expansion: i64, inputs: i64, outputs: i64, stride: i64) -> InvertedLayout {
    let inner = inputs * expansion;
    let name = |part: &str| format!("features.{at}.conv.{part}");
    let expanded = usize::from(expansion > 1);
    let pair = |index: usize| (name(&format!("{index}.0")), name(&format!("{index}.1")));
    let (wide, wide_norm) = pair(0);
    let (deep, deep_norm) = pair(expanded);
    let last = [expanded + 1, expanded + 2].map(|index| name(&index.to_string()));
    let [narrow, narrow_norm] = last;
    InvertedLayout {
        expand: (expansion > 1).then(|| planar(wide, wide_norm, (inputs, inner), 1, 1)),
        depthwise: planar(deep, deep_norm, (inner, inner), 3, stride).depthwise(),
        project: planar(narrow, narrow_norm, (inner, outputs), 1, 1),
        shortcut: stride == 1 && inputs == outputs,
    }
}

impl TsmLayout {
    /// As [`Layout::convolutions`](super::Layout::convolutions).
    pub fn convolutions(&self) -> impl Iterator<Item = &ConvLayout> {
        let blocks = self.blocks.iter().flat_map(|block| {
            let expand = block.expand.iter();
            expand.chain([&block.depthwise, &block.project])
        });
        std::iter::once(&self.stem)
            .chain(blocks)
            .chain([&self.lift])
    }

    pub(super) fn tally(&self, tally: &mut Tally) {
        for layer in self.convolutions() {
            tally.pass(layer);
        }
    }
}

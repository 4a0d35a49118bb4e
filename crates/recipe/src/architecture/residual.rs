//! Residual networks for video: R3D, MC3 and R(2+1)D (Tran et al. 2018, arXiv 1711.11248; Hara et al.
//! 2018, arXiv 1711.09577), named as torchvision's `VideoResNet`.

use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cost::Tally;
use super::{ConvLayout, HeadLayout};

/// Kernel, stride and padding of the max-pool behind Hara's stem, the same on every axis.
pub const STEM_POOL: (i64, i64, i64) = (3, 2, 1);

/// The stem's channels across space in torchvision's R(2+1)D, where the stem has 64 channels.
const FACTORED_STEM_CHANNELS: i64 = 45;

/// A residual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Residual {
    /// What its 3x3x3 convolutions are.
    pub convolutions: Convolutions,
    /// Weighted layers: 10, 18, 26, 34 or 50.
    pub depth: u32,
    /// Channels of the stem; the four stages have 1, 2, 4 and 8 times as many, and bottlenecks put out
    /// four times those.
    pub width: u32,
    /// The first layers.
    pub stem: Stem,
    /// How a shortcut changes shape.
    pub shortcut: Shortcut,
}

impl Default for Residual {
    fn default() -> Self {
        Self {
            convolutions: Convolutions::Full,
            depth: 18,
            width: 16,
            stem: Stem::default(),
            shortcut: Shortcut::default(),
        }
    }
}

/// What stands for a 3x3x3 convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convolutions {
    /// Itself: R3D.
    Full,
    /// Itself in the first stage, 1x3x3 in the others: MC3.
    Mixed,
    /// 1x3x3, batch norm, ReLU and 3x1x1, with as many weights together as 3x3x3 has: R(2+1)D.
    Factored,
}

/// The first layers of a residual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stem {
    /// 3x7x7, which keeps all frames.
    #[default]
    Torchvision,
    /// 7x7x7 and a max-pool that halves frames and space.
    Hara,
}

/// How a shortcut changes shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Shortcut {
    /// By a 1x1x1 convolution with batch norm.
    #[default]
    Convolution,
    /// Without parameters: the values at the stride's positions, and zeros in the channels beyond.
    Pad,
}

impl std::fmt::Display for Residual {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = match self.convolutions {
            Convolutions::Full => "R3D",
            Convolutions::Mixed => "MC3",
            Convolutions::Factored => "R(2+1)D",
        };
        write!(f, "{family}-{} width {}", self.depth, self.width)?;
        if self.stem == Stem::Hara {
            write!(f, ", Hara's stem")?;
        }
        if self.shortcut == Shortcut::Pad {
            write!(f, ", padded shortcuts")?;
        }
        Ok(())
    }
}

impl Residual {
    /// Refuses depths and widths that do not exist.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let known = self.blocks().is_some();
        OutOfRange::unless(known, "depth", self.depth, "10, 18, 26, 34 or 50")?;
        let fits = (1..=512).contains(&self.width);
        OutOfRange::unless(fits, "width", self.width, "between 1 and 512")
    }

    /// Residual blocks of the four stages; `None` for a depth that does not exist.
    fn blocks(&self) -> Option<[usize; 4]> {
        match self.depth {
            10 => Some([1, 1, 1, 1]),
            18 => Some([2, 2, 2, 2]),
            26 => Some([3, 3, 3, 3]),
            34 | 50 => Some([3, 4, 6, 3]),
            _ => None,
        }
    }

    fn bottlenecks(&self) -> bool {
        self.depth == 50
    }

    pub(super) fn layout(&self) -> ResidualLayout {
        let counts = self.blocks().unwrap_or_default();
        let width = i64::from(self.width);
        let mut inputs = width;
        let mut blocks = Vec::new();
        for (stage, count) in counts.into_iter().enumerate() {
            for index in 0..count {
                let block = Block {
                    network: self,
                    stage,
                    index,
                    inputs,
                    channels: width << stage,
                };
                inputs = block.outputs();
                blocks.push(block.layout());
            }
        }
        ResidualLayout {
            stem: self.stem_layout(),
            pool: self.stem == Stem::Hara,
            blocks,
            head: HeadLayout {
                name: "fc".to_owned(),
                inputs,
            },
        }
    }

    fn stem_layout(&self) -> Vec<ConvLayout> {
        let width = i64::from(self.width);
        let frames = match self.stem {
            Stem::Torchvision => 3,
            Stem::Hara => 7,
        };
        if self.convolutions != Convolutions::Factored {
            let kernel = [frames, 7, 7];
            let channels = (3, width);
            let layer = ConvLayout::new("stem.0", channels, kernel, [1, 2, 2]);
            return vec![layer.normalised("stem.1")];
        }
        let between = match self.stem {
            Stem::Torchvision => (FACTORED_STEM_CHANNELS * width / 64).max(1),
            Stem::Hara => factored_channels(3, width, [frames, 7, 7]),
        };
        let space = ConvLayout::new("stem.0", (3, between), [1, 7, 7], [1, 2, 2]);
        let time = ConvLayout::new("stem.3", (between, width), [frames, 1, 1], [1; 3]);
        vec![space.normalised("stem.1"), time.normalised("stem.4")]
    }
}

/// Channels between the two parts of a factored convolution, so that both together have as many weights
/// as the whole (Tran et al. 2018, section 3.5).
fn factored_channels(inputs: i64, outputs: i64, [frames, height, width]: [i64; 3]) -> i64 {
    let whole = inputs * outputs * frames * height * width;
    (whole / (inputs * height * width + frames * outputs)).max(1)
}

/// One residual block: `relu(convolutions(x) + shortcut(x))`, with a ReLU behind each of the convolutions
/// but the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockLayout {
    /// Prefix of the block's parameters, as in `layer1.0`.
    pub name: String,
    /// In the order of execution.
    pub convolutions: Vec<ConvLayout>,
    /// The way around them.
    pub shortcut: ShortcutLayout,
}

/// The way around the convolutions of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShortcutLayout {
    /// Nothing changes.
    Identity,
    /// A 1x1x1 convolution with batch norm.
    Convolution(ConvLayout),
    /// The values at the stride's positions, and zeros for so many new channels behind the old ones.
    Pad {
        /// Frames, height, width.
        stride: [i64; 3],
        /// Channels of zeros.
        channels: i64,
    },
}

/// All layers in the order of execution: stem, blocks, mean over frames and space, `fc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResidualLayout {
    /// The first convolutions, each with a ReLU behind it.
    pub stem: Vec<ConvLayout>,
    /// Whether a max-pool ([`STEM_POOL`]) stands behind the stem.
    pub pool: bool,
    /// The residual blocks of the four stages.
    pub blocks: Vec<BlockLayout>,
    /// The last layer.
    pub head: HeadLayout,
}

impl ResidualLayout {
    /// As [`Layout::convolutions`](super::Layout::convolutions).
    pub fn convolutions(&self) -> impl Iterator<Item = &ConvLayout> {
        let blocks = self.blocks.iter().flat_map(|block| {
            let shortcut = match &block.shortcut {
                ShortcutLayout::Convolution(layer) => Some(layer),
                _ => None,
            };
            block.convolutions.iter().chain(shortcut)
        });
        self.stem.iter().chain(blocks)
    }

    pub(super) fn tally(&self, tally: &mut Tally) {
        for layer in &self.stem {
            tally.pass(layer);
        }
        if self.pool {
            let (kernel, stride, padding) = STEM_POOL;
            let pooled = |side| (side + 2 * padding - kernel) / stride + 1;
            tally.resize(tally.size().map(pooled));
        }
        for block in &self.blocks {
            if let ShortcutLayout::Convolution(layer) = &block.shortcut {
                tally.beside(layer, tally.size());
            }
            for layer in &block.convolutions {
                tally.pass(layer);
            }
        }
    }
}

/// What a block is made from.
struct Block<'a> {
    network: &'a Residual,
    /// 0 to 3.
    stage: usize,
    /// Within its stage.
    index: usize,
    /// Channels in.
    inputs: i64,
    /// Channels of its stage.
    channels: i64,
}

impl Block<'_> {
    fn outputs(&self) -> i64 {
        if self.network.bottlenecks() {
            4 * self.channels
        } else {
            self.channels
        }
    }

    fn flat(&self) -> bool {
        self.network.convolutions == Convolutions::Mixed && self.stage > 0
    }

    /// Frames, height, width.
    fn stride(&self) -> [i64; 3] {
        if self.stage == 0 || self.index > 0 {
            [1; 3]
        } else if self.flat() {
            [1, 2, 2]
        } else {
            [2; 3]
        }
    }

    fn name(&self) -> String {
        format!("layer{}.{}", self.stage + 1, self.index)
    }

    fn layout(&self) -> BlockLayout {
        let stride = self.stride();
        let channels = self.channels;
        let convolutions = if self.network.bottlenecks() {
            let mut layers = vec![self.point("conv1", self.inputs, channels, [1; 3])];
            layers.extend(self.wide("conv2", channels, stride));
            layers.push(self.point("conv3", channels, self.outputs(), [1; 3]));
            layers
        } else {
            let mut layers = self.wide("conv1", self.inputs, stride);
            layers.extend(self.wide("conv2", channels, [1; 3]));
            layers
        };
        let changes = stride != [1; 3] || self.inputs != self.outputs();
        BlockLayout {
            name: self.name(),
            convolutions,
            shortcut: match self.network.shortcut {
                _ if !changes => ShortcutLayout::Identity,
                Shortcut::Convolution => {
                    let layer = self.point("downsample", self.inputs, self.outputs(), stride);
                    ShortcutLayout::Convolution(layer)
                }
                Shortcut::Pad => ShortcutLayout::Pad {
                    stride,
                    channels: self.outputs() - self.inputs,
                },
            },
        }
    }

    /// A 1x1x1 convolution.
    fn point(&self, part: &str, inputs: i64, outputs: i64, stride: [i64; 3]) -> ConvLayout {
        let prefix = format!("{}.{part}", self.name());
        ConvLayout::new(format!("{prefix}.0"), (inputs, outputs), [1; 3], stride)
            .normalised(format!("{prefix}.1"))
    }

    /// What stands for a 3x3x3 convolution.
    fn wide(&self, part: &str, inputs: i64, stride: [i64; 3]) -> Vec<ConvLayout> {
        let prefix = format!("{}.{part}", self.name());
        let (conv, norm) = (format!("{prefix}.0"), format!("{prefix}.1"));
        let outputs = self.channels;
        if self.network.convolutions != Convolutions::Factored {
            let kernel = if self.flat() { [1, 3, 3] } else { [3; 3] };
            let layer = ConvLayout::new(conv, (inputs, outputs), kernel, stride);
            return vec![layer.normalised(norm)];
        }
        // Of the block's own inputs, in all of its convolutions.
        let between = factored_channels(self.inputs, outputs, [3; 3]);
        let [through_time, down, across] = stride;
        let (first, second) = (format!("{conv}.0"), format!("{conv}.3"));
        let space = ConvLayout::new(first, (inputs, between), [1, 3, 3], [1, down, across]);
        let time = ConvLayout::new(second, (between, outputs), [3, 1, 1], [through_time, 1, 1]);
        vec![space.normalised(format!("{conv}.1")), time.normalised(norm)]
    }
}

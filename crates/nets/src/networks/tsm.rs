//! The temporal shift module (Lin et al. 2019, arXiv 1811.08383) on MobileNetV2 (Sandler et al. 2018,
//! arXiv 1801.04381).
//!
//! Without the dropout before the last layer.

use tch::nn::Path;
use tch::{Kind, Tensor};

use super::conv_norm::ConvNorm;
use super::memory::channels_last;
use crate::{InvertedLayout, SHIFTED_SHARE, TsmLayout};

/// Everything before the last layer.
#[derive(Debug)]
pub(super) struct TsmNet {
    stem: ConvNorm,
    blocks: Vec<Block>,
    lift: ConvNorm,
}

impl TsmNet {
    pub fn new(root: &Path, layout: &TsmLayout, seed: u64) -> Self {
        let blocks = layout.blocks.iter();
        Self {
            stem: ConvNorm::new(root, &layout.stem, seed),
            blocks: blocks.map(|block| Block::new(root, block, seed)).collect(),
            lift: ConvNorm::new(root, &layout.lift, seed),
        }
    }

    /// Means over space and frames, \[clips, features\].
    pub fn features(&self, clips: &Tensor, train: bool) -> Tensor {
        let frames = clips.size()[2];
        let images = clips.transpose(1, 2).flatten(0, 1);
        let state = channels_last(&self.stem.convolve(&images));
        let mut state = self.stem.normalise(state, train).relu6();
        for block in &self.blocks {
            state = block.forward(&state, frames, train);
        }
        let state = self.lift.forward(&state, train).relu6();
        let kind = Kind::Float;
        let images = state.mean_dim([2i64, 3].as_slice(), false, kind);
        images
            .unflatten(0, [-1, frames])
            .mean_dim([1i64].as_slice(), false, kind)
    }
}

/// An inverted bottleneck, with a shortcut around it where the shape stays.
#[derive(Debug)]
struct Block {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    project: ConvNorm,
    shortcut: bool,
}

impl Block {
    fn new(root: &Path, layout: &InvertedLayout, seed: u64) -> Self {
        let layer = |layer| ConvNorm::new(root, layer, seed);
        Self {
            expand: layout.expand.as_ref().map(layer),
            depthwise: layer(&layout.depthwise),
            project: layer(&layout.project),
            shortcut: layout.shortcut,
        }
    }

    /// `input` is \[clips x frames, channels, height, width\].
    fn forward(&self, input: &Tensor, frames: i64, train: bool) -> Tensor {
        let mut state = input.shallow_clone();
        if self.shortcut {
            state = shifted(&state, frames);
        }
        if let Some(expand) = &self.expand {
            state = expand.forward(&state, train).relu6();
        }
        let state = self.depthwise.forward(&state, train).relu6();
        let mut state = self.project.forward(&state, train);
        if self.shortcut {
            state = state.g_add_(input);
        }
        state
    }
}

/// The first eighth of the channels from the next frame, the second from the one before, and zeros where
/// there is none; \[clips x frames, channels, height, width\].
fn shifted(input: &Tensor, frames: i64) -> Tensor {
    let channels = input.size()[1];
    let share = channels / SHIFTED_SHARE;
    // Channels are innermost in memory, so that nothing is moved here but what is shifted.
    let state = input.permute([0, 2, 3, 1]).unflatten(0, [-1, frames]);
    let part = |start, length| state.narrow(4, start, length);
    let (next, previous) = (part(0, share), part(share, share));
    let nothing = next.narrow(1, 0, 1).zeros_like();
    let next = Tensor::cat(&[&next.narrow(1, 1, frames - 1), &nothing], 1);
    let previous = Tensor::cat(&[&nothing, &previous.narrow(1, 0, frames - 1)], 1);
    let rest = part(2 * share, channels - 2 * share);
    Tensor::cat(&[next, previous, rest], 4)
        .flatten(0, 1)
        .permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn an_eighth_comes_from_the_next_frame_and_an_eighth_from_the_one_before() {
        // Two clips of three frames, sixteen channels, one pixel: the number says frame and channel.
        let numbers = Tensor::arange(2 * 3 * 16, (Kind::Float, Device::Cpu));
        let input = numbers.reshape([6, 16, 1, 1]);
        let output = shifted(&input, 3);
        for clip in 0..2i64 {
            for frame in 0..3i64 {
                for channel in 0..16i64 {
                    let from = match channel {
                        0 | 1 => frame + 1,
                        2 | 3 => frame - 1,
                        _ => frame,
                    };
                    let expected = if (0..3).contains(&from) {
                        (clip * 3 + from) * 16 + channel
                    } else {
                        0
                    };
                    let found = output.double_value(&[clip * 3 + frame, channel, 0, 0]);
                    assert_eq!(found, expected as f64, "{clip} {frame} {channel}");
                }
            }
        }
    }

    #[test]
    fn single_frames_shift_in_zeros() {
        let input = Tensor::ones([2, 8, 1, 1], (Kind::Float, Device::Cpu));
        let output = shifted(&input, 1);
        assert_eq!(output.sum(Kind::Float).double_value(&[]), 12.0);
    }

    #[test]
    fn shifting_keeps_channels_innermost() {
        let input = channels_last(&Tensor::randn([6, 16, 5, 4], (Kind::Float, Device::Cpu)));
        let output = shifted(&input, 3);
        assert_eq!(output.size(), input.size());
        assert_eq!(output.stride(), input.stride());
    }
}

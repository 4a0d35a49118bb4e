//! R3D, MC3 and R(2+1)D.

use fedact_recipe::{BlockLayout, ConvLayout, ResidualLayout, ShortcutLayout};

use crate::OnnxError;
use crate::graph::Graph;
use crate::value::Value;

impl Graph<'_> {
    /// The whole network. The places at which a model may round are called as `model.json` calls them:
    /// `input`, `stem.1` behind the first part of a factored stem, `stem`, `layer1.0.conv1` behind a
    /// convolution within a block, `layer1.0.conv2` and `layer1.0.downsample` in front of the sum,
    /// `layer1.0` behind it, `avgpool`. It rounds at those of them that the model has scales for.
    pub fn residual(&mut self, layout: &ResidualLayout) -> Result<(), OnnxError> {
        let clips = self.clips();
        let mut state = self.at("input", clips);
        let last = layout.stem.len() - 1;
        let mut rounding = None;
        for (index, layer) in layout.stem.iter().enumerate() {
            state = self.convolve(&state, layer)?;
            state = self.relu(&state);
            let norm = layer.norm.as_deref().unwrap_or_default();
            let place = if index == last { "stem" } else { norm };
            (state, rounding) = self.at_with(place, state);
        }
        if layout.pool {
            state = self.pooled(&state);
            if let Some(affine) = rounding {
                // Changes nothing: the largest of bytes is one. But runtimes look for bytes on both sides.
                state = self.rounded("stem", affine, &state);
            }
        }
        for block in &layout.blocks {
            state = self.block(state, block)?;
        }
        let means = self.means(&state, true);
        let features = self.at("avgpool", means);
        self.head(&features, &layout.head)
    }

    fn block(&mut self, input: Value, block: &BlockLayout) -> Result<Value, OnnxError> {
        let mut state = input.clone();
        let last = block.convolutions.len() - 1;
        for (index, layer) in block.convolutions.iter().enumerate() {
            state = self.convolve(&state, layer)?;
            if index < last {
                state = self.relu(&state);
            }
            state = self.at(holder(layer), state);
        }
        let around = match &block.shortcut {
            ShortcutLayout::Identity => input,
            ShortcutLayout::Convolution(layer) => {
                let around = self.convolve(&input, layer)?;
                self.at(holder(layer), around)
            }
            ShortcutLayout::Pad { stride, channels } => {
                let kept = self.every(&input, *stride);
                self.more_channels(&kept, *channels)
            }
        };
        let sum = self.sum(&state, &around, &format!("{}/sum", block.name));
        let sum = self.relu(&sum);
        Ok(self.at(&block.name, sum))
    }
}

/// The name of what holds a convolution and its batch norm, by which the place behind it is called.
fn holder(layer: &ConvLayout) -> &str {
    let norm = layer.norm.as_deref().unwrap_or_default();
    norm.rsplit_once('.').map_or(norm, |(holder, _)| holder)
}

//! X3D.

use fedact_recipe::{X3dBlockLayout, X3dLayout};

use crate::OnnxError;
use crate::graph::Graph;
use crate::value::Value;

impl Graph<'_> {
    /// The whole network.
    pub fn x3d(&mut self, layout: &X3dLayout) -> Result<(), OnnxError> {
        let [across, through] = &layout.stem;
        let clips = self.clips();
        let state = self.convolve(&clips, across)?;
        let state = self.convolve(&state, through)?;
        let mut state = self.relu(&state);
        for (index, block) in layout.blocks.iter().enumerate() {
            state = self.x3d_block(&state, block, index)?;
        }
        let state = self.convolve(&state, &layout.widen)?;
        let state = self.relu(&state);
        let means = self.means(&state, false);
        let lifted = self.convolve(&means, &layout.lift)?;
        let lifted = self.relu(&lifted);
        let features = self.flat(&lifted);
        self.head(&features, &layout.head)
    }

    fn x3d_block(
        &mut self,
        input: &Value,
        block: &X3dBlockLayout,
        index: usize,
    ) -> Result<Value, OnnxError> {
        let state = self.convolve(input, &block.expand)?;
        let state = self.relu(&state);
        let mut state = self.convolve(&state, &block.depthwise)?;
        if let Some([reduce, weigh]) = &block.squeeze {
            let means = self.means(&state, false);
            let inner = self.convolve(&means, reduce)?;
            let inner = self.relu(&inner);
            let gates = self.convolve(&inner, weigh)?;
            let gates = self.map("Sigmoid", &gates);
            state = self.product(&state, &gates, &format!("block {index}/weighed"));
        }
        let state = self.silu(&state);
        let state = self.convolve(&state, &block.project)?;
        let around = match &block.shortcut {
            Some(layer) => self.convolve(input, layer)?,
            None => input.clone(),
        };
        let sum = self.sum(&state, &around, &format!("block {index}/sum"));
        Ok(self.relu(&sum))
    }
}

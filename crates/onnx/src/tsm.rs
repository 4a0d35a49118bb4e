//! TSM on MobileNetV2: pictures throughout, with channels shifted between neighbouring frames.

use fedact_recipe::{InvertedLayout, SHIFTED_SHARE, TsmLayout};

use crate::OnnxError;
use crate::graph::{Graph, integer};
use crate::value::{Arrangement, Value};

/// The axes of channels and frames in an arrangement of times.
const CHANNELS: i64 = 1;
const FRAMES: i64 = 2;

impl Graph<'_> {
    /// The whole network.
    pub fn tsm(&mut self, layout: &TsmLayout) -> Result<(), OnnxError> {
        let clips = self.clips();
        let state = self.convolve(&clips, &layout.stem)?;
        let mut state = self.relu6(&state);
        for block in &layout.blocks {
            state = self.inverted(&state, block)?;
        }
        let state = self.convolve(&state, &layout.lift)?;
        let state = self.relu6(&state);
        let features = self.means(&state, true);
        self.head(&features, &layout.head)
    }

    fn inverted(&mut self, input: &Value, block: &InvertedLayout) -> Result<Value, OnnxError> {
        let mut state = input.clone();
        if block.shortcut {
            state = self.shifted(&state);
        }
        if let Some(expand) = &block.expand {
            state = self.convolve(&state, expand)?;
            state = self.relu6(&state);
        }
        state = self.convolve(&state, &block.depthwise)?;
        state = self.relu6(&state);
        state = self.convolve(&state, &block.project)?;
        if block.shortcut {
            let name = format!("{}/sum", block.project.conv);
            state = self.sum(&state, input, &name);
        }
        Ok(state)
    }

    /// The first eighth of the channels from the next frame, the second from the one before, and zeros where
    /// there is none.
    fn shifted(&mut self, input: &Value) -> Value {
        let times = self.arranged(input, Arrangement::Times);
        let (channels, frames) = (times.channels, times.size[0]);
        let share = channels / SHIFTED_SHARE;
        let next = self.neighbours(&times, (0, share), [0, 1], 1);
        let previous = self.neighbours(&times, (share, 2 * share), [1, 0], 0);
        let rest = Value {
            channels: channels - 2 * share,
            ..times.named(self.fresh(format!("{}/rest", input.name)))
        };
        let whole = [2 * share, 0];
        self.slice(
            &times,
            &rest,
            [&whole, &[channels, frames], &[CHANNELS, FRAMES], &[1, 1]],
        );
        let output = times.named(self.fresh(format!("{}/shifted", input.name)));
        let parts = [&next.name, &previous.name, &rest.name].map(String::as_str);
        self.operation("Concat", &parts, &output, vec![integer("axis", CHANNELS)]);
        output
    }

    /// Some channels, with zeros before or behind the frames, from the frame `start` on.
    fn neighbours(
        &mut self,
        times: &Value,
        (first, end): (i64, i64),
        [before, behind]: [i64; 2],
        start: i64,
    ) -> Value {
        let frames = times.size[0];
        let with_zeros = Value {
            size: [frames + 1, times.size[1], times.size[2]],
            ..times.named(self.fresh(format!("{}/zeros", times.name)))
        };
        self.padded(times, &with_zeros, &[0, 0, before, 0, 0, 0, behind, 0]);
        let output = Value {
            channels: end - first,
            ..times.named(self.fresh(format!("{}/neighbours", times.name)))
        };
        let (starts, ends) = ([first, start], [end, start + frames]);
        self.slice(
            &with_zeros,
            &output,
            [&starts, &ends, &[CHANNELS, FRAMES], &[1, 1]],
        );
        output
    }
}

//! From a network's layout to steps that compute with bytes.
//!
//! A value is bytes [clips, frames, height, width, channels]. What a convolution puts out is counted in steps of the place behind
//! it, because its weights' scales and its bias are divided by that step: rounding and cutting off at 0 and 255 makes the byte,
//! and cutting off at 0 is the ReLU. What a block's shortcut adds is added in 32 bits, before the rounding.
//!
//! Steps leave their values in rooms; a room is used again as soon as nobody needs what is in it, so that little more than
//! what a layer reads and writes is touched.

use fedact_recipe::{Affine, BlockLayout, ConvLayout, ResidualLayout, STEM_POOL, ShortcutLayout};
use fedact_stored::Input;

/// What logits are counted in.
const UNIT: Affine = Affine {
    scale: 1.0,
    zero_point: 0,
};

/// A value: where it is, and its sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Value {
    pub room: usize,
    /// Clips, frames, height, width, channels.
    pub sides: [usize; 5],
}

impl Value {
    pub fn len(&self) -> usize {
        self.sides.iter().product()
    }

    /// Frames, height, width.
    fn size(&self) -> [i64; 3] {
        std::array::from_fn(|axis| self.sides[1 + axis] as i64)
    }

    pub fn channels(&self) -> usize {
        self.sides[4]
    }
}

/// The clips' pixels as the first convolution sees them.
///
/// Three channels would leave most of each multiplication of an int8 kernel idle, so what the kernel sees across the
/// width becomes channels: three times its width of them, in front of a kernel of width 1. The margins are
/// there as well, with the byte that stands for 0, so that the convolution pads nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Windows {
    /// Clips, frames, height, width, 3.
    pub pixels: [usize; 5],
    /// Pixels in a window, and from one to the next.
    pub width: usize,
    pub stride: usize,
    /// Margins: frames, height, width.
    pub padding: [usize; 3],
    pub to: Value,
}

/// A convolution, or `fc` as one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Convolution {
    /// Prefix of its tensors, as in `layer1.0.conv1.0`.
    pub name: String,
    /// Of the stored weight: outputs, inputs, frames, height, width.
    pub weights: [usize; 5],
    /// How the bytes that it reads are stored.
    pub input: Affine,
    /// The real value of 1 in what it puts out.
    pub step: f32,
    pub stride: [i64; 3],
    pub padding: [i64; 3],
    /// Which of its kernel's parts over frames is all that sees a frame, where there is only one.
    pub middle: Option<usize>,
    /// Whether it reads [`Windows`].
    pub of_windows: bool,
    /// Whether the weight is stored without a kernel, as that of `fc` is.
    pub is_matrix: bool,
    pub from: Value,
    pub to: Value,
    pub output: Output,
}

/// What a convolution leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Output {
    /// Numbers of 32 bits.
    Floats,
    Bytes,
    /// The bytes of the sum with so many times the bytes that are there.
    OntoBytes(f32),
    /// The bytes of the sum with these numbers of 32 bits.
    WithFloats(Value),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Convolve(Convolution),
    /// The largest byte that each window sees.
    Pool {
        from: Value,
        to: Value,
    },
    /// So many times the bytes at the stride's positions, in 32 bits, and zeros for new channels behind them.
    Pad {
        from: Value,
        to: Value,
        stride: [usize; 3],
        ratio: f32,
    },
    /// The mean over frames and space, in steps of the place behind it.
    Mean {
        from: Value,
        to: Value,
        ratio: f32,
    },
}

/// What a network comes to for a number of clips.
#[derive(Debug)]
pub(crate) struct Program {
    pub windows: Windows,
    /// In the order of execution, each with whether it leaves the next place's bytes.
    pub steps: Vec<(Step, bool)>,
    /// Bytes of each room.
    pub rooms: Vec<usize>,
    pub logits: Value,
}

impl Program {
    /// The steps of a network whose places are stored in this way, in the order of execution.
    pub fn new(
        layout: &ResidualLayout,
        affines: &[Affine],
        input: Input,
        (clips, classes): (usize, usize),
    ) -> Self {
        let mut affines = affines.iter().copied();
        let mut next = move || affines.next().unwrap_or(UNIT);
        let mut builder = Builder::default();
        let sides = [input.frames, input.height, input.width].map(|side| side as usize);
        let pixels = [clips, sides[0], sides[1], sides[2], 3];
        let (mut affine, mut windows) = (next(), None);
        let mut state = Value {
            room: usize::MAX,
            sides: pixels,
        };
        for layer in &layout.stem {
            let behind = next();
            let before = state;
            state = if windows.is_none() {
                let (first, to) = builder.first(layer, pixels, affine, behind);
                windows = Some(first);
                to
            } else {
                let to = builder.convolve(layer, before, (affine, behind), Output::Bytes);
                builder.release(before);
                to
            };
            affine = behind;
        }
        if layout.pool {
            state = builder.pool(state);
        }
        for block in &layout.blocks {
            let inner = block.convolutions.len() - 1;
            let inner: Vec<Affine> = (0..inner).map(|_| next()).collect();
            let behind = next();
            state = builder.block(block, state, affine, (&inner, behind));
            affine = behind;
        }
        let logits = builder.head(&layout.head.name, state, (affine, next()), classes);
        Self {
            // Every network has a stem.
            windows: windows.unwrap_or(Windows {
                pixels,
                width: 1,
                stride: 1,
                padding: [0; 3],
                to: state,
            }),
            steps: builder.steps,
            rooms: builder.rooms,
            logits,
        }
    }
}

#[derive(Debug, Default)]
struct Builder {
    steps: Vec<(Step, bool)>,
    rooms: Vec<usize>,
    free: Vec<usize>,
}

impl Builder {
    /// A value of so many bytes a number, in a free room: the smallest that it fits in, else the largest, which grows.
    fn value(&mut self, sides: [usize; 5], width: usize) -> Value {
        let size = sides.iter().product::<usize>() * width;
        let fits = |room: &usize| self.rooms[*room] >= size;
        let smallest = self
            .free
            .iter()
            .copied()
            .filter(fits)
            .min_by_key(|room| self.rooms[*room]);
        let chosen = smallest.or_else(|| {
            self.free
                .iter()
                .copied()
                .max_by_key(|room| self.rooms[*room])
        });
        let room = if let Some(room) = chosen {
            self.free.retain(|free| *free != room);
            room
        } else {
            self.rooms.push(0);
            self.rooms.len() - 1
        };
        self.rooms[room] = self.rooms[room].max(size);
        Value { room, sides }
    }

    fn release(&mut self, value: Value) {
        self.free.push(value.room);
    }

    /// The first convolution, of windows.
    fn first(
        &mut self,
        layer: &ConvLayout,
        pixels: [usize; 5],
        affine: Affine,
        behind: Affine,
    ) -> (Windows, Value) {
        let (layer, middle) = layer.in_front_of(pixels[1] as i64);
        let size = layer.output_size([pixels[1], pixels[2], pixels[3]].map(|side| side as i64));
        let padding = layer.padding.map(|side| side as usize);
        let width = layer.kernel[2] as usize;
        let sides = [
            pixels[0],
            pixels[1] + 2 * padding[0],
            pixels[2] + 2 * padding[1],
            size[2] as usize,
            3 * width,
        ];
        let windows = Windows {
            pixels,
            width,
            stride: layer.stride[2] as usize,
            padding,
            // Margins are written once, so nothing else may be left there.
            to: self.value(sides, 1),
        };
        let to = self.value(behind_of(&layer, windows.to.sides[0], size), 1);
        let convolution = Convolution {
            stride: [layer.stride[0], layer.stride[1], 1],
            padding: [0; 3],
            of_windows: true,
            ..convolution(
                &layer,
                middle,
                (windows.to, to),
                (affine, behind),
                Output::Bytes,
            )
        };
        self.steps.push((Step::Convolve(convolution), true));
        (windows, to)
    }

    /// A convolution into a room of its own.
    fn convolve(
        &mut self,
        layer: &ConvLayout,
        from: Value,
        affines: (Affine, Affine),
        output: Output,
    ) -> Value {
        let (layer, middle) = layer.in_front_of(from.size()[0]);
        let sides = behind_of(&layer, from.sides[0], layer.output_size(from.size()));
        let width = if output == Output::Floats {
            size_of::<f32>()
        } else {
            1
        };
        let to = self.value(sides, width);
        let convolution = convolution(&layer, middle, (from, to), affines, output);
        let is_place = output != Output::Floats;
        self.steps.push((Step::Convolve(convolution), is_place));
        to
    }

    fn pool(&mut self, from: Value) -> Value {
        let (kernel, stride, padding) = STEM_POOL;
        let mut sides = from.sides;
        for side in &mut sides[1..4] {
            *side = (*side as i64 + 2 * padding - kernel) as usize / stride as usize + 1;
        }
        let to = self.value(sides, 1);
        self.steps.push((Step::Pool { from, to }, false));
        self.release(from);
        to
    }

    fn block(
        &mut self,
        block: &BlockLayout,
        state: Value,
        affine: Affine,
        (inner, behind): (&[Affine], Affine),
    ) -> Value {
        let ratio = affine.in_steps_of(behind) as f32;
        let around = match &block.shortcut {
            ShortcutLayout::Identity => None,
            ShortcutLayout::Convolution(layer) => {
                Some(self.convolve(layer, state, (affine, behind), Output::Floats))
            }
            ShortcutLayout::Pad { stride, channels } => {
                let stride = stride.map(|side| side as usize);
                let mut sides = state.sides;
                for (side, stride) in sides[1..4].iter_mut().zip(stride) {
                    *side = side.div_ceil(stride);
                }
                sides[4] += *channels as usize;
                let to = self.value(sides, size_of::<f32>());
                let step = Step::Pad {
                    from: state,
                    to,
                    stride,
                    ratio,
                };
                self.steps.push((step, false));
                Some(to)
            }
        };
        let (mut within, mut scale) = (state, affine);
        for (layer, affine) in block.convolutions.iter().zip(inner) {
            let to = self.convolve(layer, within, (scale, *affine), Output::Bytes);
            if within != state {
                self.release(within);
            }
            (within, scale) = (to, *affine);
        }
        let last = &block.convolutions[inner.len()];
        let result = match around {
            Some(around) => {
                let output = Output::WithFloats(around);
                let to = self.convolve(last, within, (scale, behind), output);
                self.release(around);
                self.release(state);
                to
            }
            // The sum takes the place of the shortcut's bytes, which nobody needs any more.
            None => {
                let (layer, middle) = last.in_front_of(within.size()[0]);
                let output = Output::OntoBytes(ratio);
                let convolution =
                    convolution(&layer, middle, (within, state), (scale, behind), output);
                self.steps.push((Step::Convolve(convolution), true));
                state
            }
        };
        self.release(within);
        result
    }

    /// The mean over frames and space, and `fc`.
    fn head(
        &mut self,
        name: &str,
        from: Value,
        affines: (Affine, Affine),
        classes: usize,
    ) -> Value {
        let [clips, .., channels] = from.sides;
        let to = self.value([clips, 1, 1, 1, channels], 1);
        let ratio = affines.0.in_steps_of(affines.1) as f32;
        self.steps.push((Step::Mean { from, to, ratio }, true));
        let logits = self.value([clips, 1, 1, 1, classes], size_of::<f32>());
        let convolution = Convolution {
            name: name.to_owned(),
            weights: [classes, channels, 1, 1, 1],
            input: affines.1,
            step: UNIT.scale,
            stride: [1; 3],
            padding: [0; 3],
            middle: None,
            of_windows: false,
            is_matrix: true,
            from: to,
            to: logits,
            output: Output::Floats,
        };
        self.steps.push((Step::Convolve(convolution), false));
        logits
    }
}

/// The sides behind a layer.
fn behind_of(layer: &ConvLayout, clips: usize, size: [i64; 3]) -> [usize; 5] {
    let [frames, height, width] = size.map(|side| side as usize);
    [clips, frames, height, width, layer.outputs as usize]
}

fn convolution(
    layer: &ConvLayout,
    middle: Option<i64>,
    (from, to): (Value, Value),
    (input, behind): (Affine, Affine),
    output: Output,
) -> Convolution {
    let [frames, height, width] = layer.kernel.map(|side| side as usize);
    let (outputs, inputs) = (layer.outputs as usize, layer.inputs as usize);
    Convolution {
        name: layer.conv.clone(),
        // The stored kernel is whole.
        weights: [
            outputs,
            inputs,
            middle.map_or(frames, |middle| 2 * middle as usize + 1),
            height,
            width,
        ],
        input,
        step: behind.scale,
        stride: layer.stride,
        padding: layer.padding,
        middle: middle.map(|middle| middle as usize),
        of_windows: false,
        is_matrix: false,
        from,
        to,
        output,
    }
}

#[cfg(test)]
mod tests {
    use fedact_recipe::{Architecture, Layout};

    use super::*;

    const INPUT: Input = Input {
        frames: 8,
        height: 56,
        width: 56,
    };

    /// The program of a network for so many clips, every place in steps of its own.
    fn program(settings: &str, clips: usize) -> Program {
        let architecture: Architecture = serde_json::from_str(settings).unwrap();
        let Layout::Residual(layout) = architecture.layout().unwrap() else {
            panic!("{settings} is not residual");
        };
        let affines: Vec<Affine> = (1..200)
            .map(|nth| Affine {
                scale: nth as f32,
                zero_point: 0,
            })
            .collect();
        Program::new(&layout, &affines, INPUT, (clips, 5))
    }

    const NETWORKS: [&str; 5] = [
        r#"{"depth": 18, "width": 16}"#,
        r#"{"depth": 50, "width": 4}"#,
        r#"{"arch": "mc3", "depth": 10, "width": 8}"#,
        r#"{"arch": "r2plus1d", "depth": 18, "width": 16}"#,
        r#"{"depth": 18, "width": 4, "stem": "hara", "shortcut": "pad"}"#,
    ];

    fn rooms(step: &Step) -> (Vec<Value>, Value) {
        match step {
            Step::Convolve(convolution) => {
                let mut read = vec![convolution.from];
                if let Output::WithFloats(around) = convolution.output {
                    read.push(around);
                }
                (read, convolution.to)
            }
            Step::Pool { from, to } | Step::Pad { from, to, .. } | Step::Mean { from, to, .. } => {
                (vec![*from], *to)
            }
        }
    }

    #[test]
    fn nothing_is_written_where_a_later_step_still_reads() {
        for network in NETWORKS {
            let Program { windows, steps, .. } = program(network, 2);
            // Who wrote last into each room; the windows are written before all steps.
            let mut held = std::collections::BTreeMap::from([(windows.to.room, windows.to)]);
            for (step, _) in &steps {
                let (read, to) = rooms(step);
                for value in &read {
                    assert_eq!(held.get(&value.room), Some(value), "{network}: {step:?}");
                    assert_ne!(value.room, to.room, "{network}: {step:?}");
                }
                if let Step::Convolve(Convolution {
                    output: Output::OntoBytes(_),
                    ..
                }) = step
                {
                    assert_eq!(held.get(&to.room), Some(&to), "{network}: {step:?}");
                }
                // The margins of the windows are written once.
                assert_ne!(to.room, windows.to.room, "{network}: {step:?}");
                held.insert(to.room, to);
            }
        }
    }

    #[test]
    fn rooms_are_as_large_as_what_is_written_there_and_few() {
        for network in NETWORKS {
            let Program {
                steps,
                rooms: sizes,
                ..
            } = program(network, 3);
            for (step, _) in &steps {
                let (_, to) = rooms(step);
                let width = match step {
                    Step::Convolve(convolution) if convolution.output == Output::Floats => 4,
                    Step::Pad { .. } => 4,
                    _ => 1,
                };
                assert!(sizes[to.room] >= to.len() * width, "{network}: {step:?}");
            }
            assert!(sizes.len() <= 6, "{network}: {sizes:?}");
        }
    }

    #[test]
    fn each_place_is_written_once_in_the_order_of_execution() {
        for network in NETWORKS {
            let steps = program(network, 1).steps;
            let places = steps.iter().filter(|(_, is_place)| *is_place);
            let scales = places.filter_map(|(step, _)| match step {
                Step::Convolve(convolution) => Some(convolution.step),
                _ => None,
            });
            // The first is that of the input, which no convolution writes.
            let scales: Vec<f32> = scales.collect();
            let expected: Vec<f32> = (2..).take(scales.len()).map(|nth| nth as f32).collect();
            assert_eq!(scales, expected, "{network}");
        }
    }

    #[test]
    fn a_stage_of_one_frame_reads_the_middle_of_kernels_alone() {
        let steps = program(NETWORKS[0], 1).steps;
        let middles = steps.iter().filter_map(|(step, _)| match step {
            Step::Convolve(convolution) => Some((convolution.name.clone(), convolution.middle)),
            _ => None,
        });
        let last: Vec<(String, Option<usize>)> =
            middles.filter(|(_, middle)| middle.is_some()).collect();
        // Of 8 frames the fourth stage has one.
        let names: Vec<&str> = last.iter().map(|(name, _)| name.as_str()).collect();
        let expected = ["layer4.0.conv2.0", "layer4.1.conv1.0", "layer4.1.conv2.0"];
        assert_eq!(names, expected);
    }
}

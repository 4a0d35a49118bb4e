//! From a network to the statements of a program that computes with bytes.
//!
//! A value is held in two forms: `bytes`, which convolutions read, and `levels`, the same whole numbers as floats,
//! which shortcuts add. What a convolution puts out is counted in steps of the place behind it, because its weights' scales and
//! its bias are divided by that step: rounding and cutting off at 0 and 255 makes the byte, and cutting off at 0 is the
//! ReLU. A residual sum is added in 32 bits and rounded once, as in the simulation.

use super::super::Affine;
use crate::{BlockLayout, ConvLayout, InputGeometry, ResidualLayout, STEM_POOL, ShortcutLayout};

/// A convolution, or `fc` as one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Convolution {
    /// Prefix of its tensors, as in `layer1.0.conv1.0`.
    pub name: String,
    /// How the bytes that it reads are stored.
    pub input: Affine,
    /// The real value of 1 in what it puts out.
    pub step: f32,
    pub stride: [i64; 3],
    pub padding: [i64; 3],
    /// What it reads of a clip: channels, frames, height, width.
    pub shape: [i64; 4],
    /// Whether what it reads are windows: see [`Lowering::windows`].
    pub windows: bool,
}

/// A line of the program.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Line {
    Statement(String),
    /// This variable holds the bytes of the next place.
    Place(&'static str),
}

/// What a network comes to.
#[derive(Debug, Default)]
pub(super) struct Lowered {
    pub convolutions: Vec<Convolution>,
    pub lines: Vec<Line>,
}

/// What a convolution's result is kept as: torch's number of the type.
#[derive(Clone, Copy)]
enum Output {
    Bytes = 0,
    Floats = 6,
}

/// A value of the program: channels, frames, height, width; how its levels are to be read.
#[derive(Clone, Copy)]
struct State {
    channels: i64,
    size: [i64; 3],
    affine: Affine,
}

/// Lowers a network whose places are stored in this way, in the order of execution.
pub(super) fn lower(layout: &ResidualLayout, affines: &[Affine], input: InputGeometry) -> Lowered {
    let mut affines = affines.iter().copied();
    let mut next = move || affines.next().unwrap_or(UNIT);
    let mut lowering = Lowering::default();
    let mut state = lowering.clips(next(), input);
    for layer in &layout.stem {
        state = lowering.stem(layer, state, next());
    }
    state = lowering.behind_the_stem(layout.pool, state);
    for block in &layout.blocks {
        let inner = block.convolutions.len() - 1;
        let inner = (0..inner).map(|_| next()).collect::<Vec<_>>();
        state = lowering.block(block, state, &inner, next());
    }
    lowering.head(&layout.head.name, state, next());
    lowering.0
}

/// What logits are counted in.
const UNIT: Affine = Affine {
    scale: 1.0,
    zero_point: 0,
};

#[derive(Default)]
struct Lowering(Lowered);

impl Lowering {
    fn say(&mut self, statement: impl Into<String>) {
        self.0.lines.push(Line::Statement(statement.into()));
    }

    fn place(&mut self, variable: &'static str) {
        self.0.lines.push(Line::Place(variable));
    }

    /// Clips in 32 bits to bytes.
    fn clips(&mut self, affine: Affine, input: InputGeometry) -> State {
        let (scale, zero_point) = (f64::from(affine.scale), affine.zero_point);
        self.say(format!(
            "bytes = self.stored(clips, {scale:?}, {zero_point})"
        ));
        self.place("bytes");
        let [_, channels, frames, height, width] = input.batch_shape(1);
        State {
            channels,
            size: [frames, height, width],
            affine,
        }
    }

    /// `target = convolution(source)`, in steps of `step`.
    fn convolve(
        &mut self,
        (target, source): (&str, &str),
        layer: &ConvLayout,
        state: State,
        output: Output,
        affine: Affine,
    ) -> State {
        let size = layer.output_size(state.size);
        self.add(
            (target, source),
            Convolution {
                name: layer.conv.clone(),
                input: state.affine,
                step: affine.scale,
                stride: layer.stride,
                padding: layer.padding,
                shape: [state.channels, state.size[0], state.size[1], state.size[2]],
                windows: false,
            },
            output,
        );
        State {
            channels: layer.outputs,
            size,
            affine,
        }
    }

    fn add(&mut self, (target, source): (&str, &str), convolution: Convolution, output: Output) {
        let Convolution {
            input,
            stride,
            padding,
            ..
        } = &convolution;
        let (scale, zero_point) = (f64::from(input.scale), input.zero_point);
        self.say(format!(
            "{target} = self.convolve({}, {source}, {scale:?}, {zero_point}, {stride:?}, {padding:?}, {})",
            self.0.convolutions.len(),
            output as i32,
        ));
        self.0.convolutions.push(convolution);
    }

    fn stem(&mut self, layer: &ConvLayout, state: State, affine: Affine) -> State {
        let behind = if self.0.convolutions.is_empty() && layer.kernel[2] > 1 {
            self.windows(layer, state, affine)
        } else {
            self.convolve(("bytes", "bytes"), layer, state, Output::Bytes, affine)
        };
        self.place("bytes");
        behind
    }

    /// The first convolution. Three channels would leave most of each multiplication of an int8 kernel idle, which
    /// takes 64 of them at a time; so what the kernel sees across the width becomes channels: three times its
    /// width of them, in front of a kernel of width 1. The sums are the same to the last bit; at 32 channels
    /// of 8x56x56 they take two fifths of the time.
    fn windows(&mut self, layer: &ConvLayout, state: State, affine: Affine) -> State {
        let size = layer.output_size(state.size);
        let (width, stride, padding) = (layer.kernel[2], layer.stride[2], layer.padding[2]);
        let zero_point = state.affine.zero_point;
        self.say(format!(
            "bytes = self.windows(bytes, {width}, {stride}, {padding}, {zero_point})"
        ));
        let convolution = Convolution {
            name: layer.conv.clone(),
            input: state.affine,
            step: affine.scale,
            stride: [layer.stride[0], layer.stride[1], 1],
            padding: [layer.padding[0], layer.padding[1], 0],
            shape: [
                state.channels * width,
                state.size[0],
                state.size[1],
                size[2],
            ],
            windows: true,
        };
        self.add(("bytes", "bytes"), convolution, Output::Bytes);
        State {
            channels: layer.outputs,
            size,
            affine,
        }
    }

    fn behind_the_stem(&mut self, pool: bool, state: State) -> State {
        self.say("levels = torch.to(bytes, 6)");
        if !pool {
            return state;
        }
        let (kernel, stride, padding) = STEM_POOL;
        let [kernels, strides, paddings, ones] = [kernel, stride, padding, 1].map(|side| [side; 3]);
        self.say(format!(
            "levels = torch.max_pool3d(levels, {kernels:?}, {strides:?}, {paddings:?}, {ones:?}, False)"
        ));
        self.say("bytes = self.narrowed(levels)");
        let size = state
            .size
            .map(|side| (side + 2 * padding - kernel) / stride + 1);
        State { size, ..state }
    }

    fn block(
        &mut self,
        block: &BlockLayout,
        state: State,
        inner: &[Affine],
        affine: Affine,
    ) -> State {
        self.say(format!("# {}", block.name));
        let (mut within, mut source) = (state, "bytes");
        for (layer, affine) in block.convolutions.iter().zip(inner) {
            within = self.convolve(("inner", source), layer, within, Output::Bytes, *affine);
            source = "inner";
            self.place("inner");
        }
        let last = &block.convolutions[inner.len()];
        let behind = self.convolve(("sum", source), last, within, Output::Floats, affine);
        let ratio = f64::from(state.affine.scale) / f64::from(affine.scale);
        match &block.shortcut {
            ShortcutLayout::Identity => {
                self.say(format!("sum = torch.add_(sum, levels, alpha={ratio:?})"));
            }
            ShortcutLayout::Convolution(layer) => {
                self.convolve(("around", "bytes"), layer, state, Output::Floats, affine);
                self.say("sum = torch.add_(sum, around)");
            }
            ShortcutLayout::Pad { stride, .. } => {
                for (axis, step) in (2..).zip(stride).filter(|(_, step)| **step > 1) {
                    self.say(format!(
                        "levels = torch.slice(levels, {axis}, None, None, {step})"
                    ));
                }
                let channels = state.channels;
                self.say(format!(
                    "kept = torch.add_(torch.narrow(sum, 1, 0, {channels}), levels, alpha={ratio:?})"
                ));
            }
        }
        self.round("sum");
        behind
    }

    /// Rounds what is counted in steps.
    fn round(&mut self, variable: &str) {
        self.say(format!(
            "levels = torch.clamp_(torch.round_({variable}), 0, 255)"
        ));
        self.say("bytes = self.narrowed(levels)");
        self.place("bytes");
    }

    /// The mean over frames and space, and `fc`.
    fn head(&mut self, name: &str, state: State, affine: Affine) {
        self.say(format!("# {name}"));
        let ratio = f64::from(state.affine.scale) / f64::from(affine.scale);
        self.say(format!(
            "mean = torch.mul_(torch.mean(levels, [2, 3, 4], True), {ratio:?})"
        ));
        self.round("mean");
        let convolution = Convolution {
            name: name.to_owned(),
            input: affine,
            step: UNIT.scale,
            stride: [1; 3],
            padding: [0; 3],
            shape: [state.channels, 1, 1, 1],
            windows: false,
        };
        self.add(("logits", "bytes"), convolution, Output::Floats);
    }
}

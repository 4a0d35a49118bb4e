//! From a network to the statements of a program that computes with bytes.
//!
//! A value is held as `bytes`, which convolutions read, and where something adds or averages it also as `levels`, the same
//! whole numbers as floats. What a convolution puts out is counted in steps of the place behind it, because its weights'
//! scales and its bias are divided by that step: rounding and cutting off at 0 and 255 makes the byte, and cutting off at 0
//! is the ReLU. A residual sum is added in 32 bits and rounded once, as in the simulation.
//!
//! A convolution over frames alone, of kernel (k, 1, 1), sees every position by itself. So all positions are put into one axis, which
//! costs nothing where channels lie innermost, and from which oneDNN fills its registers better: 23 us instead of 60
//! for 36 to 16 channels of 8x28x28. As such it has two axes, and over two axes oneDNN adds a shortcut itself
//! before it rounds: the sum is never written in 32 bits ([`Form::JoinedFrames`]).
//!
//! Where a stage is down to one frame, a kernel over frames sees padding with all but its middle, so the rest is left out of
//! the file and of the work: the sums are the same to the last bit. What remains has two axes as well ([`Form::JoinedPicture`]).

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
    /// One a spatial axis, as `padding`: frames, height and width; frames and positions; or height and width.
    pub stride: Vec<i64>,
    pub padding: Vec<i64>,
    /// What it reads of a clip: channels and the spatial axes.
    pub shape: Vec<i64>,
    /// Which of its kernel's parts over frames is all that sees a frame, where there is only one.
    pub middle: Option<i64>,
    pub form: Form,
}

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In three dimensions.
    Volumes,
    /// Of windows: see [`Lowering::windows`].
    Windows,
    /// In two dimensions, frames and positions, and added to the shortcut's bytes, in whose place the sum's bytes are left.
    JoinedFrames,
    /// The same in height and width, where there is one frame.
    JoinedPicture,
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

impl State {
    /// The value with all positions in the last of two spatial axes, or of three, the second of which is 1 then.
    fn flat(&self, axes: usize) -> Vec<i64> {
        let [frames, height, width] = self.size;
        let mut shape = vec![self.channels, frames];
        shape.resize(axes, 1);
        shape.push(height * width);
        shape
    }

    fn shape(&self) -> Vec<i64> {
        [&[self.channels], &self.size[..]].concat()
    }

    /// What a joined convolution sees of the value.
    fn joined(&self) -> Vec<i64> {
        match self.size {
            [1, height, width] => vec![self.channels, height, width],
            _ => self.flat(2),
        }
    }
}

/// Whether a convolution sees every position by itself.
fn over_frames_alone(layer: &ConvLayout) -> bool {
    layer.kernel[1..] == [1, 1] && layer.stride[1..] == [1, 1]
}

/// A view of a variable as clips of this shape.
fn view(variable: &str, shape: &[i64]) -> String {
    let sides: Vec<String> = shape.iter().map(i64::to_string).collect();
    format!("torch.view({variable}, [count, {}])", sides.join(", "))
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
    lowering.lowered
}

/// What logits are counted in.
const UNIT: Affine = Affine {
    scale: 1.0,
    zero_point: 0,
};

#[derive(Default)]
struct Lowering {
    lowered: Lowered,
    /// Whether `levels` holds what `bytes` does.
    levels: bool,
}

impl Lowering {
    fn say(&mut self, statement: impl Into<String>) {
        self.lowered.lines.push(Line::Statement(statement.into()));
    }

    fn place(&mut self, variable: &'static str) {
        self.lowered.lines.push(Line::Place(variable));
    }

    /// Clips in 32 bits to bytes.
    fn clips(&mut self, affine: Affine, input: InputGeometry) -> State {
        let (scale, zero_point) = (f64::from(affine.scale), affine.zero_point);
        self.say("count = torch.size(clips, 0)");
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

    /// Has `levels` hold what `bytes` does.
    fn need_levels(&mut self) {
        if !self.levels {
            self.say("levels = torch.to(bytes, 6)");
            self.levels = true;
        }
    }

    /// `target = convolution(source)`, in steps of `affine`.
    fn convolve(
        &mut self,
        (target, source): (&str, &str),
        layer: &ConvLayout,
        state: State,
        output: Output,
        affine: Affine,
    ) -> State {
        let (layer, middle) = layer.in_front_of(state.size[0]);
        let behind = State {
            channels: layer.outputs,
            size: layer.output_size(state.size),
            affine,
        };
        let mut convolution = Convolution {
            name: layer.conv.clone(),
            input: state.affine,
            step: affine.scale,
            stride: layer.stride.to_vec(),
            padding: layer.padding.to_vec(),
            shape: state.shape(),
            middle,
            form: Form::Volumes,
        };
        if over_frames_alone(&layer) && state.size[0] > 1 {
            convolution.shape = state.flat(3);
            self.say(format!("flat = {}", view(source, &convolution.shape)));
            self.add(("flat", "flat"), convolution, output);
            self.say(format!("{target} = {}", view("flat", &behind.shape())));
        } else {
            self.add((target, source), convolution, output);
        }
        behind
    }

    fn add(&mut self, (target, source): (&str, &str), convolution: Convolution, output: Output) {
        let Convolution {
            input,
            stride,
            padding,
            ..
        } = &convolution;
        self.say(format!(
            "{target} = self.convolve({}, {source}, {}, {stride:?}, {padding:?}, {})",
            self.lowered.convolutions.len(),
            input.zero_point,
            output as i32,
        ));
        self.lowered.convolutions.push(convolution);
    }

    /// The last convolution of a block, which sees two axes, with the shortcut added: the sum's bytes take the place of the
    /// shortcut's, which nobody needs any more.
    fn join(&mut self, source: &str, layer: &ConvLayout, within: State, behind: State, ratio: f64) {
        let (layer, middle) = layer.in_front_of(within.size[0]);
        let (form, axes) = match within.size[0] {
            1 => (Form::JoinedPicture, 1..3),
            _ => (Form::JoinedFrames, 0..2),
        };
        let convolution = Convolution {
            name: layer.conv.clone(),
            input: within.affine,
            step: behind.affine.scale,
            stride: layer.stride[axes.clone()].to_vec(),
            padding: layer.padding[axes].to_vec(),
            shape: within.joined(),
            middle,
            form,
        };
        self.say(format!("flat = {}", view("bytes", &behind.joined())));
        self.say(format!(
            "flat = self.join({}, {}, flat, {ratio:?}, {}, {:?}, {:?})",
            self.lowered.convolutions.len(),
            view(source, &convolution.shape),
            convolution.input.zero_point,
            convolution.stride,
            convolution.padding,
        ));
        self.say(format!("bytes = {}", view("flat", &behind.shape())));
        self.lowered.convolutions.push(convolution);
        self.levels = false;
        self.place("bytes");
    }

    fn stem(&mut self, layer: &ConvLayout, state: State, affine: Affine) -> State {
        let behind = if self.lowered.convolutions.is_empty() && layer.kernel[2] > 1 {
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
        let (layer, middle) = layer.in_front_of(state.size[0]);
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
            stride: vec![layer.stride[0], layer.stride[1], 1],
            padding: vec![layer.padding[0], layer.padding[1], 0],
            shape: vec![
                state.channels * width,
                state.size[0],
                state.size[1],
                size[2],
            ],
            middle,
            form: Form::Windows,
        };
        self.add(("bytes", "bytes"), convolution, Output::Bytes);
        State {
            channels: layer.outputs,
            size,
            affine,
        }
    }

    fn behind_the_stem(&mut self, pool: bool, state: State) -> State {
        if !pool {
            return state;
        }
        self.need_levels();
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
        let ratio = state.affine.in_steps_of(affine);
        let two_axes = over_frames_alone(last) || within.size[0] == 1;
        if block.shortcut == ShortcutLayout::Identity && two_axes {
            let behind = State { affine, ..state };
            self.join(source, last, within, behind, ratio);
            return behind;
        }
        let behind = self.convolve(("sum", source), last, within, Output::Floats, affine);
        match &block.shortcut {
            ShortcutLayout::Identity => {
                self.need_levels();
                self.say(format!("sum = torch.add_(sum, levels, alpha={ratio:?})"));
            }
            ShortcutLayout::Convolution(layer) => {
                self.convolve(("around", "bytes"), layer, state, Output::Floats, affine);
                self.say("sum = torch.add_(sum, around)");
            }
            ShortcutLayout::Pad { stride, .. } => {
                self.need_levels();
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
        self.levels = true;
        self.place("bytes");
    }

    /// The mean over frames and space, and `fc`.
    fn head(&mut self, name: &str, state: State, affine: Affine) {
        self.say(format!("# {name}"));
        self.need_levels();
        let ratio = state.affine.in_steps_of(affine);
        self.say(format!(
            "mean = torch.mul_(torch.mean(levels, [2, 3, 4], True), {ratio:?})"
        ));
        self.round("mean");
        let convolution = Convolution {
            name: name.to_owned(),
            input: affine,
            step: UNIT.scale,
            stride: vec![1; 3],
            padding: vec![0; 3],
            shape: vec![state.channels, 1, 1, 1],
            middle: None,
            form: Form::Volumes,
        };
        self.add(("logits", "bytes"), convolution, Output::Floats);
    }
}

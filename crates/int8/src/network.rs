//! A quantized model that is run by oneDNN.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use fedact_recipe::{Affine, Layout, ResidualLayout};
use fedact_stored::{DESCRIPTION, Description, Weights};

use crate::Int8Error;
use crate::library::{Engine, Memory, Order, Primitive, Role, Sum, Type, Wanted};
use crate::pixels::{Levels, mean, pad, pool};
use crate::program::{Convolution, Output, Program, Step, Value};
use crate::room::Room;

/// A quantized model, read from its folder and compiled for this machine's processor.
///
/// It is compiled anew for each number of clips that is asked for, and keeps what it compiled.
#[derive(Debug)]
pub struct Int8Network {
    // Before the engine, without which they could not end.
    compiled: BTreeMap<usize, Compiled>,
    engine: Engine,
    description: Description,
    affines: Vec<Affine>,
    layout: ResidualLayout,
    levels: Levels,
    layers: BTreeMap<String, Layer>,
}

/// Logits, and the bytes of every place on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    /// [clips, classes].
    pub logits: Vec<f32>,
    /// In the order of execution, each [clips, frames, height, width, channels].
    pub places: Vec<Vec<u8>>,
}

/// The numbers of a layer, in the units and the shape that oneDNN gets.
#[derive(Debug)]
struct Layer {
    /// Outputs, inputs, frames, height, width.
    sides: [i64; 5],
    weights: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
}

/// A network for a number of clips.
#[derive(Debug)]
struct Compiled {
    program: Program,
    // Before the rooms that they point to.
    primitives: Vec<Option<Primitive>>,
    rooms: Vec<Room>,
    /// Weights, scales, biases and what primitives use while they run.
    _constants: Vec<Room>,
}

impl Int8Network {
    /// Reads the folder of a quantized model.
    ///
    /// # Errors
    /// There is no oneDNN here; names the file that is missing or damaged; a model that is not quantized, or of a network that
    /// has no form in eight bits.
    pub fn open(folder: &Path) -> Result<Self, Int8Error> {
        let engine = Engine::new()?;
        let description = Description::read(folder)?;
        let Some(quantization) = &description.quantization else {
            let path = folder.to_owned();
            return Err(Int8Error::NotQuantized { path });
        };
        let Layout::Residual(layout) = description.architecture.layout()? else {
            let architecture = description.architecture.to_string();
            return Err(Int8Error::NoForm { architecture });
        };
        let refuse = |message| Int8Error::Description {
            path: folder.join(DESCRIPTION),
            message,
        };
        // Only clips have negative values. Elsewhere, cutting off at the byte 0 is the ReLU.
        let behind = quantization.activations.iter().skip(1);
        if let Some(odd) = behind.clone().find(|place| place.affine.zero_point != 0) {
            let (name, zero_point) = (&odd.name, odd.affine.zero_point);
            return Err(refuse(format!(
                "`{name}` stands behind a ReLU but has zero point {zero_point} and not 0"
            )));
        }
        let affines: Vec<Affine> = quantization
            .activations
            .iter()
            .map(|place| place.affine)
            .collect();
        if let Some(odd) = affines
            .iter()
            .find(|affine| !(affine.scale.is_normal() && affine.scale > 0.0))
        {
            return Err(refuse(format!("a place has the scale {}", odd.scale)));
        }
        let counts = (1, description.classes.len());
        let steps = Program::new(&layout, &affines, description.input, counts).steps;
        // The clips themselves are the first.
        let places = 1 + steps.iter().filter(|(_, is_place)| *is_place).count();
        if affines.len() != places {
            return Err(refuse(format!(
                "it has scales for {} places, and the network has {places}",
                affines.len()
            )));
        }
        let mut network = Self {
            compiled: BTreeMap::new(),
            engine,
            levels: Levels::new(&description, affines[0]),
            description,
            affines,
            layout,
            layers: BTreeMap::new(),
        };
        let weights = Weights::open(folder)?;
        for (step, _) in steps {
            if let Step::Convolve(convolution) = step {
                let layer = Layer::read(&weights, &convolution)?;
                network.layers.insert(convolution.name, layer);
            }
        }
        Ok(network)
    }

    /// What the model is.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Bytes of a clip that it takes: frames x height x width x 3.
    pub fn clip_bytes(&self) -> usize {
        let input = self.description.input;
        (input.frames * input.height * input.width) as usize * 3
    }

    /// Threads that compute, where it is asked from this thread.
    pub fn set_threads(&self, threads: usize) {
        self.engine.set_threads(threads);
    }

    /// Logits [clips, classes] of RGB bytes [clips, frames, height, width, 3].
    ///
    /// # Errors
    /// Bytes that are not whole clips; whatever oneDNN refuses.
    pub fn logits(&mut self, clips: &[u8]) -> Result<Vec<f32>, Int8Error> {
        self.run(clips, |_| {})
    }

    /// The same, with the bytes of every place.
    ///
    /// # Errors
    /// As [`logits`](Self::logits).
    pub fn trace(&mut self, clips: &[u8]) -> Result<Traced, Int8Error> {
        let mut places = vec![self.levels.of(clips)];
        let logits = self.run(clips, |bytes| places.push(bytes.to_vec()))?;
        Ok(Traced { logits, places })
    }

    fn run(&mut self, clips: &[u8], mut place: impl FnMut(&[u8])) -> Result<Vec<f32>, Int8Error> {
        let (clip, found) = (self.clip_bytes(), clips.len());
        if found == 0 || !found.is_multiple_of(clip) {
            return Err(Int8Error::Clips { clip, found });
        }
        let count = found / clip;
        if !self.compiled.contains_key(&count) {
            let compiled = self.compile(count)?;
            self.compiled.insert(count, compiled);
        }
        let Some(compiled) = self.compiled.get_mut(&count) else {
            return Ok(Vec::new());
        };
        let zero_point = self.affines[0].zero_point;
        let Compiled {
            program,
            primitives,
            rooms,
            ..
        } = compiled;
        let windows = &program.windows;
        windows.write(
            &self.levels,
            zero_point,
            clips,
            rooms[windows.to.room].bytes_mut(),
        );
        for ((step, is_place), primitive) in program.steps.iter().zip(primitives) {
            let to = match step {
                Step::Convolve(convolution) => {
                    if let Some(primitive) = primitive {
                        self.engine.run(primitive)?;
                    }
                    convolution.to
                }
                Step::Pool { from, to } => {
                    let (source, target) = two(rooms, *from, *to);
                    pool((*from, source.bytes()), *to, target.bytes_mut());
                    *to
                }
                Step::Pad {
                    from,
                    to,
                    stride,
                    ratio,
                } => {
                    let (source, target) = two(rooms, *from, *to);
                    pad(
                        (*from, source.bytes()),
                        *to,
                        *stride,
                        *ratio,
                        target.floats_mut(),
                    );
                    *to
                }
                Step::Mean { from, to, ratio } => {
                    let (source, target) = two(rooms, *from, *to);
                    mean((*from, source.bytes()), *ratio, target.bytes_mut());
                    *to
                }
            };
            if *is_place {
                place(&rooms[to.room].bytes()[..to.len()]);
            }
        }
        let logits = program.logits;
        Ok(rooms[logits.room].floats()[..logits.len()].to_vec())
    }

    fn program(&self, clips: usize) -> Program {
        let counts = (clips, self.description.classes.len());
        Program::new(&self.layout, &self.affines, self.description.input, counts)
    }

    fn compile(&self, clips: usize) -> Result<Compiled, Int8Error> {
        let program = self.program(clips);
        let mut rooms: Vec<Room> = program.rooms.iter().map(|size| Room::new(*size)).collect();
        let windows = &program.windows;
        // The margins have the byte that stands for 0, for good; the rest is written over by each clip.
        let zero_point = self.affines[0].zero_point;
        rooms[windows.to.room].bytes_mut().fill(zero_point);
        let mut compiler = Compiler {
            engine: &self.engine,
            rooms: &rooms,
            constants: Vec::new(),
        };
        let mut primitives = Vec::with_capacity(program.steps.len());
        for (step, _) in &program.steps {
            primitives.push(match step {
                Step::Convolve(convolution) => {
                    let layer = &self.layers[&convolution.name];
                    Some(compiler.convolution(convolution, layer)?)
                }
                Step::Pool { .. } | Step::Pad { .. } | Step::Mean { .. } => None,
            });
        }
        let constants = compiler.constants;
        Ok(Compiled {
            program,
            primitives,
            rooms,
            _constants: constants,
        })
    }
}

/// Two rooms, one to read and one to write.
fn two(rooms: &mut [Room], from: Value, to: Value) -> (&Room, &mut Room) {
    // The builder gives a step's result a room of its own.
    match rooms.get_disjoint_mut([from.room, to.room]) {
        Ok([from, to]) => (from, to),
        Err(_) => unreachable!("a step writes where it reads"),
    }
}

impl Layer {
    fn read(weights: &Weights, convolution: &Convolution) -> Result<Self, Int8Error> {
        let Convolution { name, input, .. } = convolution;
        let [outputs, inputs, frames, height, width] = convolution.weights;
        // `fc` is stored as a matrix.
        let whole = convolution.weights.map(|side| side as i64);
        let stored = weights.bytes(
            name,
            if convolution.is_matrix {
                &whole[..2]
            } else {
                &whole
            },
        )?;
        let bias = weights.bias(name, outputs as i64)?;
        let seen = match convolution.middle {
            Some(middle) => middle..middle + 1,
            None => 0..frames,
        };
        let at = |output, channel, frame, row, column| {
            let index =
                (((output * inputs + channel) * frames + frame) * height + row) * width + column;
            stored.values[index]
        };
        // Outputs, inputs, frames, rows, columns; of windows, the columns and in each the inputs are what is read at once.
        let mut values = Vec::with_capacity(stored.values.len());
        let (columns, deep) = if convolution.of_windows {
            (1, width)
        } else {
            (width, 1)
        };
        for output in 0..outputs {
            for (inner, channel) in (0..deep).flat_map(|at| (0..inputs).map(move |c| (at, c))) {
                for frame in seen.clone() {
                    for row in 0..height {
                        values.extend(
                            (0..columns)
                                .map(|column| at(output, channel, frame, row, inner + column)),
                        );
                    }
                }
            }
        }
        // In steps of what is put out.
        let (step, scale) = (f64::from(convolution.step), f64::from(input.scale));
        let scales: Vec<f64> = stored
            .scales
            .iter()
            .map(|own| f64::from(*own) * scale / step)
            .collect();
        // Bytes stand for their distance from the zero point, which is the same for every sum: margins have it, too.
        let zero_point = f64::from(input.zero_point);
        let each = values.len() / outputs;
        let sums = values
            .chunks_exact(each)
            .map(|row| row.iter().map(|value| f64::from(*value)).sum::<f64>());
        let bias = bias.iter().zip(&scales).zip(sums);
        let bias = bias.map(|((bias, scale), sum)| {
            (f64::from(*bias) / step - zero_point * sum * scale) as f32
        });
        Ok(Self {
            sides: [outputs, inputs * deep, seen.len(), height, columns].map(|side| side as i64),
            bias: bias.collect(),
            scales: scales.into_iter().map(|scale| scale as f32).collect(),
            weights: values,
        })
    }
}

/// Makes primitives of steps.
struct Compiler<'a> {
    engine: &'a Engine,
    rooms: &'a [Room],
    constants: Vec<Room>,
}

impl Compiler<'_> {
    fn convolution(
        &mut self,
        convolution: &Convolution,
        layer: &Layer,
    ) -> Result<Primitive, Int8Error> {
        let engine = self.engine;
        let Convolution { name, from, to, .. } = convolution;
        let shape = |value: &Value, kind| {
            let [clips, frames, height, width, channels] = value.sides.map(|side| side as i64);
            engine.shape(
                &[clips, channels, frames, height, width],
                kind,
                Order::ChannelsLast,
            )
        };
        let kind = if convolution.output == Output::Floats {
            Type::F32
        } else {
            Type::U8
        };
        let (source, target) = (shape(from, Type::U8)?, shape(to, kind)?);
        let addend = match convolution.output {
            Output::WithFloats(value) => Some((shape(&value, Type::F32)?, value)),
            _ => None,
        };
        let choice = engine.choose(&Wanted {
            name,
            source: &source,
            weights: layer.sides,
            target: &target,
            stride: convolution.stride,
            padding: convolution.padding,
            sum: match (convolution.output, &addend) {
                (Output::OntoBytes(ratio), _) => Sum::Before(ratio),
                (_, Some((shape, _))) => Sum::Of(shape),
                _ => Sum::Nothing,
            },
        })?;
        let plain = engine.shape(&layer.sides, Type::S8, Order::Weights)?;
        let bytes: Vec<u8> = layer
            .weights
            .iter()
            .map(|weight| weight.cast_unsigned())
            .collect();
        let stored = Room::of(&bytes);
        let weights = Room::new(engine.size(&choice.weights));
        // SAFETY: a room has as many bytes as its shape takes, here and below, outlives the primitives, and nobody looks at it
        // while one runs.
        let packed = unsafe {
            let stored = engine.memory(&plain, stored.place())?;
            let packed = engine.memory(&choice.weights, weights.place())?;
            engine.reorder((&plain, &stored), (&choice.weights, &packed))?;
            packed
        };
        let row = engine.shape(&[layer.sides[0]], Type::F32, Order::Row)?;
        let (bias, scales) = (Room::of_floats(&layer.bias), Room::of_floats(&layer.scales));
        let scratchpad = Room::new(engine.size(&choice.scratchpad));
        let room = |value: &Value| self.rooms[value.room].place();
        // SAFETY: as above.
        let mut memories: Vec<(Role, Rc<Memory>)> = unsafe {
            vec![
                (Role::Source, engine.memory(&source, room(from))?),
                (Role::Weights, packed),
                (Role::Bias, engine.memory(&row, bias.place())?),
                (Role::WeightScales, engine.memory(&row, scales.place())?),
                (
                    Role::Scratchpad,
                    engine.memory(&choice.scratchpad, scratchpad.place())?,
                ),
                (Role::Target, engine.memory(&target, room(to))?),
            ]
        };
        if let Some((shape, value)) = &addend {
            // SAFETY: as above.
            memories.push((Role::Addend, unsafe { engine.memory(shape, room(value)) }?));
        }
        self.constants.extend([weights, bias, scales, scratchpad]);
        engine.convolution(name, &choice, memories)
    }
}

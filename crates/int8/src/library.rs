//! oneDNN's C interface, found at run time. All that is unsafe of calling it is here and in `room`.
//!
//! Version 3 of the interface ("oneDNN developer guide and reference", C API) is stable within the major version, which
//! is asked for by the name of the file and looked at once more when it is loaded. The library is never unloaded: threads of its
//! OpenMP run in it.

use std::ffi::{c_int, c_uint, c_void};
use std::path::PathBuf;
use std::ptr::{NonNull, null_mut};
use std::rc::Rc;
use std::sync::OnceLock;

use crate::Int8Error;

/// Its file, where the system's loader knows of one.
const FILE: &str = "libdnnl.so.3";

/// A file that is tried first: named in the environment or, when this was built, by the set-up.
const NAMED: &str = "FEDACT_ONEDNN";

/// The version of the interface.
const MAJOR: c_int = 3;

/// Any of oneDNN's objects.
type Object = *mut c_void;
type Status = c_int;

/// Numbers of the interface.
mod number {
    use std::ffi::{c_int, c_uint};

    pub const CPU: c_int = 1;
    pub const IN_ORDER: c_uint = 1;
    pub const FORWARD_INFERENCE: c_int = 96;
    pub const DIRECT: c_int = 1;
    pub const BINARY_ADD: c_int = 0x1fff0;
    pub const SCRATCHPAD_OF_THE_USER: c_int = 1;
    pub const WEIGHTS_DESC: c_int = 131;
    pub const SCRATCHPAD_DESC: c_int = 136;
    pub const SCALES_OF: c_int = 4096;
    pub const FIRST_POST_OP: c_int = 32768;
    pub const SECOND_SOURCE: c_int = 2;
}

/// What a memory is to a primitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// What is read.
    Source,
    /// What is written.
    Target,
    /// The weights.
    Weights,
    /// The bias.
    Bias,
    /// What it may use while it runs.
    Scratchpad,
    /// A factor for each output channel.
    WeightScales,
    /// What is added to the result.
    Addend,
}

impl Role {
    fn number(self) -> c_int {
        match self {
            Self::Source => 1,
            Self::Target => 17,
            Self::Weights => 33,
            Self::Bias => 41,
            Self::Scratchpad => 80,
            Self::WeightScales => number::SCALES_OF | Self::Weights.number(),
            Self::Addend => number::FIRST_POST_OP | number::SECOND_SOURCE,
        }
    }
}

/// Types of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    F32 = 3,
    S8 = 5,
    U8 = 6,
}

/// Orders of axes in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Whichever oneDNN likes best.
    Any = 1,
    /// One axis.
    Row = 2,
    /// Outputs, inputs, frames, height, width.
    Weights = 6,
    /// Clips, frames, height, width, channels.
    ChannelsLast = 33,
}

/// A value of a call: what it is to the primitive, and the memory.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Argument {
    role: c_int,
    memory: Object,
}

macro_rules! interface {
    ($($name:ident: fn($($argument:ty),*) -> $result:ty;)*) => {
        /// The functions that are called.
        #[derive(Debug)]
        struct Interface { $($name: unsafe extern "C" fn($($argument),*) -> $result,)* }

        impl Interface {
            /// # Safety
            /// The library is oneDNN of [`MAJOR`], whose functions have these types.
            unsafe fn of(library: &libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: the caller answers for the types.
                Ok(Self { $($name: *unsafe { library.get(concat!("dnnl_", stringify!($name)).as_bytes()) }?,)* })
            }
        }
    };
}

interface! {
    engine_create: fn(*mut Object, c_int, usize) -> Status;
    engine_destroy: fn(Object) -> Status;
    stream_create: fn(*mut Object, Object, c_uint) -> Status;
    stream_destroy: fn(Object) -> Status;
    stream_wait: fn(Object) -> Status;
    memory_desc_create_with_tag: fn(*mut Object, c_int, *const i64, c_int, c_int) -> Status;
    memory_desc_clone: fn(*mut Object, Object) -> Status;
    memory_desc_destroy: fn(Object) -> Status;
    memory_desc_get_size: fn(Object) -> usize;
    memory_create: fn(*mut Object, Object, Object, *mut c_void) -> Status;
    memory_destroy: fn(Object) -> Status;
    primitive_attr_create: fn(*mut Object) -> Status;
    primitive_attr_destroy: fn(Object) -> Status;
    primitive_attr_set_scales_mask: fn(Object, c_int, c_int) -> Status;
    primitive_attr_set_scratchpad_mode: fn(Object, c_int) -> Status;
    primitive_attr_set_post_ops: fn(Object, Object) -> Status;
    post_ops_create: fn(*mut Object) -> Status;
    post_ops_destroy: fn(Object) -> Status;
    post_ops_append_sum: fn(Object, f32, i32, c_int) -> Status;
    post_ops_append_binary: fn(Object, c_int, Object) -> Status;
    convolution_forward_primitive_desc_create: fn(*mut Object, Object, c_int, c_int, Object, Object, Object, Object, *const i64, *const i64, *const i64, *const i64, Object) -> Status;
    reorder_primitive_desc_create: fn(*mut Object, Object, Object, Object, Object, Object) -> Status;
    primitive_desc_destroy: fn(Object) -> Status;
    primitive_desc_query_md: fn(Object, c_int, c_int) -> Object;
    primitive_create: fn(*mut Object, Object) -> Status;
    primitive_execute: fn(Object, Object, c_int, *const Argument) -> Status;
    primitive_destroy: fn(Object) -> Status;
}

/// The version as oneDNN tells it; more stands behind these.
#[repr(C)]
struct Version {
    major: c_int,
    minor: c_int,
    patch: c_int,
}

/// A loaded oneDNN.
#[derive(Debug)]
pub(crate) struct Library {
    interface: Interface,
    /// OpenMP's function for it, where oneDNN has OpenMP.
    set_threads: Option<unsafe extern "C" fn(c_int)>,
    /// As in `3.2.0`.
    version: String,
}

/// The library of this process.
///
/// # Errors
/// There is none, or one of another version.
pub(crate) fn library() -> Result<&'static Library, Int8Error> {
    static LOADED: OnceLock<Result<Library, String>> = OnceLock::new();
    let loaded = LOADED.get_or_init(Library::load).as_ref();
    loaded.map_err(|message| Int8Error::Unavailable(message.clone()))
}

impl Library {
    fn load() -> Result<Self, String> {
        let asked = std::env::var_os(NAMED).map(PathBuf::from);
        let laid_out = option_env!("FEDACT_ONEDNN").map(PathBuf::from);
        let laid_out = laid_out.filter(|path| path.is_file());
        let path = asked.or(laid_out).unwrap_or_else(|| PathBuf::from(FILE));
        // SAFETY: loading runs the initialisers of oneDNN and of OpenMP, which expect nothing of the process.
        let loaded = unsafe { libloading::Library::new(&path) };
        let loaded = loaded.map_err(|error| whole(&error))?;
        // Threads of OpenMP run in it until the process ends.
        let loaded: &'static libloading::Library = Box::leak(Box::new(loaded));
        // SAFETY: this function has had this type since version 0.
        let version = unsafe {
            let version = loaded.get::<unsafe extern "C" fn() -> *const Version>(b"dnnl_version");
            &*version.map_err(|error| whole(&error))?()
        };
        let Version {
            major,
            minor,
            patch,
        } = version;
        if *major != MAJOR {
            return Err(format!(
                "{} is version {major}.{minor}, and not {MAJOR}",
                path.display()
            ));
        }
        // SAFETY: the version has just been looked at.
        let interface = unsafe { Interface::of(loaded) }.map_err(|error| whole(&error))?;
        // SAFETY: OpenMP's function of this name has this type.
        let set_threads = unsafe { loaded.get(b"omp_set_num_threads") };
        Ok(Self {
            interface,
            set_threads: set_threads.ok().map(|function| *function),
            version: format!("{major}.{minor}.{patch}"),
        })
    }

    /// As in `3.2.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Threads that networks compute with, in this thread.
    pub fn set_threads(&self, threads: usize) {
        if let Some(set) = self.set_threads {
            // SAFETY: any number from 1 on is good.
            unsafe { set(c_int::try_from(threads.max(1)).unwrap_or(c_int::MAX)) }
        }
    }

    /// Makes an object by a function that writes it, to be destroyed by another.
    fn object(
        &'static self,
        what: &str,
        destroy: unsafe extern "C" fn(Object) -> Status,
        make: impl FnOnce(*mut Object) -> Status,
    ) -> Result<Owned, Int8Error> {
        let mut object = null_mut();
        done(what, make(&raw mut object))?;
        Ok(Owned { object, destroy })
    }
}

/// The message of the loader, which `libloading` gives as the source.
fn whole(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

fn done(what: &str, status: Status) -> Result<(), Int8Error> {
    match status {
        0 => Ok(()),
        status => Err(Int8Error::Refused {
            what: what.to_owned(),
            status,
        }),
    }
}

/// An object that ends with its owner.
#[derive(Debug)]
struct Owned {
    object: Object,
    destroy: unsafe extern "C" fn(Object) -> Status,
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it was made by oneDNN, is destroyed by the function for its kind, and once.
        let _ = unsafe { (self.destroy)(self.object) };
    }
}

/// Where everything runs: this machine's processor.
#[derive(Debug)]
pub(crate) struct Engine {
    library: &'static Library,
    stream: Owned,
    engine: Owned,
}

/// The shape, type and order of numbers in memory.
#[derive(Debug)]
pub(crate) struct Shape(Owned);

/// Memory that somebody else holds, seen as a tensor.
#[derive(Debug)]
pub(crate) struct Memory(Owned);

/// A convolution of bytes, as oneDNN is to make it.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// For errors.
    pub name: &'a str,
    pub source: &'a Shape,
    /// Outputs, inputs, frames, height, width.
    pub weights: [i64; 5],
    pub target: &'a Shape,
    pub stride: [i64; 3],
    pub padding: [i64; 3],
    pub sum: Sum<'a>,
}

/// What a convolution adds to its result before it rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sum<'a> {
    Nothing,
    /// So many times what stands where the result will.
    Before(f32),
    /// Other numbers.
    Of(&'a Shape),
}

/// What oneDNN has chosen for a convolution, before it is compiled.
#[derive(Debug)]
pub(crate) struct Choice {
    pub weights: Shape,
    pub scratchpad: Shape,
    description: Owned,
}

/// Something to run.
#[derive(Debug)]
pub(crate) struct Primitive {
    name: String,
    primitive: Owned,
    arguments: Vec<Argument>,
    /// What the arguments point to.
    _memories: Vec<Rc<Memory>>,
}

impl Engine {
    pub fn new() -> Result<Self, Int8Error> {
        let library = library()?;
        let functions = &library.interface;
        // SAFETY: the place for the object is one.
        let engine = library.object("an engine", functions.engine_destroy, |engine| unsafe {
            (functions.engine_create)(engine, number::CPU, 0)
        })?;
        // SAFETY: as above, and the engine is one.
        let stream = library.object("a stream", functions.stream_destroy, |stream| unsafe {
            (functions.stream_create)(stream, engine.object, number::IN_ORDER)
        })?;
        Ok(Self {
            library,
            stream,
            engine,
        })
    }

    /// Threads that networks compute with, in this thread.
    pub fn set_threads(&self, threads: usize) {
        self.library.set_threads(threads);
    }

    /// A shape; `sides` as the order has them by name.
    pub fn shape(&self, sides: &[i64], kind: Type, order: Order) -> Result<Shape, Int8Error> {
        let functions = &self.library.interface;
        // SAFETY: so many sides are there.
        let shape =
            self.library
                .object("a shape", functions.memory_desc_destroy, |shape| unsafe {
                    (functions.memory_desc_create_with_tag)(
                        shape,
                        sides.len() as c_int,
                        sides.as_ptr(),
                        kind as c_int,
                        order as c_int,
                    )
                })?;
        Ok(Shape(shape))
    }

    /// Bytes that a tensor takes.
    pub fn size(&self, shape: &Shape) -> usize {
        // SAFETY: the shape is one.
        unsafe { (self.library.interface.memory_desc_get_size)(shape.0.object) }
    }

    /// Sees memory as a tensor.
    ///
    /// # Safety
    /// At `place` are as many bytes as the shape takes, for as long as the memory is given to primitives that run; and while one of
    /// them does, nobody else looks at them.
    pub unsafe fn memory(
        &self,
        shape: &Shape,
        place: NonNull<u8>,
    ) -> Result<Rc<Memory>, Int8Error> {
        let functions = &self.library.interface;
        // SAFETY: shape and engine are such; the caller answers for the place.
        let memory =
            self.library
                .object("a tensor", functions.memory_destroy, |memory| unsafe {
                    let place = place.as_ptr().cast();
                    (functions.memory_create)(memory, shape.0.object, self.engine.object, place)
                })?;
        Ok(Rc::new(Memory(memory)))
    }

    /// Chooses how a convolution is computed.
    pub fn choose(&self, wanted: &Wanted<'_>) -> Result<Choice, Int8Error> {
        let functions = &self.library.interface;
        let Wanted { name, .. } = wanted;
        let outputs = wanted.weights[0];
        let weights = self.shape(&wanted.weights, Type::S8, Order::Any)?;
        let bias = self.shape(&[outputs], Type::F32, Order::Row)?;
        // SAFETY, here and below: places are such, and objects are of the kinds that the functions want.
        let attributes = self.library.object(
            name,
            functions.primitive_attr_destroy,
            |attributes| unsafe { (functions.primitive_attr_create)(attributes) },
        )?;
        let sums = self
            .library
            .object(name, functions.post_ops_destroy, |sums| unsafe {
                (functions.post_ops_create)(sums)
            })?;
        let (of_each_output, no_type) = (1, 0);
        let weights_number = Role::Weights.number();
        // SAFETY: as above.
        unsafe {
            done(
                name,
                match wanted.sum {
                    Sum::Nothing => 0,
                    Sum::Before(ratio) => {
                        (functions.post_ops_append_sum)(sums.object, ratio, 0, no_type)
                    }
                    Sum::Of(shape) => (functions.post_ops_append_binary)(
                        sums.object,
                        number::BINARY_ADD,
                        shape.0.object,
                    ),
                },
            )?;
            let attributes = attributes.object;
            let mode = number::SCRATCHPAD_OF_THE_USER;
            done(
                name,
                (functions.primitive_attr_set_post_ops)(attributes, sums.object),
            )?;
            done(
                name,
                (functions.primitive_attr_set_scratchpad_mode)(attributes, mode),
            )?;
            done(
                name,
                (functions.primitive_attr_set_scales_mask)(
                    attributes,
                    weights_number,
                    of_each_output,
                ),
            )?;
        }
        let (stride, padding, dilation) = (wanted.stride, wanted.padding, [0i64; 3]);
        // SAFETY: as above, and there are three spatial axes.
        let description = self.library.object(
            name,
            functions.primitive_desc_destroy,
            |description| unsafe {
                (functions.convolution_forward_primitive_desc_create)(
                    description,
                    self.engine.object,
                    number::FORWARD_INFERENCE,
                    number::DIRECT,
                    wanted.source.0.object,
                    weights.0.object,
                    bias.0.object,
                    wanted.target.0.object,
                    stride.as_ptr(),
                    dilation.as_ptr(),
                    padding.as_ptr(),
                    padding.as_ptr(),
                    attributes.object,
                )
            },
        )?;
        Ok(Choice {
            weights: self.queried(name, &description, number::WEIGHTS_DESC)?,
            scratchpad: self.queried(name, &description, number::SCRATCHPAD_DESC)?,
            description,
        })
    }

    /// One of the shapes that were chosen.
    fn queried(&self, name: &str, description: &Owned, what: c_int) -> Result<Shape, Int8Error> {
        let functions = &self.library.interface;
        // SAFETY: the description is one; what it lends is copied.
        let copy = self
            .library
            .object(name, functions.memory_desc_destroy, |copy| unsafe {
                let lent = (functions.primitive_desc_query_md)(description.object, what, 0);
                (functions.memory_desc_clone)(copy, lent)
            })?;
        Ok(Shape(copy))
    }

    /// Compiles a convolution.
    pub fn convolution(
        &self,
        name: &str,
        choice: &Choice,
        memories: Vec<(Role, Rc<Memory>)>,
    ) -> Result<Primitive, Int8Error> {
        self.primitive(name, &choice.description, memories)
    }

    /// Brings numbers into another order.
    pub fn reorder(
        &self,
        (source, from): (&Shape, &Rc<Memory>),
        (target, to): (&Shape, &Rc<Memory>),
    ) -> Result<(), Int8Error> {
        let functions = &self.library.interface;
        let engine = self.engine.object;
        // SAFETY: shapes and engine are such; none are the attributes.
        let description = self.library.object(
            "another order of weights",
            functions.primitive_desc_destroy,
            |description| unsafe {
                (functions.reorder_primitive_desc_create)(
                    description,
                    source.0.object,
                    engine,
                    target.0.object,
                    engine,
                    null_mut(),
                )
            },
        )?;
        let memories = vec![
            (Role::Source, Rc::clone(from)),
            (Role::Target, Rc::clone(to)),
        ];
        let reorder = self.primitive("another order of weights", &description, memories)?;
        self.run(&reorder)
    }

    fn primitive(
        &self,
        name: &str,
        description: &Owned,
        memories: Vec<(Role, Rc<Memory>)>,
    ) -> Result<Primitive, Int8Error> {
        let functions = &self.library.interface;
        // SAFETY: the description is one.
        let primitive =
            self.library
                .object(name, functions.primitive_destroy, |primitive| unsafe {
                    (functions.primitive_create)(primitive, description.object)
                })?;
        let argument = |(role, memory): &(Role, Rc<Memory>)| Argument {
            role: role.number(),
            memory: memory.0.object,
        };
        Ok(Primitive {
            name: name.to_owned(),
            primitive,
            arguments: memories.iter().map(argument).collect(),
            _memories: memories.into_iter().map(|(_, memory)| memory).collect(),
        })
    }

    /// Runs a primitive to its end.
    pub fn run(&self, primitive: &Primitive) -> Result<(), Int8Error> {
        let functions = &self.library.interface;
        let arguments = &primitive.arguments;
        // SAFETY: primitive and stream are such; who made the memories answers for what is there.
        let status = unsafe {
            let count = arguments.len() as c_int;
            let stream = self.stream.object;
            match (functions.primitive_execute)(
                primitive.primitive.object,
                stream,
                count,
                arguments.as_ptr(),
            ) {
                0 => (functions.stream_wait)(stream),
                status => status,
            }
        };
        done(&primitive.name, status)
    }
}

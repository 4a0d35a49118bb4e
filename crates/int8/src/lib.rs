//! Quantized networks run by oneDNN itself, without libtorch.
//!
//! The folder of a quantized model is read as it stands (`model.json`, `model.safetensors`); the steps follow from the
//! layout of its architecture, as those of `model.pt` and of the ONNX files do. libtorch has oneDNN inside, but each of its calls
//! describes tensors, looks a primitive up and allocates anew, which in small networks takes longer than the
//! convolutions; here everything is laid out once, and a clip is a row of calls.
//!
//! What it computes is what `nets` says in whole numbers, to the byte: every place is rounded once, and residual sums are added
//! in 32 bits. On a processor without VNNI, oneDNN adds pairs of products in 16 bits and cuts off what is larger.
//!
//! * [`Int8Network`]: a model, from pixels to logits
//! * `program`: the network's layers as steps, pure data
//! * `pixels`: what is not a convolution
//! * `library`: oneDNN's C interface, loaded at run time; `room`: memory that both sides see

mod error;
mod library;
mod network;
mod pixels;
mod program;
mod room;

pub use error::Int8Error;
pub use network::{Int8Network, Traced};

/// The version of the oneDNN that this process has loaded, or loads now; as in `3.2.0`.
///
/// # Errors
/// There is none here that can be used.
pub fn version() -> Result<&'static str, Int8Error> {
    library::library().map(library::Library::version)
}

//! A model's folder, read without libtorch: what it is (`model.json`) and its numbers (`model.safetensors`).
//!
//! Tensors are read from the file when they are asked for, so that who wants the bytes of a quantized model does not
//! hold its floats, which take four times the room.

mod description;
mod error;
mod weights;

pub use description::{Activation, Description, FILE as DESCRIPTION, Input, Quantization};
pub use error::StoredError;
pub use weights::{Bytes, Floats, Weights};

//! What a network is and how it is trained, as data.
//!
//! These are the settings that stages offer as params and that `fedact-nets` carries out. They stand
//! apart from it because planning needs their defaults and ranges, and must not load libtorch for them.

mod architecture;
mod augmentation;
mod quantization;
mod training;

pub use architecture::{Architecture, BlockLayout, ConvLayout, Family, Layout};
pub use augmentation::Augmentation;
pub use fedact_stage::OutOfRange;
pub use quantization::{CalibrationSettings, Execution, Method};
pub use training::{OptimizerSettings, Rule, TrainingSettings};

//! What a network is and how it is trained, as data.
//!
//! These are the settings that stages offer as params and that `fedact-nets` carries out. They stand
//! apart from it because planning needs their defaults and ranges, and must not load libtorch for them.

mod architecture;
mod augmentation;
mod precision;
mod quantization;
mod training;

pub use architecture::{
    Architecture, BlockLayout, ConvLayout, Convolutions, Cost, Family, HeadLayout, InvertedLayout,
    Layout, Residual, ResidualLayout, SHIFTED_SHARE, STEM_POOL, Settings, Shortcut, ShortcutLayout,
    Stem, Tsm, TsmLayout, X3d, X3dBlockLayout, X3dLayout,
};
pub use augmentation::Augmentation;
pub use fedact_stage::OutOfRange;
pub use precision::Precision;
pub use quantization::{CalibrationSettings, Execution, Method};
pub use training::{OptimizerSettings, Rule, TrainingSettings};

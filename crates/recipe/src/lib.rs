//! What a network is and how it is trained, as data.
//!
//! These are the settings that stages offer as params and that `fedact-nets` carries out. They stand
//! apart from it because planning needs their defaults and ranges, and must not load libtorch for them.

mod architecture;
mod augmentation;
mod bytes;
mod device;
mod improvement;
mod normalisation;
mod precision;
mod quantization;
mod schedule;
mod selection;
mod training;
mod views;

pub use architecture::{
    Architecture, BlockLayout, ConvLayout, Convolutions, Cost, Family, HeadLayout, InvertedLayout,
    Layout, Residual, ResidualLayout, SHIFTED_SHARE, STEM_POOL, Settings, Shortcut, ShortcutLayout,
    Stem, Tsm, TsmLayout, X3d, X3dBlockLayout, X3dLayout,
};
pub use augmentation::{Augmentation, Views};
pub use bytes::{ACTIVATION_MAXIMUM, Affine, WEIGHT_MAXIMUM, quantize_weight, weight_scale};
pub use device::ComputeDevice;
pub use fedact_stage::OutOfRange;
pub use improvement::{
    Choice, Enough, Improve, ImproveSettings, Improvement, RoundSettings, TuneSettings,
};
pub use normalisation::Normalisation;
pub use precision::Precision;
pub use quantization::{CalibrationSettings, Execution, Method};
pub use schedule::{ScheduleSettings, Shape};
pub use selection::{Balance, Keep};
pub use training::{OptimizerSettings, Rule, TrainingSettings};
pub use views::TestViews;

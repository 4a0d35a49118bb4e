//! 3-D convolutional networks: architectures, weights in and out, losses, training, quantized layers.
//!
//! Clips are tensors of `f32` \[clips, channels, frames, height, width\], RGB, normalised with the mean
//! and standard deviation that stand in `model.json`. Parameters carry torchvision's names (X3D's those
//! of pytorchvideo), so that their checkpoints load and ours load there.
//!
//! Everything random derives from a `seed` argument through ChaCha and not from torch's global
//! generator, so that results do not depend on what ran before.

mod allocator;
mod answers;
mod blas;
mod device;
mod error;
mod info;
mod mixed;
mod model;
mod networks;
mod pretrained;
mod random;
mod teachers;

pub mod data;
pub mod loss;
pub mod quantize;
pub mod score;
pub mod train;
pub mod weights;

pub use allocator::keep_memory;
pub use answers::{ANSWERS_VERSION, Answers, AnswersInfo, answers_files, fingerprint};
pub use device::{device, gpu, multiplies_bfloat16, sums_bytes_in_32_bits};
pub use error::NetsError;
pub use fedact_recipe::{
    Architecture, BlockLayout, ComputeDevice, ConvLayout, Convolutions, Cost, Family, HeadLayout,
    InvertedLayout, Layout, OutOfRange, Precision, Residual, ResidualLayout, SHIFTED_SHARE,
    STEM_POOL, Shortcut, ShortcutLayout, Stem, Tsm, TsmLayout, X3d, X3dBlockLayout, X3dLayout,
};
pub use info::{
    FORMAT_VERSION, InputGeometry, MEAN, ModelInfo, STD, Sampling, files, normalisation,
};
pub use mixed::MixedModel;
pub use model::{Classifier, FloatModel, Model};
pub use networks::{Network, Outputs};
pub use pretrained::{Adopted, Pretrained};
pub use teachers::Teachers;

/// Sets how many threads libtorch computes with, in this process from now on. The last bits of results
/// depend on the number, which is why it is a param of every stage that trains.
///
/// Independent operations never run side by side: libtorch allows that number to be set only once and
/// before its first work of that kind, so call this at the start of a process, and before anything is computed: it is
/// also what keeps libtorch's matrix products from instructions that an older processor lacks.
pub fn set_threads(threads: usize) {
    static FIRST: std::sync::Once = std::sync::Once::new();
    FIRST.call_once(|| {
        tch::set_num_interop_threads(1);
        blas::keep_to_what_the_processor_has();
    });
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

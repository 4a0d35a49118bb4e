//! Which network: a family with its settings, the layers that follow from them, and what they cost.

mod cost;
mod layer;
mod residual;
mod settings;
#[cfg(test)]
mod tests;
mod tsm;
mod x3d;

use fedact_stage::OutOfRange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use cost::Cost;
pub use layer::{ConvLayout, HeadLayout};
pub use residual::{
    BlockLayout, Convolutions, Residual, ResidualLayout, STEM_POOL, Shortcut, ShortcutLayout, Stem,
};
pub use settings::{Family, Settings};
pub use tsm::{InvertedLayout, SHIFTED_SHARE, Tsm, TsmLayout};
pub use x3d::{X3d, X3dBlockLayout, X3dLayout};

/// A network up to its input and its classes; written as [`Settings`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Settings", into = "Settings")]
#[schemars(with = "Settings")]
pub enum Architecture {
    /// R3D, MC3 or R(2+1)D.
    Residual(Residual),
    /// X3D.
    X3d(X3d),
    /// TSM on MobileNetV2.
    Tsm(Tsm),
}

impl Default for Architecture {
    fn default() -> Self {
        Self::Residual(Residual::default())
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Residual(residual) => residual.fmt(f),
            Self::X3d(x3d) => x3d.fmt(f),
            Self::Tsm(tsm) => tsm.fmt(f),
        }
    }
}

impl Architecture {
    /// An R3D of torchvision's form.
    pub fn r3d(depth: u32, width: u32) -> Self {
        Self::Residual(Residual {
            depth,
            width,
            ..Residual::default()
        })
    }

    /// Refuses depths and widths that do not exist.
    ///
    /// # Errors
    /// The field, its value and what would be right.
    pub fn check(&self) -> Result<(), OutOfRange> {
        match self {
            Self::Residual(residual) => residual.check(),
            Self::X3d(x3d) => x3d.check(),
            Self::Tsm(tsm) => tsm.check(),
        }
    }

    /// The layers.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn layout(&self) -> Result<Layout, OutOfRange> {
        self.check()?;
        Ok(match self {
            Self::Residual(residual) => Layout::Residual(residual.layout()),
            Self::X3d(x3d) => Layout::X3d(Box::new(x3d.layout())),
            Self::Tsm(tsm) => Layout::Tsm(Box::new(tsm.layout())),
        })
    }
}

/// All layers of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Of R3D, MC3 or R(2+1)D.
    Residual(ResidualLayout),
    /// Of X3D.
    X3d(Box<X3dLayout>),
    /// Of TSM on MobileNetV2.
    Tsm(Box<TsmLayout>),
}

impl Layout {
    /// Every convolution in the order of execution; a block's shortcut comes after its last.
    pub fn convolutions(&self) -> Vec<&ConvLayout> {
        match self {
            Self::Residual(layout) => layout.convolutions().collect(),
            Self::X3d(layout) => layout.convolutions().collect(),
            Self::Tsm(layout) => layout.convolutions().collect(),
        }
    }

    /// The last layer.
    pub fn head(&self) -> &HeadLayout {
        match self {
            Self::Residual(layout) => &layout.head,
            Self::X3d(layout) => &layout.head,
            Self::Tsm(layout) => &layout.head,
        }
    }

    /// Names and shapes of everything in the checkpoint for `classes` classes, buffers of the batch
    /// norms included, in the order of [`convolutions`](Self::convolutions).
    pub fn state(&self, classes: usize) -> Vec<(String, Vec<i64>)> {
        let convolutions = self.convolutions();
        let layers = convolutions.iter().flat_map(|layer| layer.state());
        layers.chain(self.head().state(classes)).collect()
    }

    /// What one clip of these frames, height and width costs with `classes` classes.
    pub fn cost(&self, input: [i64; 3], classes: usize) -> Cost {
        let mut tally = cost::Tally::new(input);
        match self {
            Self::Residual(layout) => layout.tally(&mut tally),
            Self::X3d(layout) => layout.tally(&mut tally),
            Self::Tsm(layout) => layout.tally(&mut tally),
        }
        tally.finish(self, classes)
    }
}

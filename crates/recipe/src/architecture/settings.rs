//! How a network is written down, in pipeline files and in `model.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Architecture, Convolutions, Residual, Shortcut, Stem, Tsm, X3d};

/// A family of networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// 3-D residual networks: every convolution sees frames and space at once.
    #[default]
    R3d,
    /// Residual networks with 3-D convolutions in the first stage and 2-D ones behind it.
    Mc3,
    /// Residual networks whose convolutions see space first and then frames.
    R2plus1d,
    /// X3D, a small network of depthwise convolutions. XS, S and M are one network, which sees clips of
    /// 4 frames of 160 pixels, 13 of 160 or 16 of 224.
    X3d,
    /// MobileNetV2 on single frames, with channels shifted between neighbouring frames (TSM).
    Tsm,
}

impl Family {
    /// The word for it in files.
    fn name(self) -> &'static str {
        match self {
            Self::R3d => "r3d",
            Self::Mc3 => "mc3",
            Self::R2plus1d => "r2plus1d",
            Self::X3d => "x3d",
            Self::Tsm => "tsm",
        }
    }
}

/// A network as it is written down: a family and those of its settings that differ from the defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Family of networks: `r3d`, `mc3`, `r2plus1d` (residual), `x3d` or `tsm`.
    pub arch: Family,
    /// Of residual networks: weighted layers, 10, 18 (default), 26, 34 or 50, with 1, 2, 3, 3-4-6-3 and
    /// 3-4-6-3 blocks in the four stages; the blocks of 50 are bottlenecks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// Channels of the stem. Of residual networks 16 by default, and 64 in published ones; of `x3d` 24
    /// and of `tsm` 32, by default and in published ones. All other layers grow with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Of residual networks: `torchvision` (3x7x7, default) or `hara` (7x7x7 and a max-pool behind it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stem: Option<Stem>,
    /// Of residual networks, where a shortcut changes shape: `convolution` (1x1x1, default; Hara's
    /// type B) or `pad` (every second value, and zeros for the new channels; Hara's type A).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<Shortcut>,
}

impl TryFrom<Settings> for Architecture {
    type Error = String;

    fn try_from(settings: Settings) -> Result<Self, String> {
        let residual = |convolutions| {
            let default = Residual::default();
            Self::Residual(Residual {
                convolutions,
                depth: settings.depth.unwrap_or(default.depth),
                width: settings.width.unwrap_or(default.width),
                stem: settings.stem.unwrap_or_default(),
                shortcut: settings.shortcut.unwrap_or_default(),
            })
        };
        let architecture = match settings.arch {
            Family::R3d => return Ok(residual(Convolutions::Full)),
            Family::Mc3 => return Ok(residual(Convolutions::Mixed)),
            Family::R2plus1d => return Ok(residual(Convolutions::Factored)),
            Family::X3d => Self::X3d(X3d {
                width: settings.width.unwrap_or(X3d::default().width),
            }),
            Family::Tsm => Self::Tsm(Tsm {
                width: settings.width.unwrap_or(Tsm::default().width),
            }),
        };
        let strange = [
            ("depth", settings.depth.is_some()),
            ("stem", settings.stem.is_some()),
            ("shortcut", settings.shortcut.is_some()),
        ];
        match strange.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(format!(
                "`{name}` is no setting of `arch: {}`, which has `width` alone; leave it out, or take \
                 `r3d`, `mc3` or `r2plus1d`",
                settings.arch.name()
            )),
            None => Ok(architecture),
        }
    }
}

impl From<Architecture> for Settings {
    fn from(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Residual(residual) => Self {
                arch: match residual.convolutions {
                    Convolutions::Full => Family::R3d,
                    Convolutions::Mixed => Family::Mc3,
                    Convolutions::Factored => Family::R2plus1d,
                },
                depth: Some(residual.depth),
                width: Some(residual.width),
                // Left out where they are the defaults: models made before they existed stay as they are.
                stem: Some(residual.stem).filter(|stem| *stem != Stem::default()),
                shortcut: Some(residual.shortcut).filter(|kind| *kind != Shortcut::default()),
            },
            Architecture::X3d(X3d { width }) => Self {
                arch: Family::X3d,
                width: Some(width),
                ..Self::default()
            },
            Architecture::Tsm(Tsm { width }) => Self {
                arch: Family::Tsm,
                width: Some(width),
                ..Self::default()
            },
        }
    }
}

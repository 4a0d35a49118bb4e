//! What is done to a decoded frame on its way to RGB.

/// What [`crate::Video::frames`] does to a frame, for whoever must say whether two sets of pixels were made
/// the same way. Changes whenever the same frame would give other pixels.
pub const SCALER: &str = "swscale bilinear, full chroma, accurate rounding, bit-exact; cropped first; \
                          chroma where the file has it; RGB in whole numbers; bwdif where interlaced; HDR tone-mapped";

/// The square that is cut from each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The picture's short side is scaled to this many pixels ...
    pub resize: u32,
    /// ... and the square of this side is cut from its middle. At most `resize`.
    pub size: u32,
}

impl Geometry {
    /// Bytes of one frame: size x size x 3.
    pub fn frame_bytes(self) -> usize {
        self.size as usize * self.size as usize * 3
    }
}

/// Width and height in pixels of a whole picture, the right way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Size {
    /// Bytes of one frame: height x width x 3.
    pub fn frame_bytes(self) -> usize {
        self.width as usize * self.height as usize * 3
    }

    /// The same picture lying on its side.
    pub(crate) fn transposed(self) -> Self {
        Self {
            width: self.height,
            height: self.width,
        }
    }
}

/// What is shown of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// A square from its middle.
    Square(Geometry),
    /// All of it in this size; of a picture of other proportions, the largest part of its middle that has them.
    Whole(Size),
}

impl View {
    /// The size of what is shown, the right way up.
    pub(crate) fn size(self) -> Size {
        match self {
            Self::Square(Geometry { size, .. }) => Size {
                width: size,
                height: size,
            },
            Self::Whole(size) => size,
        }
    }
}

/// What is done to decoded frames, whichever part of them is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Treatment {
    pub(crate) view: View,
    /// As in [`Conversion`].
    pub(crate) deinterlace: bool,
    /// As in [`Conversion`].
    pub(crate) tone_map: bool,
}

impl Treatment {
    /// Whole pictures, with everything that makes them look right.
    pub(crate) fn whole(size: Size) -> Self {
        Self {
            view: View::Whole(size),
            deinterlace: true,
            tone_map: true,
        }
    }
}

impl From<Conversion> for Treatment {
    fn from(conversion: Conversion) -> Self {
        Self {
            view: View::Square(conversion.geometry),
            deinterlace: conversion.deinterlace,
            tone_map: conversion.tone_map,
        }
    }
}

/// What is done to a decoded frame on its way to a square of RGB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conversion {
    /// Which square.
    pub geometry: Geometry,
    /// Whether frames that are flagged as interlaced are deinterlaced; otherwise their fields stay woven
    /// together.
    pub deinterlace: bool,
    /// Whether a high dynamic range is mapped to that of an ordinary screen; otherwise a video that has one is
    /// refused.
    pub tone_map: bool,
}

impl From<Geometry> for Conversion {
    /// Everything that makes the picture look right.
    fn from(geometry: Geometry) -> Self {
        Self {
            geometry,
            deinterlace: true,
            tone_map: true,
        }
    }
}

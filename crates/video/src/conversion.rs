//! What is done to a decoded frame on its way to a square of RGB.

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

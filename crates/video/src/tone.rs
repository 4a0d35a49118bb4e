//! High dynamic range to what an ordinary screen shows.
//!
//! Done on RGB, after scaling: SMPTE ST 2084 (PQ) or ARIB STD-B67 (HLG) to light, BT.2020
//! to BT.709 primaries, highlights compressed, and back through the sRGB curve. Reference white is 203
//! cd/m2 (ITU-R BT.2408).

use ffmpeg_next::ffi::{AVColorTransferCharacteristic, AVFrame};

/// Reference white in cd/m2 (ITU-R BT.2408).
const WHITE: f32 = 203.0;

/// Light of the brightest highlight that is still told apart, in units of reference white: 1000 cd/m2.
const PEAK: f32 = 1000.0 / WHITE;

/// Steps of the table from light to sRGB.
const STEPS: usize = 4096;

/// BT.2020 to BT.709 primaries, linear light (ITU-R BT.2087).
const PRIMARIES: [[f32; 3]; 3] = [
    [1.6605, -0.5876, -0.0728],
    [-0.1246, 1.1329, -0.0083],
    [-0.0182, -0.1006, 1.1187],
];

/// A transfer curve of high dynamic range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transfer {
    /// SMPTE ST 2084, as in HDR10.
    Pq,
    /// ARIB STD-B67, hybrid log-gamma.
    Hlg,
}

impl Transfer {
    /// The frame's curve, if it is one of high dynamic range.
    pub(crate) fn of(frame: &AVFrame) -> Option<Self> {
        // SAFETY: reads the number behind the enum, which a newer FFmpeg may have extended.
        Self::from_number(unsafe { (&raw const frame.color_trc).cast::<u32>().read() })
    }

    /// From the number in ITU-T H.273.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        if number == AVColorTransferCharacteristic::AVCOL_TRC_SMPTE2084 as u32 {
            Some(Self::Pq)
        } else if number == AVColorTransferCharacteristic::AVCOL_TRC_ARIB_STD_B67 as u32 {
            Some(Self::Hlg)
        } else {
            None
        }
    }

    /// The name of the curve.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pq => "PQ",
            Self::Hlg => "HLG",
        }
    }

    /// Light in units of reference white for a coded value in 0..=1; for HLG, light of the scene.
    fn light(self, value: f32) -> f32 {
        match self {
            Self::Pq => {
                let (m1, m2) = (2610.0 / 16384.0, 2523.0 / 4096.0 * 128.0);
                let (c1, c2, c3) = (
                    3424.0 / 4096.0,
                    2413.0 / 4096.0 * 32.0,
                    2392.0 / 4096.0 * 32.0,
                );
                let power = value.powf(1.0 / m2);
                let light = ((power - c1).max(0.0) / (c2 - c3 * power)).powf(1.0 / m1);
                light * 10_000.0 / WHITE
            }
            Self::Hlg => {
                let (a, b, c) = (0.178_832_77_f32, 0.284_668_92_f32, 0.559_910_7_f32);
                let scene = if value <= 0.5 {
                    value * value / 3.0
                } else {
                    (((value - c) / a).exp() + b) / 12.0
                };
                scene * PEAK
            }
        }
    }
}

/// Tables for one curve.
#[derive(Debug)]
pub(crate) struct ToneMap {
    transfer: Transfer,
    light: Vec<f32>,
    coded: Vec<u8>,
}

impl ToneMap {
    pub(crate) fn new(transfer: Transfer) -> Self {
        Self {
            transfer,
            light: (0..=255u8)
                .map(|value| transfer.light(f32::from(value) / 255.0))
                .collect(),
            coded: (0..=STEPS)
                .map(|step| (srgb(step as f32 / STEPS as f32) * 255.0).round() as u8)
                .collect(),
        }
    }

    /// Maps packed RGB in place.
    pub(crate) fn apply(&self, pixels: &mut [u8]) {
        for pixel in pixels.chunks_exact_mut(3) {
            let mut light = [0, 1, 2].map(|channel: usize| self.light[usize::from(pixel[channel])]);
            if self.transfer == Transfer::Hlg {
                // From the scene to a screen of 1000 cd/m2: the system gamma of 1.2 acts on luminance
                // (ITU-R BT.2100), so that hues stay.
                let luminance = 0.2627 * light[0] + 0.6780 * light[1] + 0.0593 * light[2];
                let factor = (luminance / PEAK).powf(0.2);
                light = light.map(|value| value * factor);
            }
            let mut mapped = PRIMARIES
                .map(|row| (row[0] * light[0] + row[1] * light[1] + row[2] * light[2]).max(0.0));
            // One factor for all three channels keeps the hue.
            let brightest = mapped[0].max(mapped[1]).max(mapped[2]);
            if brightest > 0.0 {
                let factor = compress(brightest) / brightest;
                mapped = mapped.map(|value| value * factor);
            }
            for (byte, value) in pixel.iter_mut().zip(mapped) {
                *byte = self.coded[((value * STEPS as f32).round() as usize).min(STEPS)];
            }
        }
    }
}

/// Reinhard's curve with a white point: 0 stays 0, [`PEAK`] and more become 1.
fn compress(light: f32) -> f32 {
    let light = light.min(PEAK);
    light * (1.0 + light / (PEAK * PEAK)) / (1.0 + light)
}

/// The sRGB curve (IEC 61966-2-1).
fn srgb(light: f32) -> f32 {
    if light <= 0.003_130_8 {
        light * 12.92
    } else {
        1.055 * light.powf(1.0 / 2.4) - 0.055
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(transfer: Transfer, value: u8) -> u8 {
        let mut pixel = [value; 3];
        ToneMap::new(transfer).apply(&mut pixel);
        assert!(
            pixel.iter().all(|byte| byte.abs_diff(pixel[0]) <= 1),
            "{pixel:?} is not grey"
        );
        pixel[0]
    }

    #[test]
    fn the_curves_hit_their_published_points() {
        // BT.2408: reference white is 58% of PQ's signal and 75% of HLG's.
        assert!((Transfer::Pq.light(0.5807) - 1.0).abs() < 0.01);
        let scene = Transfer::Hlg.light(0.75) / PEAK;
        assert!((scene.powf(1.2) * PEAK - 1.0).abs() < 0.02);
        assert!((Transfer::Pq.light(1.0) - 10_000.0 / WHITE).abs() < 0.1);
    }

    #[test]
    fn black_stays_black_peak_becomes_white_and_order_is_kept() {
        for transfer in [Transfer::Pq, Transfer::Hlg] {
            assert_eq!(grey(transfer, 0), 0);
            assert!(grey(transfer, 255) >= 254);
            let greys: Vec<u8> = (0..=255).map(|value| grey(transfer, value)).collect();
            assert!(greys.is_sorted(), "{transfer:?}: {greys:?}");
        }
        let white = grey(Transfer::Pq, 148);
        assert!(
            (170..=215).contains(&white),
            "reference white became {white}"
        );
    }
}

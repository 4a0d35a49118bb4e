//! Drawing: anti-aliased shaded shapes on a picture of floats.

use crate::random::Draws;
use crate::subject::Colour;
use crate::vector::Vec3;

/// A picture, three floats a pixel, 0 to 1.
#[derive(Debug)]
pub(crate) struct Canvas {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<f32>,
}

/// A circle of the picture: middle and radius in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Disc {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) radius: f32,
}

/// Light on surfaces: direction to it (right, up, to the camera) and what reaches the dark side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Light {
    pub(crate) direction: Vec3,
    pub(crate) ambient: f32,
}

impl Light {
    /// Brightness of a surface with this normal.
    pub(crate) fn on(&self, normal: Vec3) -> f32 {
        // What faces away from the camera darkens a little: it sets limbs off from the body.
        let rim = 0.78 + 0.22 * normal.z;
        (self.ambient + (1.05 - self.ambient) * normal.dot(self.direction).max(0.0)) * rim
    }
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            pixels: vec![0.0; width * height * 3],
        }
    }

    /// Calls `paint` for the middle of every pixel of a box, which returns a colour and how much of
    /// the pixel it covers.
    fn paint(
        &mut self,
        (left, top, right, bottom): (f32, f32, f32, f32),
        mut paint: impl FnMut(f32, f32) -> Option<(Colour, f32)>,
    ) {
        let clip = |value: f32, limit: usize| value.clamp(0.0, limit as f32) as usize;
        let columns = clip(left.floor(), self.width)..clip(right.ceil(), self.width);
        for row in clip(top.floor(), self.height)..clip(bottom.ceil(), self.height) {
            let line = &mut self.pixels[row * self.width * 3..(row + 1) * self.width * 3];
            for column in columns.clone() {
                let Some((colour, cover)) = paint(column as f32 + 0.5, row as f32 + 0.5) else {
                    continue;
                };
                let pixel = &mut line[column * 3..column * 3 + 3];
                for (value, channel) in pixel.iter_mut().zip(colour) {
                    *value += (channel - *value) * cover;
                }
            }
        }
    }

    /// A limb: the hull of two circles, shaded as a round body.
    pub(crate) fn capsule(&mut self, a: Disc, b: Disc, colour: Colour, light: &Light) {
        let (along_x, along_y) = (b.x - a.x, b.y - a.y);
        let square = (along_x * along_x + along_y * along_y).max(1e-6);
        let bounds = (
            (a.x - a.radius).min(b.x - b.radius) - 1.0,
            (a.y - a.radius).min(b.y - b.radius) - 1.0,
            (a.x + a.radius).max(b.x + b.radius) + 1.0,
            (a.y + a.radius).max(b.y + b.radius) + 1.0,
        );
        self.paint(bounds, |x, y| {
            let share = (((x - a.x) * along_x + (y - a.y) * along_y) / square).clamp(0.0, 1.0);
            let radius = a.radius + (b.radius - a.radius) * share;
            let (dx, dy) = (x - a.x - along_x * share, y - a.y - along_y * share);
            let distance = (dx * dx + dy * dy).sqrt();
            let cover = (radius - distance + 0.5).clamp(0.0, 1.0);
            if cover <= 0.0 {
                return None;
            }
            let normal = round_normal(dx / radius, dy / radius);
            Some((lit(colour, light.on(normal)), cover))
        });
    }

    /// A ball whose colour depends on the direction of its surface (right, up, to the camera).
    pub(crate) fn ball(&mut self, disc: Disc, colour: impl Fn(Vec3) -> Colour, light: &Light) {
        let bounds = (
            disc.x - disc.radius - 1.0,
            disc.y - disc.radius - 1.0,
            disc.x + disc.radius + 1.0,
            disc.y + disc.radius + 1.0,
        );
        self.paint(bounds, |x, y| {
            let (dx, dy) = (x - disc.x, y - disc.y);
            let distance = (dx * dx + dy * dy).sqrt();
            let cover = (disc.radius - distance + 0.5).clamp(0.0, 1.0);
            if cover <= 0.0 {
                return None;
            }
            let normal = round_normal(dx / disc.radius, dy / disc.radius);
            Some((lit(colour(normal), light.on(normal)), cover))
        });
    }

    /// A flat convex polygon, its corners clockwise on the picture.
    pub(crate) fn polygon(&mut self, corners: &[(f32, f32)], colour: Colour) {
        let bounds = corners.iter().fold(
            (
                f32::INFINITY,
                f32::INFINITY,
                f32::NEG_INFINITY,
                f32::NEG_INFINITY,
            ),
            |(left, top, right, bottom), (x, y)| {
                (
                    left.min(x - 1.0),
                    top.min(y - 1.0),
                    right.max(x + 1.0),
                    bottom.max(y + 1.0),
                )
            },
        );
        self.paint(bounds, |x, y| {
            let mut inside = f32::INFINITY;
            for (index, (from_x, from_y)) in corners.iter().enumerate() {
                let (to_x, to_y) = corners[(index + 1) % corners.len()];
                let (edge_x, edge_y) = (to_x - from_x, to_y - from_y);
                let length = (edge_x * edge_x + edge_y * edge_y).sqrt().max(1e-6);
                let side = (edge_x * (y - from_y) - edge_y * (x - from_x)) / length;
                inside = inside.min(side);
            }
            let cover = (inside + 0.5).clamp(0.0, 1.0);
            (cover > 0.0).then_some((colour, cover))
        });
    }

    /// Darkens an ellipse, softly towards its edge.
    pub(crate) fn shadow(&mut self, (x, y): (f32, f32), (width, height): (f32, f32), depth: f32) {
        let bounds = (x - width, y - height, x + width, y + height);
        self.paint(bounds, |px, py| {
            let (dx, dy) = ((px - x) / width, (py - y) / height.max(0.5));
            let inside = 1.0 - dx * dx - dy * dy;
            (inside > 0.0).then_some(([0.0; 3], depth * inside * inside))
        });
    }

    /// Exposes the picture: white balance, grain and rounding to bytes; left and right exchanged where
    /// it is mirrored.
    pub(crate) fn expose(
        &self,
        gain: Colour,
        grain: (&Grain, f32, &mut Draws),
        mirrored: bool,
        out: &mut [u8],
    ) {
        let (table, strength, draws) = grain;
        let row_length = self.width * 3;
        let lines = self.pixels.chunks_exact(row_length);
        for (line, bytes) in lines.zip(out.chunks_exact_mut(row_length)) {
            let noise = table.row(row_length, draws);
            for (index, byte) in bytes.iter_mut().enumerate() {
                let value = line[index] * gain[index % 3] + strength * noise[index];
                *byte = (value * 255.0 + 0.5).clamp(0.0, 255.0) as u8;
            }
            if mirrored {
                let (pixels, _) = bytes.as_chunks_mut::<3>();
                pixels.reverse();
            }
        }
    }
}

/// Normal of a round body from how far off its axis a point is, as a share of the radius.
fn round_normal(x: f32, y: f32) -> Vec3 {
    let off = (x * x + y * y).min(1.0);
    Vec3::new(x, -y, (1.0 - off).sqrt())
}

fn lit(colour: Colour, brightness: f32) -> Colour {
    colour.map(|channel| channel * brightness)
}

/// Noise drawn once and used over and over, each row from another place.
#[derive(Debug)]
pub(crate) struct Grain(Vec<f32>);

impl Grain {
    /// Places to start from.
    const STARTS: u32 = 16_384;

    /// Enough for rows of `width` pixels.
    pub(crate) fn new(width: usize, mut draws: Draws) -> Self {
        let length = Self::STARTS as usize + width * 3;
        Self((0..length).map(|_| draws.bell()).collect())
    }

    fn row(&self, length: usize, draws: &mut Draws) -> &[f32] {
        let start = draws.below(Self::STARTS) as usize;
        &self.0[start..start + length]
    }
}

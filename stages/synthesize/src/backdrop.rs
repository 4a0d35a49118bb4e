//! The room behind the figure: a wall and a floor with procedural texture, painted once a clip, wide
//! enough for all that the camera will see, and then shown through a moving window.

use crate::camera::Camera;
use crate::subject::Colour;

/// What the wall is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pattern {
    Plain,
    Boards,
    Bricks,
    Panels,
}

/// A room.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Room {
    pub(crate) wall: Colour,
    pub(crate) floor: Colour,
    /// From the figure to the wall behind it in metres.
    pub(crate) wall_distance: f32,
    pub(crate) pattern: Pattern,
    /// Strength of the texture, 0 to 1.
    pub(crate) texture: f32,
    /// Brighter to the right (above 0) or to the left, as a share from edge to edge.
    pub(crate) gradient: f32,
    pub(crate) seed: u32,
}

/// The painted room.
#[derive(Debug)]
pub(crate) struct Backdrop {
    width: usize,
    /// Columns to the left of the picture.
    left: f32,
    /// Rows above the picture.
    above: f32,
    /// Rows of RGB.
    pixels: Vec<f32>,
    /// Pixels of a metre, by row.
    row_scales: Vec<f32>,
}

/// How far the window moves, in pixels, over a clip.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// To each side, by pan and shake.
    pub(crate) sideways: f32,
    /// Up and down, by shake.
    pub(crate) vertical: f32,
    /// Sideways travel of the camera in metres, least and most.
    pub(crate) travel: (f32, f32),
}

impl Backdrop {
    /// Paints a room as a camera with a picture of `width` x `height` pixels sees it.
    pub(crate) fn paint(
        room: &Room,
        camera: &Camera,
        (width, height): (usize, usize),
        reach: &Reach,
    ) -> Self {
        let above = reach.vertical.ceil() + 1.0;
        let rows = height + 2 * above as usize + 1;
        let row_scales: Vec<f32> = (0..rows)
            .map(|row| camera.row_scale(row as f32 + 0.5 - above, room.wall_distance))
            .collect();
        let largest = row_scales.iter().copied().fold(0.0, f32::max);
        let left = (reach.sideways - reach.travel.0.min(0.0) * largest).ceil() + 1.0;
        let right = (reach.sideways + reach.travel.1.max(0.0) * largest).ceil() + 2.0;
        let columns = width + left as usize + right as usize;
        let wall_scale = camera.focal / (camera.distance + room.wall_distance);

        let mut pixels = Vec::with_capacity(rows * columns * 3);
        for (row, &scale) in row_scales.iter().enumerate() {
            let y = row as f32 + 0.5 - above;
            let is_wall = scale <= wall_scale;
            let depth = camera.focal / scale;
            let up = camera.height - (y - camera.horizon) / wall_scale;
            for column in 0..columns {
                let x = column as f32 + 0.5 - left;
                let across = (x - camera.column) / scale;
                let (base, shade) = if is_wall {
                    (room.wall, room.wall_shade(across, up))
                } else {
                    (room.floor, room.floor_shade(across, depth))
                };
                let light = 1.0 + room.gradient * (x / width as f32 - 0.5);
                pixels.extend(base.map(|channel| channel * shade * light));
            }
        }
        Self {
            width: columns,
            left,
            above,
            pixels,
            row_scales,
        }
    }

    /// Copies what is seen into rows of RGB: the camera moved by `travel` metres to the right, the
    /// picture by (`dx`, `dy`) pixels.
    pub(crate) fn show(&self, travel: f32, (dx, dy): (f32, f32), width: usize, out: &mut [f32]) {
        let top = self.above - dy;
        let row_share = top - top.floor();
        let first = top.floor() as usize;
        for (row, line) in out.chunks_exact_mut(width * 3).enumerate() {
            let source = first + row;
            let x = self.left - dx + travel * self.row_scales[source];
            let start = x.floor().clamp(0.0, (self.width - width - 1) as f32);
            let share = (x - start).clamp(0.0, 1.0);
            let offset = (source * self.width + start as usize) * 3;
            let here = &self.pixels[offset..offset + width * 3 + 3];
            let below = &self.pixels[offset + self.width * 3..][..width * 3 + 3];
            let weights = [
                (1.0 - share) * (1.0 - row_share),
                share * (1.0 - row_share),
                (1.0 - share) * row_share,
                share * row_share,
            ];
            for (index, value) in line.iter_mut().enumerate() {
                *value = weights[0] * here[index]
                    + weights[1] * here[index + 3]
                    + weights[2] * below[index]
                    + weights[3] * below[index + 3];
            }
        }
    }
}

impl Room {
    fn wall_shade(&self, across: f32, up: f32) -> f32 {
        let rough = fractal(across * 1.7, up * 1.7, self.seed);
        let grout = match self.pattern {
            Pattern::Plain => 0.0,
            Pattern::Boards => seam(across / 0.32, 0.06),
            Pattern::Bricks => {
                let course = (up / 0.24).floor();
                let shift = if course as i64 % 2 == 0 { 0.0 } else { 0.5 };
                seam(up / 0.24, 0.10).max(seam(across / 0.55 + shift, 0.05))
            }
            Pattern::Panels => seam(across / 1.1, 0.03).max(seam(up / 1.0, 0.03)),
        };
        // A skirting board, so that wall and floor part visibly.
        let skirting = if up < 0.10 { 0.75 } else { 1.0 };
        (1.0 + self.texture * (1.4 * (rough - 0.5) - 0.6 * grout)) * skirting
    }

    fn floor_shade(&self, across: f32, depth: f32) -> f32 {
        let rough = fractal(across * 2.3, depth * 2.3, self.seed ^ 0x9e37_79b9);
        1.0 + self.texture * 1.3 * (rough - 0.5)
    }
}

/// 1 on the joints between unit cells, 0 inside them.
fn seam(position: f32, width: f32) -> f32 {
    let inside = position - position.floor();
    if inside < width { 1.0 } else { 0.0 }
}

/// Three octaves of value noise between 0 and 1.
fn fractal(x: f32, y: f32, seed: u32) -> f32 {
    0.5 * value_noise(x, y, seed)
        + 0.3 * value_noise(x * 2.7 + 11.3, y * 2.7 + 5.1, seed)
        + 0.2 * value_noise(x * 7.1 + 3.7, y * 7.1 + 17.9, seed)
}

/// Random values on a grid, smoothly interpolated.
fn value_noise(x: f32, y: f32, seed: u32) -> f32 {
    let (column, row) = (x.floor(), y.floor());
    let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
    let (u, v) = (smooth(x - column), smooth(y - row));
    let (column, row) = (column as i32, row as i32);
    let corner = |dx: i32, dy: i32| {
        let mixed = (column + dx)
            .cast_unsigned()
            .wrapping_mul(0x85eb_ca6b)
            .wrapping_add((row + dy).cast_unsigned().wrapping_mul(0xc2b2_ae35))
            .wrapping_add(seed);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x2c1b_3c6d);
        let mixed = (mixed ^ (mixed >> 12)).wrapping_mul(0x297a_2d39);
        ((mixed ^ (mixed >> 15)) >> 8) as f32 / 16_777_216.0
    };
    let top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * u;
    let bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * u;
    top + (bottom - top) * v
}

//! The camera: from metres to pixels.

use crate::skeleton::Joints;
use crate::vector::Vec3;

/// A pinhole camera that looks level at the figure, its picture shifted so that upright things stay
/// upright.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Camera {
    /// Focal length in pixels.
    pub(crate) focal: f32,
    /// The column straight ahead.
    pub(crate) column: f32,
    /// The row of the horizon.
    pub(crate) horizon: f32,
    /// Height above the floor in metres.
    pub(crate) height: f32,
    /// From the figure's origin in metres.
    pub(crate) distance: f32,
}

/// A point of the picture, and how many pixels a metre has there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Projected {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) scale: f32,
}

impl Camera {
    /// Where a point is seen; `z` is its way to the camera.
    pub(crate) fn project(&self, point: Vec3) -> Projected {
        let scale = self.focal / (self.distance - point.z).max(0.3);
        Projected {
            x: self.column + scale * point.x,
            y: self.horizon - scale * (point.y - self.height),
            scale,
        }
    }

    /// Pixels of a metre on the floor at a row, or at the wall for the rows above it.
    pub(crate) fn row_scale(&self, row: f32, wall_distance: f32) -> f32 {
        let wall = self.focal / (self.distance + wall_distance);
        let floor = (row - self.horizon) / self.height;
        floor.max(wall)
    }

    /// Frames a figure: as large as asked, or smaller where a movement would leave the picture; moved
    /// only as far as needed.
    pub(crate) fn fit(&mut self, course: &[Joints], reach: f32, frame: &Frame) {
        let (mut left, mut right) = (f32::INFINITY, f32::NEG_INFINITY);
        let (mut top, mut bottom) = (f32::INFINITY, f32::NEG_INFINITY);
        for joints in course {
            let head_top = joints.head + joints.head_up * reach;
            for point in joints.points().chain([head_top]) {
                let seen = self.project(point);
                left = left.min(seen.x - self.column);
                right = right.max(seen.x - self.column);
                top = top.min(seen.y - self.horizon);
                bottom = bottom.max(seen.y - self.horizon);
            }
        }
        let room_x = frame.width - 2.0 * frame.margin_x;
        let room_y = frame.height - 2.0 * frame.margin_y;
        let shrink = (room_x / (right - left))
            .min(room_y / (bottom - top))
            .min(1.0);
        self.focal *= shrink;
        self.column = self.column.clamp(
            frame.margin_x - left * shrink,
            (frame.width - frame.margin_x - right * shrink).max(frame.margin_x - left * shrink),
        );
        self.horizon = self.horizon.clamp(
            frame.margin_y - top * shrink,
            (frame.height - frame.margin_y - bottom * shrink).max(frame.margin_y - top * shrink),
        );
    }
}

/// The picture that a figure must stay in, in pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) width: f32,
    pub(crate) height: f32,
    pub(crate) margin_x: f32,
    pub(crate) margin_y: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: Camera = Camera {
        focal: 100.0,
        column: 50.0,
        horizon: 40.0,
        height: 1.5,
        distance: 4.0,
    };

    #[test]
    fn nearer_is_larger_and_lower_on_the_floor() {
        let near = CAMERA.project(Vec3::new(1.0, 0.0, 1.0));
        let far = CAMERA.project(Vec3::new(1.0, 0.0, -1.0));
        assert!(near.scale > far.scale && near.y > far.y && near.x > far.x);
        let level = CAMERA.project(Vec3::new(0.0, 1.5, -2.0));
        assert_eq!((level.x, level.y), (50.0, 40.0));
    }

    #[test]
    fn a_row_of_the_floor_has_the_scale_of_what_stands_there() {
        let foot = CAMERA.project(Vec3::new(0.3, 0.0, 0.5));
        assert!((CAMERA.row_scale(foot.y, 5.0) - foot.scale).abs() < 1e-3);
        let wall = CAMERA.row_scale(0.0, 5.0);
        assert!((wall - 100.0 / 9.0).abs() < 1e-3);
    }
}

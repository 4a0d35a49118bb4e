//! Points, directions and rotations in three dimensions: just what a skeleton needs.
//!
//! Axes: `x` to the figure's left, `y` up, `z` to its front; metres. A figure that faces the camera
//! therefore has its left hand on the right of the picture.

use std::ops::{Add, AddAssign, Mul, Sub};

/// A point or a direction.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Vec3 {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) z: f32,
}

impl Vec3 {
    pub(crate) const DOWN: Self = Self::new(0.0, -1.0, 0.0);
    pub(crate) const UP: Self = Self::new(0.0, 1.0, 0.0);
    pub(crate) const FORWARD: Self = Self::new(0.0, 0.0, 1.0);

    pub(crate) const fn new(x: f32, y: f32, z: f32) -> Self {
        Self { x, y, z }
    }

    pub(crate) fn dot(self, other: Self) -> f32 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    pub(crate) fn length(self) -> f32 {
        self.dot(self).sqrt()
    }

    pub(crate) fn normalised(self) -> Self {
        self * (1.0 / self.length().max(1e-9))
    }

    /// The point `share` of the way to `other`.
    pub(crate) fn mix(self, other: Self, share: f32) -> Self {
        self + (other - self) * share
    }
}

impl Add for Vec3 {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.y + other.y, self.z + other.z)
    }
}

impl AddAssign for Vec3 {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Vec3 {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.y - other.y, self.z - other.z)
    }
}

impl Mul<f32> for Vec3 {
    type Output = Self;

    fn mul(self, factor: f32) -> Self {
        Self::new(self.x * factor, self.y * factor, self.z * factor)
    }
}

/// A rotation, as the images of the three axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rotation([Vec3; 3]);

impl Rotation {
    /// About the `x` axis; a positive angle tips what points up to the front, and what hangs down to
    /// the back.
    pub(crate) fn pitch(degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Self([
            Vec3::new(1.0, 0.0, 0.0),
            Vec3::new(0.0, cos, sin),
            Vec3::new(0.0, -sin, cos),
        ])
    }

    /// About the `y` axis; a positive angle turns the front to the left.
    pub(crate) fn yaw(degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Self([
            Vec3::new(cos, 0.0, -sin),
            Vec3::new(0.0, 1.0, 0.0),
            Vec3::new(sin, 0.0, cos),
        ])
    }

    /// About the `z` axis; a positive angle swings what hangs down to the left.
    pub(crate) fn roll(degrees: f32) -> Self {
        let (sin, cos) = degrees.to_radians().sin_cos();
        Self([
            Vec3::new(cos, sin, 0.0),
            Vec3::new(-sin, cos, 0.0),
            Vec3::new(0.0, 0.0, 1.0),
        ])
    }

    /// The image of a direction.
    pub(crate) fn apply(&self, v: Vec3) -> Vec3 {
        self.0[0] * v.x + self.0[1] * v.y + self.0[2] * v.z
    }

    /// `other` first, then this one.
    pub(crate) fn after(&self, other: &Self) -> Self {
        Self(other.0.map(|axis| self.apply(axis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_turn_the_way_their_names_say() {
        let near = |a: Vec3, b: Vec3| assert!((a - b).length() < 1e-5, "{a:?} {b:?}");
        near(Rotation::pitch(90.0).apply(Vec3::UP), Vec3::FORWARD);
        near(
            Rotation::yaw(90.0).apply(Vec3::FORWARD),
            Vec3::new(1.0, 0.0, 0.0),
        );
        near(
            Rotation::roll(90.0).apply(Vec3::DOWN),
            Vec3::new(1.0, 0.0, 0.0),
        );
        let both = Rotation::yaw(90.0).after(&Rotation::pitch(90.0));
        near(both.apply(Vec3::UP), Vec3::new(1.0, 0.0, 0.0));
    }
}

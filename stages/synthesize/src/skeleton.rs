//! A body and a pose give joints: forward kinematics from angles to points.

use crate::vector::{Rotation, Vec3};

/// The left one of a pair.
pub(crate) const LEFT: usize = 0;

/// An arm's angles in degrees, relative to the chest. All zero: it hangs straight down.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Arm {
    /// Raised to the front.
    pub(crate) flexion: f32,
    /// Raised to its side.
    pub(crate) abduction: f32,
    /// Turned about itself: positive brings the bent forearm to the body's middle.
    pub(crate) twist: f32,
    /// Bent at the elbow.
    pub(crate) elbow: f32,
}

/// A leg's angles in degrees, relative to the upright, so that a bow leaves the legs where they are.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Leg {
    /// Raised to the front.
    pub(crate) flexion: f32,
    /// Raised to its side.
    pub(crate) abduction: f32,
    /// Bent at the knee.
    pub(crate) knee: f32,
    /// Toes up; 0 is a flat foot.
    pub(crate) toes: f32,
}

/// Every angle of a figure, in degrees, and how it stands on the floor.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pose {
    /// Height of the lowest sole above the floor in metres.
    pub(crate) lift: f32,
    /// The pelvis tipped to the front.
    pub(crate) pelvis_pitch: f32,
    /// The pelvis tipped to the left.
    pub(crate) pelvis_roll: f32,
    /// The chest tipped to the front, relative to the pelvis.
    pub(crate) spine_pitch: f32,
    /// The chest tipped to the left, relative to the pelvis.
    pub(crate) spine_roll: f32,
    /// The chest turned to the left, relative to the pelvis.
    pub(crate) spine_twist: f32,
    /// The head tipped to the front, relative to the chest.
    pub(crate) head_pitch: f32,
    /// Left and right.
    pub(crate) arms: [Arm; 2],
    /// Left and right.
    pub(crate) legs: [Leg; 2],
    /// Which foot stays on its spot, as weights that sum to 1; both zero where the pelvis leads.
    pub(crate) planted: [f32; 2],
}

impl Pose {
    /// The pose `share` of the way to `other`; beyond 1 it goes on in that direction.
    pub(crate) fn mix(&self, other: &Self, share: f32) -> Self {
        let mix = |from: f32, to: f32| from + (to - from) * share;
        let arm = |from: Arm, to: Arm| Arm {
            flexion: mix(from.flexion, to.flexion),
            abduction: mix(from.abduction, to.abduction),
            twist: mix(from.twist, to.twist),
            elbow: mix(from.elbow, to.elbow),
        };
        let leg = |from: Leg, to: Leg| Leg {
            flexion: mix(from.flexion, to.flexion),
            abduction: mix(from.abduction, to.abduction),
            knee: mix(from.knee, to.knee),
            toes: mix(from.toes, to.toes),
        };
        Self {
            lift: mix(self.lift, other.lift),
            pelvis_pitch: mix(self.pelvis_pitch, other.pelvis_pitch),
            pelvis_roll: mix(self.pelvis_roll, other.pelvis_roll),
            spine_pitch: mix(self.spine_pitch, other.spine_pitch),
            spine_roll: mix(self.spine_roll, other.spine_roll),
            spine_twist: mix(self.spine_twist, other.spine_twist),
            head_pitch: mix(self.head_pitch, other.head_pitch),
            arms: [0, 1].map(|side| arm(self.arms[side], other.arms[side])),
            legs: [0, 1].map(|side| leg(self.legs[side], other.legs[side])),
            planted: [0, 1].map(|side| mix(self.planted[side], other.planted[side])),
        }
    }

    /// Left and right exchanged.
    pub(crate) fn mirrored(&self) -> Self {
        let [left_arm, right_arm] = self.arms;
        let [left_leg, right_leg] = self.legs;
        let [left_planted, right_planted] = self.planted;
        Self {
            pelvis_roll: -self.pelvis_roll,
            spine_roll: -self.spine_roll,
            spine_twist: -self.spine_twist,
            arms: [right_arm, left_arm],
            legs: [right_leg, left_leg],
            planted: [right_planted, left_planted],
            ..*self
        }
    }
}

/// Lengths and thicknesses of a body in metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Body {
    pub(crate) abdomen: f32,
    pub(crate) chest: f32,
    pub(crate) neck: f32,
    pub(crate) head_radius: f32,
    /// Half the distance between the shoulders.
    pub(crate) shoulders: f32,
    /// Half the distance between the hip joints.
    pub(crate) hips: f32,
    pub(crate) upper_arm: f32,
    pub(crate) forearm: f32,
    pub(crate) hand: f32,
    pub(crate) thigh: f32,
    pub(crate) shin: f32,
    pub(crate) foot: f32,
    /// From the sole to the ankle.
    pub(crate) ankle: f32,
    /// Thickness of torso and limbs; 1 is ordinary.
    pub(crate) girth: f32,
}

impl Body {
    /// An ordinary grown person of 1.75 m.
    pub(crate) const ORDINARY: Self = Self {
        abdomen: 0.22,
        chest: 0.28,
        neck: 0.10,
        head_radius: 0.115,
        shoulders: 0.185,
        hips: 0.095,
        upper_arm: 0.29,
        forearm: 0.25,
        hand: 0.09,
        thigh: 0.43,
        shin: 0.42,
        foot: 0.17,
        ankle: 0.07,
        girth: 1.0,
    };

    /// Height of the crown above the floor, upright.
    pub(crate) fn height(&self) -> f32 {
        self.ankle
            + self.shin
            + self.thigh
            + self.abdomen
            + self.chest
            + self.neck
            + 1.8 * self.head_radius
    }

    /// The joints of a pose, the figure standing on the floor (`y` = 0) near the origin, facing `z`.
    pub(crate) fn joints(&self, pose: &Pose) -> Joints {
        let mut joints = self.hanging(pose);
        let standing = [self.hips, -self.hips];
        let mut shift = Vec3::new(0.0, pose.lift - joints.lowest(), 0.0);
        for (side, x) in standing.into_iter().enumerate() {
            let ankle = joints.ankles[side];
            shift.x += pose.planted[side] * (x - ankle.x);
            shift.z += pose.planted[side] * -ankle.z;
        }
        joints.translate(shift);
        joints
    }

    /// The joints with the pelvis at the origin.
    fn hanging(&self, pose: &Pose) -> Joints {
        let pelvis = Vec3::default();
        let pelvis_turn =
            Rotation::pitch(pose.pelvis_pitch).after(&Rotation::roll(-pose.pelvis_roll));
        let bend = |share: f32| {
            pelvis_turn
                .after(&Rotation::pitch(pose.spine_pitch * share))
                .after(&Rotation::roll(-pose.spine_roll * share))
                .after(&Rotation::yaw(pose.spine_twist * share))
        };
        let (lower, upper) = (bend(0.5), bend(1.0));
        let waist = pelvis + lower.apply(Vec3::UP * self.abdomen);
        let chest = waist + upper.apply(Vec3::UP * self.chest);
        let head_turn = upper.after(&Rotation::pitch(pose.head_pitch));
        let neck = chest + upper.apply(Vec3::UP * (self.neck * 0.5));
        let head = neck + head_turn.apply(Vec3::UP * (self.neck * 0.5 + self.head_radius * 0.8));

        let mut joints = Joints {
            pelvis,
            waist,
            chest,
            neck,
            head,
            head_up: head_turn.apply(Vec3::UP),
            head_front: head_turn.apply(Vec3::FORWARD),
            ..Joints::default()
        };
        for side in 0..2 {
            let sign = if side == LEFT { 1.0 } else { -1.0 };
            let arm = pose.arms[side];
            // The joint sits a little below the line of the collar bones.
            let shoulder =
                chest + upper.apply(Vec3::new(sign * self.shoulders, -0.15 * self.chest, 0.0));
            let upper_turn = upper
                .after(&Rotation::pitch(-arm.flexion))
                .after(&Rotation::roll(sign * arm.abduction))
                .after(&Rotation::yaw(-sign * arm.twist));
            let lower_turn = upper_turn.after(&Rotation::pitch(-arm.elbow));
            let elbow = shoulder + upper_turn.apply(Vec3::DOWN * self.upper_arm);
            let wrist = elbow + lower_turn.apply(Vec3::DOWN * self.forearm);
            joints.shoulders[side] = shoulder;
            joints.elbows[side] = elbow;
            joints.wrists[side] = wrist;
            joints.hands[side] = wrist + lower_turn.apply(Vec3::DOWN * self.hand);

            let leg = pose.legs[side];
            let hip = pelvis + pelvis_turn.apply(Vec3::new(sign * self.hips, 0.0, 0.0));
            let thigh_turn =
                Rotation::pitch(-leg.flexion).after(&Rotation::roll(sign * leg.abduction));
            let shin_turn = thigh_turn.after(&Rotation::pitch(leg.knee));
            let knee = hip + thigh_turn.apply(Vec3::DOWN * self.thigh);
            let ankle = knee + shin_turn.apply(Vec3::DOWN * self.shin);
            let foot_turn = Rotation::yaw(sign * 8.0).after(&Rotation::pitch(-leg.toes));
            joints.hips[side] = hip;
            joints.knees[side] = knee;
            joints.ankles[side] = ankle;
            joints.heels[side] =
                ankle + foot_turn.apply(Vec3::new(0.0, -self.ankle + SOLE, -0.25 * self.foot));
            joints.toes[side] =
                ankle + foot_turn.apply(Vec3::new(0.0, -self.ankle + SOLE, self.foot));
        }
        joints
    }
}

/// Half the thickness of a foot in metres.
pub(crate) const SOLE: f32 = 0.04;

/// Where a figure's joints are, in metres; pairs are left and right.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Joints {
    pub(crate) pelvis: Vec3,
    pub(crate) waist: Vec3,
    pub(crate) chest: Vec3,
    pub(crate) neck: Vec3,
    pub(crate) head: Vec3,
    /// Directions, not points.
    pub(crate) head_up: Vec3,
    pub(crate) head_front: Vec3,
    pub(crate) shoulders: [Vec3; 2],
    pub(crate) elbows: [Vec3; 2],
    pub(crate) wrists: [Vec3; 2],
    pub(crate) hands: [Vec3; 2],
    pub(crate) hips: [Vec3; 2],
    pub(crate) knees: [Vec3; 2],
    pub(crate) ankles: [Vec3; 2],
    pub(crate) heels: [Vec3; 2],
    pub(crate) toes: [Vec3; 2],
}

impl Joints {
    /// Every point, in a fixed order.
    pub(crate) fn points(&self) -> impl Iterator<Item = Vec3> {
        let pairs = [
            self.shoulders,
            self.elbows,
            self.wrists,
            self.hands,
            self.hips,
            self.knees,
            self.ankles,
            self.heels,
            self.toes,
        ];
        [self.pelvis, self.waist, self.chest, self.neck, self.head]
            .into_iter()
            .chain(pairs.into_iter().flatten())
    }

    /// Applies a function to every point; directions are left alone.
    fn for_each(&mut self, mut change: impl FnMut(&mut Vec3)) {
        let singles = [
            &mut self.pelvis,
            &mut self.waist,
            &mut self.chest,
            &mut self.neck,
            &mut self.head,
        ];
        let pairs = [
            &mut self.shoulders,
            &mut self.elbows,
            &mut self.wrists,
            &mut self.hands,
            &mut self.hips,
            &mut self.knees,
            &mut self.ankles,
            &mut self.heels,
            &mut self.toes,
        ];
        singles
            .into_iter()
            .chain(pairs.into_iter().flatten())
            .for_each(&mut change);
    }

    pub(crate) fn translate(&mut self, shift: Vec3) {
        self.for_each(|point| *point += shift);
    }

    /// The same figure turned about the vertical through the origin.
    pub(crate) fn turned(mut self, turn: &Rotation) -> Self {
        self.for_each(|point| *point = turn.apply(*point));
        self.head_up = turn.apply(self.head_up);
        self.head_front = turn.apply(self.head_front);
        self
    }

    /// Height of the lowest point of the soles.
    fn lowest(&self) -> f32 {
        self.heels
            .iter()
            .chain(&self.toes)
            .map(|point| point.y - SOLE)
            .fold(f32::INFINITY, f32::min)
    }
}

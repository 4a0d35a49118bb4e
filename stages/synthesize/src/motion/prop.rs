//! Things that belong to an action: a ball, a stool.

use crate::skeleton::{Body, Joints};
use crate::vector::Vec3;
use fedact_synthesize_params::Action;

use super::moves::{GRASP, RELEASE};
use super::{Style, pose};

/// A thing that belongs to an action.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Prop {
    /// A ball at this place.
    Ball(Vec3),
    /// A stool whose seat has its middle at this place.
    Stool(Vec3),
}

/// Radius of the ball in metres.
pub(crate) const BALL_RADIUS: f32 = 0.11;

/// The thing that goes with an action at a moment, with the joints of that moment in the same frame
/// of reference as [`Body::joints`]; `seconds` is how long the whole action takes.
pub(crate) fn prop(
    action: Action,
    moment: f32,
    style: &Style,
    body: &Body,
    seconds: f32,
) -> Option<Prop> {
    let (family, backwards) = action.played();
    let progress = if backwards { 1.0 - moment } else { moment };
    let joints_at = |progress: f32| body.joints(&pose(family, progress, style));
    match family {
        Action::SitDown => {
            let pelvis = joints_at(1.0).pelvis;
            let seat = pelvis - Vec3::UP * (0.10 * body.girth);
            Some(Prop::Stool(seat + Vec3::FORWARD * 0.04))
        }
        Action::PickUp => {
            let grasp = GRASP.powf(1.0 / style.haste);
            let middle = |joints: &Joints| joints.hands[0].mix(joints.hands[1], 0.5);
            let at_grasp = middle(&joints_at(grasp));
            let on_floor = Vec3::new(at_grasp.x, BALL_RADIUS, at_grasp.z);
            if progress < grasp {
                return Some(Prop::Ball(on_floor));
            }
            // A body too stiff to reach the floor meets the ball on its first way up.
            let gap = (on_floor - at_grasp) * (1.0 - (progress - grasp) / (1.0 - grasp)).powi(3);
            Some(Prop::Ball(middle(&joints_at(progress)) + gap))
        }
        Action::Throw => {
            let side = usize::from(style.right_handed);
            let release = RELEASE.powf(1.0 / style.haste);
            let in_hand = |joints: &Joints| {
                joints.hands[side] + (joints.hands[side] - joints.wrists[side]) * 0.8
            };
            let hand = in_hand(&joints_at(progress.min(release)));
            let flown = (progress - release).max(0.0) * seconds;
            let fall = Vec3::new(0.0, 1.6 * flown - 4.9 * flown * flown, 4.5 * flown);
            Some(Prop::Ball(hand + fall))
        }
        _ => None,
    }
}

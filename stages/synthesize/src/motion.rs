//! How each action moves: a pose for every moment.
//!
//! A cyclic action is a function of its phase (whole numbers are the same moment of another cycle); one
//! that happens once is a function of its progress from 0 to 1. Angles are in degrees and follow what
//! one sees in people; amplitudes are those of an ordinary person and are scaled by the style of a
//! subject.

use std::f32::consts::TAU;

use crate::action::Action;
use crate::skeleton::{Arm, Body, Joints, Leg, Pose};
use crate::vector::Vec3;

/// A person's way of moving.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Style {
    /// Speed; 1 is ordinary.
    pub(crate) tempo: f32,
    /// Reach of every movement; 1 is ordinary.
    pub(crate) amplitude: f32,
    /// How much further the left arm goes than the right one, as a share.
    pub(crate) asymmetry: f32,
    /// Leads with the right hand and foot where only one is needed.
    pub(crate) right_handed: bool,
    /// A constant stoop in degrees.
    pub(crate) stoop: f32,
    /// Swaying of the upper body while it moves, in degrees.
    pub(crate) sway: f32,
    /// Arms lag behind legs by this share of a cycle.
    pub(crate) arm_lag: f32,
    /// Early (below 1) or late (above 1) in a movement that happens once.
    pub(crate) haste: f32,
}

impl Style {
    /// Nothing peculiar.
    #[cfg(test)]
    pub(crate) const ORDINARY: Self = Self {
        tempo: 1.0,
        amplitude: 1.0,
        asymmetry: 0.0,
        right_handed: false,
        stoop: 0.0,
        sway: 0.0,
        arm_lag: 0.0,
        haste: 1.0,
    };
}

/// An arm from its flexion, abduction, twist and elbow.
const fn arm(flexion: f32, abduction: f32, twist: f32, elbow: f32) -> Arm {
    Arm {
        flexion,
        abduction,
        twist,
        elbow,
    }
}

/// A leg from its flexion, abduction, knee and toes.
const fn leg(flexion: f32, abduction: f32, knee: f32, toes: f32) -> Leg {
    Leg {
        flexion,
        abduction,
        knee,
        toes,
    }
}

const BOTH_FEET: [f32; 2] = [0.5, 0.5];

/// Upright, arms at the sides.
const STAND: Pose = Pose {
    lift: 0.0,
    pelvis_pitch: 0.0,
    pelvis_roll: 0.0,
    spine_pitch: 2.0,
    spine_roll: 0.0,
    spine_twist: 0.0,
    head_pitch: 0.0,
    arms: [arm(4.0, 9.0, 10.0, 14.0); 2],
    legs: [leg(2.0, 3.0, 4.0, 0.0); 2],
    planted: BOTH_FEET,
};

/// A moment and the pose that is reached then.
type Key = (f32, Pose);

/// Slow start, slow end, and no long rest at either: whatever part of a video is looked at, something
/// moves.
fn ease(share: f32) -> f32 {
    let s = share.clamp(0.0, 1.0);
    s * s * (3.0 - 2.0 * s)
}

/// The pose at `moment` between keys that are sorted by time.
fn between(keys: &[Key], moment: f32) -> Pose {
    let next = keys.iter().position(|(time, _)| *time > moment);
    match next {
        None => keys[keys.len() - 1].1,
        Some(0) => keys[0].1,
        Some(index) => {
            let ((from, a), (to, b)) = (&keys[index - 1], &keys[index]);
            a.mix(b, ease((moment - from) / (to - from)))
        }
    }
}

/// 0 at the ends of a cycle, 1 in the middle, smooth.
fn there_and_back(phase: f32) -> f32 {
    0.5 - 0.5 * (TAU * phase).cos()
}

/// The pose of an action for a style, at a phase or progress.
pub(crate) fn pose(action: Action, moment: f32, style: &Style) -> Pose {
    let (action, backwards) = action.played();
    let progress = if backwards { 1.0 - moment } else { moment };
    let phase = progress.rem_euclid(1.0);
    let arms_phase = phase - style.arm_lag;
    let plain = match action {
        Action::Walk => walk(phase, arms_phase),
        Action::Run => run(phase, arms_phase),
        Action::March => march(phase, arms_phase),
        Action::SideStep => side_step(phase),
        Action::Jump => jump(phase),
        Action::JumpingJack => jumping_jack(phase),
        Action::WaveOneHand => wave_one_hand(phase),
        Action::WaveBothHands => wave_both_hands(phase),
        Action::ArmCircles => arm_circles(phase),
        Action::Squat => squat(phase),
        Action::Kick => kick(phase),
        Action::Punch => punch(phase),
        Action::Clap => clap(phase),
        Action::Throw => throw(hurried(progress, style.haste)),
        Action::SitDown | Action::StandUp => sit_down(hurried(progress, style.haste)),
        Action::BendDown | Action::StraightenUp => bend_down(hurried(progress, style.haste)),
        Action::PickUp | Action::PutDown => pick_up(hurried(progress, style.haste)),
    };
    in_style(action, &plain, phase, style)
}

/// Bends the course of time between 0 and 1, which stay: above 1, `haste` delays the movement.
fn hurried(progress: f32, haste: f32) -> f32 {
    progress.clamp(0.0, 1.0).powf(haste)
}

/// Puts a person's peculiarities on a pose.
fn in_style(action: Action, plain: &Pose, phase: f32, style: &Style) -> Pose {
    // Windmilling arms go all the way round; scaling that would tear the circle open.
    let mut pose = if action == Action::ArmCircles {
        *plain
    } else {
        STAND.mix(plain, style.amplitude)
    };
    pose.lift = pose.lift.max(0.0);
    if action != Action::ArmCircles {
        for (side, sign) in [1.0, -1.0].into_iter().enumerate() {
            let gain = 1.0 + sign * 0.5 * style.asymmetry;
            let (rest, arm) = (STAND.arms[side], &mut pose.arms[side]);
            arm.flexion = rest.flexion + (arm.flexion - rest.flexion) * gain;
            arm.abduction = rest.abduction + (arm.abduction - rest.abduction) * gain;
        }
    }
    pose.spine_pitch += style.stoop;
    pose.spine_roll += style.sway * (TAU * phase).sin();
    for leg in &mut pose.legs {
        leg.knee = leg.knee.max(0.0);
    }
    for arm in &mut pose.arms {
        arm.elbow = arm.elbow.clamp(0.0, 150.0);
    }
    if style.right_handed {
        pose.mirrored()
    } else {
        pose
    }
}

fn walk(phase: f32, arms_phase: f32) -> Pose {
    stride(phase, arms_phase, &STROLL)
}

fn run(phase: f32, arms_phase: f32) -> Pose {
    let mut pose = stride(phase, arms_phase, &SPRINT);
    // Both feet are off the floor twice a cycle, when the legs are furthest apart.
    pose.lift = 0.09 * (TAU * phase).sin().abs().powf(1.5);
    pose
}

/// What makes a gait.
struct Gait {
    hip_mean: f32,
    hip_swing: f32,
    knee_rest: f32,
    knee_swing: f32,
    arm_swing: f32,
    elbow: f32,
    lean: f32,
    push_off: f32,
}

const STROLL: Gait = Gait {
    hip_mean: 4.0,
    hip_swing: 27.0,
    knee_rest: 6.0,
    knee_swing: 55.0,
    arm_swing: 26.0,
    elbow: 22.0,
    lean: 2.0,
    push_off: 30.0,
};

const SPRINT: Gait = Gait {
    hip_mean: 18.0,
    hip_swing: 44.0,
    knee_rest: 18.0,
    knee_swing: 85.0,
    arm_swing: 46.0,
    elbow: 92.0,
    lean: 11.0,
    push_off: 45.0,
};

fn stride(phase: f32, arms_phase: f32, gait: &Gait) -> Pose {
    let mut pose = Pose {
        pelvis_pitch: gait.lean,
        planted: [0.0; 2],
        ..STAND
    };
    for side in 0..2 {
        let turn = TAU * (phase + 0.5 * side as f32);
        let arms_turn = TAU * (arms_phase + 0.5 * side as f32);
        // The leg comes forward while the cosine is positive; the knee is bent then.
        let swing = (turn + 0.35).cos().max(0.0);
        let push = (turn + 1.2).cos().max(0.0);
        pose.legs[side] = leg(
            gait.hip_mean + gait.hip_swing * turn.sin(),
            1.5,
            gait.knee_rest + gait.knee_swing * swing.powf(1.4),
            -gait.push_off * push.powi(2) + 14.0 * turn.sin().max(0.0).powi(3),
        );
        pose.arms[side] = arm(
            4.0 - gait.arm_swing * arms_turn.sin(),
            8.0,
            12.0,
            gait.elbow - 0.3 * gait.arm_swing * arms_turn.sin(),
        );
    }
    pose.spine_twist = -0.25 * gait.arm_swing * (TAU * arms_phase).sin();
    pose
}

fn march(phase: f32, arms_phase: f32) -> Pose {
    let mut pose = Pose {
        planted: [0.0; 2],
        spine_pitch: -2.0,
        ..STAND
    };
    for side in 0..2 {
        let up = (TAU * (phase + 0.5 * side as f32)).sin().max(0.0).powf(0.8);
        let swing = (TAU * (arms_phase + 0.5 * side as f32)).sin();
        pose.legs[side] = leg(3.0 + 84.0 * up, 3.0, 4.0 + 88.0 * up, -18.0 * up);
        pose.arms[side] = arm(5.0 - 50.0 * swing, 8.0, 0.0, 18.0);
    }
    pose
}

fn side_step(phase: f32) -> Pose {
    let open = there_and_back(phase);
    let dip = (TAU * 2.0 * phase).sin().max(0.0);
    let side_leg = leg(4.0 + 14.0 * dip, 2.0 + 27.0 * open, 8.0 + 26.0 * dip, 0.0);
    Pose {
        spine_roll: 4.0 * (TAU * phase).sin(),
        arms: [arm(12.0, 16.0 + 34.0 * open, 0.0, 30.0); 2],
        legs: [side_leg; 2],
        planted: [0.0; 2],
        ..STAND
    }
}

fn jump(phase: f32) -> Pose {
    let crouch = Pose {
        pelvis_pitch: 32.0,
        spine_pitch: 12.0,
        head_pitch: -15.0,
        arms: [arm(-42.0, 10.0, 0.0, 15.0); 2],
        legs: [leg(62.0, 4.0, 92.0, 0.0); 2],
        ..STAND
    };
    let take_off = Pose {
        spine_pitch: -4.0,
        arms: [arm(150.0, 12.0, 0.0, 12.0); 2],
        legs: [leg(2.0, 3.0, 3.0, -42.0); 2],
        ..STAND
    };
    let top = Pose {
        lift: 0.34,
        arms: [arm(165.0, 12.0, 0.0, 10.0); 2],
        legs: [leg(14.0, 4.0, 26.0, -35.0); 2],
        ..take_off
    };
    let landing = Pose {
        pelvis_pitch: 16.0,
        arms: [arm(60.0, 20.0, 0.0, 20.0); 2],
        legs: [leg(30.0, 4.0, 46.0, 0.0); 2],
        ..STAND
    };
    between(
        &[
            (0.0, STAND),
            (0.26, crouch),
            (0.40, take_off),
            (0.55, top),
            (
                0.70,
                Pose {
                    lift: 0.0,
                    ..take_off
                },
            ),
            (0.82, landing),
            (1.0, STAND),
        ],
        phase,
    )
}

fn jumping_jack(phase: f32) -> Pose {
    let open = there_and_back(phase);
    Pose {
        lift: 0.10 * (TAU * phase).sin().powi(2),
        arms: [arm(6.0, 10.0 + 155.0 * open, -20.0 * open, 12.0); 2],
        legs: [leg(3.0, 3.0 + 24.0 * open, 8.0, -8.0); 2],
        ..STAND
    }
}

fn wave_one_hand(phase: f32) -> Pose {
    let swing = (TAU * phase).sin();
    Pose {
        spine_roll: -3.0,
        arms: [arm(8.0, 98.0, -82.0, 68.0 + 38.0 * swing), STAND.arms[1]],
        ..STAND
    }
}

fn wave_both_hands(phase: f32) -> Pose {
    let swing = (TAU * phase).sin();
    Pose {
        arms: [arm(6.0, 132.0 + 20.0 * swing, -85.0, 26.0 + 24.0 * swing); 2],
        ..STAND
    }
}

fn arm_circles(phase: f32) -> Pose {
    Pose {
        arms: [arm(360.0 * phase, 22.0, 0.0, 6.0); 2],
        ..STAND
    }
}

fn squat(phase: f32) -> Pose {
    let down = there_and_back(phase);
    Pose {
        pelvis_pitch: 34.0 * down,
        spine_pitch: 2.0 + 8.0 * down,
        head_pitch: -18.0 * down,
        arms: [arm(4.0 + 108.0 * down, 9.0, 10.0, 14.0 - 8.0 * down); 2],
        legs: [leg(
            2.0 + 92.0 * down,
            3.0 + 13.0 * down,
            4.0 + 112.0 * down,
            0.0,
        ); 2],
        ..STAND
    }
}

fn kick(phase: f32) -> Pose {
    let guard = arm(32.0, 14.0, 12.0, 85.0);
    let support = leg(3.0, 3.0, 10.0, 0.0);
    let on_one_leg = |kicking: Leg, lean: f32, reach: f32| Pose {
        pelvis_pitch: -lean,
        spine_pitch: 4.0,
        arms: [
            arm(32.0 - reach, 14.0 + 0.6 * reach, 12.0, 85.0 - reach),
            arm(32.0 + 0.5 * reach, 18.0, 12.0, 85.0 - 0.8 * reach),
        ],
        legs: [kicking, support],
        planted: [0.0, 1.0],
        ..STAND
    };
    let ready = Pose {
        arms: [guard; 2],
        planted: [0.0, 1.0],
        ..STAND
    };
    between(
        &[
            (0.0, ready),
            (0.12, on_one_leg(leg(-22.0, 4.0, 45.0, -30.0), -4.0, 0.0)),
            (0.30, on_one_leg(leg(72.0, 4.0, 98.0, -10.0), 4.0, 10.0)),
            (0.46, on_one_leg(leg(92.0, 4.0, 6.0, 20.0), 16.0, 50.0)),
            (0.64, on_one_leg(leg(66.0, 4.0, 92.0, -10.0), 6.0, 10.0)),
            (0.84, ready),
            (1.0, ready),
        ],
        phase,
    )
}

fn punch(phase: f32) -> Pose {
    let guard = arm(38.0, 12.0, 18.0, 122.0);
    let straight = arm(88.0, 4.0, 6.0, 4.0);
    let stance = Pose {
        pelvis_pitch: 6.0,
        arms: [guard; 2],
        legs: [leg(18.0, 5.0, 16.0, 0.0), leg(-16.0, 6.0, 12.0, -8.0)],
        ..STAND
    };
    let left = Pose {
        spine_twist: -22.0,
        spine_pitch: 6.0,
        arms: [straight, guard],
        ..stance
    };
    let right = Pose {
        spine_twist: 26.0,
        spine_pitch: 6.0,
        arms: [guard, straight],
        ..stance
    };
    between(
        &[
            (0.0, stance),
            (0.16, left),
            (0.24, left),
            (0.48, stance),
            (0.66, right),
            (0.74, right),
            (1.0, stance),
        ],
        phase,
    )
}

fn clap(phase: f32) -> Pose {
    let apart = there_and_back(phase);
    Pose {
        arms: [arm(56.0, 6.0 + 36.0 * apart, 38.0 - 74.0 * apart, 62.0); 2],
        ..STAND
    }
}

/// Seated, on a stool as high as the lower leg is long.
const SEATED: Pose = Pose {
    spine_pitch: 4.0,
    arms: [arm(34.0, 7.0, 14.0, 48.0); 2],
    legs: [leg(86.0, 7.0, 88.0, 0.0); 2],
    ..STAND
};

fn sit_down(progress: f32) -> Pose {
    // One eased course from end to end; a stop at a middle pose would look like two movements.
    let course = ease(progress);
    let down = STAND.mix(&SEATED, course);
    // To keep the balance the trunk bows and the arms reach out half-way.
    let bow = (4.0 * course * (1.0 - course)).powf(1.2);
    let reaching = |from: Arm| {
        arm(
            from.flexion + 16.0 * bow,
            from.abduction,
            from.twist,
            from.elbow - 14.0 * bow,
        )
    };
    Pose {
        pelvis_pitch: down.pelvis_pitch + 36.0 * bow,
        spine_pitch: down.spine_pitch + 10.0 * bow,
        head_pitch: down.head_pitch - 20.0 * bow,
        arms: down.arms.map(reaching),
        ..down
    }
}

fn bend_down(progress: f32) -> Pose {
    let bent = Pose {
        pelvis_pitch: 74.0,
        spine_pitch: 40.0,
        head_pitch: 6.0,
        arms: [arm(104.0, 6.0, 6.0, 8.0); 2],
        legs: [leg(10.0, 4.0, 4.0, 0.0); 2],
        ..STAND
    };
    STAND.mix(&bent, ease(progress))
}

/// When, in the course of `pick_up`, the ball leaves the floor.
const GRASP: f32 = 0.5;

fn pick_up(progress: f32) -> Pose {
    let crouching = Pose {
        pelvis_pitch: 52.0,
        spine_pitch: 30.0,
        head_pitch: -10.0,
        arms: [arm(80.0, -4.0, 12.0, 12.0); 2],
        legs: [leg(84.0, 9.0, 106.0, 0.0); 2],
        ..STAND
    };
    let holding = Pose {
        spine_pitch: -3.0,
        arms: [arm(30.0, 4.0, 26.0, 78.0); 2],
        ..STAND
    };
    between(
        &[(0.0, STAND), (GRASP, crouching), (1.0, holding)],
        progress,
    )
}

/// When, in the course of `throw`, the ball leaves the hand.
const RELEASE: f32 = 0.56;

fn throw(progress: f32) -> Pose {
    let stance = [leg(-18.0, 6.0, 10.0, -8.0), leg(20.0, 5.0, 14.0, 0.0)];
    let ready = Pose {
        arms: [arm(30.0, 12.0, 14.0, 70.0), arm(24.0, 10.0, 14.0, 50.0)],
        ..STAND
    };
    let drawn_back = Pose {
        pelvis_pitch: -6.0,
        spine_twist: 34.0,
        spine_pitch: -8.0,
        arms: [arm(-14.0, 96.0, -84.0, 96.0), arm(62.0, 24.0, 0.0, 14.0)],
        legs: stance,
        ..STAND
    };
    let released = Pose {
        pelvis_pitch: 10.0,
        spine_twist: -18.0,
        spine_pitch: 8.0,
        arms: [arm(122.0, 18.0, -10.0, 14.0), arm(8.0, 22.0, 0.0, 30.0)],
        legs: stance,
        ..STAND
    };
    let followed = Pose {
        pelvis_pitch: 24.0,
        spine_twist: -34.0,
        spine_pitch: 16.0,
        arms: [arm(48.0, -8.0, 10.0, 22.0), arm(-18.0, 20.0, 0.0, 30.0)],
        legs: stance,
        ..STAND
    };
    between(
        &[
            (0.0, ready),
            (0.40, drawn_back),
            (RELEASE, released),
            (0.74, followed),
            (1.0, ready),
        ],
        progress,
    )
}

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

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENTS: usize = 40;

    /// The way of every joint of an action, moment by moment.
    fn course(action: Action, style: &Style, backwards: bool) -> Vec<Joints> {
        (0..=MOMENTS)
            .map(|index| {
                let moment = index as f32 / MOMENTS as f32;
                let moment = if backwards { 1.0 - moment } else { moment };
                Body::ORDINARY.joints(&pose(action, moment, style))
            })
            .collect()
    }

    /// The largest distance of a joint between two courses, in metres.
    fn distance(a: &[Joints], b: &[Joints]) -> f32 {
        a.iter()
            .zip(b)
            .flat_map(|(a, b)| a.points().zip(b.points()).collect::<Vec<_>>())
            .map(|(a, b)| (a - b).length())
            .fold(0.0, f32::max)
    }

    const PECULIAR: Style = Style {
        tempo: 1.2,
        amplitude: 0.9,
        asymmetry: 0.2,
        right_handed: true,
        stoop: 5.0,
        sway: 2.0,
        arm_lag: 0.05,
        haste: 1.3,
    };

    #[test]
    fn a_reversed_pair_is_the_same_film_backwards_and_no_others_are() {
        for style in [Style::ORDINARY, PECULIAR] {
            for a in Action::ALL {
                for b in Action::ALL {
                    let gap = distance(&course(a, &style, false), &course(b, &style, true));
                    if a.reversal() == Some(b) {
                        assert!(gap < 1e-4, "{a:?} is not {b:?} backwards: {gap} m");
                        let forwards =
                            distance(&course(a, &style, false), &course(b, &style, false));
                        assert!(forwards > 0.2, "{a:?} and {b:?} are alike forwards");
                    } else if a != b {
                        assert!(gap > 0.1, "{a:?} looks like {b:?} backwards: {gap} m");
                    }
                }
            }
        }
    }

    #[test]
    fn what_goes_with_a_reversed_pair_is_reversed_too() {
        for a in Action::ALL {
            let Some(b) = a.reversal() else { continue };
            for index in 0..=MOMENTS {
                let moment = index as f32 / MOMENTS as f32;
                let at = |action, moment| prop(action, moment, &PECULIAR, &Body::ORDINARY, 2.0);
                let (forwards, backwards) = (at(a, moment), at(b, 1.0 - moment));
                match (forwards, backwards) {
                    (Some(Prop::Ball(p)), Some(Prop::Ball(q)))
                    | (Some(Prop::Stool(p)), Some(Prop::Stool(q))) => {
                        assert!((p - q).length() < 1e-4, "{a:?} at {moment}");
                    }
                    (None, None) => {}
                    other => panic!("{a:?} at {moment}: {other:?}"),
                }
            }
        }
    }

    #[test]
    fn movements_have_no_jumps() {
        let steps = 2000;
        for action in Action::ALL {
            for style in [Style::ORDINARY, PECULIAR] {
                let at = |index: usize| {
                    Body::ORDINARY.joints(&pose(action, index as f32 / steps as f32, &style))
                };
                for index in 0..steps {
                    let step = distance(&[at(index)], &[at(index + 1)]);
                    assert!(step < 0.02, "{action:?} leaps {step} m at {index}/{steps}");
                }
            }
        }
    }

    #[test]
    fn nobody_sinks_into_the_floor_or_floats_over_it() {
        for action in Action::ALL {
            let courses = course(action, &PECULIAR, false);
            for joints in &courses {
                assert!(
                    joints.points().all(|point| point.y > 0.0),
                    "{action:?} sinks"
                );
            }
            let lowest = courses
                .iter()
                .flat_map(|joints| joints.points().collect::<Vec<_>>())
                .map(|point| point.y)
                .fold(f32::INFINITY, f32::min);
            assert!(lowest < 0.08, "{action:?} floats: {lowest} m");
        }
    }

    #[test]
    fn a_left_hander_and_a_right_hander_mirror_each_other() {
        let left = Style {
            right_handed: false,
            ..PECULIAR
        };
        let flip = |p: Vec3| Vec3::new(-p.x, p.y, p.z);
        for action in Action::ALL {
            let a = Body::ORDINARY.joints(&pose(action, 0.3, &left));
            let b = Body::ORDINARY.joints(&pose(action, 0.3, &PECULIAR));
            assert!(
                (flip(a.hands[0]) - b.hands[1]).length() < 1e-4,
                "{action:?}"
            );
            assert!(
                (flip(a.knees[1]) - b.knees[0]).length() < 1e-4,
                "{action:?}"
            );
        }
    }
}

//! The movements themselves, one function each: from a phase or a progress between 0 and 1 to a pose.

use std::f32::consts::TAU;

use crate::skeleton::{Arm, Leg, Pose};

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
pub(super) const STAND: Pose = Pose {
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

pub(super) fn walk(phase: f32, arms_phase: f32) -> Pose {
    stride(phase, arms_phase, &STROLL)
}

pub(super) fn run(phase: f32, arms_phase: f32) -> Pose {
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

pub(super) fn march(phase: f32, arms_phase: f32) -> Pose {
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

pub(super) fn side_step(phase: f32) -> Pose {
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

pub(super) fn jump(phase: f32) -> Pose {
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

pub(super) fn jumping_jack(phase: f32) -> Pose {
    let open = there_and_back(phase);
    Pose {
        lift: 0.10 * (TAU * phase).sin().powi(2),
        arms: [arm(6.0, 10.0 + 155.0 * open, -20.0 * open, 12.0); 2],
        legs: [leg(3.0, 3.0 + 24.0 * open, 8.0, -8.0); 2],
        ..STAND
    }
}

pub(super) fn wave_one_hand(phase: f32) -> Pose {
    let swing = (TAU * phase).sin();
    Pose {
        spine_roll: -3.0,
        arms: [arm(8.0, 98.0, -82.0, 68.0 + 38.0 * swing), STAND.arms[1]],
        ..STAND
    }
}

pub(super) fn wave_both_hands(phase: f32) -> Pose {
    let swing = (TAU * phase).sin();
    Pose {
        arms: [arm(6.0, 132.0 + 20.0 * swing, -85.0, 26.0 + 24.0 * swing); 2],
        ..STAND
    }
}

pub(super) fn arm_circles(phase: f32) -> Pose {
    Pose {
        arms: [arm(360.0 * phase, 22.0, 0.0, 6.0); 2],
        ..STAND
    }
}

pub(super) fn squat(phase: f32) -> Pose {
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

pub(super) fn kick(phase: f32) -> Pose {
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

pub(super) fn punch(phase: f32) -> Pose {
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

pub(super) fn clap(phase: f32) -> Pose {
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

pub(super) fn sit_down(progress: f32) -> Pose {
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

pub(super) fn bend_down(progress: f32) -> Pose {
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
pub(super) const GRASP: f32 = 0.5;

pub(super) fn pick_up(progress: f32) -> Pose {
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
pub(super) const RELEASE: f32 = 0.56;

pub(super) fn throw(progress: f32) -> Pose {
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

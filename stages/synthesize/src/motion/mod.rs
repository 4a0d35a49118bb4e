//! How each action moves: a pose for every moment.
//!
//! A cyclic action is a function of its phase (whole numbers are the same moment of another cycle); one
//! that happens once is a function of its progress from 0 to 1. Angles are in degrees and follow what
//! one sees in people; amplitudes are those of an ordinary person and are scaled by the style of a
//! subject.

mod moves;
mod prop;

use std::f32::consts::TAU;

use crate::skeleton::Pose;
use fedact_synthesize_params::Action;

use moves::STAND;
pub(crate) use prop::{BALL_RADIUS, Prop, prop};

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

/// The pose of an action for a style, at a phase or progress.
pub(crate) fn pose(action: Action, moment: f32, style: &Style) -> Pose {
    let (action, backwards) = action.played();
    let progress = if backwards { 1.0 - moment } else { moment };
    let phase = progress.rem_euclid(1.0);
    let arms_phase = phase - style.arm_lag;
    let plain = match action {
        Action::Walk => moves::walk(phase, arms_phase),
        Action::Run => moves::run(phase, arms_phase),
        Action::March => moves::march(phase, arms_phase),
        Action::SideStep => moves::side_step(phase),
        Action::Jump => moves::jump(phase),
        Action::JumpingJack => moves::jumping_jack(phase),
        Action::WaveOneHand => moves::wave_one_hand(phase),
        Action::WaveBothHands => moves::wave_both_hands(phase),
        Action::ArmCircles => moves::arm_circles(phase),
        Action::Squat => moves::squat(phase),
        Action::Kick => moves::kick(phase),
        Action::Punch => moves::punch(phase),
        Action::Clap => moves::clap(phase),
        Action::Throw => moves::throw(hurried(progress, style.haste)),
        Action::SitDown | Action::StandUp => moves::sit_down(hurried(progress, style.haste)),
        Action::BendDown | Action::StraightenUp => moves::bend_down(hurried(progress, style.haste)),
        Action::PickUp | Action::PutDown => moves::pick_up(hurried(progress, style.haste)),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::skeleton::{Body, Joints};
    use crate::vector::Vec3;

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

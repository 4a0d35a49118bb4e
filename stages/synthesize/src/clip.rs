//! One clip: planned from its own random stream, rendered frame by frame.

use std::f32::consts::TAU;

use crate::backdrop::{Backdrop, Reach};
use crate::camera::{Camera, Frame};
use crate::canvas::{Canvas, Grain, Light};
use crate::figure::Drawing;
use crate::motion::{self, Prop};
use crate::random::Draws;
use crate::scene::Scene;
use crate::skeleton::Joints;
use crate::subject::Subject;
use crate::vector::{Rotation, Vec3};
use fedact_synthesize_params::Params;
use fedact_synthesize_params::{Action, Rhythm};

/// Frequencies of the shaking hand in hertz: two across, two up and down.
const SHAKE_HERTZ: [f32; 4] = [1.3, 3.1, 1.7, 2.6];

/// A clip that is ready to be rendered.
pub(crate) struct Clip {
    scene: Scene,
    camera: Camera,
    subject: Subject,
    turn: Rotation,
    light: Light,
    backdrop: Backdrop,
    /// Joints and prop of every frame, as the camera sees them.
    course: Vec<(Joints, Option<Prop>)>,
    /// Sideways speed of camera and figure in metres a second.
    speed: f32,
    width: usize,
    height: usize,
    frames_per_second: f32,
    draws: Draws,
}

impl Clip {
    /// Plans the clip of this number.
    pub(crate) fn plan(
        params: &Params,
        action: Action,
        subject_number: u32,
        subject: &Subject,
        number: u32,
    ) -> Self {
        let mut draws = Draws::of_clip(params.seed, params.set, action, subject_number, number);
        let scene = Scene::draw(&mut draws, params);
        let frames_per_second = params.fps as f32;
        let frames = (scene.seconds * frames_per_second).round().max(4.0) as usize;
        let turn = Rotation::yaw(scene.yaw);
        let course: Vec<(Joints, Option<Prop>)> = (0..frames)
            .map(|frame| {
                let (moment, span) =
                    moment(action, subject, &scene, frame, frames, frames_per_second);
                let pose = motion::pose(action, moment, &subject.style);
                let joints = subject.body.joints(&pose).turned(&turn);
                let prop = motion::prop(action, moment, &subject.style, &subject.body, span);
                (joints, prop.map(|prop| turned(prop, &turn)))
            })
            .collect();

        let (to_left, to_front) = action.travel();
        let hand = if subject.style.right_handed {
            -1.0
        } else {
            1.0
        };
        let speed = turn.apply(Vec3::new(hand * to_left, 0.0, to_front)).x * subject.style.tempo;
        let (width, height) = (params.width as usize, params.height as usize);
        let camera = frame_figure(&scene, subject, &course, width as f32, height as f32);
        let travelled = speed * frames as f32 / frames_per_second;
        let backdrop = Backdrop::paint(
            &scene.room,
            &camera,
            (width, height),
            &Reach {
                sideways: sideways(&scene, width as f32),
                vertical: vertical(&scene, width as f32),
                travel: (travelled.min(0.0), travelled.max(0.0)),
            },
        );
        let light = Light {
            direction: scene.light,
            ambient: scene.ambient,
        };
        Self {
            scene,
            camera,
            subject: *subject,
            turn,
            light,
            backdrop,
            course,
            speed,
            width,
            height,
            frames_per_second,
            draws,
        }
    }

    /// How many frames it has.
    pub(crate) fn frames(&self) -> usize {
        self.course.len()
    }

    /// Renders a frame into `height` rows of `width` RGB pixels. Frames are rendered in their order: the
    /// grain of each depends on those before it.
    pub(crate) fn render(
        &mut self,
        frame: usize,
        canvas: &mut Canvas,
        grain: &Grain,
        out: &mut [u8],
    ) {
        let seconds = frame as f32 / self.frames_per_second;
        let shift = self.shift(frame);
        self.backdrop
            .show(self.speed * seconds, shift, self.width, &mut canvas.pixels);
        let drawing = Drawing {
            camera: &self.camera,
            light: &self.light,
            subject: &self.subject,
            turn: &self.turn,
            shift,
        };
        let (joints, prop) = &self.course[frame];
        drawing.draw(canvas, joints, *prop);
        canvas.expose(
            self.scene.gain,
            (grain, self.scene.grain, &mut self.draws),
            self.scene.mirrored,
            out,
        );
    }

    /// An empty canvas of the clip's size.
    pub(crate) fn canvas(&self) -> Canvas {
        Canvas::new(self.width, self.height)
    }

    /// How far pan and shake have moved the picture, in pixels.
    fn shift(&self, frame: usize) -> (f32, f32) {
        let scene = &self.scene;
        let seconds = frame as f32 / self.frames_per_second;
        let progress = frame as f32 / (self.frames() - 1) as f32 - 0.5;
        let wave =
            |index: usize| (TAU * SHAKE_HERTZ[index] * seconds + scene.shake_phases[index]).sin();
        let shake = scene.shake * self.width as f32;
        (
            scene.pan * self.width as f32 * progress + shake * 0.5 * (wave(0) + wave(1)),
            shake * 0.5 * (wave(2) + wave(3)),
        )
    }
}

/// How far pan and shake move the picture sideways at the most, in pixels.
fn sideways(scene: &Scene, width: f32) -> f32 {
    (0.5 * scene.pan.abs() + scene.shake) * width
}

/// How far shake moves the picture up or down at the most, in pixels.
fn vertical(scene: &Scene, width: f32) -> f32 {
    scene.shake * width
}

/// Phase or progress of an action at a frame, and how many seconds a whole go of it takes.
fn moment(
    action: Action,
    subject: &Subject,
    scene: &Scene,
    frame: usize,
    frames: usize,
    frames_per_second: f32,
) -> (f32, f32) {
    let seconds = frame as f32 / frames_per_second;
    match action.rhythm() {
        Rhythm::Cycle { seconds: cycle } => {
            (scene.phase + seconds * subject.style.tempo / cycle, cycle)
        }
        Rhythm::Once => {
            let whole = (frames - 1) as f32 / frames_per_second;
            let span = whole * (0.85 / subject.style.tempo).clamp(0.6, 0.95);
            let start = (whole - span) * scene.lead;
            (((seconds - start) / span).clamp(0.0, 1.0), span)
        }
    }
}

fn turned(prop: Prop, turn: &Rotation) -> Prop {
    match prop {
        Prop::Ball(place) => Prop::Ball(turn.apply(place)),
        Prop::Stool(place) => Prop::Stool(turn.apply(place)),
    }
}

/// Sets the camera up so that the figure has the size and place of the scene and never leaves the
/// picture.
fn frame_figure(
    scene: &Scene,
    subject: &Subject,
    course: &[(Joints, Option<Prop>)],
    width: f32,
    height: f32,
) -> Camera {
    let focal = scene.figure_share * height * scene.distance / subject.body.height();
    let mut camera = Camera {
        focal,
        column: (0.5 + scene.offset) * width,
        horizon: scene.feet_row * height - focal * scene.camera_height / scene.distance,
        height: scene.camera_height,
        distance: scene.distance,
    };
    let limb = 0.06 * focal / scene.distance;
    let joints: Vec<Joints> = course.iter().map(|(joints, _)| *joints).collect();
    camera.fit(
        &joints,
        1.2 * subject.body.head_radius,
        &Frame {
            width,
            height,
            margin_x: limb + sideways(scene, width) + 1.0,
            margin_y: limb + vertical(scene, width) + 1.0,
        },
    );
    camera
}

#[cfg(test)]
mod tests {
    use super::*;
    use fedact_synthesize_params::Set;

    fn plan(action: Action, subject_number: u32, params: &Params) -> Clip {
        let subject = Subject::draw(params.seed, params.set, subject_number, params.difficulty);
        Clip::plan(params, action, subject_number, &subject, 1)
    }

    #[test]
    fn every_joint_of_every_action_stays_within_the_picture() {
        for difficulty in [0.0, 0.5, 1.0] {
            let params = Params {
                difficulty,
                camera: 2.0,
                ..Params::default()
            };
            for action in Action::ALL {
                for number in 1..=6 {
                    let clip = plan(action, number, &params);
                    for (frame, (joints, _)) in clip.course.iter().enumerate() {
                        let (dx, dy) = clip.shift(frame);
                        for point in joints.points() {
                            let seen = clip.camera.project(point);
                            let (x, y) = (seen.x + dx, seen.y + dy);
                            assert!(
                                (0.0..=112.0).contains(&x) && (0.0..=112.0).contains(&y),
                                "{action:?} of g{number:02} at {frame}: ({x}, {y})"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn figures_are_large_in_the_picture() {
        let params = Params::default();
        for action in Action::ALL {
            for number in 1..=6 {
                let clip = plan(action, number, &params);
                let tall = clip.camera.focal / clip.camera.distance * clip.subject.body.height();
                assert!(
                    (56.0..=96.0).contains(&tall),
                    "{action:?}: {tall} of 112 pixels"
                );
            }
        }
    }

    #[test]
    fn something_is_seen_to_move_in_every_action() {
        let params = Params {
            noise: 0.0,
            camera: 0.0,
            ..Params::default()
        };
        let grain = Grain::new(112, Draws::of_subject(1, Set::Large, 0));
        for action in Action::ALL {
            let mut clip = plan(action, 2, &params);
            let mut canvas = clip.canvas();
            let frames: Vec<Vec<u8>> = (0..clip.frames())
                .map(|frame| {
                    let mut rgb = vec![0; 112 * 112 * 3];
                    clip.render(frame, &mut canvas, &grain, &mut rgb);
                    rgb
                })
                .collect();
            let changed = |a: &[u8], b: &[u8]| {
                a.iter()
                    .zip(b)
                    .filter(|(a, b)| a.abs_diff(**b) > 24)
                    .count()
            };
            let most = frames.iter().map(|frame| changed(&frames[0], frame)).max();
            assert!(most > Some(500), "{action:?} hardly moves: {most:?}");
        }
    }

    #[test]
    fn the_setting_does_not_depend_on_the_action() {
        // Means over many clips: were a draw's range to depend on the action, they would part.
        let params = Params::default();
        let mean = |action: Action, of: fn(&Scene) -> f32| {
            let values = (1..=400).map(|clip| {
                let mut draws = Draws::of_clip(1, Set::Large, action, 1, clip);
                of(&Scene::draw(&mut draws, &params))
            });
            values.sum::<f32>() / 400.0
        };
        for of in [
            (|scene| scene.yaw.abs() / 60.0) as fn(&Scene) -> f32,
            |scene| scene.figure_share,
            |scene| scene.lead,
            |scene| scene.gain[1],
        ] {
            let (walk, clap) = (mean(Action::Walk, of), mean(Action::Clap, of));
            assert!((walk - clap).abs() < 0.08, "{walk} {clap}");
        }
    }
}

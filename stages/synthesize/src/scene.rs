//! What differs from clip to clip of one person: camera, light, room, timing.

use crate::backdrop::{Pattern, Room};
use crate::random::Draws;
use crate::subject::Colour;
use crate::vector::Vec3;
use fedact_synthesize_params::Params;

/// The setting of one clip.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    /// Length of the clip in seconds.
    pub(crate) seconds: f32,
    /// The figure's turn away from the camera in degrees, positive to its left.
    pub(crate) yaw: f32,
    /// From the camera to the figure in metres.
    pub(crate) distance: f32,
    /// The camera's height above the floor in metres.
    pub(crate) camera_height: f32,
    /// Height of the upright figure as a share of the picture's.
    pub(crate) figure_share: f32,
    /// Where the feet stand, as a share of the picture's height.
    pub(crate) feet_row: f32,
    /// The figure's distance from the middle as a share of the picture's width.
    pub(crate) offset: f32,
    /// How far the picture pans during the clip, as a share of its width.
    pub(crate) pan: f32,
    /// Amplitude of the shaking as a share of the picture's width.
    pub(crate) shake: f32,
    /// Phases of the shaking in radians.
    pub(crate) shake_phases: [f32; 4],
    /// Direction to the light: right, up, to the camera.
    pub(crate) light: Vec3,
    /// Brightness where no light falls.
    pub(crate) ambient: f32,
    /// Exposure and white balance.
    pub(crate) gain: Colour,
    /// Standard deviation of the sensor's noise, of a channel between 0 and 1.
    pub(crate) grain: f32,
    pub(crate) room: Room,
    /// Left and right of the whole picture exchanged.
    pub(crate) mirrored: bool,
    /// Where in its cycle a cyclic action starts.
    pub(crate) phase: f32,
    /// How the time that an action of one go leaves over is split before and after it.
    pub(crate) lead: f32,
}

const WALLS: [Colour; 8] = [
    [0.78, 0.76, 0.70],
    [0.62, 0.68, 0.72],
    [0.70, 0.62, 0.52],
    [0.56, 0.62, 0.54],
    [0.48, 0.50, 0.55],
    [0.80, 0.72, 0.66],
    [0.42, 0.40, 0.38],
    [0.66, 0.58, 0.62],
];

const FLOORS: [Colour; 6] = [
    [0.46, 0.36, 0.26],
    [0.40, 0.40, 0.40],
    [0.58, 0.50, 0.40],
    [0.32, 0.38, 0.30],
    [0.30, 0.28, 0.30],
    [0.56, 0.55, 0.52],
];

impl Scene {
    /// Draws a setting. No draw depends on the action: the setting never betrays the class.
    pub(crate) fn draw(draws: &mut Draws, params: &Params) -> Self {
        let camera = params.difficulty * params.camera;
        let light = params.difficulty * params.light;
        let noise = params.difficulty * params.noise;
        let sign = if draws.chance(0.5) { 1.0 } else { -1.0 };
        let yaw =
            sign * draws.between(38.0 - 32.0 * camera.min(1.0), 38.0 + 30.0 * camera.min(1.0));
        let scale_reach = 0.10 * camera.min(1.0);
        let brightness = 1.0 + draws.around(0.55 * light.min(1.5));
        let warmth = draws.around(0.16 * light);
        let sun = Vec3::new(
            draws.around(1.2 * (0.3 + light)),
            draws.between(0.5, 1.2),
            draws.between(0.4, 1.0),
        );
        Self {
            seconds: params.seconds as f32 * (1.0 + draws.around(0.2)),
            yaw,
            distance: draws.between(4.2 - 1.2 * camera.min(1.5), 4.2 + 1.6 * camera),
            camera_height: 1.25 + draws.around(0.7 * camera.min(1.5)),
            figure_share: draws.between(0.70 - scale_reach, 0.70 + 0.5 * scale_reach),
            feet_row: 0.93 + draws.around(0.04 * camera.min(1.5)),
            offset: draws.around(0.16 * camera),
            pan: draws.around(0.16 * camera),
            shake: draws.between(0.0, 0.02 * camera),
            shake_phases: [(); 4].map(|()| draws.between(0.0, std::f64::consts::TAU)),
            light: sun.normalised(),
            ambient: draws.between(0.50 - 0.15 * light.min(1.5), 0.50 + 0.1 * light.min(1.5)),
            gain: [
                brightness * (1.0 + warmth),
                brightness,
                brightness * (1.0 - warmth),
            ],
            grain: draws.between(0.3, 1.0) * (0.045 * noise) as f32,
            room: Room {
                wall: draws.choose(&WALLS),
                floor: draws.choose(&FLOORS),
                wall_distance: draws.between(0.9, 3.0),
                pattern: draws.choose(&[
                    Pattern::Plain,
                    Pattern::Boards,
                    Pattern::Bricks,
                    Pattern::Panels,
                ]),
                texture: (0.05 + 0.32 * noise) as f32,
                gradient: draws.around(0.35 * light),
                seed: draws.number(),
            },
            mirrored: draws.chance(0.5),
            phase: draws.between(0.0, 1.0),
            lead: draws.between(0.0, 1.0),
        }
    }
}

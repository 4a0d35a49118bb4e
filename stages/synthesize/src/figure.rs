//! A figure on a canvas: limbs, clothes, head, and what it stands on or holds.

use crate::camera::{Camera, Projected};
use crate::canvas::{Canvas, Disc, Light};
use crate::motion::{BALL_RADIUS, Prop};
use crate::skeleton::{Body, Joints, SOLE};
use crate::subject::{Colour, Looks, Subject};
use crate::vector::{Rotation, Vec3};

/// A round part between two points.
struct Part {
    from: Vec3,
    to: Vec3,
    /// Radii in metres.
    radii: (f32, f32),
    kind: Kind,
}

enum Kind {
    Limb(Colour),
    Head,
    Ball,
}

const BALL: Colour = [0.90, 0.42, 0.10];
const WOOD: Colour = [0.55, 0.38, 0.22];

/// Draws figure, shadow and prop; `joints` and `prop` are as the camera sees them (`z` towards it),
/// `turn` is what turned them from the figure's own frame, and `shift` moves the picture.
pub(crate) struct Drawing<'a> {
    pub(crate) camera: &'a Camera,
    pub(crate) light: &'a Light,
    pub(crate) subject: &'a Subject,
    pub(crate) turn: &'a Rotation,
    pub(crate) shift: (f32, f32),
}

impl Drawing<'_> {
    /// Draws everything, back to front.
    pub(crate) fn draw(&self, canvas: &mut Canvas, joints: &Joints, prop: Option<Prop>) {
        self.shadows(canvas, joints, prop);
        let mut parts = parts(joints, &self.subject.body, &self.subject.looks);
        match prop {
            Some(Prop::Stool(seat)) => self.stool(canvas, seat),
            Some(Prop::Ball(place)) => parts.push(Part {
                from: place,
                to: place,
                radii: (BALL_RADIUS, BALL_RADIUS),
                kind: Kind::Ball,
            }),
            None => {}
        }
        // The nearest point of a part decides: an arm before the chest is in front of it even though
        // its shoulder is not.
        let depth =
            |part: &Part| 0.5 * (part.from.z + part.to.z) + 0.5 * (part.radii.0 + part.radii.1);
        parts.sort_by(|a, b| depth(a).total_cmp(&depth(b)));
        for part in &parts {
            let (a, b) = (
                self.disc(part.from, part.radii.0),
                self.disc(part.to, part.radii.1),
            );
            match part.kind {
                Kind::Limb(colour) => canvas.capsule(a, b, colour, self.light),
                Kind::Head => self.head(canvas, a, joints),
                Kind::Ball => canvas.ball(a, |_| BALL, self.light),
            }
        }
    }

    fn seen(&self, point: Vec3) -> Projected {
        let seen = self.camera.project(point);
        Projected {
            x: seen.x + self.shift.0,
            y: seen.y + self.shift.1,
            ..seen
        }
    }

    fn disc(&self, point: Vec3, radius: f32) -> Disc {
        let seen = self.seen(point);
        Disc {
            x: seen.x,
            y: seen.y,
            radius: (radius * seen.scale).max(0.6),
        }
    }

    /// Soft patches on the floor under pelvis, feet and ball, weaker the higher they are above it.
    fn shadows(&self, canvas: &mut Canvas, joints: &Joints, prop: Option<Prop>) {
        let mut patch = |above: Vec3, radius: f32, depth: f32| {
            let spot = self.seen(Vec3::new(above.x, 0.0, above.z));
            let distance = self.camera.focal / spot.scale;
            let width = radius * spot.scale;
            let height = width * self.camera.height / distance;
            canvas.shadow((spot.x, spot.y), (width, height.max(1.0)), depth);
        };
        let airborne = joints.toes[0].y.min(joints.toes[1].y) - SOLE;
        patch(joints.pelvis, 0.48, 0.55 / (1.0 + 4.0 * airborne.max(0.0)));
        for (ankle, toes) in joints.ankles.into_iter().zip(joints.toes) {
            let height = (toes.y - SOLE).max(0.0);
            patch(ankle.mix(toes, 0.5), 0.20, 0.50 / (1.0 + 12.0 * height));
        }
        if let Some(Prop::Ball(place)) = prop {
            let height = (place.y - BALL_RADIUS).max(0.0);
            patch(place, 1.2 * BALL_RADIUS, 0.5 / (1.0 + 5.0 * height));
        }
    }

    /// Head with face and hair; the colour of its surface goes by the direction in the head's own
    /// frame.
    fn head(&self, canvas: &mut Canvas, disc: Disc, joints: &Joints) {
        let looks = &self.subject.looks;
        let (up, front) = (joints.head_up, joints.head_front);
        let colour = |normal: Vec3| {
            let (height, ahead) = (normal.dot(up), normal.dot(front));
            if height > 0.55 || ahead < if looks.long_hair { 0.25 } else { 0.0 } && height > -0.5 {
                looks.hair
            } else {
                looks.skin
            }
        };
        canvas.ball(disc, colour, self.light);
    }

    /// A stool: legs and a seat.
    fn stool(&self, canvas: &mut Canvas, seat: Vec3) {
        let (half, thickness) = (0.20, 0.06);
        let corner = |x: f32, z: f32, y: f32| seat + self.turn.apply(Vec3::new(x, y, z));
        let around = [(-half, half), (half, half), (half, -half), (-half, -half)];
        for (x, z) in around {
            let top = corner(0.85 * x, 0.85 * z, -thickness);
            let foot = Vec3::new(top.x, 0.02, top.z);
            let (a, b) = (self.disc(top, 0.025), self.disc(foot, 0.025));
            canvas.capsule(a, b, WOOD, self.light);
        }
        let point = |(x, z): (f32, f32), y: f32| {
            let seen = self.seen(corner(x, z, y));
            (seen.x, seen.y)
        };
        for index in 0..4 {
            let (a, b) = (around[index], around[(index + 1) % 4]);
            let outward = self
                .turn
                .apply(Vec3::new(a.0 + b.0, 0.0, a.1 + b.1))
                .normalised();
            if outward.z <= 0.0 {
                continue;
            }
            let side = [
                point(a, 0.0),
                point(b, 0.0),
                point(b, -thickness),
                point(a, -thickness),
            ];
            let shade = self.light.on(outward);
            canvas.polygon(&side, WOOD.map(|channel| channel * shade));
        }
        let top = [3, 2, 1, 0].map(|index| point(around[index], 0.0));
        let shade = self.light.on(Vec3::UP).max(0.6);
        canvas.polygon(&top, WOOD.map(|channel| channel * shade * 1.1));
    }
}

/// The round parts of a body in its clothes.
fn parts(joints: &Joints, body: &Body, looks: &Looks) -> Vec<Part> {
    let girth = body.girth;
    let mut parts = Vec::with_capacity(28);
    let mut limb = |from: Vec3, to: Vec3, radii: (f32, f32), colour: Colour| {
        parts.push(Part {
            from,
            to,
            radii: (radii.0 * girth, radii.1 * girth),
            kind: Kind::Limb(colour),
        });
    };
    limb(
        joints.hips[0],
        joints.hips[1],
        (0.112, 0.112),
        looks.trousers,
    );
    let belt = joints.pelvis.mix(joints.waist, 0.35);
    limb(joints.pelvis, belt, (0.118, 0.128), looks.trousers);
    limb(
        belt.mix(joints.waist, 0.55),
        joints.waist,
        (0.128, 0.130),
        looks.shirt,
    );
    let ribs = joints.waist.mix(joints.chest, 0.62);
    limb(joints.waist, ribs, (0.130, 0.145), looks.shirt);
    limb(
        joints.shoulders[0],
        joints.shoulders[1],
        (0.075, 0.075),
        looks.shirt,
    );
    limb(joints.chest, joints.head, (0.055, 0.050), looks.skin);
    for side in 0..2 {
        let (shoulder, elbow) = (joints.shoulders[side], joints.elbows[side]);
        let (wrist, hand) = (joints.wrists[side], joints.hands[side]);
        if looks.long_sleeves {
            limb(shoulder, elbow, (0.066, 0.052), looks.shirt);
            limb(elbow, wrist, (0.052, 0.042), looks.shirt);
        } else {
            let sleeve = shoulder.mix(elbow, 0.6);
            limb(shoulder, sleeve, (0.068, 0.060), looks.shirt);
            limb(sleeve, elbow, (0.050, 0.046), looks.skin);
            limb(elbow, wrist, (0.047, 0.038), looks.skin);
        }
        limb(wrist, hand, (0.040, 0.048), looks.skin);

        let (hip, knee, ankle) = (joints.hips[side], joints.knees[side], joints.ankles[side]);
        limb(hip, knee, (0.100, 0.074), looks.trousers);
        if looks.shorts {
            limb(knee, ankle, (0.062, 0.046), looks.skin);
        } else {
            limb(knee, ankle, (0.073, 0.058), looks.trousers);
        }
        limb(
            joints.heels[side],
            joints.toes[side],
            (0.048, 0.044),
            looks.shoes,
        );
    }
    if looks.long_hair {
        let crown = joints.head - joints.head_front * (0.35 * body.head_radius);
        let ends = joints.neck - joints.head_front * (0.9 * body.head_radius);
        let radius = 0.75 * body.head_radius / girth;
        limb(crown, ends, (radius, 0.7 * radius), looks.hair);
    }
    parts.push(Part {
        from: joints.head,
        to: joints.head,
        radii: (body.head_radius, body.head_radius),
        kind: Kind::Head,
    });
    parts
}

//! Persons: body, clothes and way of moving, the same in all of a person's clips.

use crate::motion::Style;
use crate::random::Draws;
use crate::skeleton::Body;
use fedact_synthesize_params::Set;

/// Red, green and blue between 0 and 1.
pub(crate) type Colour = [f32; 3];

/// What a person looks like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Looks {
    pub(crate) skin: Colour,
    pub(crate) hair: Colour,
    /// Hair down to the shoulders.
    pub(crate) long_hair: bool,
    pub(crate) shirt: Colour,
    pub(crate) long_sleeves: bool,
    pub(crate) trousers: Colour,
    pub(crate) shorts: bool,
    pub(crate) shoes: Colour,
}

/// A person who performs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Subject {
    pub(crate) body: Body,
    pub(crate) looks: Looks,
    pub(crate) style: Style,
}

const SKINS: [Colour; 6] = [
    [0.96, 0.80, 0.69],
    [0.89, 0.70, 0.55],
    [0.80, 0.60, 0.45],
    [0.66, 0.46, 0.33],
    [0.50, 0.34, 0.24],
    [0.38, 0.25, 0.18],
];

const HAIRS: [Colour; 6] = [
    [0.10, 0.08, 0.07],
    [0.24, 0.15, 0.09],
    [0.42, 0.27, 0.14],
    [0.72, 0.56, 0.30],
    [0.55, 0.25, 0.12],
    [0.62, 0.61, 0.60],
];

const CLOTHES: [Colour; 12] = [
    [0.78, 0.16, 0.16],
    [0.15, 0.35, 0.72],
    [0.13, 0.52, 0.28],
    [0.93, 0.76, 0.20],
    [0.90, 0.89, 0.86],
    [0.14, 0.14, 0.16],
    [0.52, 0.24, 0.58],
    [0.92, 0.50, 0.16],
    [0.20, 0.62, 0.66],
    [0.86, 0.45, 0.58],
    [0.45, 0.45, 0.48],
    [0.40, 0.28, 0.18],
];

const TROUSERS: [Colour; 7] = [
    [0.15, 0.19, 0.33],
    [0.10, 0.10, 0.11],
    [0.27, 0.36, 0.52],
    [0.52, 0.45, 0.33],
    [0.35, 0.36, 0.38],
    [0.30, 0.20, 0.14],
    [0.66, 0.62, 0.55],
];

impl Subject {
    /// The person of this number; `difficulty` says how far from ordinary.
    pub(crate) fn draw(seed: u64, set: Set, number: u32, difficulty: f64) -> Self {
        let mut draws = Draws::of_subject(seed, set, number);
        let body = draw_body(&mut draws, difficulty);
        let looks = draw_looks(&mut draws);
        let style = Style {
            tempo: 1.0 + draws.around(0.45 * difficulty),
            amplitude: 1.0 + draws.around(0.28 * difficulty),
            asymmetry: draws.around(0.5 * difficulty),
            right_handed: draws.chance(0.6),
            stoop: draws.around(12.0 * difficulty),
            sway: draws.around(5.0 * difficulty),
            arm_lag: draws.around(0.14 * difficulty),
            haste: 1.0 + draws.around(0.6 * difficulty),
        };
        Self { body, looks, style }
    }
}

fn draw_body(draws: &mut Draws, difficulty: f64) -> Body {
    let plain = Body::ORDINARY;
    let mut vary = |length: f32, reach: f64| length * (1.0 + draws.around(reach * difficulty));
    Body {
        abdomen: vary(plain.abdomen, 0.15),
        chest: vary(plain.chest, 0.15),
        neck: vary(plain.neck, 0.25),
        head_radius: vary(plain.head_radius, 0.20),
        shoulders: vary(plain.shoulders, 0.25),
        hips: vary(plain.hips, 0.25),
        upper_arm: vary(plain.upper_arm, 0.15),
        forearm: vary(plain.forearm, 0.15),
        hand: vary(plain.hand, 0.15),
        thigh: vary(plain.thigh, 0.15),
        shin: vary(plain.shin, 0.15),
        foot: vary(plain.foot, 0.2),
        ankle: plain.ankle,
        girth: vary(plain.girth, 0.45),
    }
}

fn draw_looks(draws: &mut Draws) -> Looks {
    let mut tint =
        |colour: Colour| colour.map(|channel| (channel + draws.around(0.06)).clamp(0.03, 0.98));
    let (skin_shift, shirt_shift, trousers_shift) =
        (tint([0.5; 3]), tint([0.5; 3]), tint([0.5; 3]));
    let shifted = |colour: Colour, shift: Colour| {
        [0, 1, 2].map(|channel| (colour[channel] + shift[channel] - 0.5).clamp(0.03, 0.98))
    };
    let skin = draws.choose(&SKINS);
    let mut hair = draws.choose(&HAIRS);
    if skin[0] < 0.7 {
        hair = HAIRS[0];
    }
    Looks {
        skin: shifted(skin, skin_shift),
        hair,
        long_hair: draws.chance(0.4),
        shirt: shifted(draws.choose(&CLOTHES), shirt_shift),
        long_sleeves: draws.chance(0.45),
        trousers: shifted(draws.choose(&TROUSERS), trousers_shift),
        shorts: draws.chance(0.25),
        shoes: draws.choose(&CLOTHES),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_the_same_every_time_and_unlike_the_next() {
        let person = |number| Subject::draw(7, Set::Large, number, 0.5);
        assert_eq!(person(3), person(3));
        for number in 1..20 {
            assert_ne!(person(number).looks, person(number + 1).looks);
            assert_ne!(person(number), Subject::draw(7, Set::Small, number, 0.5));
        }
    }

    #[test]
    fn without_difficulty_every_body_and_style_is_ordinary_but_for_the_hand() {
        for number in 1..10 {
            let person = Subject::draw(1, Set::Small, number, 0.0);
            assert_eq!(person.body, Body::ORDINARY);
            let right_handed = person.style.right_handed;
            assert_eq!(
                person.style,
                Style {
                    right_handed,
                    ..Style::ORDINARY
                }
            );
        }
    }
}

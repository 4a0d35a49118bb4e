//! Which classes and which of their clips a sheet shows.

use fedact_clips::{ClipSet, Split};
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;

/// How much a sheet shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Decides which.
    pub seed: u64,
    /// Classes at most.
    pub classes: usize,
    /// Clips of each class on each side of the split, at most.
    pub clips: usize,
    /// Frames of each clip, from the first to the last.
    pub frames: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            classes: 40,
            clips: 2,
            frames: 4,
        }
    }
}

/// One class of a sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its label.
    pub class: usize,
    /// How many clips it has in train and in test.
    pub of_class: [usize; 2],
    /// Which of them are shown, ascending.
    pub shown: [Vec<usize>; 2],
}

/// The stream of random numbers that draws the classes; below it, two for each class.
const CLASSES: u64 = u64::MAX;

/// Draws classes, if there are too many, and clips of each. What is drawn of one class does not depend on the
/// others.
pub fn sample(set: &ClipSet, settings: Settings) -> Vec<Row> {
    let classes = set.dataset().classes.len();
    let mut clips: Vec<[Vec<usize>; 2]> = vec![Default::default(); classes];
    for (side, split) in [Split::Train, Split::Test].into_iter().enumerate() {
        for clip in set.indices(split) {
            clips[set.label(clip)][side].push(clip);
        }
    }
    let chosen = draw(settings.seed, CLASSES, classes, settings.classes);
    let rows = chosen.into_iter().map(|class| {
        let of_class = &clips[class];
        let shown = [0, 1].map(|side| {
            let (stream, all) = (2 * class as u64 + side as u64, &of_class[side]);
            let places = draw(settings.seed, stream, all.len(), settings.clips);
            places.into_iter().map(|place| all[place]).collect()
        });
        Row {
            class,
            of_class: [of_class[0].len(), of_class[1].len()],
            shown,
        }
    });
    rows.collect()
}

/// `wanted` of the numbers below `all`, ascending; all of them where there are fewer.
fn draw(seed: u64, stream: u64, all: usize, wanted: usize) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    let mut drawn = index::sample(&mut random, all, wanted.min(all)).into_vec();
    drawn.sort_unstable();
    drawn
}

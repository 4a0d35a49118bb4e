//! What is where on a sheet, in pixels.

use fedact_clips::Dataset;

use crate::Settings;

/// Around everything.
pub const MARGIN: u32 = 12;
/// Where the names of the splits stand.
pub const HEADING: u32 = MARGIN + 20;
/// Below the line above a class.
pub const GAP: u32 = 5;
/// From the name of a class to its pictures.
pub const CLASS: u32 = 16;
/// Where the first row begins.
const ROWS: u32 = HEADING + 20;
/// For the id of a clip and some air.
const CAPTION: u32 = 20;
/// Between the frames of a clip.
const BETWEEN_FRAMES: u32 = 2;
/// Between clips, and twice as much between the sides.
const BETWEEN_CLIPS: u32 = 16;
/// How high frames are, about.
const HEIGHT: u32 = 80;
/// The least width of a clip, so that its id can be read.
const READABLE: u32 = 150;

/// What is where.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Of the sheet.
    pub width: u32,
    /// Of each frame: width and height.
    pub picture: (u32, u32),
    /// Width of a clip.
    pub clip: u32,
    clips: u32,
    rows: u32,
}

impl Layout {
    pub fn new(dataset: &Dataset, settings: Settings, rows: usize) -> Self {
        let picture = reduced(dataset.width as u32, dataset.height as u32);
        let frames = settings.frames.clamp(1, dataset.frames) as u32;
        let clip = (frames * (picture.0 + BETWEEN_FRAMES) - BETWEEN_FRAMES).max(READABLE);
        let clips = settings.clips.max(1) as u32;
        Self {
            width: 2 * MARGIN + 2 * clips * (clip + BETWEEN_CLIPS),
            picture,
            clip,
            clips,
            rows: rows as u32,
        }
    }

    /// Of the sheet.
    pub fn height(&self) -> u32 {
        self.row(self.rows as usize) + MARGIN
    }

    /// Top of a row.
    pub fn row(&self, number: usize) -> u32 {
        ROWS + number as u32 * (GAP + CLASS + self.picture.1 + CAPTION)
    }

    /// Left of a clip: 0 train, 1 test.
    pub fn column(&self, side: usize, place: usize) -> u32 {
        let before = side as u32 * self.clips + place as u32;
        MARGIN + before * (self.clip + BETWEEN_CLIPS) + side as u32 * BETWEEN_CLIPS
    }

    /// Left of a frame of the clip at `left`.
    pub fn frame(&self, left: u32, number: usize) -> u32 {
        left + number as u32 * (self.picture.0 + BETWEEN_FRAMES)
    }
}

/// About [`HEIGHT`] high: small frames become a whole number of times larger, so that every pixel shows.
fn reduced(width: u32, height: u32) -> (u32, u32) {
    let times = HEIGHT / height;
    if times > 0 {
        return (width * times, height * times);
    }
    let width = f64::from(width) * f64::from(HEIGHT) / f64::from(height);
    ((width.round() as u32).max(1), HEIGHT)
}

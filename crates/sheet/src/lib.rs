//! Contact sheets: what was cut out of videos, as one picture for people to look at.
//!
//! A row for every class, in it clips of the training split and of the test split, each as a few frames with
//! its id. [`sample`] says which, [`draw`] draws them.

mod canvas;
mod layout;
mod sample;

use fedact_clips::{ClipSet, ClipsError, Split};
use image::RgbImage;

use crate::canvas::{BOLD, Canvas, PLAIN, fit};
use crate::layout::Layout;

pub use image::{ImageError, ImageFormat};
pub use sample::{Row, Settings, sample};

const PAPER: [u8; 3] = [255, 255, 255];
const INK: [u8; 3] = [30, 30, 30];
const PALE: [u8; 3] = [120, 120, 120];
const LINE: [u8; 3] = [215, 215, 215];
const TRAIN: [u8; 3] = [0, 90, 160];
const TEST: [u8; 3] = [180, 70, 0];

/// Draws the clips of a [`sample`]. `title` stands at the top.
///
/// # Errors
/// A clip that is damaged.
pub fn draw(
    set: &ClipSet,
    rows: &[Row],
    settings: Settings,
    title: &str,
) -> Result<RgbImage, ClipsError> {
    let dataset = set.dataset();
    let layout = Layout::new(dataset, settings, rows.len());
    let mut canvas = Canvas::new(layout.width, layout.height(), PAPER);
    let wide = layout.width.saturating_sub(2 * layout::MARGIN);
    canvas.text(
        layout::MARGIN,
        layout::MARGIN,
        fit(title, wide, BOLD),
        BOLD,
        INK,
    );
    for (side, (split, ink)) in [(Split::Train, TRAIN), (Split::Test, TEST)]
        .into_iter()
        .enumerate()
    {
        canvas.text(
            layout.column(side, 0),
            layout::HEADING,
            split.name(),
            BOLD,
            ink,
        );
    }
    let mut room = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let top = layout.row(number);
        canvas.fill(layout::MARGIN, top, wide, 1, LINE);
        let class = &dataset.classes[row.class];
        let counts = format!("{} train, {} test", row.of_class[0], row.of_class[1]);
        let top = top + layout::GAP;
        let end = canvas.text(layout::MARGIN, top, fit(class, wide / 2, BOLD), BOLD, INK);
        canvas.text(end + 12, top + 2, counts.as_str(), PLAIN, PALE);
        for (side, ink) in [TRAIN, TEST].into_iter().enumerate() {
            for (place, clip) in row.shown[side].iter().enumerate() {
                let (left, top) = (layout.column(side, place), top + layout::CLASS);
                let pixels = set.pixels(*clip, &mut room)?;
                let size = (dataset.width, dataset.height);
                for (number, frame) in dataset.spread(settings.frames).into_iter().enumerate() {
                    let bytes = size.0 * size.1 * 3;
                    let frame = &pixels[frame * bytes..][..bytes];
                    canvas.picture(layout.frame(left, number), top, frame, size, layout.picture);
                }
                let id = set.clip(*clip)?.id;
                let caption = fit(&id, layout.clip, PLAIN);
                canvas.text(left, top + layout.picture.1 + 3, caption, PLAIN, ink);
            }
        }
    }
    Ok(canvas.picture)
}

//! `fedact show STEP --frames`: a contact sheet of a step's clips.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use clap::Args;
use fedact_artifact::Digest;
use fedact_clips::{ClipSet, ClipsError, Encoding, Split};
use fedact_sheet::{ImageFormat, Row, Settings, draw, sample};
use fedact_stage::Kind;
use serde_json::json;

use crate::exit::{Code, Refusal};
use crate::output;

/// What is drawn, and where to.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// Draw a contact sheet of the step's clips into this file (.png or .jpg): some clips of each class and side of
    /// the split, a few frames of each.
    #[arg(long, value_name = "FILE")]
    pub frames: Option<PathBuf>,
    /// Seed of the choice of clips.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "frames")]
    seed: u64,
    /// Write over the file, should it be there.
    #[arg(long)]
    pub overwrite: bool,
}

/// The result whose clips are drawn.
pub struct Shown<'a> {
    /// The step.
    pub step: &'a str,
    /// What it makes.
    pub kind: Kind,
    /// Where its outputs are.
    pub folder: &'a Path,
    /// Whether those outputs are this result.
    pub delivered: bool,
    /// The result's.
    pub key: Digest,
    /// Whether the pipeline as it is now gives this result.
    pub fresh: bool,
}

/// Draws the sheet and says what is on it.
///
/// # Errors
/// A step that makes no clips or whose result is not in its folder, a damaged set, a file that is there already or
/// cannot be written.
pub fn command(
    shown: &Shown<'_>,
    picture: &Path,
    arguments: &Arguments,
    as_json: bool,
) -> Result<Code, Refusal> {
    let (step, kind) = (shown.step, shown.kind);
    if kind != Kind::Clips {
        return Err(Refusal::new(
            Code::Usage,
            format!("step `{step}` makes a {kind}, and only clips have frames"),
            "name a step whose stage is extract",
        ));
    }
    if !shown.delivered {
        return Err(Refusal::new(
            Code::Failed,
            format!(
                "{} does not hold that result of step `{step}`",
                shown.folder.display()
            ),
            format!("`fedact run {step}` puts it there"),
        ));
    }
    let format = format(picture)?;
    if !arguments.overwrite && picture.exists() {
        return Err(output::already_there(picture));
    }
    let settings = Settings {
        seed: arguments.seed,
        ..Settings::default()
    };
    let set = ClipSet::open(shown.folder).map_err(|error| damaged(&error))?;
    let rows = sample(&set, settings);
    let sheet = draw(&set, &rows, settings, &title(step, &set)).map_err(|error| damaged(&error))?;
    let mut bytes = Cursor::new(Vec::new());
    sheet
        .write_to(&mut bytes, format)
        .map_err(|error| Refusal::failed(&format!("draw {}", picture.display()), &error))?;
    output::file(picture, bytes.get_ref(), arguments.overwrite)?;
    if as_json {
        output::json(&json!({
            "step": step,
            "fresh": shown.fresh,
            "key": shown.key,
            "picture": picture,
            "width": sheet.width(),
            "height": sheet.height(),
            "seed": settings.seed,
            "classes": set.dataset().classes.len(),
            "clips": clips(&set, &rows).map_err(|error| damaged(&error))?,
        }))?;
    } else {
        let drawn: usize = rows.iter().flat_map(|row| &row.shown).map(Vec::len).sum();
        output::text(&format!(
            "{}: {drawn} of {} clips of {step}{}, {} of {} classes, {} of {} frames each, drawn by seed {}\n",
            picture.display(),
            set.len(),
            if shown.fresh {
                ""
            } else {
                " (an older result, the step is stale)"
            },
            rows.len(),
            set.dataset().classes.len(),
            set.dataset().spread(settings.frames).len(),
            set.dataset().frames,
            settings.seed,
        ))?;
    }
    Ok(Code::Done)
}

fn damaged(error: &ClipsError) -> Refusal {
    Refusal::failed("draw the clips", error)
}

/// By the end of the file's name.
fn format(picture: &Path) -> Result<ImageFormat, Refusal> {
    ImageFormat::from_path(picture)
        .ok()
        .filter(|format| matches!(format, ImageFormat::Png | ImageFormat::Jpeg))
        .ok_or_else(|| {
            Refusal::new(
                Code::Usage,
                format!(
                    "{} is the name of no kind of picture that can be written",
                    picture.display()
                ),
                "let it end in .png or .jpg",
            )
        })
}

fn title(step: &str, set: &ClipSet) -> String {
    let dataset = set.dataset();
    let encoding = match dataset.encoding {
        Encoding::Raw => String::new(),
        Encoding::Jpeg { quality } => format!(", JPEG of quality {quality}"),
    };
    format!(
        "{step}: {} clips of {} classes, {} frames of {} x {}{encoding}",
        set.len(),
        dataset.classes.len(),
        dataset.frames,
        dataset.width,
        dataset.height,
    )
}

/// What is on the sheet, row by row.
fn clips(set: &ClipSet, rows: &[Row]) -> Result<Vec<serde_json::Value>, ClipsError> {
    let classes = &set.dataset().classes;
    let mut clips = Vec::new();
    for row in rows {
        for (split, shown) in [Split::Train, Split::Test].into_iter().zip(&row.shown) {
            for clip in shown {
                let id = set.clip(*clip)?.id;
                clips.push(json!({"id": id, "class": classes[row.class], "split": split}));
            }
        }
    }
    Ok(clips)
}

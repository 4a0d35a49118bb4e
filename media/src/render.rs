//! A video with words on it that change over time: all of its picture the right way up, its frames at their times, and its
//! sound as it is.

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use fedact_predict::{Caption, RenderRequest, request};
use fedact_stage::{Job, Metrics, Reporter, StageError, Stopped};
use fedact_video::{
    Codec, Copied, EncodeError, Limits, Size, SoundError, Video, VideoError, VideoWriter,
};

use crate::canvas::Canvas;
use crate::caption::write_on;
use crate::seen::mark;

/// The short side in pixels below which words are not legible: smaller pictures are enlarged.
const LEGIBLE: u32 = 240;

/// The side in pixels below which no encoder takes a picture.
const LEAST: u32 = 16;

/// What reading one file may take.
const LIMITS: Limits = Limits {
    time: Duration::from_secs(24 * 3600),
    memory: 4 << 30,
};

/// Why a video could not be drawn on.
#[derive(Debug, thiserror::Error)]
enum RenderError {
    /// The video cannot be read.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// The other one cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The sound cannot be copied.
    #[error(transparent)]
    Sound(#[from] SoundError),
    /// The runner asked it to.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The work of [`fedact_predict::RENDER`].
///
/// # Errors
/// A video that cannot be read, or written.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let request: RenderRequest = request(job).map_err(|error| StageError::failed(&error))?;
    render(&request, reporter).map_err(|error| match error {
        RenderError::Stopped(stopped) => stopped.into(),
        RenderError::Video(error) => StageError::invalid(&error),
        RenderError::Encode(error) => StageError::failed(&error),
        RenderError::Sound(error) => StageError::failed(&error),
    })?;
    Ok(Metrics::new())
}

fn render(request: &RenderRequest, reporter: &Reporter) -> Result<(), RenderError> {
    fedact_video::catch_log();
    let mut video = Video::open(&request.video, LIMITS)?;
    let size = drawn_size(video.size(), request.largest_side);
    let timeline = video.timeline().clone();
    let codec = codec_of(&request.output);
    let mut writer =
        VideoWriter::create_timed(&request.output, size, timeline.frame_rate(), codec)?;
    let task = reporter.task("drawing", timeline.len() as u64, "frames");
    video.show(size, |number, frame| -> Result<(), RenderError> {
        reporter.go_on()?;
        let mut canvas = Canvas::new(frame, size);
        if let Some(share) = request.seen {
            mark(&mut canvas, share);
        }
        if let Some(caption) = caption_at(&request.captions, timeline.time(number)) {
            write_on(&mut canvas, caption);
        }
        writer.write_until(frame, timeline.end(number))?;
        task.advance(1);
        Ok(())
    })?;
    writer.finish()?;
    match add_sound(&video, request, codec, reporter) {
        // The pictures are there, and are what was asked for.
        Err(RenderError::Sound(error)) => {
            let error = StageError::failed(&error);
            reporter.warn(format!("{} is left out: {error}", sound_of(request)));
            Ok(())
        }
        done => done,
    }
}

/// Copies the sound of the video, if it has any, into the pictures that have been written.
fn add_sound(
    video: &Video,
    request: &RenderRequest,
    codec: Codec,
    reporter: &Reporter,
) -> Result<(), RenderError> {
    let Some(sound) = video.sound()? else {
        return Ok(());
    };
    let pictures = &request.output;
    let joined = pictures.with_extension(format!("with-sound.{}", codec.extension()));
    let copied = sound.join(pictures, &joined, codec, || -> Result<(), RenderError> {
        Ok(reporter.go_on()?)
    })?;
    std::fs::rename(&joined, pictures).map_err(|source| {
        let path = pictures.clone();
        SoundError::from(EncodeError::Write { path, source })
    })?;
    if let Some(problem) = damage(&copied) {
        reporter.warn(format!("{} {problem}", sound_of(request)));
    }
    Ok(())
}

fn sound_of(request: &RenderRequest) -> String {
    format!("the sound of {}", request.video.display())
}

/// What a listener will miss.
fn damage(copied: &Copied) -> Option<String> {
    match (&copied.breaks_off, copied.damaged) {
        (Some(words), _) => Some(format!("breaks off: {words}")),
        (None, 0) => None,
        (None, 1) => Some("is damaged: a packet is left out".to_owned()),
        (None, packets) => Some(format!("is damaged: {packets} packets are left out")),
    }
}

/// How large a picture is drawn: as it is where that is legible and its long side is not beyond the largest, in its
/// proportions and in even numbers, as encoders want them.
fn drawn_size(picture: Size, largest_side: u32) -> Size {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let legible = (f64::from(LEGIBLE) / width.min(height)).max(1.0);
    let scale = legible.min(f64::from(largest_side) / width.max(height));
    let side = |length: f64| (2 * (length * scale / 2.0).round() as u32).max(LEAST);
    Size {
        width: side(width),
        height: side(height),
    }
}

fn codec_of(path: &Path) -> Codec {
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("avi") => Codec::Mpeg4,
        _ => Codec::H264,
    }
}

/// The last caption that has begun; before the first, the first.
fn caption_at(captions: &[Caption], time: f64) -> Option<&Caption> {
    let begun = captions.iter().rev().find(|caption| caption.from <= time);
    begun.or(captions.first())
}

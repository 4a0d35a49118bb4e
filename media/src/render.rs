//! A video with words on it that change over time.
//!
//! What is shown is the middle square, as large as fits: a network sees nothing else.

use std::path::Path;
use std::time::Duration;

use fedact_predict::{Caption, RenderRequest, request};
use fedact_stage::{Job, Metrics, Reporter, StageError, Stopped};
use fedact_video::{
    Codec, Conversion, EncodeError, Geometry, Limits, Video, VideoError, VideoWriter,
};

use crate::caption::write_on;

/// The sides that the square may have in pixels: below, words are not legible; above, nothing is gained.
const SIDES: (u32, u32) = (240, 720);

/// Frames a second that are shown at most.
const FASTEST: f64 = 60.0;

/// Frames that are in memory at a time.
const TOGETHER: usize = 48;

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
    })?;
    Ok(Metrics::new())
}

fn render(request: &RenderRequest, reporter: &Reporter) -> Result<(), RenderError> {
    fedact_video::catch_log();
    let mut video = Video::open(&request.video, LIMITS)?;
    let info = video.info();
    let short = info.width.min(info.height).clamp(SIDES.0, SIDES.1) & !1;
    let conversion = Conversion::from(Geometry {
        resize: short,
        size: short,
    });
    let timeline = video.timeline().clone();
    let duration = timeline.duration().max(1e-3);
    let rate = (timeline.len() as f64 / duration)
        .round()
        .clamp(1.0, FASTEST);
    let count = ((duration * rate).round() as usize).max(1);
    let shown: Vec<f64> = (0..count)
        .map(|frame| (frame as f64 + 0.5) / rate)
        .collect();
    let codec = codec_of(&request.output);
    let mut writer = VideoWriter::create(&request.output, short, short, rate as u32, codec)?;
    let task = reporter.task("drawing", count as u64, "frames");
    let bytes = conversion.geometry.frame_bytes();
    for times in shown.chunks(TOGETHER) {
        reporter.go_on()?;
        let wanted: Vec<usize> = times.iter().map(|time| timeline.shown_at(*time)).collect();
        let mut frames = video.frames(&wanted, conversion)?.pixels;
        for (time, frame) in times.iter().zip(frames.chunks_exact_mut(bytes)) {
            if let Some(caption) = caption_at(&request.captions, *time) {
                write_on(frame, short, caption);
            }
            writer.write(frame)?;
        }
        task.advance(times.len() as u64);
    }
    Ok(writer.finish()?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_from_their_second_on() {
        let caption = |from: f64, text: &str| Caption {
            from,
            text: text.to_owned(),
            share: 0.5,
        };
        let captions = [caption(0.5, "first"), caption(2.0, "second")];
        let at = |time| caption_at(&captions, time).map(|caption| caption.text.as_str());
        assert_eq!(at(0.0), Some("first"));
        assert_eq!(at(1.99), Some("first"));
        assert_eq!(at(2.0), Some("second"));
        assert_eq!(at(99.0), Some("second"));
        assert!(caption_at(&[], 1.0).is_none());
    }

    #[test]
    fn the_name_decides_the_container() {
        assert_eq!(codec_of(Path::new("a.AVI")), Codec::Mpeg4);
        assert_eq!(codec_of(Path::new("a.mp4")), Codec::H264);
    }
}

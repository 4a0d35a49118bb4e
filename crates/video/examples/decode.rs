//! Decodes videos for comparison with other readers (`benches/compare.py`).
//!
//! Reads lines `FRAMES RESIZE SIZE PATH` from standard input: how many frames are wanted (evenly spread; 0 for
//! all), and the geometry (0 0 for the whole short side, unscaled). Answers each with a line of JSON and, if that
//! has no `error`, the frames: packed RGB, in order. With the argument `--keep-frames`, the frames stay here.

#![allow(clippy::print_stdout)]

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Duration;

use fedact_video::{Frames, Geometry, Video, VideoError, sample};
use serde_json::{Value, json};

/// Times of frames that are told; the timeline of a long video would be most of the answer.
const TIMES: usize = 10_000;

const LIMIT: Duration = Duration::from_secs(300);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keeps = std::env::args().any(|argument| argument == "--keep-frames");
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.splitn(4, ' ');
        let mut number = || -> Result<u32, String> {
            let word = words.next().ok_or("a line has four words")?;
            word.parse().map_err(|_| format!("{word} is no number"))
        };
        let (count, resize, size) = (number()? as usize, number()?, number()?);
        let path = Path::new(words.next().ok_or("a line has four words")?);
        let (answer, pixels) = match decode(path, count, Geometry { resize, size }) {
            Ok((answer, frames)) => (answer, frames.pixels),
            Err(error) => (
                json!({"error": error.to_string(), "ffmpeg": error.messages()}),
                Vec::new(),
            ),
        };
        writeln!(output, "{answer}")?;
        if !keeps {
            output.write_all(&pixels)?;
        }
        output.flush()?;
    }
    Ok(())
}

fn decode(path: &Path, count: usize, geometry: Geometry) -> Result<(Value, Frames), VideoError> {
    let mut video = Video::open(path, LIMIT)?;
    let info = video.info().clone();
    let geometry = match geometry.size {
        0 => {
            let width = (f64::from(info.width) * info.pixel_aspect).round() as u32;
            let size = width.min(info.height).clamp(8, 4096);
            Geometry { resize: size, size }
        }
        _ => geometry,
    };
    let timeline = video.timeline();
    let numbers = match count {
        0 => (0..timeline.len()).collect(),
        count => sample::uniform(timeline, count, 0, 1),
    };
    let listed = timeline.len().min(TIMES);
    let times: Vec<f64> = (0..listed).map(|frame| timeline.time(frame)).collect();
    let (length, duration) = (timeline.len(), timeline.duration());
    let frames = video.frames(&numbers, geometry)?;
    let answer = json!({
        "info": info,
        "length": length,
        "times": times,
        "duration": duration,
        "numbers": numbers,
        "size": geometry.size,
        "missing": frames.missing,
        "damaged": frames.damaged,
        "deinterlaced": frames.deinterlaced,
        "ffmpeg": frames.messages,
    });
    Ok((answer, frames))
}

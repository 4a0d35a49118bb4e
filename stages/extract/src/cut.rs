//! One video: from a file to the pixels of its clips, or to the problem it has.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use fedact_clips::{Problem, Reason};
use fedact_video::{
    Conversion, Frames, Geometry, Limits, Timeline, Video, VideoError, pictures, sample,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use fedact_extract_params::{
    Deinterlace, ExtractParams, HighDynamicRange, Method, Sampling, Short,
};

use crate::part::Part;
use crate::unlabelled::part_of;

/// A video of which more is missing than this share of what its container promises is suspect; AVI
/// counts frames that merely repeat the last.
const SUSPECT_SHARE: f64 = 0.1;

/// The clips of one video.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cut {
    pub(crate) summary: Summary,
    /// clips x frames x size x size x 3.
    pub(crate) pixels: Vec<u8>,
}

/// What is known of a finished video beside its pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Presentation times of the first and last frame of each clip, in microseconds: whole numbers are
    /// read back from a file as they were written, to the last bit.
    pub(crate) times: Vec<(u64, u64)>,
    /// Set when the clips are usable but suspect.
    pub(crate) damage: Option<Damage>,
    /// Whether its high dynamic range was mapped to an ordinary one.
    pub(crate) tone_mapped: bool,
    /// Whether frames of it are interlaced and were deinterlaced.
    pub(crate) deinterlaced: bool,
    /// Spent reading the file and the times of its frames. Times are not kept: only what was decoded in this run took
    /// time in it.
    #[serde(skip)]
    pub(crate) open_seconds: f64,
    /// Spent decoding the wanted frames and those that they refer to.
    #[serde(skip)]
    pub(crate) decode_seconds: f64,
    /// Spent on the way from decoded frames to squares of RGB.
    #[serde(skip)]
    pub(crate) scale_seconds: f64,
}

/// Why clips are suspect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Damage {
    pub(crate) message: String,
    pub(crate) ffmpeg: Vec<String>,
}

/// SHA-256 of a file; of a folder of pictures, that of the names and digests of its pictures.
pub(crate) fn digest(path: &Path) -> std::io::Result<[u8; 32]> {
    if !path.is_dir() {
        return digest_file(path);
    }
    let mut hasher = Sha256::new();
    for picture in pictures(path).map_err(std::io::Error::other)? {
        let name = picture.file_name().unwrap_or_default().as_encoded_bytes();
        hasher.update((name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update(digest_file(&picture)?);
    }
    Ok(hasher.finalize().into())
}

fn digest_file(path: &Path) -> std::io::Result<[u8; 32]> {
    // Opening a pipe waits for somebody who writes, and a device may never end.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// The frames of clip `clip` of `clips`, by their numbers in the timeline.
fn pick(
    timeline: &Timeline,
    sampling: &Sampling,
    frames: usize,
    clip: usize,
    clips: usize,
) -> Vec<usize> {
    let short = match sampling.short {
        Short::Loop => sample::Short::Loop,
        Short::Hold => sample::Short::Hold,
    };
    match sampling.method {
        Method::Uniform => sample::uniform(timeline, frames, clip, clips),
        Method::Segments => sample::segments(timeline, frames, clip, clips),
        Method::Windows => sample::window(timeline, frames, sampling.fps, clip, clips, short),
        Method::Dense => {
            let stride = sampling.stride as usize;
            sample::dense(timeline, frames, stride, clip, clips, short)
        }
    }
}

/// Why a file gave no clips.
#[derive(Debug)]
pub(crate) enum Fault {
    Video(VideoError),
    /// The seconds that are asked for are not in it.
    Part(String),
}

impl From<VideoError> for Fault {
    fn from(error: VideoError) -> Self {
        Self::Video(error)
    }
}

/// Cuts `clips` clips out of a video, or out of a part of it; of a long one, where `seconds` are given, out of parts of
/// its own ([`part_of`]).
pub(crate) fn cut(
    path: &Path,
    part: Option<&Part>,
    params: &ExtractParams,
    (clips, seconds): (usize, Option<f64>),
) -> Result<Cut, Fault> {
    let limits = Limits {
        time: Duration::from_secs_f64(params.time_limit_seconds),
        memory: u64::from(params.memory_limit_mib) << 20,
    };
    let began = Instant::now();
    let mut video = if path.is_dir() {
        Video::open_pictures(path, params.picture_rate, limits)?
    } else {
        Video::open(path, limits)?
    };
    let opening = began.elapsed();
    let refuses = params.high_dynamic_range == HighDynamicRange::Refuse;
    if let Some(curve) = video.info().high_dynamic_range.filter(|_| refuses) {
        let refused = VideoError::Undecodable {
            path: path.to_owned(),
            reason: format!(
                "it has a high dynamic range ({curve}), which `high_dynamic_range: refuse` leaves out"
            ),
            messages: Vec::new(),
        };
        return Err(refused.into());
    }
    let (first, shown) = Part::within(part, video.timeline()).map_err(Fault::Part)?;
    let frames = params.frames as usize;
    let mut wanted: Vec<usize> = Vec::with_capacity(clips * frames);
    for clip in 0..clips {
        let method = params.sampling.method;
        let own = part_of(method, seconds, shown.duration(), (clip, clips));
        let picked = match own.map(|part| Part::within(Some(&part), &shown)) {
            Some(part) => {
                let (start, part) = part.map_err(Fault::Part)?;
                let picked = pick(&part, &params.sampling, frames, 0, 1);
                picked.into_iter().map(|frame| start + frame).collect()
            }
            None => pick(&shown, &params.sampling, frames, clip, clips),
        };
        wanted.extend(picked.into_iter().map(|frame| first + frame));
    }
    let time = |frame: usize| (video.timeline().time(frame) * 1e6).round() as u64;
    let times = wanted
        .chunks(frames)
        .map(|clip| (time(clip[0]), time(clip[frames - 1])))
        .collect();
    let conversion = Conversion {
        geometry: Geometry {
            resize: params.resize(),
            size: params.size,
        },
        deinterlace: params.deinterlace == Deinterlace::Auto,
        tone_map: !refuses,
    };
    let cut = video.frames(&wanted, conversion)?;
    let mut distinct = wanted;
    distinct.sort_unstable();
    distinct.dedup();
    if cut.damaged + cut.missing >= distinct.len() {
        return Err(Fault::Video(VideoError::Undecodable {
            path: path.to_owned(),
            reason: format!("all {} frames that were wanted are damaged", distinct.len()),
            messages: cut.messages,
        }));
    }
    Ok(Cut {
        summary: Summary {
            times,
            damage: damage(&video, &cut),
            deinterlaced: cut.deinterlaced > 0,
            tone_mapped: video.info().high_dynamic_range.is_some(),
            open_seconds: opening.as_secs_f64(),
            decode_seconds: cut.decoding.as_secs_f64(),
            scale_seconds: cut.scaling.as_secs_f64(),
        },
        pixels: cut.pixels,
    })
}

fn damage(video: &Video, cut: &Frames) -> Option<Damage> {
    let mut faults = Vec::new();
    if let Some(words) = &video.info().breaks_off {
        faults.push(format!("reading ended early ({words})"));
    }
    let (promised, found) = (video.info().promised_frames, video.timeline().len() as u64);
    if promised as f64 * (1.0 - SUSPECT_SHARE) > found as f64 + 2.0 {
        faults.push(format!("it promises {promised} frames and holds {found}"));
    }
    if cut.missing > 0 {
        faults.push(format!(
            "{} wanted frames do not decode; the ones beside them stand in",
            cut.missing
        ));
    }
    if cut.damaged > 0 {
        faults.push(format!("{} wanted frames are damaged", cut.damaged));
    }
    if faults.is_empty() && !cut.messages.is_empty() {
        faults.push(
            "FFmpeg found errors in it, though not in the wanted frames as far as it can tell"
                .to_owned(),
        );
    }
    (!faults.is_empty()).then(|| Damage {
        message: faults.join("; "),
        ffmpeg: cut.messages.clone(),
    })
}

/// The line of `problems.jsonl` for a video that gave no clips.
pub(crate) fn problem(name: &str, fault: &Fault) -> Problem {
    let error = match fault {
        Fault::Video(error) => error,
        Fault::Part(message) => {
            return Problem {
                path: name.to_owned(),
                reason: Reason::TooShort,
                message: message.clone(),
                ffmpeg: Vec::new(),
            };
        }
    };
    let (reason, message) = match error {
        VideoError::Unreadable { source, .. } => (Reason::Unreadable, source.to_string()),
        VideoError::NotAVideo { reason, .. } => (Reason::NotAVideo, reason.clone()),
        VideoError::TimeLimit { limit, .. } => (
            Reason::TimeLimit,
            format!(
                "it took longer than {} s (`time_limit_seconds`)",
                limit.as_secs_f64()
            ),
        ),
        VideoError::MemoryLimit { what, limit, .. } => (
            Reason::MemoryLimit,
            format!(
                "it wants more than {} MiB (`memory_limit_mib`) for {what}",
                limit >> 20
            ),
        ),
        VideoError::Undecodable { reason, .. } => (Reason::Undecodable, reason.clone()),
        other => (Reason::Undecodable, other.to_string()),
    };
    Problem {
        path: name.to_owned(),
        reason,
        message,
        ffmpeg: error.messages().to_vec(),
    }
}

//! Clips of videos that nobody has labelled, for a model to answer: cut as a clip set's are, in workers that a bad file
//! may crash.

use std::path::Path;

use fedact_clips::{Clip, ClipSetWriter, Dataset, Problem, Reason, Split};
use fedact_extract_params::{ExtractParams, Method};
use fedact_predict::{CLIPS, CutRequest, CutVideo, VIDEOS, request, write};
use fedact_stage::{Job, Metrics, Reporter, StageError};
use rayon::prelude::*;

use crate::cut::Cut;
use crate::cutter::Cutter;
use crate::error::ExtractError;
use crate::layout::Candidate;
use crate::part::Part;
use crate::run::{object, sampling};

/// A video that is longer than this many clips as the model knows them is shown to it in parts.
const WHOLE: f64 = 1.5;

/// The class of all clips: the model is there to find others.
const UNKNOWN: &str = "unknown";

/// The work of [`fedact_predict::CUT`].
///
/// # Errors
/// A request that makes no sense; a disk that cannot be written. A file that is no video is no error.
pub fn cut_videos(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let request: CutRequest = request(job).map_err(|error| StageError::failed(&error))?;
    let params = serde_json::from_value(request.settings.clone());
    let params: ExtractParams = params.map_err(|error| StageError::invalid(&error))?;
    let cut = cut_all(job, &request, &params, reporter)?;
    write_clips(job, &request, &params, &cut)?;
    let videos: Vec<CutVideo> = cut.iter().map(told).collect();
    write(&job.output, VIDEOS, &videos).map_err(|error| StageError::failed(&error))?;
    Ok(Metrics::new())
}

fn cut_all(
    job: &Job,
    request: &CutRequest,
    params: &ExtractParams,
    reporter: &Reporter,
) -> Result<Vec<Result<Cut, Problem>>, ExtractError> {
    // Before there are threads.
    let cutter = Cutter::of(params, request.seconds)?;
    let threads = job.threads.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|source| ExtractError::Threads { threads, source })?;
    let task = reporter.task("decoding", request.videos.len() as u64, "videos");
    pool.install(|| {
        let videos = request.videos.par_iter().with_max_len(1);
        videos
            .map(|path| {
                reporter.go_on()?;
                let cut = match absent(path) {
                    Some(problem) => Err(problem),
                    None => cutter.cut(&candidate(path), request.clips)?,
                };
                task.advance(1);
                Ok(cut)
            })
            .collect()
    })
}

fn candidate(path: &Path) -> Candidate {
    Candidate {
        name: path.display().to_string(),
        path: path.to_owned(),
        label: 0,
        part: None,
        group: None,
    }
}

/// What is wrong with a path that leads to no file. Pipes and devices are not opened: they may never end.
fn absent(path: &Path) -> Option<Problem> {
    let (reason, message) = match std::fs::metadata(path) {
        Ok(found) if found.is_file() || found.is_dir() => return None,
        Ok(_) => (Reason::Unreadable, "it is not a regular file".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            (Reason::Missing, "there is no such file".to_owned())
        }
        Err(error) => (Reason::Unreadable, error.to_string()),
    };
    Some(Problem {
        path: path.display().to_string(),
        reason,
        message,
        ffmpeg: Vec::new(),
    })
}

/// The seconds that clip `clip` of `clips` is cut from, where a video lasts too long to be one clip; `None` is the
/// whole video. Windows and runs have lengths of their own.
pub(crate) fn part_of(
    method: Method,
    seconds: Option<f64>,
    duration: f64,
    (clip, clips): (usize, usize),
) -> Option<Part> {
    let whole = matches!(method, Method::Windows | Method::Dense);
    let seconds = seconds.filter(|seconds| !whole && duration > WHOLE * seconds)?;
    // Evenly spread, the first at the start and the last at the end; a single one in the middle.
    let share = match clips {
        1 => 0.5,
        _ => clip as f64 / (clips - 1) as f64,
    };
    let start = (duration - seconds) * share;
    Some(Part::seconds(start, Some(start + seconds)))
}

fn write_clips(
    job: &Job,
    request: &CutRequest,
    params: &ExtractParams,
    cut: &[Result<Cut, Problem>],
) -> Result<(), ExtractError> {
    if cut.iter().all(Result::is_err) {
        return Ok(());
    }
    let side = params.size as usize;
    let dataset = Dataset {
        sampling: sampling(params),
        source: object(serde_json::json!({"labelled": false})).into(),
        ..Dataset::new(vec![UNKNOWN.to_owned()], params.frames as usize, side, side)
    };
    let bytes = dataset.clip_bytes();
    let folder = job.output.join(CLIPS);
    std::fs::create_dir_all(&folder).map_err(|source| ExtractError::Piece {
        path: folder.clone(),
        source,
    })?;
    let mut writer = ClipSetWriter::create(&folder, dataset)?;
    for (number, (path, cut)) in request.videos.iter().zip(cut).enumerate() {
        let Ok(cut) = cut else { continue };
        let clips = cut.summary.times.iter().zip(cut.pixels.chunks_exact(bytes));
        for (clip, ((start, end), pixels)) in clips.enumerate() {
            let video = path.display().to_string();
            let entry = Clip {
                id: format!("{number:09}#{clip:03}"),
                group: video.clone(),
                video,
                video_digest: String::new(),
                label: 0,
                split: Split::Test,
                start_seconds: *start as f64 / 1e6,
                end_seconds: *end as f64 / 1e6,
                shard: 0,
                row: 0,
            };
            writer.push(entry, pixels)?;
        }
    }
    writer.finish()?;
    Ok(())
}

fn told(cut: &Result<Cut, Problem>) -> CutVideo {
    match cut {
        Ok(cut) => {
            let summary = &cut.summary;
            let seconds = |time: u64| time as f64 / 1e6;
            let times = summary.times.iter();
            CutVideo::Clips {
                times: times
                    .map(|(start, end)| [seconds(*start), seconds(*end)])
                    .collect(),
                decode_seconds: summary.open_seconds
                    + summary.decode_seconds
                    + summary.scale_seconds,
                damage: summary.damage.as_ref().map(|damage| damage.message.clone()),
            }
        }
        Err(problem) => CutVideo::Problem {
            // A word of the format, which has JSON.
            reason: serde_json::to_value(problem.reason)
                .ok()
                .and_then(|word| word.as_str().map(str::to_owned))
                .unwrap_or_default(),
            message: problem.message.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_video_is_cut_into_parts_as_long_as_the_clips_that_the_model_knows() {
        let parts = |seconds, duration, clips| -> Vec<Option<Part>> {
            (0..clips)
                .map(|clip| part_of(Method::Segments, seconds, duration, (clip, clips)))
                .collect()
        };
        let part = |start, end| Some(Part::seconds(start, Some(end)));
        let spread = [part(0.0, 2.0), part(4.0, 6.0), part(8.0, 10.0)];
        assert_eq!(parts(Some(2.0), 10.0, 3), spread);
        assert_eq!(parts(Some(2.0), 10.0, 1), [part(4.0, 6.0)]);
        assert_eq!(parts(Some(2.0), 2.9, 2), [None, None]);
        assert_eq!(parts(None, 100.0, 1), [None]);
        let own = part_of(Method::Windows, Some(2.0), 10.0, (0, 3));
        assert_eq!(own, None);
    }
}

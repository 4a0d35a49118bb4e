//! The stage's work, from the folder to the clip set.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use fedact_clips::{Clip, ClipSetWriter, Dataset, Problem, Reason, Split, write_problems};
use fedact_stage::{Job, Metrics, Reporter, StageError, Task};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoints, Key};
use crate::cut::{Summary, cut, digest, problem};
use crate::error::ExtractError;
use crate::layout::{Candidate, Found, find};
use crate::problems::{bad, few_bad, few_missing, leave_out_duplicates, suspect, warn};
use crate::sides::{at_least_two, both_sides};
use crate::split::{by_groups, groups};
use fedact_extract_params::{ExtractParams, Layout};

/// How often the pace is shown, even while no video is finished.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// Runs the stage.
///
/// # Errors
/// Folders and params that give no clip set; too many bad files; a disk that cannot be written.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: ExtractParams = job.params()?;
    let root = job.input("videos")?;
    Ok(extract(job, root, &params, reporter)?)
}

/// A finished candidate: its content, and its clips or its problem.
pub(crate) struct Outcome {
    pub(crate) digest: Option<[u8; 32]>,
    pub(crate) result: Result<Done, Problem>,
}

pub(crate) struct Done {
    key: Key,
    pub(crate) summary: Summary,
    resumed: bool,
}

fn extract(
    job: &Job,
    root: &std::path::Path,
    params: &ExtractParams,
    reporter: &Reporter,
) -> Result<Metrics, ExtractError> {
    let began = Instant::now();
    let found = find(root, params)?;
    let labels: Vec<usize> = found
        .candidates
        .iter()
        .map(|candidate| candidate.label)
        .collect();
    few_missing(&found, params)?;
    let (groups, unmatched) = groups(
        &found.candidates,
        &found.classes,
        params.group_pattern.as_deref(),
    );
    if unmatched > 0 {
        reporter.warn(format!(
            "`group_pattern` does not match {unmatched} of {} file names; each of these videos is a group of its own",
            found.candidates.len()
        ));
    }
    if found.unlisted > 0 {
        reporter.warn(format!(
            "{} files are in no list and are left out",
            found.unlisted
        ));
    }
    let splits = match &found.official {
        Some(splits) => splits.clone(),
        None => {
            at_least_two(&found.classes, &labels)?;
            by_groups(&labels, &groups, params.test_share, params.seed)
        }
    };
    let all = |_: usize| true;
    both_sides(&found, &splits, &groups, all, "the split leaves none there")?;

    let checkpoints = Checkpoints::open(&job.checkpoints, &sampling(params))?;
    let mut outcomes = decode(
        job,
        &found.candidates,
        &splits,
        params,
        &checkpoints,
        reporter,
    )?;

    leave_out_duplicates(&found.candidates, &mut outcomes, &splits);
    let mut problems = found.problems.clone();
    problems.extend(
        outcomes
            .iter()
            .filter_map(|outcome| outcome.result.as_ref().err().cloned()),
    );
    problems.extend(suspect(&found.candidates, &outcomes));
    problems.sort_by(|a, b| a.path.cmp(&b.path).then(a.reason.cmp(&b.reason)));
    write_problems(&job.output, &problems)?;
    few_bad(&problems, outcomes.len(), params)?;
    warn(&problems, reporter);
    let usable = |index: usize| outcomes[index].result.is_ok();
    if found.official.is_none() {
        let usable_labels: Vec<usize> = (0..labels.len())
            .filter(|index| usable(*index))
            .map(|index| labels[index])
            .collect();
        at_least_two(&found.classes, &usable_labels)?;
    }
    both_sides(
        &found,
        &splits,
        &groups,
        usable,
        "the files that are there cannot be used (see the warnings above)",
    )?;

    let writing = Instant::now();
    let clips = write(
        job,
        &found,
        &outcomes,
        &splits,
        &groups,
        params,
        &checkpoints,
        reporter,
    )?;
    Ok(metrics(
        &found,
        &outcomes,
        &splits,
        &problems,
        &clips,
        writing.elapsed(),
        began.elapsed(),
    ))
}

/// Decodes every candidate, as many at once as there are threads.
fn decode(
    job: &Job,
    candidates: &[Candidate],
    splits: &[Split],
    params: &ExtractParams,
    checkpoints: &Checkpoints,
    reporter: &Reporter,
) -> Result<Vec<Outcome>, ExtractError> {
    let threads = job.threads.max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|source| ExtractError::Threads { threads, source })?;
    let task = reporter.task("decoding", candidates.len() as u64, "videos");
    let clips = AtomicU64::new(0);
    let (finished, ticking) = channel::<()>();
    std::thread::scope(|scope| {
        let (task, clips) = (&task, &clips);
        scope.spawn(move || {
            let began = Instant::now();
            while ticking.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                show_pace(task, clips, began);
            }
        });
        let outcomes = pool.install(|| {
            candidates
                .par_iter()
                .zip(splits)
                .enumerate()
                .with_max_len(1)
                .map(|(index, (candidate, split))| {
                    reporter.go_on()?;
                    let count = clips_of(params, *split);
                    let outcome = one(candidate, count, index, params, checkpoints)?;
                    if outcome.result.is_ok() {
                        clips.fetch_add(count as u64, Ordering::Relaxed);
                    }
                    task.advance(1);
                    Ok(outcome)
                })
                .collect()
        });
        drop(finished);
        outcomes
    })
}

fn show_pace(task: &Task, clips: &AtomicU64, began: Instant) {
    let pace = clips.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    task.detail(format!("{pace:.1} clips/s"));
}

/// Decodes one candidate, or finds it finished.
fn one(
    candidate: &Candidate,
    clips: usize,
    worker: usize,
    params: &ExtractParams,
    checkpoints: &Checkpoints,
) -> Result<Outcome, ExtractError> {
    let digest = match digest(&candidate.path) {
        Ok(digest) => digest,
        Err(error) => {
            let result = Err(Problem {
                path: candidate.name.clone(),
                reason: Reason::Unreadable,
                message: error.to_string(),
                ffmpeg: Vec::new(),
            });
            return Ok(Outcome {
                digest: None,
                result,
            });
        }
    };
    let key = checkpoints.key(&digest, candidate.part.as_ref(), clips);
    let result = if let Some(cut) = checkpoints.load(&key) {
        Ok(Done {
            key,
            summary: cut.summary,
            resumed: true,
        })
    } else {
        match cut(&candidate.path, candidate.part.as_ref(), params, clips) {
            Ok(cut) => {
                checkpoints.save(&key, &cut, worker)?;
                Ok(Done {
                    key,
                    summary: cut.summary,
                    resumed: false,
                })
            }
            Err(error) => Err(problem(&candidate.name, &error)),
        }
    };
    Ok(Outcome {
        digest: Some(digest),
        result,
    })
}

/// Clips written on each side of the split.
struct Written {
    clips: BTreeMap<Split, usize>,
}

/// Writes the clip set, in the order of ids.
#[expect(
    clippy::too_many_arguments,
    reason = "all that earlier steps found out"
)]
fn write(
    job: &Job,
    found: &Found,
    outcomes: &[Outcome],
    splits: &[Split],
    groups: &[String],
    params: &ExtractParams,
    checkpoints: &Checkpoints,
    reporter: &Reporter,
) -> Result<Written, ExtractError> {
    let dataset = Dataset {
        sampling: sampling(params),
        source: source(found, outcomes, splits, params),
        ..Dataset::new(
            found.classes.clone(),
            params.frames as usize,
            params.size as usize,
            params.size as usize,
        )
    };
    let bytes = dataset.clip_bytes();
    let mut order: Vec<(String, usize, usize)> = Vec::new();
    for (index, candidate) in found.candidates.iter().enumerate() {
        if let Ok(done) = &outcomes[index].result {
            for clip in 0..done.summary.times.len() {
                order.push((format!("{}#{clip:02}", candidate.id()), index, clip));
            }
        }
    }
    order.sort();
    let task = reporter.task("writing", order.len() as u64, "clips");
    let mut writer = ClipSetWriter::create(&job.output, dataset)?;
    let mut written = Written {
        clips: BTreeMap::new(),
    };
    let mut loaded: Option<(usize, Vec<u8>)> = None;
    for (id, index, clip) in order {
        let (Ok(done), Some(digest)) = (&outcomes[index].result, outcomes[index].digest) else {
            continue;
        };
        let pixels = match loaded.take() {
            Some((video, pixels)) if video == index => pixels,
            _ => checkpoints.must_load(&done.key)?.pixels,
        };
        let (start, end) = done.summary.times[clip];
        let entry = Clip {
            id,
            video: found.candidates[index].name.clone(),
            video_digest: hex::encode(digest),
            label: found.candidates[index].label,
            group: groups[index].clone(),
            split: splits[index],
            start_seconds: start as f64 / 1e6,
            end_seconds: end as f64 / 1e6,
            shard: 0,
            row: 0,
        };
        writer.push(entry, &pixels[clip * bytes..][..bytes])?;
        loaded = Some((index, pixels));
        *written.clips.entry(splits[index]).or_default() += 1;
        task.advance(1);
    }
    writer.finish()?;
    Ok(written)
}

/// Clips that a video of this side gives.
fn clips_of(params: &ExtractParams, split: Split) -> usize {
    match split {
        Split::Train => params.sampling.train_clips as usize,
        Split::Test => params.sampling.test_clips as usize,
    }
}

/// Everything that decides the pixels of a video, for `dataset.json` and for the key of a finished video.
fn sampling(params: &ExtractParams) -> Value {
    json!({
        "frames": params.frames,
        "size": params.size,
        "resize": params.resize(),
        "sampling": params.sampling,
        "deinterlace": params.deinterlace,
        "high_dynamic_range": params.high_dynamic_range,
        "scaler": fedact_video::SCALER,
        "ffmpeg": fedact_video::version().to_string(),
    })
}

fn source(found: &Found, outcomes: &[Outcome], splits: &[Split], params: &ExtractParams) -> Value {
    let videos = |split: Split| {
        outcomes
            .iter()
            .zip(splits)
            .filter(|(outcome, side)| **side == split && outcome.result.is_ok())
            .count()
    };
    let split = match (&found.official, found.layout) {
        (Some(_), Layout::Ucf101 | Layout::Hmdb51) => json!({"list": params.split_list}),
        (Some(_), _) => json!({"validation": params.validation}),
        (None, _) => json!({"test_share": params.test_share, "seed": params.seed}),
    };
    json!({
        "layout": found.layout.name(),
        "split": split,
        "group_pattern": params.group_pattern,
        "train_videos": videos(Split::Train),
        "test_videos": videos(Split::Test),
        "left_out": outcomes.iter().filter(|outcome| outcome.result.is_err()).count()
            + found.problems.len(),
    })
}

fn metrics(
    found: &Found,
    outcomes: &[Outcome],
    splits: &[Split],
    problems: &[Problem],
    written: &Written,
    writing: Duration,
    whole: Duration,
) -> Metrics {
    let done: Vec<&Done> = outcomes
        .iter()
        .filter_map(|outcome| outcome.result.as_ref().ok())
        .collect();
    let count = |reason: Reason| problems.iter().filter(|one| one.reason == reason).count();
    let videos = |split: Split| {
        outcomes
            .iter()
            .zip(splits)
            .filter(|(outcome, side)| outcome.result.is_ok() && **side == split)
            .count()
    };
    let clips = |split: Split| written.clips.get(&split).copied().unwrap_or(0);
    let fresh = || done.iter().filter(|done| !done.resumed);
    let seconds = |of: fn(&Summary) -> f64| fresh().map(|done| of(&done.summary)).sum::<f64>();
    let all_clips = clips(Split::Train) + clips(Split::Test);
    let opening = seconds(|summary| summary.open_seconds);
    let decoding = seconds(|summary| summary.decode_seconds);
    let scaling = seconds(|summary| summary.scale_seconds);
    let writing = writing.as_secs_f64();
    // Of all threads together: the largest is the bottleneck.
    let share = |part: f64| part / (opening + decoding + scaling + writing).max(1e-9);
    let figures = json!({
        "classes": found.classes.len(),
        "videos": done.len(),
        "train_videos": videos(Split::Train),
        "test_videos": videos(Split::Test),
        "clips": all_clips,
        "train_clips": clips(Split::Train),
        "test_clips": clips(Split::Test),
        "bad_files": problems.iter().filter(|one| bad(one.reason)).count(),
        "missing_files": count(Reason::Missing),
        "unlisted_files": found.unlisted,
        "unused_files": found.unused,
        "damaged_videos": count(Reason::Damaged),
        "duplicate_videos": count(Reason::Duplicate),
        "deinterlaced_videos": done.iter().filter(|done| done.summary.deinterlaced).count(),
        "tone_mapped_videos": done.iter().filter(|done| done.summary.tone_mapped).count(),
        "resumed_videos": done.iter().filter(|done| done.resumed).count(),
        "open_seconds": opening,
        "decode_seconds": decoding,
        "scale_seconds": scaling,
        "write_seconds": writing,
        "open_share": share(opening),
        "decode_share": share(decoding),
        "scale_share": share(scaling),
        "write_share": share(writing),
        "seconds": whole.as_secs_f64(),
        "clips_per_second": all_clips as f64 / whole.as_secs_f64().max(1e-9),
    });
    match figures {
        Value::Object(figures) => figures,
        _ => Metrics::new(),
    }
}

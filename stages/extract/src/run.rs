//! The stage's work, from the folder to the clip set.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fedact_clips::{
    Clip, ClipSetWriter, Dataset, Encoding, Problem, Reason, Split, write_problems,
};
use fedact_stage::{Job, Metrics, Reporter, Shard, StageError};
use serde_json::{Value, json};

use crate::cut::Summary;
use crate::decode::{Decoder, Done, Origin, Outcome, Pixels, Work};
use crate::earlier;
use crate::error::ExtractError;
use crate::layout::{Found, find};
use crate::problems::{
    ProblemList, bad, few_bad, few_missing, leave_out_duplicates, suspect, warn,
};
use crate::sides::{none_empty, one_for_each, sides};
use crate::split::{by_groups, groups};
use fedact_extract_params::{ExtractParams, Layout};

/// Runs the stage.
///
/// # Errors
/// Folders and params that give no clip set; too many bad files; a disk that cannot be written.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: ExtractParams = job.params()?;
    let root = job.input("videos")?;
    Ok(extract(job, root, &params, reporter)?)
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
    let list = ProblemList::of(job);
    few_missing(&found, params, &list)?;
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
    let sides = sides(&found, params);
    let splits = match &found.official {
        Some(splits) => splits.clone(),
        None => {
            one_for_each(sides, &found.classes, &labels, None)?;
            by_groups(&labels, &groups, params.test_share, params.seed)
        }
    };
    let all = |_: usize| true;
    none_empty(
        sides,
        &found,
        &splits,
        &groups,
        all,
        "the split leaves none there",
    )?;

    let decoder = Decoder::of(job, params, reporter)?;
    let work = Work::of(&found.candidates, &splits, params);
    if let Some(shard) = job.pieces.as_ref().and_then(|pieces| pieces.shard) {
        return shard_of(&work, shard, &decoder, began);
    }
    let mut outcomes = decoder.all(&work)?;

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
    few_bad(&problems, outcomes.len(), params, &list)?;
    warn(&problems, reporter);
    let usable = |index: usize| outcomes[index].result.is_ok();
    if found.official.is_none() {
        let usable_labels: Vec<usize> = (0..labels.len())
            .filter(|index| usable(*index))
            .map(|index| labels[index])
            .collect();
        if let Err(error) = one_for_each(sides, &found.classes, &usable_labels, Some(&list)) {
            list.write(&problems)?;
            return Err(error);
        }
    }
    if let Err(error) = none_empty(
        sides,
        &found,
        &splits,
        &groups,
        usable,
        &format!("the files that are there cannot be used, as {list} says"),
    ) {
        list.write(&problems)?;
        return Err(error);
    }

    let writing = Instant::now();
    // In the pool, whose threads encode the frames where they become JPEGs.
    let clips = decoder
        .pool
        .install(|| write(job, &found, &outcomes, &splits, &groups, &decoder))?;
    decoder.spend(&outcomes)?;
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

/// Makes the pieces of one shard, and no clip set.
fn shard_of(
    work: &Work<'_>,
    shard: Shard,
    decoder: &Decoder<'_>,
    began: Instant,
) -> Result<Metrics, ExtractError> {
    let mine = work.of_shard(shard);
    let outcomes = decoder.all(&mine)?;
    let problems: Vec<Problem> = outcomes
        .iter()
        .filter_map(|outcome| outcome.result.as_ref().err().cloned())
        .collect();
    warn(&problems, decoder.reporter);
    Ok(object(json!({
        "videos": work.len(),
        "shard_videos": mine.len(),
        "bad_files": problems.len(),
        "decoded_videos": count_from(&outcomes, Origin::File),
        "resumed_videos": count_from(&outcomes, Origin::Piece),
        "reused_videos": count_from(&outcomes, Origin::Earlier),
        "decode_seconds": seconds(&outcomes, |summary| summary.decode_seconds),
        "scale_seconds": seconds(&outcomes, |summary| summary.scale_seconds),
        "seconds": began.elapsed().as_secs_f64(),
    })))
}

/// How many of the files were decoded, or tried, or found finished.
fn count_from(outcomes: &[Outcome], origin: Origin) -> usize {
    outcomes
        .iter()
        .filter(|outcome| outcome.origin == origin)
        .count()
}

/// Seconds that were spent on the videos that were decoded in this run.
fn seconds(outcomes: &[Outcome], of: fn(&Summary) -> f64) -> f64 {
    outcomes
        .iter()
        .filter(|outcome| outcome.origin == Origin::File)
        .filter_map(|outcome| outcome.result.as_ref().ok())
        .map(|done| of(&done.summary))
        .sum()
}

pub(crate) fn object(figures: Value) -> Metrics {
    match figures {
        Value::Object(figures) => figures,
        _ => Metrics::new(),
    }
}

/// Clips written on each side of the split.
struct Written {
    clips: BTreeMap<Split, usize>,
}

/// Writes the clip set, in the order of ids.
fn write(
    job: &Job,
    found: &Found,
    outcomes: &[Outcome],
    splits: &[Split],
    groups: &[String],
    decoder: &Decoder<'_>,
) -> Result<Written, ExtractError> {
    let params = decoder.params;
    let dataset = Dataset {
        encoding: encoding(params),
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
    let task = decoder
        .reporter
        .task("writing", order.len() as u64, "clips");
    let mut writer = ClipSetWriter::create(&job.output, dataset)?;
    let mut written = Written {
        clips: BTreeMap::new(),
    };
    let mut loaded: Option<(usize, Pixels<'_>)> = None;
    let mut lines = vec![Vec::new(); outcomes.len()];
    for (line, (id, index, clip)) in order.into_iter().enumerate() {
        let (Ok(done), Some(digest)) = (&outcomes[index].result, outcomes[index].digest) else {
            continue;
        };
        let pixels = match loaded.take() {
            Some((video, pixels)) if video == index => pixels,
            _ => decoder.pixels(&found.candidates[index], done)?,
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
        match &pixels {
            Pixels::Cut(pixels) => writer.push(entry, &pixels[clip * bytes..][..bytes])?,
            Pixels::Earlier(set, clips) => writer.take_over(entry, set, clips[clip])?,
        }
        loaded = Some((index, pixels));
        lines[index].push(line);
        *written.clips.entry(splits[index]).or_default() += 1;
        task.advance(1);
    }
    let pieces = outcomes.iter().zip(lines);
    let pieces = pieces.filter_map(|(outcome, clips)| outcome.line(clips));
    earlier::write(&job.output, pieces)?;
    writer.finish()?;
    Ok(written)
}

/// How the clip set holds its pixels.
pub(crate) fn encoding(params: &ExtractParams) -> Encoding {
    match params.encoding {
        fedact_extract_params::Encoding::Raw => Encoding::Raw,
        fedact_extract_params::Encoding::Jpeg => Encoding::Jpeg {
            quality: params.jpeg_quality,
        },
    }
}

/// How clips were cut: everything that decides their pixels, and how many a video gives.
pub(crate) fn sampling(params: &ExtractParams) -> Value {
    json!({
        "frames": params.frames,
        "size": params.size,
        "resize": params.resize(),
        "sampling": params.sampling,
        "picture_rate": params.picture_rate,
        "deinterlace": params.deinterlace,
        "high_dynamic_range": params.high_dynamic_range,
        "scaler": fedact_video::SCALER,
        "ffmpeg": fedact_video::version().to_string(),
    })
}

/// Of [`sampling`], what decides a single clip; how many a video gives stands beside it in the name of a piece.
pub(crate) fn settings_of(sampling: &Value) -> Value {
    let mut settings = sampling.clone();
    if let Some(Value::Object(sampling)) = settings.get_mut("sampling") {
        sampling.shift_remove("train_clips");
        sampling.shift_remove("test_clips");
    }
    settings
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
    let all_clips = clips(Split::Train) + clips(Split::Test);
    let opening = seconds(outcomes, |summary| summary.open_seconds);
    let decoding = seconds(outcomes, |summary| summary.decode_seconds);
    let scaling = seconds(outcomes, |summary| summary.scale_seconds);
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
        "decoded_videos": count_from(outcomes, Origin::File),
        "resumed_videos": count_from(outcomes, Origin::Piece),
        "reused_videos": count_from(outcomes, Origin::Earlier),
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
    object(figures)
}

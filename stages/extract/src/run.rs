//! The stage's work, from the folder to the clip set.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fedact_clips::{Clip, ClipSetWriter, Dataset, Problem, Reason, Split, write_problems};
use fedact_stage::{Job, Metrics, Reporter, Shard, StageError};
use serde_json::{Value, json};

use crate::cut::Summary;
use crate::decode::{Decoder, Done, Origin, Outcome, Pixels, Work};
use crate::earlier;
use crate::error::ExtractError;
use crate::layout::{Candidate, Found, find};
use crate::split::{by_groups, groups};
use fedact_extract_params::ExtractParams;

/// Problems that are named in a warning or an error; all are in `problems.jsonl`.
const NAMED: usize = 3;

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
    at_least_two(&found.classes, &labels)?;
    let (groups, unmatched) = groups(&found.candidates, params.group_pattern.as_deref());
    if unmatched > 0 {
        reporter.warn(format!(
            "`group_pattern` does not match {unmatched} of {} file names; each of these videos is a group of its own",
            found.candidates.len()
        ));
    }
    if found.unlisted > 0 {
        reporter.warn(format!(
            "{} videos are in no list of split {} and are left out",
            found.unlisted, params.split_list
        ));
    }
    let splits = match &found.official {
        Some(splits) => splits.clone(),
        None => by_groups(&labels, &groups, params.test_share, params.seed),
    };
    let both = |_: usize| true;
    both_sides(
        &found,
        &splits,
        &groups,
        both,
        "the split leaves it no video there",
    )?;

    let decoder = Decoder::of(job, params, reporter);
    let work = Work::of(&found.candidates, &splits, params);
    if let Some(shard) = job.pieces.as_ref().and_then(|pieces| pieces.shard) {
        return shard_of(&work, shard, &decoder, began);
    }
    let outcomes = decoder.all(&work)?;

    let mut problems: Vec<Problem> = found.missing.iter().map(|name| missing(name)).collect();
    problems.extend(
        outcomes
            .iter()
            .filter_map(|outcome| outcome.result.as_ref().err().cloned()),
    );
    let files = found.candidates.len() + found.missing.len();
    let bad = problems.len();
    problems.extend(suspect(&found.candidates, &outcomes));
    problems.extend(duplicates(&found.candidates, &outcomes, &splits));
    problems.sort_by(|a, b| a.path.cmp(&b.path).then(a.reason.cmp(&b.reason)));
    write_problems(&job.output, &problems)?;
    let left_out: Vec<&Problem> = problems
        .iter()
        .filter(|one| one.reason.left_out())
        .collect();
    if bad as f64 > params.max_bad_share * files as f64 {
        return Err(ExtractError::TooManyBad {
            bad,
            files,
            limit: params.max_bad_share,
            examples: examples(&left_out),
        });
    }
    warn(&problems, reporter);
    let usable = |index: usize| outcomes[index].result.is_ok();
    let usable_labels: Vec<usize> = (0..labels.len())
        .filter(|index| usable(*index))
        .map(|index| labels[index])
        .collect();
    at_least_two(&found.classes, &usable_labels)?;
    both_sides(
        &found,
        &splits,
        &groups,
        usable,
        "the files that were there cannot be used (see the warning above)",
    )?;

    let writing = Instant::now();
    let clips = write(job, &found, &outcomes, &splits, &groups, &decoder)?;
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
    let figures = json!({
        "videos": work.len(),
        "shard_videos": mine.len(),
        "bad_files": problems.len(),
        "decoded_videos": count_from(&outcomes, Origin::File),
        "resumed_videos": count_from(&outcomes, Origin::Piece),
        "reused_videos": count_from(&outcomes, Origin::Earlier),
        "decode_seconds": seconds(&outcomes, |summary| summary.decode_seconds),
        "scale_seconds": seconds(&outcomes, |summary| summary.scale_seconds),
        "seconds": began.elapsed().as_secs_f64(),
    });
    Ok(object(figures))
}

/// How many of the files were decoded, or tried, and how many found finished.
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

fn object(figures: Value) -> Metrics {
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
                order.push((format!("{}#{clip:02}", candidate.name), index, clip));
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
        writer.push(entry, pixels.of_clip(clip, bytes))?;
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

/// How clips were cut: everything that decides their pixels, and how many a video gives.
pub(crate) fn sampling(params: &ExtractParams) -> Value {
    json!({
        "frames": params.frames,
        "size": params.size,
        "resize": params.resize(),
        "sampling": params.sampling,
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
    let split = match found.official {
        Some(_) => json!({"list": params.split_list}),
        None => json!({"test_share": params.test_share, "seed": params.seed}),
    };
    json!({
        "layout": found.layout,
        "split": split,
        "group_pattern": params.group_pattern,
        "train_videos": videos(Split::Train),
        "test_videos": videos(Split::Test),
        "left_out": outcomes.iter().filter(|outcome| outcome.result.is_err()).count()
            + found.missing.len(),
    })
}

fn at_least_two(classes: &[String], labels: &[usize]) -> Result<(), ExtractError> {
    for (label, class) in classes.iter().enumerate() {
        let count = labels.iter().filter(|one| **one == label).count();
        if count < 2 {
            return Err(ExtractError::TooFewVideos {
                class: class.clone(),
                count,
            });
        }
    }
    Ok(())
}

/// Refuses a class that has nothing on one side, counting the candidates that `counts`.
fn both_sides(
    found: &Found,
    splits: &[Split],
    groups: &[String],
    counts: impl Fn(usize) -> bool,
    reason: &str,
) -> Result<(), ExtractError> {
    for (label, class) in found.classes.iter().enumerate() {
        let members: Vec<usize> = (0..splits.len())
            .filter(|index| found.candidates[*index].label == label && counts(*index))
            .collect();
        for split in [Split::Train, Split::Test] {
            if members.iter().any(|index| splits[*index] == split) {
                continue;
            }
            let first = members.first().map(|index| &groups[*index]);
            let alone = members.iter().all(|index| Some(&groups[*index]) == first);
            let exclude = format!("or leave the class out with `exclude: [{class}]`");
            let (reason, remedy) = match (&found.official, first) {
                (Some(_), _) => (
                    "the official lists name none that is there and can be used".to_owned(),
                    format!("complete the videos, choose another `split_list`, {exclude}"),
                ),
                (None, Some(group)) if alone => (
                    format!(
                        "all its videos belong to the group `{group}`, which stays on one side"
                    ),
                    format!("use another `group_pattern`, add videos of other groups, {exclude}"),
                ),
                _ => (
                    reason.to_owned(),
                    format!("change `test_share` or `seed`, add videos, {exclude}"),
                ),
            };
            return Err(ExtractError::EmptySplit {
                class: class.clone(),
                split: split.name(),
                reason,
                remedy,
            });
        }
    }
    Ok(())
}

fn missing(name: &str) -> Problem {
    Problem {
        path: name.to_owned(),
        reason: Reason::Missing,
        message: "the split list names it, but it is not there".to_owned(),
        ffmpeg: Vec::new(),
    }
}

/// Videos whose clips are in the set although something is wrong with the file.
fn suspect(candidates: &[Candidate], outcomes: &[Outcome]) -> Vec<Problem> {
    candidates
        .iter()
        .zip(outcomes)
        .filter_map(|(candidate, outcome)| {
            let damage = outcome.result.as_ref().ok()?.summary.damage.clone()?;
            Some(Problem {
                path: candidate.name.clone(),
                reason: Reason::Damaged,
                message: damage.message,
                ffmpeg: damage.ffmpeg,
            })
        })
        .collect()
}

/// Test videos whose content is also among the training videos.
fn duplicates(candidates: &[Candidate], outcomes: &[Outcome], splits: &[Split]) -> Vec<Problem> {
    let mut training: BTreeMap<[u8; 32], &str> = BTreeMap::new();
    let usable = || {
        outcomes
            .iter()
            .enumerate()
            .filter(|(_, outcome)| outcome.result.is_ok())
            .filter_map(|(index, outcome)| Some((index, outcome.digest?)))
    };
    for (index, digest) in usable().filter(|(index, _)| splits[*index] == Split::Train) {
        training.entry(digest).or_insert(&candidates[index].name);
    }
    usable()
        .filter(|(index, _)| splits[*index] == Split::Test)
        .filter_map(|(index, digest)| {
            Some(Problem {
                path: candidates[index].name.clone(),
                reason: Reason::Duplicate,
                message: format!(
                    "this test video has the same content as the training video {}",
                    training.get(&digest)?
                ),
                ffmpeg: Vec::new(),
            })
        })
        .collect()
}

/// One warning per kind of problem.
fn warn(problems: &[Problem], reporter: &Reporter) {
    let of = |wanted: &dyn Fn(Reason) -> bool| -> Vec<&Problem> {
        problems
            .iter()
            .filter(|problem| wanted(problem.reason))
            .collect()
    };
    for (affected, what) in [
        (of(&Reason::left_out), "left out"),
        (
            of(&|reason| reason == Reason::Damaged),
            "used although they are damaged",
        ),
        (
            of(&|reason| reason == Reason::Duplicate),
            "on both sides of the split, which flatters the accuracy",
        ),
    ] {
        if !affected.is_empty() {
            reporter.warn(format!(
                "{} files are {what}: {}; all are listed in problems.jsonl",
                affected.len(),
                examples(&affected)
            ));
        }
    }
}

fn examples(problems: &[&Problem]) -> String {
    let mut text: Vec<String> = problems
        .iter()
        .take(NAMED)
        .map(|problem| format!("{} ({})", problem.path, problem.message))
        .collect();
    if problems.len() > NAMED {
        text.push(format!("{} more", problems.len() - NAMED));
    }
    text.join(", ")
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
    let seconds = |of: fn(&Summary) -> f64| seconds(outcomes, of);
    let all_clips = clips(Split::Train) + clips(Split::Test);
    let figures = json!({
        "classes": found.classes.len(),
        "videos": done.len(),
        "train_videos": videos(Split::Train),
        "test_videos": videos(Split::Test),
        "clips": all_clips,
        "train_clips": clips(Split::Train),
        "test_clips": clips(Split::Test),
        "bad_files": problems.iter().filter(|one| one.reason.left_out()).count(),
        "missing_files": count(Reason::Missing),
        "unlisted_files": found.unlisted,
        "damaged_videos": count(Reason::Damaged),
        "duplicate_videos": count(Reason::Duplicate),
        "tone_mapped_videos": done.iter().filter(|done| done.summary.tone_mapped).count(),
        "decoded_videos": count_from(outcomes, Origin::File),
        "resumed_videos": count_from(outcomes, Origin::Piece),
        "reused_videos": count_from(outcomes, Origin::Earlier),
        "decode_seconds": seconds(|summary| summary.decode_seconds),
        "scale_seconds": seconds(|summary| summary.scale_seconds),
        "write_seconds": writing.as_secs_f64(),
        "seconds": whole.as_secs_f64(),
        "clips_per_second": all_clips as f64 / whole.as_secs_f64().max(1e-9),
    });
    object(figures)
}

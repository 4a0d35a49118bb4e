//! Stage synthesize: labelled videos of moving human figures.
//!
//! A skeleton moves by joint angles that are smooth functions of time ([`Action`]), is put into
//! clothes, lit, seen through a camera in a room, and encoded into real video files in UCF101's layout.
//! Every person and every clip draws from a random stream of its own, so the bytes of a video depend on
//! its params and its name only.

mod backdrop;
mod camera;
mod canvas;
mod clip;
mod error;
mod figure;
mod layout;
mod motion;
mod random;
mod scene;
mod skeleton;
mod subject;
mod vector;

use std::fs::{self, File};
use std::path::Path;

use fedact_stage::{Job, Metrics, Reporter, StageError};
use fedact_video::{Codec, VideoWriter};
use rayon::prelude::*;

pub use error::SynthesizeError;
pub use fedact_synthesize_params::{Action, DEFINITION, Params, Rhythm, Set};

use canvas::Grain;
use clip::Clip;
use layout::Video;
use random::Draws;
use subject::Subject;

/// Renders and encodes every video of the set, and writes the lists.
///
/// # Errors
/// A video or a list could not be written; the message names it.
pub fn run(job: &Job, reporter: &Reporter) -> Result<Metrics, StageError> {
    let params: Params = job.params()?;
    let codec = VideoWriter::best_codec();
    Ok(synthesize(&params.completed(), job, codec, reporter)?)
}

/// Writes the data set into the job's output folder.
fn synthesize(
    params: &Params,
    job: &Job,
    codec: Codec,
    reporter: &Reporter,
) -> Result<Metrics, SynthesizeError> {
    let (output, threads) = (job.output.as_path(), job.threads);
    let subjects: Vec<Subject> = (1..=params.subject_count())
        .map(|number| Subject::draw(params.seed, params.set, number, params.difficulty))
        .collect();
    let videos = layout::videos(&params.actions, params.subject_count(), params.clip_count());
    let grain = Grain::new(
        params.width as usize,
        Draws::of_subject(params.seed, params.set, 0),
    );
    for action in &params.actions {
        create_folder(&output.join(action.name()))?;
        create_folder(&job.checkpoints.join(action.name()))?;
    }

    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .build()
        .map_err(|source| SynthesizeError::Threads { threads, source })?;
    let task = reporter.task("rendering", videos.len() as u64, "videos");
    let frames = pool.install(|| {
        videos
            .par_iter()
            .map(|video| {
                reporter.go_on()?;
                let kept = job.checkpoints.join(video.path(codec.extension()));
                let subject = &subjects[video.subject as usize - 1];
                let frames = keep_video(params, video, subject, &grain, codec, &kept)?;
                task.advance(1);
                Ok(frames)
            })
            .try_reduce(|| 0, |a, b| Ok::<u64, SynthesizeError>(a + b))
    })?;
    for video in &videos {
        let path = video.path(codec.extension());
        rename(&job.checkpoints.join(&path), &output.join(&path))?;
    }

    create_folder(&output.join(layout::LISTS))?;
    let test_subjects = params.test_subjects();
    for (name, content) in layout::lists(&params.actions, &videos, test_subjects, codec.extension())
    {
        let path = output.join(name);
        fs::write(&path, content).map_err(|source| SynthesizeError::Write { path, source })?;
    }
    let test_videos = videos
        .iter()
        .filter(|video| video.subject <= test_subjects)
        .count();
    let mut metrics = Metrics::new();
    metrics.insert("classes".into(), params.actions.len().into());
    metrics.insert("subjects".into(), params.subject_count().into());
    metrics.insert("test_subjects".into(), test_subjects.into());
    metrics.insert("videos".into(), videos.len().into());
    metrics.insert("test_videos".into(), test_videos.into());
    metrics.insert("frames".into(), frames.into());
    metrics.insert("codec".into(), codec.name().into());
    Ok(metrics)
}

fn create_folder(path: &Path) -> Result<(), SynthesizeError> {
    fs::create_dir_all(path).map_err(|source| SynthesizeError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Moves a file, within the disk of the store or of the output.
fn rename(from: &Path, to: &Path) -> Result<(), SynthesizeError> {
    fs::rename(from, to).map_err(|source| SynthesizeError::Write {
        path: to.to_owned(),
        source,
    })
}

/// Makes one video, unless a run that was stopped has finished it; says how many frames it has.
fn keep_video(
    params: &Params,
    video: &Video,
    subject: &Subject,
    grain: &Grain,
    codec: Codec,
    path: &Path,
) -> Result<u64, SynthesizeError> {
    if path.exists() {
        let clip = Clip::plan(params, video.action, video.subject, subject, video.clip);
        return Ok(clip.frames() as u64);
    }
    // The encoder takes the container from the extension.
    let unfinished = path.with_extension(format!("unfinished.{}", codec.extension()));
    let frames = write_video(params, video, subject, grain, codec, &unfinished)?;
    // Its name says that it is whole, so its bytes must be on the disk before it has that name.
    File::open(&unfinished)
        .and_then(|file| file.sync_data())
        .map_err(|source| SynthesizeError::Write {
            path: unfinished.clone(),
            source,
        })?;
    rename(&unfinished, path)?;
    Ok(frames)
}

/// Renders and encodes one video; says how many frames it has.
fn write_video(
    params: &Params,
    video: &Video,
    subject: &Subject,
    grain: &Grain,
    codec: Codec,
    path: &Path,
) -> Result<u64, SynthesizeError> {
    let mut clip = Clip::plan(params, video.action, video.subject, subject, video.clip);
    let mut canvas = clip.canvas();
    let mut rgb = vec![0; params.width as usize * params.height as usize * 3];
    let mut writer = VideoWriter::create(path, params.width, params.height, params.fps, codec)?;
    for frame in 0..clip.frames() {
        clip.render(frame, &mut canvas, grain, &mut rgb);
        writer.write(&rgb)?;
    }
    writer.finish()?;
    Ok(clip.frames() as u64)
}

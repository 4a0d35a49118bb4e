//! `fedact predict`: what a model says of videos.
//!
//! One process cuts clips (with FFmpeg), another answers (with oneDNN, where the model is quantized and oneDNN is here, else with
//! libtorch), as in a run; this one joins what they say. Many
//! videos are answered in rounds, so that their clips never fill the disk.

mod answer;
mod model;
mod videos;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use fedact_pipeline::{Launcher, RunEvent, Stop, Unfinished, process};
use fedact_predict::{
    ANSWER, ANSWER_INT8, ANSWERS, Answers, Attempt, CLIPS, CUT, Caption, CutRequest, CutVideo,
    Execution, RENDER, RenderRequest, Runtime, VIDEOS,
};
use fedact_stage::{Definition, Event, Input, Level};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exit::{Code, Refusal};
use crate::{launch, output, progress, run, signals};
use answer::{ClipAnswer, Line};
use model::Asked;

pub use model::folder as model_folder;
pub use videos::any as any_video;

/// Videos whose clips are on the disk at a time.
const ROUND: usize = 256;

/// `fedact predict`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder of a model (with model.json in it), or a step that made one.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Video files, or folders of them.
    #[arg(value_name = "VIDEO", required = true)]
    videos: Vec<PathBuf>,
    /// Clips of each video, spread over its time; their probabilities are averaged.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    clips: u16,
    /// Classes to name of each video.
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// Write the video, of which there is one then, with the classes of its clips drawn on it and with its sound
    /// (.mp4 or .avi).
    #[arg(long, value_name = "FILE")]
    render: Option<PathBuf>,
    /// Pixels of the long side of the file of --render, at most.
    #[arg(long, value_name = "PIXELS", default_value_t = 1280, requires = "render", value_parser = clap::value_parser!(u32).range(240..=8192))]
    render_side: u32,
    /// Replace the file of --render.
    #[arg(long, requires = "render")]
    overwrite: bool,
    /// Cores to use [default: all].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// The folder in which the outputs of steps are.
    #[arg(long, value_name = "DIR", default_value = "artifacts")]
    artifacts: PathBuf,
    /// Print JSON, one line a video.
    #[arg(long)]
    json: bool,
}

/// Answers every video that can be answered.
///
/// # Errors
/// There is no such model, or no video; a process failed.
pub fn command(arguments: &Arguments) -> Result<Code, Refusal> {
    let asked = Asked::find(&arguments.model, &arguments.artifacts)?;
    let videos = videos::of(&arguments.videos)?;
    if let Some(file) = &arguments.render {
        check_render(file, &videos, arguments.overwrite)?;
    }
    if asked.seconds.is_none() {
        output::aside(
            "warning: the model does not say how its clips were cut; frames are taken from equal parts of each video\n",
        );
    }
    let workshop = Workshop::open(arguments)?;
    let mut all = true;
    for round in videos.chunks(ROUND) {
        let Some(lines) = workshop.answer(&asked, round, arguments)? else {
            return Ok(Code::Interrupted);
        };
        for line in &lines {
            all &= line.answered().is_some();
            if arguments.json {
                output::json(line)?;
            } else {
                output::text(&line.to_string())?;
            }
        }
        if let (Some(file), [video], [line]) = (&arguments.render, round, lines.as_slice())
            && let Some(answered) = line.answered()
            && !workshop.render(
                &asked,
                (video, file),
                answered.clips(),
                arguments.render_side,
            )?
        {
            return Ok(Code::Interrupted);
        }
    }
    Ok(if all { Code::Done } else { Code::Invalid })
}

/// Refuses a file that cannot be drawn, before anything is computed for it.
fn check_render(file: &Path, videos: &[PathBuf], overwrite: bool) -> Result<(), Refusal> {
    let usage = |problem: String, help: &str| Err(Refusal::new(Code::Usage, problem, help));
    let extension = file.extension().unwrap_or_default().to_ascii_lowercase();
    if extension != "mp4" && extension != "avi" {
        let problem = format!("--render {} names no video", file.display());
        return usage(
            problem,
            "give a file that ends in .mp4 (H.264) or .avi (MPEG-4)",
        );
    }
    if let [video] = videos {
        let same = |path: &Path| path.canonicalize().ok();
        if same(file).is_some() && same(file) == same(video) {
            let problem = format!("--render {} is the video itself", file.display());
            return usage(problem, "give another name");
        }
    } else {
        let problem = format!("--render draws one video, and there are {}", videos.len());
        return usage(problem, "name one video");
    }
    if file.exists() && !overwrite {
        return Err(output::already_there(file));
    }
    Ok(())
}

/// The seconds from which on the answer of each clip stands there: half-way between its middle and that of the one before.
fn captions(clips: &[ClipAnswer]) -> Vec<Caption> {
    let middle = |clip: &ClipAnswer| (clip.start + clip.end) / 2.0;
    clips
        .iter()
        .enumerate()
        .map(|(at, clip)| Caption {
            from: match at {
                0 => 0.0,
                _ => (middle(&clips[at - 1]) + middle(clip)) / 2.0,
            },
            text: format!("{} {:.0} %", clip.class, 100.0 * clip.probability),
            share: clip.probability,
        })
        .collect()
}

/// Where processes work and leave what they say.
struct Workshop {
    folder: TempDir,
    launcher: Launcher,
    stop: Stop,
    threads: usize,
    quiet: bool,
    /// Whether this machine has answered without libtorch, as far as it is known.
    without_libtorch: Cell<bool>,
}

impl Workshop {
    fn open(arguments: &Arguments) -> Result<Self, Refusal> {
        let folder = tempfile::tempdir()
            .map_err(|error| Refusal::failed("make a temporary folder", &error))?;
        Ok(Self {
            folder,
            launcher: launch::launcher()?,
            stop: signals::stop()?,
            threads: arguments.threads.map_or_else(run::all_cores, usize::from),
            quiet: arguments.json,
            without_libtorch: Cell::new(true),
        })
    }

    /// What is to be said of these videos; `None` where the user interrupted.
    fn answer(
        &self,
        asked: &Asked,
        videos: &[PathBuf],
        arguments: &Arguments,
    ) -> Result<Option<Vec<Line>>, Refusal> {
        let clips = usize::from(arguments.clips);
        let request = CutRequest {
            videos: absolute(videos)?,
            clips,
            seconds: asked.seconds,
            settings: asked.settings.clone(),
        };
        let params = serde_json::to_value(&request)
            .map_err(|error| Refusal::failed("name the videos", &error))?;
        let Some(cut) = self.run(&CUT, params, BTreeMap::new())? else {
            return Ok(None);
        };
        let outcomes: Vec<CutVideo> = self.read(&cut, VIDEOS)?;
        let answers = if cut.join(CLIPS).is_dir() {
            let inputs = BTreeMap::from([
                input("model", asked.folder.clone()),
                input(CLIPS, cut.join(CLIPS)),
            ]);
            match self.ask(asked, clips, inputs)? {
                Some(answers) => answers,
                None => return Ok(None),
            }
        } else {
            Answers::awaited(0, self.threads, Execution::default(), Runtime::default())
        };
        let mut probabilities = answers.probabilities.chunks(clips);
        let mut seconds = answers.seconds.into_iter();
        let classes = (asked.classes.as_slice(), usize::from(arguments.top));
        let line = |(path, cut): (&PathBuf, CutVideo)| {
            let (said, took) = match cut {
                CutVideo::Problem { .. } => (None, None),
                CutVideo::Clips { .. } => (probabilities.next(), seconds.next()),
            };
            let video = path.display().to_string();
            let (said, took) = (said.unwrap_or_default(), took.unwrap_or_default());
            Line::of(
                video,
                cut,
                said,
                (took, answers.execution, answers.runtime),
                classes,
            )
        };
        Ok(Some(videos.iter().zip(outcomes).map(line).collect()))
    }

    /// What the model says of the clips that were cut; `None` where the user interrupted.
    fn ask(
        &self,
        asked: &Asked,
        clips: usize,
        inputs: BTreeMap<String, Vec<Input>>,
    ) -> Result<Option<Answers>, Refusal> {
        if asked.quantized && self.without_libtorch.get() {
            let Some(folder) = self.run(&ANSWER_INT8, json!(clips), inputs.clone())? else {
                return Ok(None);
            };
            match self.read(&folder, ANSWERS)? {
                Attempt::Answered(answers) => return Ok(Some(answers)),
                // `fedact doctor` says why; the answers are the same.
                Attempt::Unable(_) => self.without_libtorch.set(false),
            }
        }
        match self.run(&ANSWER, json!(clips), inputs)? {
            Some(folder) => self.read(&folder, ANSWERS).map(Some),
            None => Ok(None),
        }
    }

    /// Draws the answers of clips on their video; false where the user interrupted.
    fn render(
        &self,
        asked: &Asked,
        (video, file): (&Path, &Path),
        clips: &[ClipAnswer],
        largest_side: u32,
    ) -> Result<bool, Refusal> {
        let paths = absolute(&[video.to_owned()])?;
        let name = Path::new("rendered").with_extension(file.extension().unwrap_or_default());
        let drawn = self.folder.path().join(name);
        let request = RenderRequest {
            video: paths.into_iter().next().unwrap_or_default(),
            output: drawn.clone(),
            largest_side,
            seen: Some(asked.seen),
            captions: captions(clips),
        };
        let params = serde_json::to_value(&request)
            .map_err(|error| Refusal::failed("name the video", &error))?;
        if self.run(&RENDER, params, BTreeMap::new())?.is_none() {
            return Ok(false);
        }
        std::fs::copy(&drawn, file)
            .map_err(|error| Refusal::failed(&format!("write {}", file.display()), &error))?;
        if !self.quiet {
            output::text(&format!("{}: the video with its classes\n", file.display()))?;
        }
        Ok(true)
    }

    /// Has a process do a job; gives the folder of its output, `None` where the user interrupted.
    fn run(
        &self,
        definition: &Definition,
        params: Value,
        inputs: BTreeMap<String, Vec<Input>>,
    ) -> Result<Option<PathBuf>, Refusal> {
        let place = self.folder.path().join(definition.name);
        let job = launch::errand(definition, params, inputs, &place, self.threads)
            .map_err(|error| Refusal::failed("work in a temporary folder", &error))?;
        let mut shown = (!self.quiet).then(progress::for_this_terminal);
        let hear = |report| {
            if let Some(shown) = &mut shown {
                shown.hear(&RunEvent::Reported {
                    step: definition.name.to_owned(),
                    report,
                });
            } else if let Event::Message {
                level: Level::Warning,
                text,
            } = report
            {
                output::aside(&format!("warning: {text}\n"));
            }
        };
        let command = (self.launcher)(definition, self.threads);
        match process::execute(command, &job, &place.join("log"), &self.stop, hear) {
            Ok(_) => Ok(Some(job.output)),
            Err(Unfinished::Stopped) => {
                output::aside("interrupted\n");
                Ok(None)
            }
            Err(Unfinished::Failed(failure)) => Err(Refusal {
                code: if failure.invalid_input {
                    Code::Invalid
                } else {
                    Code::Failed
                },
                message: failure.message,
                help: failure.remedy,
                others: Vec::new(),
            }),
        }
    }

    fn read<V: serde::de::DeserializeOwned>(
        &self,
        folder: &Path,
        name: &str,
    ) -> Result<V, Refusal> {
        fedact_predict::read(folder, name)
            .map_err(|error| Refusal::failed("hear what the process says", &error))
    }
}

fn input(name: &str, path: PathBuf) -> (String, Vec<Input>) {
    let item = Input {
        name: name.to_owned(),
        path,
    };
    (name.to_owned(), vec![item])
}

fn absolute(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Refusal> {
    let paths = paths.iter().map(std::path::absolute);
    paths
        .collect::<std::io::Result<_>>()
        .map_err(|error| Refusal::failed("find the videos", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_change_half_way_between_clips() {
        let clip = |start, end, class: &str| ClipAnswer {
            start,
            end,
            class: class.to_owned(),
            probability: 0.875,
        };
        let captions = captions(&[clip(0.0, 2.0, "Walk"), clip(4.0, 6.0, "Jump")]);
        assert_eq!((captions[0].from, captions[1].from), (0.0, 3.0));
        assert_eq!(captions[1].text, "Jump 88 %");
        assert_eq!(captions[1].share, 0.875);
    }
}

//! Tasks done by processes of their own.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fedact_clips::{ClipSet, Split};
use fedact_federate_params::fleet::{
    Brief, TRAIN, TRAINED, TrainRequest, read_numbers, write_numbers,
};
use fedact_fleet::client::{Trainer, TrainerError, Work};
use fedact_fleet::wire::Description;
use fedact_pipeline::{Launcher, Stop, Unfinished, process};
use fedact_stage::Input;

use super::PULSE;
use super::run::Asked;
use super::shown::Shown;
use super::videos::Videos;
use crate::exit::{Code, Refusal};
use crate::launch;

/// So many tasks in a row that fail, and the device leaves: the run would not gain anything from it.
const MOST_FAILURES: u32 = 3;

/// Why the command is to end, once it is.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<Mutex<Option<Refusal>>>);

impl Ending {
    fn lock(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to end.
    pub fn is_set(&self) -> bool {
        self.lock().is_some()
    }

    /// Why.
    pub fn take(&self) -> Option<Refusal> {
        self.lock().take()
    }
}

/// Why a task was not done. The word is sent to the coordinator; the refusal, which may name files, is not.
#[derive(Debug)]
pub enum Trouble {
    /// Nobody needs it any more, or the user interrupted.
    Over,
    /// This device can do no task of this run.
    Unfit {
        /// What the coordinator hears.
        word: &'static str,
        /// What the user hears.
        refusal: Refusal,
    },
    /// This task went wrong; the next one may not.
    Failed {
        /// What the coordinator hears.
        word: &'static str,
        /// What the user hears.
        refusal: Refusal,
    },
}

impl Trouble {
    /// Of a process: data that cannot be used stay so, everything else may pass.
    pub fn of(unfinished: Unfinished, word: &'static str) -> Self {
        let failure = match unfinished {
            Unfinished::Stopped => return Self::Over,
            Unfinished::Failed(failure) => failure,
        };
        let log = failure.log.filter(|_| !failure.log_tail.is_empty());
        let message = match log {
            Some(log) => format!("{} (log: {})", failure.message, log.display()),
            None => failure.message,
        };
        let code = match failure.invalid_input {
            true => Code::Invalid,
            false => Code::Failed,
        };
        let refusal = Refusal {
            code,
            message,
            help: failure.remedy,
            others: Vec::new(),
        };
        match code {
            Code::Invalid => Self::Unfit { word, refusal },
            _ => Self::Failed { word, refusal },
        }
    }

    /// What the coordinator hears.
    fn word(&self) -> &'static str {
        match self {
            Self::Over => "the device was stopped",
            Self::Unfit { word, .. } | Self::Failed { word, .. } => word,
        }
    }

    /// The disk does not do what it should.
    fn disk(path: &Path, error: &dyn std::error::Error) -> Self {
        Self::Failed {
            word: "its disk cannot be used",
            refusal: Refusal::failed(&format!("use {}", path.display()), error),
        }
    }
}

/// With what a device does its tasks.
pub struct Means {
    /// The folder in which they are done.
    pub state: PathBuf,
    /// What is trained on.
    pub videos: Videos,
    /// How processes are started.
    pub launcher: Launcher,
    /// Cores of each of them.
    pub threads: usize,
    /// The user's wish to end.
    pub stop: Stop,
    /// Who is told.
    pub shown: Shown,
    /// The profile of a device whose speed is not to be exceeded.
    pub as_slow_as: Option<String>,
    /// Where it is put why no more tasks can be done.
    pub ending: Ending,
}

/// What does a device's tasks.
pub struct Hands {
    means: Means,
    run: Option<Run>,
    /// What kept this device from getting ready for the run; its first task is given back for that.
    trouble: Option<Trouble>,
    failures: u32,
}

/// A run that this device is ready for.
struct Run {
    number: u64,
    brief: Brief,
    clips: PathBuf,
    /// How many of them there are to train on.
    count: Option<NonZeroU64>,
    /// Clips a second that are not to be exceeded.
    pace: Option<f64>,
}

impl Hands {
    /// Hands that have done nothing yet.
    pub fn with(means: Means) -> Self {
        Self {
            means,
            run: None,
            trouble: None,
            failures: 0,
        }
    }

    fn task(&mut self, work: &Work<'_>) -> Result<Vec<f32>, Trouble> {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        let run = match self.run.take() {
            Some(run) if run.number == work.description.run => run,
            _ => self.ready_for(work.description)?,
        };
        let began = Instant::now();
        let trained = self.train_on(&run, work);
        if let (Ok(_), Some(pace)) = (&trained, run.pace) {
            let least = Duration::from_secs_f64(work.samples as f64 / pace);
            self.wait_until(began + least, work);
        }
        self.run = Some(run);
        trained
    }

    /// Cuts the device's videos as this run wants them.
    fn ready_for(&self, description: &Description) -> Result<Run, Trouble> {
        let unfit = |word| move |refusal| Trouble::Unfit { word, refusal };
        let asked =
            Asked::of(&description.settings).map_err(unfit("it does not understand the run"))?;
        let classes = self
            .means
            .videos
            .classes_of(&asked.classes)
            .map_err(unfit("it has no videos of the run's classes"))?;
        if !classes.unknown.is_empty() {
            self.means.shown.warn(&format!(
                "the run does not know {}: these videos are left out",
                classes.unknown.join(", ")
            ));
        }
        let clips = self.means.videos.cut(
            &asked.cutting(classes.known),
            &self.means.state,
            (&self.means.launcher, self.means.threads),
            &self.means.stop,
            &self.means.shown,
        )?;
        let set = ClipSet::open(&clips).map_err(|error| Trouble::disk(&clips, &error))?;
        let profile = self.means.as_slow_as.as_deref();
        Ok(Run {
            number: description.run,
            count: NonZeroU64::new(set.indices(Split::Train).len() as u64),
            pace: profile.and_then(|profile| asked.clips_per_second(profile)),
            brief: asked.brief,
            clips,
        })
    }

    /// Has a process train.
    fn train_on(&self, run: &Run, work: &Work<'_>) -> Result<Vec<f32>, Trouble> {
        let folder = self.means.state.join("task");
        let failed = |error: io::Error| Trouble::disk(&folder, &error);
        let base = folder.join("base");
        let request = TrainRequest {
            brief: run.brief.clone(),
            base: base.clone(),
            samples: work.samples,
            samples_before: work.samples_before,
            progress: work.progress,
            client: work.client,
        };
        let params = serde_json::to_value(&request).map_err(|error| failed(error.into()))?;
        let clips = Input {
            name: "clips".to_owned(),
            path: run.clips.clone(),
        };
        let inputs = BTreeMap::from([(clips.name.clone(), vec![clips])]);
        let job = launch::errand(&TRAIN, params, inputs, &folder, self.means.threads);
        let job = job.map_err(failed)?;
        write_numbers(&base, work.base).map_err(failed)?;
        let what = format!("task {}: training", work.task);
        let command = (self.means.launcher)(&TRAIN, self.means.threads);
        let ended = self.unless_over(work, |stop| {
            process::execute(command, &job, &folder.join("log"), stop, |event| {
                self.means.shown.report(&what, event);
            })
        });
        ended.map_err(|unfinished| Trouble::of(unfinished, "its training process failed"))?;
        let trained = read_numbers(&job.output.join(TRAINED)).map_err(failed)?;
        std::fs::remove_dir_all(&folder).map_err(failed)?;
        Ok(trained)
    }

    /// Does something that ends at once when nobody needs the task any more: it leaves nothing that is worth a moment's grace.
    fn unless_over<R>(&self, work: &Work<'_>, act: impl FnOnce(&Stop) -> R) -> R {
        let (stop, done) = (Stop::new(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if self.is_over(work) {
                        stop.now();
                    }
                    std::thread::sleep(PULSE);
                }
            });
            let result = act(&stop);
            done.store(true, Ordering::Relaxed);
            result
        })
    }

    fn is_over(&self, work: &Work<'_>) -> bool {
        work.is_over() || self.means.stop.asked()
    }

    fn wait_until(&self, moment: Instant, work: &Work<'_>) {
        let profile = self.means.as_slow_as.as_deref().unwrap_or_default();
        self.means.shown.doing(&format!(
            "task {}: waiting, to be as slow as {profile}",
            work.task
        ));
        while !self.is_over(work) {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(PULSE));
        }
    }
}

impl Trainer for Hands {
    fn prepare(&mut self, description: &Description) -> Result<(), TrainerError> {
        (self.run, self.trouble) = (None, None);
        match self.ready_for(description) {
            Ok(run) => self.run = Some(run),
            Err(trouble) => self.trouble = Some(trouble),
        }
        match &self.trouble {
            None => Ok(()),
            Some(trouble) => Err(trouble.word().into()),
        }
    }

    fn clips(&self) -> Option<NonZeroU64> {
        self.run.as_ref().and_then(|run| run.count)
    }

    fn train(&mut self, work: &Work<'_>) -> Result<Vec<f32>, TrainerError> {
        let (word, refusal, last) = match self.task(work) {
            Ok(trained) => {
                self.failures = 0;
                return Ok(trained);
            }
            Err(trouble @ Trouble::Over) => return Err(trouble.word().into()),
            Err(Trouble::Unfit { word, refusal }) => (word, refusal, true),
            Err(Trouble::Failed { word, refusal }) => {
                self.failures += 1;
                (word, refusal, self.failures >= MOST_FAILURES)
            }
        };
        if last {
            *self.means.ending.lock() = Some(refusal);
        } else {
            self.means.shown.warn(&refusal.message);
        }
        Err(word.into())
    }
}

#[cfg(test)]
mod tests {
    use fedact_pipeline::Failure;

    use super::*;

    #[test]
    fn what_a_process_says_stays_here_and_only_the_word_is_for_the_coordinator() {
        let failure = |invalid_input| {
            Unfinished::Failed(Failure {
                message: "cannot read /home/anna/walk/birthday.mp4".into(),
                remedy: Some("see that it is there".into()),
                invalid_input,
                log: Some("/state/log".into()),
                log_tail: vec!["why".into()],
            })
        };
        let Trouble::Failed { word, refusal } = Trouble::of(failure(false), "it failed") else {
            panic!("it may pass");
        };
        assert_eq!(word, "it failed");
        let words = ["birthday.mp4", "(log: /state/log)"];
        assert!(
            words.iter().all(|word| refusal.message.contains(word)),
            "{refusal:?}"
        );
        assert!(matches!(
            Trouble::of(failure(true), "it failed"),
            Trouble::Unfit { .. }
        ));
        assert!(matches!(
            Trouble::of(Unfinished::Stopped, ""),
            Trouble::Over
        ));
    }
}

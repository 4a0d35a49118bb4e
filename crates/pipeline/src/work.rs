//! One step, on a thread of its own: out of the store, or through its process into the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fedact_artifact::{Action, Digest, KeyLock, Provenance, Source as Origin, Store, host_name};
use fedact_stage::{Event, Input, Job, Level};

use crate::folders::{Folders, Held, Refusal};
use crate::{
    Contents, Failure, Launcher, Node, PipelineError, Preimage, Source, Stop, Unfinished, process,
};

/// What every step of a run shares.
#[derive(Clone)]
pub(crate) struct Workshop {
    pub(crate) store: Store,
    pub(crate) folders: Folders,
    pub(crate) launcher: Launcher,
    pub(crate) version: String,
    pub(crate) stop: Stop,
    pub(crate) messages: Sender<Message>,
}

/// A step whose inputs are known.
pub(crate) struct Task {
    pub(crate) node: Node,
    pub(crate) preimage: Preimage,
    pub(crate) key: Digest,
    /// The outputs of the steps it reads, by name.
    pub(crate) outputs: BTreeMap<String, Digest>,
    /// Where each input comes from, for the provenance.
    pub(crate) origins: BTreeMap<String, Vec<Origin>>,
    pub(crate) threads: usize,
    /// The user wants it run although the store has its result.
    pub(crate) forced: bool,
}

/// What a thread tells the scheduler.
pub(crate) enum Message {
    /// It waits for another run.
    Waiting { step: String, reason: String },
    /// Its process is about to start.
    Started { step: String, resumed: bool },
    /// Its process said something.
    Reported { step: String, report: Event },
    /// It is over.
    Over { step: String, ending: Ending },
}

/// How a step's thread ends.
pub(crate) enum Ending {
    /// Its process made the result.
    Ran { action: Box<Action> },
    /// The store had the result.
    FromStore { action: Box<Action> },
    /// The store had lost the result, or that of a step it reads.
    Gone,
    /// It was stopped.
    Stopped,
    /// It failed.
    Failed(Failure),
    /// The store failed.
    Broken(PipelineError),
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Gone => Self::Gone,
            Refusal::Stopped => Self::Stopped,
            Refusal::Failed(error) => Self::Broken(error),
        }
    }
}

impl From<fedact_artifact::ArtifactError> for Ending {
    fn from(error: fedact_artifact::ArtifactError) -> Self {
        Refusal::from(error).into()
    }
}

impl Workshop {
    /// Puts a result of the store into the step's folder.
    pub(crate) fn restore(&self, step: &str, action: Action) -> Ending {
        match self.deliver(step, &action.output) {
            Ok(()) => Ending::FromStore {
                action: Box::new(action),
            },
            Err(ending) => ending,
        }
    }

    /// Runs a step with the lock of its key, unless another run has made its result meanwhile.
    pub(crate) fn carry_out(&self, task: &Task, lock: KeyLock) -> Ending {
        match self.run(task, lock) {
            Ok(ending) | Err(ending) => ending,
        }
    }

    fn run(&self, task: &Task, lock: KeyLock) -> Result<Ending, Ending> {
        if !task.forced
            && let Some(action) = self.store.lookup(&task.key)?
        {
            drop(lock);
            return Ok(self.restore(&task.node.name, action));
        }
        let workspace = self.store.workspace(lock)?;
        let held = self.hold_inputs(task)?;
        let job = Job {
            stage: task.node.definition().name.to_owned(),
            step: task.node.name.clone(),
            params: task.node.params.clone(),
            inputs: self.inputs(task)?,
            output: workspace.output().to_owned(),
            checkpoints: workspace.checkpoints().to_owned(),
            threads: task.threads,
        };
        self.tell(Message::Started {
            step: task.node.name.clone(),
            resumed: workspace.resumed(),
        });
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        let clock = Instant::now();
        let mut warnings = Vec::new();
        let metrics = process::execute(
            (self.launcher)(task.node.definition(), task.threads),
            &job,
            &self.store.log_file(&task.node.name, &task.key),
            &self.stop,
            |report| {
                if let Event::Message {
                    level: Level::Warning,
                    text,
                } = &report
                {
                    warnings.push(text.clone());
                }
                self.report(task, report);
            },
        )
        .map_err(|unfinished| match unfinished {
            Unfinished::Stopped => Ending::Stopped,
            Unfinished::Failed(failure) => Ending::Failed(failure),
        })?;
        self.check_inputs(task, &job)?;
        drop(held);
        let provenance = Provenance {
            step: task.node.name.clone(),
            stage: job.stage,
            metrics,
            started,
            seconds: clock.elapsed().as_secs_f64(),
            host: host_name(),
            version: self.version.clone(),
            resumed: workspace.resumed(),
            warnings,
            inputs: task.origins.clone(),
            accepted: Vec::new(),
        };
        let action = workspace.publish_with_progress(
            task.preimage.to_json(),
            provenance,
            |done, total| {
                self.report(
                    task,
                    Event::Progress {
                        task: "storing".to_owned(),
                        done,
                        total,
                        unit: "bytes".to_owned(),
                        detail: String::new(),
                    },
                );
            },
        )?;
        self.deliver(&task.node.name, &action.output)?;
        Ok(Ending::Ran {
            action: Box::new(action),
        })
    }

    /// Puts the outputs that a step reads into their folders and keeps them so.
    fn hold_inputs(&self, task: &Task) -> Result<Vec<Held>, Ending> {
        // In the order of their names, as the locks must be taken.
        task.outputs
            .iter()
            .map(|(step, output)| {
                self.folders
                    .hold(step, output, &self.stop, || {
                        self.tell(Message::Waiting {
                            step: task.node.name.clone(),
                            reason: in_use(&self.folders.of(step)),
                        });
                    })
                    .map_err(Ending::from)
            })
            .collect()
    }

    /// The inputs for the job.
    fn inputs(&self, task: &Task) -> Result<BTreeMap<String, Vec<Input>>, Ending> {
        let mut inputs = BTreeMap::new();
        for binding in &task.node.inputs {
            let mut items = Vec::with_capacity(binding.sources.len());
            for source in &binding.sources {
                let path = match source {
                    Source::Step(step) => self.folders.of(step),
                    Source::Folder(path) => path.clone(),
                };
                items.push(Input {
                    name: source.name(),
                    path: absolute(&path)?,
                });
            }
            inputs.insert(binding.input.clone(), items);
        }
        Ok(inputs)
    }

    fn deliver(&self, step: &str, output: &Digest) -> Result<(), Ending> {
        self.folders.hold(step, output, &self.stop, || {
            self.tell(Message::Waiting {
                step: step.to_owned(),
                reason: in_use(&self.folders.of(step)),
            });
        })?;
        Ok(())
    }

    fn report(&self, task: &Task, report: Event) {
        self.tell(Message::Reported {
            step: task.node.name.clone(),
            report,
        });
    }

    /// A scheduler that has left needs no messages.
    pub(crate) fn tell(&self, message: Message) {
        let _ = self.messages.send(message);
    }
}

impl Workshop {
    /// What was made of inputs that changed meanwhile belongs to no key: folders of the user's are not held while a
    /// step reads them, and the outputs of steps are held against other runs, but not against an editor.
    fn check_inputs(&self, task: &Task, job: &Job) -> Result<(), Ending> {
        for binding in &task.node.inputs {
            let origins = task.origins.get(&binding.input).into_iter().flatten();
            for (source, origin) in binding.sources.iter().zip(origins) {
                let (folder, remedy) = match source {
                    Source::Folder(path) => {
                        if self.store.digest_folder(path, |_, _| {})?.digest == origin.digest {
                            continue;
                        }
                        (
                            path.clone(),
                            "leave the folder alone while it is read, and run again",
                        )
                    }
                    Source::Step(step) => {
                        let folder = self.folders.of(step);
                        if self.store.is_materialized(&origin.digest, &folder) {
                            continue;
                        }
                        (
                            folder,
                            "run again, which puts it right; to work on an output, copy it and give the copy \
                             as an input with `{path: FOLDER}`",
                        )
                    }
                };
                // What is in there may have been made of either state.
                let _ = std::fs::remove_dir_all(&job.checkpoints);
                return Err(Ending::Failed(Failure {
                    remedy: Some(remedy.to_owned()),
                    invalid_input: true,
                    ..Failure::new(format!("{} changed while the step ran", folder.display()))
                }));
            }
        }
        Ok(())
    }
}

impl Task {
    /// Where each input comes from.
    pub(crate) fn origins(
        node: &Node,
        contents: &Contents,
        key_of: impl Fn(&str) -> Option<Digest>,
    ) -> BTreeMap<String, Vec<Origin>> {
        node.inputs
            .iter()
            .map(|binding| {
                let origins = binding.sources.iter().filter_map(|source| {
                    let (name, key) = match source {
                        Source::Step(step) => (step.clone(), key_of(step)),
                        Source::Folder(path) => (path.display().to_string(), None),
                    };
                    let digest = contents.of(source)?;
                    Some(Origin { name, digest, key })
                });
                (binding.input.clone(), origins.collect())
            })
            .collect()
    }
}

fn in_use(folder: &Path) -> String {
    format!("another run reads {}", folder.display())
}

fn absolute(path: &Path) -> Result<PathBuf, Ending> {
    std::path::absolute(path).map_err(|error| {
        Ending::Broken(PipelineError::system(format!("find {}", path.display()))(
            error,
        ))
    })
}

//! One step, on a thread of its own: out of the store, or through its process into the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fedact_artifact::{
    Action, ArtifactError, Digest, KeyLock, Provenance, ShardNote, Source as Origin, Store,
    host_name,
};
use fedact_stage::{Event, Input, Job, Level, Metrics, Shard};

use crate::folders::{Folders, Held, Refusal};
use crate::{
    Contents, Exchange, Failure, Launcher, Node, PipelineError, Preimage, Served, Source, Stop,
    Unfinished, pieces, process,
};

/// How often it is told how much of a result has come.
const TELLING: Duration = Duration::from_millis(100);

/// What every step of a run shares.
#[derive(Clone)]
pub(crate) struct Workshop {
    pub(crate) store: Store,
    pub(crate) folders: Folders,
    pub(crate) launcher: Launcher,
    pub(crate) version: String,
    pub(crate) served: Option<Served>,
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
    /// Only this shard of its pieces is to be made.
    pub(crate) shard: Option<Shard>,
}

/// A result that an exchange has.
pub(crate) struct Fetch {
    pub(crate) step: String,
    pub(crate) action: Action,
    /// What the store has of it is not to be delivered.
    pub(crate) again: bool,
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
    /// Its process made a shard of the pieces of the result.
    RanShard(ShardRun),
    /// The store had the result.
    FromStore { action: Box<Action> },
    /// The exchange has answered what it has for a key.
    Answered {
        key: Digest,
        claim: Option<Box<Action>>,
    },
    /// The exchange had the result, and now the store has it.
    Fetched { action: Box<Action> },
    /// The exchange did not give what it claims to have.
    NotToBeHad { key: Digest },
    /// The store had lost the result, or that of a step it reads.
    Gone,
    /// It was stopped.
    Stopped,
    /// It failed.
    Failed(Failure),
    /// The store failed.
    Broken(PipelineError),
}

/// A shard that is done.
pub(crate) struct ShardRun {
    pub(crate) key: Digest,
    pub(crate) shard: Shard,
    pub(crate) seconds: f64,
    pub(crate) metrics: Metrics,
    pub(crate) warnings: Vec<String>,
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

impl From<ArtifactError> for Ending {
    fn from(error: ArtifactError) -> Self {
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

    /// Fetches a result from an exchange with the lock of its key, unless another run has done so meanwhile.
    pub(crate) fn fetch(&self, exchange: &dyn Exchange, fetch: &Fetch, lock: KeyLock) -> Ending {
        match self.try_fetch(exchange, fetch, lock) {
            Ok(ending) | Err(ending) => ending,
        }
    }

    fn try_fetch(
        &self,
        exchange: &dyn Exchange,
        fetch: &Fetch,
        lock: KeyLock,
    ) -> Result<Ending, Ending> {
        let key = fetch.action.key;
        if !fetch.again
            && let Some(action) = self.store.lookup(&key)?
        {
            drop(lock);
            return Ok(self.restore(&fetch.step, action));
        }
        let tree = self.store.scratch_tree()?;
        let told = Mutex::new(None::<Instant>);
        let came = exchange.fetch(&fetch.action, tree.path(), &|done, total| {
            // From several threads, and for every piece that comes.
            if let Ok(mut told) = told.try_lock()
                && told.is_none_or(|told| told.elapsed() > TELLING)
            {
                *told = Some(Instant::now());
                self.report(&fetch.step, bytes("fetching", done, total));
            }
            !self.stop.asked()
        })?;
        if !came && self.stop.asked() {
            return Ok(Ending::Stopped);
        }
        if !came {
            return Ok(Ending::NotToBeHad { key });
        }
        let action = match self.store.adopt(lock, fetch.action.clone(), tree) {
            Ok(action) => action,
            Err(ArtifactError::NotAsAnnounced { .. }) => return Ok(Ending::NotToBeHad { key }),
            Err(error) => return Err(error.into()),
        };
        self.deliver(&fetch.step, &action.output)?;
        Ok(Ending::Fetched {
            action: Box::new(action),
        })
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
        let mut workspace = match task.shard {
            Some(_) => self.store.workspace_of_shard(lock, &task.key)?,
            None => self.store.workspace(lock)?,
        };
        // Who forces a step wants its work done, not what was made before.
        let pieces = if task.forced && task.shard.is_none() {
            None
        } else {
            pieces::gather(&task.node, &self.store, &mut workspace, task.shard)
                .map_err(Ending::Broken)?
        };
        let held = self.hold_inputs(task)?;
        let job = Job {
            stage: task.node.definition().name.to_owned(),
            step: task.node.name.clone(),
            params: task.node.params.clone(),
            inputs: self.inputs(task)?,
            output: workspace.output().to_owned(),
            checkpoints: workspace.checkpoints().to_owned(),
            pieces,
            threads: task.threads,
            fleet: self
                .served
                .as_ref()
                .filter(|served| served.step == task.node.name)
                .map(|served| served.fleet.clone()),
        };
        self.tell(Message::Started {
            step: task.node.name.clone(),
            resumed: workspace.resumed(),
        });
        let started = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64());
        self.note_shard(task, started, None)?;
        let clock = Instant::now();
        let mut warnings = Vec::new();
        let metrics = process::execute(
            (self.launcher)(task.node.definition(), task.threads),
            &job,
            &self.log(task),
            &self.stop,
            |report| {
                if let Event::Message {
                    level: Level::Warning,
                    text,
                } = &report
                {
                    warnings.push(text.clone());
                }
                self.report(&task.node.name, report);
            },
        )
        .map_err(|unfinished| match unfinished {
            Unfinished::Stopped => Ending::Stopped,
            Unfinished::Failed(failure) => Ending::Failed(failure),
        })?;
        self.check_inputs(task, &job)?;
        drop(held);
        if let Some(shard) = task.shard {
            let seconds = clock.elapsed().as_secs_f64();
            self.note_shard(task, started, Some(seconds))?;
            return Ok(Ending::RanShard(ShardRun {
                key: task.key,
                shard,
                seconds,
                metrics,
                warnings,
            }));
        }
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
                self.report(&task.node.name, bytes("storing", done, total));
            },
        )?;
        self.deliver(&task.node.name, &action.output)?;
        Ok(Ending::Ran {
            action: Box::new(action),
        })
    }

    /// Where the process's standard error goes; shards run side by side, and each has its own.
    fn log(&self, task: &Task) -> PathBuf {
        let step = &task.node.name;
        match task.shard {
            Some(Shard { number, of }) => self
                .store
                .log_file(&format!("{step}-{number}-of-{of}"), &task.key),
            None => self.store.log_file(step, &task.key),
        }
    }

    /// Notes how the shard stands, where the task is one.
    fn note_shard(&self, task: &Task, started: f64, seconds: Option<f64>) -> Result<(), Ending> {
        let Some(Shard { number, of }) = task.shard else {
            return Ok(());
        };
        let host = host_name();
        let note = ShardNote {
            number,
            of,
            host,
            started,
            seconds,
        };
        Ok(self.store.note_shard(&task.key, &note)?)
    }

    /// Puts the outputs that a step reads into their folders and keeps them so.
    fn hold_inputs(&self, task: &Task) -> Result<Vec<Held>, Ending> {
        // In the order of their names, as the locks must be taken.
        task.outputs
            .iter()
            .map(|(step, output)| {
                self.folders
                    .hold(step, output, &self.stop, |by| {
                        self.tell(Message::Waiting {
                            step: task.node.name.clone(),
                            reason: in_use(&self.folders.of(step), by),
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
        self.folders.hold(step, output, &self.stop, |by| {
            self.tell(Message::Waiting {
                step: step.to_owned(),
                reason: in_use(&self.folders.of(step), by),
            });
        })?;
        Ok(())
    }

    fn report(&self, step: &str, report: Event) {
        self.tell(Message::Reported {
            step: step.to_owned(),
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

/// How far the work on some bytes is.
fn bytes(task: &str, done: u64, total: u64) -> Event {
    Event::Progress {
        task: task.to_owned(),
        done,
        total,
        unit: "bytes".to_owned(),
        detail: String::new(),
    }
}

fn in_use(folder: &Path, by: &[u32]) -> String {
    let who = match by {
        [] => "another run".to_owned(),
        by => {
            let by: Vec<String> = by.iter().map(|pid| format!("process {pid}")).collect();
            by.join(" and ")
        }
    };
    format!("{who} uses {}", folder.display())
}

fn absolute(path: &Path) -> Result<PathBuf, Ending> {
    std::path::absolute(path).map_err(|error| {
        Ending::Broken(PipelineError::system(format!("find {}", path.display()))(
            error,
        ))
    })
}

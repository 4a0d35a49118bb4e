//! The run of a plan: what is ready starts as soon as there are cores for it.

mod away;
mod endings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::event::NotRun;
use crate::folders::Folders;
use crate::pieces;
use crate::queue::{Prepared, Queue};
use crate::shares::{Capacity, Share};
use crate::work::{Ending, Message, Task, Workshop};
use crate::{
    Contents, Estimate, Graph, Launcher, Outcome, PipelineError, Plan, Preimage, RunEvent, Stop,
    StoreRecords,
};
use fedact_artifact::{Action, Attempt, Digest, KeyLock, LockOwner, Store};
use fedact_stage::Shard;

/// How often the scheduler looks whether it should stop.
const PULSE: Duration = Duration::from_millis(50);
/// How long the other steps may take to reach a checkpoint after one has failed.
const GRACE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How many results at most are on their way out of the store at once: it is the disk that they wait for.
const RESTORING: usize = 16;

/// A step that a fleet of devices works for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The step.
    pub step: String,
    /// The folder of the fleet; no part of the step's key.
    pub fleet: PathBuf,
}

/// How a plan is to be run.
#[derive(Clone)]
pub struct Settings {
    /// The folder of the steps' outputs.
    pub artifacts: PathBuf,
    /// How a stage's process is started.
    pub launcher: Launcher,
    /// Cores and memory to share out.
    pub capacity: Capacity,
    /// The steps whose results are to be in their folders in any case; see [`crate::wanted`]. Matters only where
    /// the records have an exchange.
    pub wanted: BTreeSet<String>,
    /// Whether results that the store has already are shared through the exchange, too, and not only those that
    /// this run makes.
    pub share_all: bool,
    /// Whether steps that do not need a failed one still run.
    pub keep_going: bool,
    /// Of steps that are made of pieces, only this shard is made, and no result. A run without it makes what is
    /// missing and joins all pieces.
    pub shard: Option<Shard>,
    /// The step whose work a fleet of devices does.
    pub served: Option<Served>,
    /// The version of fedact, for the provenance.
    pub version: String,
    /// Ends the run when asked.
    pub stop: Stop,
}

/// Runs a plan that was made from `graph`, `contents` and `records`.
///
/// Never fails for a step's failure: that is in the outcome, and `observe` has heard of it.
///
/// # Errors
/// A store that breaks. Processes that still run are ended then.
pub fn run(
    graph: &Graph,
    plan: &Plan,
    contents: Contents,
    records: &StoreRecords<'_>,
    store: &Store,
    settings: &Settings,
    observe: &mut dyn FnMut(RunEvent),
) -> Result<Outcome, PipelineError> {
    records.remember_latest()?;
    let (messages, inbox) = channel();
    // A failure stops this run's processes without asking the caller's handle to stop.
    let internal = Stop::new();
    let workshop = Workshop {
        store: store.clone(),
        folders: Folders::new(store.clone(), settings.artifacts.clone()),
        launcher: settings.launcher.clone(),
        version: settings.version.clone(),
        served: settings.served.clone(),
        stop: internal,
        messages,
    };
    let mut scheduler = Scheduler {
        graph,
        contents,
        records,
        settings,
        workshop,
        observe,
        began: Instant::now(),
        states: vec![Progress::Waiting; graph.nodes().len()],
        queue: Queue::of(graph),
        elsewhere: HashMap::new(),
        restoring: 0,
        exchanging: 0,
        wanted: settings.wanted.clone(),
        assumed: HashMap::new(),
        outdated: BTreeSet::new(),
        last_seconds: plan
            .steps
            .iter()
            .filter_map(|step| Some((step.step.clone(), step.last_seconds?)))
            .collect(),
        forced: plan.forced.clone(),
        rerun: BTreeSet::new(),
        actions: HashMap::new(),
        outcome: Outcome::default(),
    };
    (scheduler.observe)(RunEvent::Planned {
        plan: plan.clone(),
        fetches: plan.fetches(graph, &settings.wanted),
        estimate: Estimate::of(graph, plan, settings.capacity),
    });
    let result = scheduler.drive(&inbox);
    if result.is_err() {
        scheduler.workshop.stop.now();
    }
    result?;
    Ok(scheduler.conclude())
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Progress {
    /// Not started.
    Waiting,
    /// Its thread puts its result into its folder.
    Restoring { key: Digest },
    /// Its thread asks the exchange for its result.
    Asking,
    /// Its thread fetches its result from the exchange.
    Fetching { key: Digest },
    /// Its thread makes its result.
    Running { key: Digest, share: Share },
    /// Its output is there.
    Done,
    /// Its output is known; the exchange has it.
    Away,
    /// It failed.
    Failed,
    /// It will not run.
    Dropped,
}

impl Progress {
    /// Whether those behind it may go on.
    fn is_known(self) -> bool {
        matches!(self, Self::Done | Self::Away)
    }

    /// Whether its thread speaks with the exchange.
    fn is_exchanging(self) -> bool {
        matches!(self, Self::Asking | Self::Fetching { .. })
    }
}

struct Scheduler<'a> {
    graph: &'a Graph,
    contents: Contents,
    records: &'a StoreRecords<'a>,
    settings: &'a Settings,
    workshop: Workshop,
    observe: &'a mut dyn FnMut(RunEvent),
    began: Instant,
    /// By the index of the node.
    states: Vec<Progress>,
    queue: Queue,
    /// The steps whose results are made by another run, and who does.
    elsewhere: HashMap<usize, LockOwner>,
    /// How many threads only put results into folders.
    restoring: usize,
    /// How many threads speak with the exchange.
    exchanging: usize,
    /// The steps whose results are to be here.
    wanted: BTreeSet<String>,
    /// By the index of the node, the outputs that steps behind were planned with before those were here.
    assumed: HashMap<usize, Digest>,
    /// The steps on whose threads something goes on that was begun with an assumption which turned out wrong.
    outdated: BTreeSet<usize>,
    last_seconds: HashMap<String, f64>,
    /// Steps to run although the store has their results.
    forced: BTreeSet<String>,
    /// Steps whose results turned out to be lost on the way to their folders.
    rerun: BTreeSet<String>,
    actions: HashMap<String, Rc<Action>>,
    outcome: Outcome,
}

impl Scheduler<'_> {
    fn drive(&mut self, inbox: &Receiver<Message>) -> Result<(), PipelineError> {
        loop {
            self.heed_the_user();
            self.pass_on_warnings();
            if !self.workshop.stop.asked() {
                self.start_what_is_ready()?;
            }
            let stopping = self.workshop.stop.asked();
            let idle = self.restoring == 0 && self.taken().is_empty();
            // Whoever stops does not wait for answers: a fetch that is cut off leaves nothing.
            let waiting = self.exchanging > 0 || !self.elsewhere.is_empty();
            if idle && (stopping || !waiting) {
                return Ok(());
            }
            match inbox.recv_timeout(PULSE) {
                Ok(message) => self.hear(message)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Passes on that the user wants an end, and every time by when.
    fn heed_the_user(&mut self) {
        let Some(deadline) = self.settings.stop.deadline() else {
            return;
        };
        self.workshop.stop.by(deadline);
        if !std::mem::replace(&mut self.outcome.interrupted, true) {
            let left = deadline.saturating_duration_since(Instant::now());
            let stopping = RunEvent::Stopping {
                steps: self.running(),
                within_seconds: left.as_secs_f64(),
            };
            (self.observe)(stopping);
        }
    }

    /// The steps that run, in the order of the plan.
    fn running(&self) -> Vec<String> {
        let running = |state: &Progress| matches!(state, Progress::Running { .. });
        let nodes = self.graph.nodes().iter().zip(&self.states);
        nodes
            .filter(|(_, state)| running(state))
            .map(|(node, _)| node.name.clone())
            .collect()
    }

    fn start_what_is_ready(&mut self) -> Result<(), PipelineError> {
        while let Some(index) = self.queue.next_blocked() {
            self.drop_blocked(index);
        }
        // A step whose result stays away is over at once, and others are ready behind it.
        while self.start_ready_ones()? {}
        Ok(())
    }

    /// Says whether it is worth looking again at once.
    fn start_ready_ones(&mut self) -> Result<bool, PipelineError> {
        let mut again = false;
        for index in self.queue.ready() {
            // One before it may have been called for meanwhile.
            if !self.queue.is_ready(index) {
                continue;
            }
            let node = &self.graph.nodes()[index];
            let Some(prepared) = self.prepare(index)? else {
                continue;
            };
            if let Some(action) = prepared.action {
                if self.restoring < RESTORING {
                    self.restore(index, &action)?;
                }
                continue;
            }
            if let Some(claim) = prepared.claim.clone() {
                again |= self.take_from_exchange(index, &prepared, &claim)?;
                continue;
            }
            if self.call_for_inputs(index) {
                again = true;
                continue;
            }
            let Some(share) = self.settings.capacity.share(node.needs, &self.taken()) else {
                continue;
            };
            if let Some(lock) = self.lock(index, &prepared.key)? {
                self.start(index, prepared, share, lock)?;
            }
        }
        Ok(again)
    }

    /// The right to make a result. A step whose result is made elsewhere holds no cores meanwhile: others
    /// get their turn, and it is asked for again at the next.
    fn lock(&mut self, index: usize, key: &Digest) -> Result<Option<KeyLock>, PipelineError> {
        let shard = self.shard(index).map(|shard| pieces::shard_of(key, shard));
        match self.workshop.store.try_lock(&shard.unwrap_or(*key))? {
            Attempt::Locked(lock) => {
                self.elsewhere.remove(&index);
                Ok(Some(lock))
            }
            Attempt::HeldBy(owner) => {
                if self.elsewhere.get(&index) != Some(&owner) {
                    (self.observe)(RunEvent::Waiting {
                        step: self.graph.nodes()[index].name.clone(),
                        reason: format!("{owner} is making the same result"),
                    });
                    self.elsewhere.insert(index, owner);
                }
                Ok(None)
            }
        }
    }

    /// What the step would be run for, and its result where the store has it; asked once, because nothing of it
    /// changes while the step waits for cores.
    fn prepare(&mut self, index: usize) -> Result<Option<Prepared>, PipelineError> {
        if let Some(prepared) = self.queue.prepared(index) {
            return Ok(Some(prepared));
        }
        if self.exchange_is_busy() {
            // Its key may have to be asked for: it is not made again and again until there is room.
            return Ok(None);
        }
        let node = &self.graph.nodes()[index];
        let Some(preimage) = Preimage::of(node, &self.contents) else {
            return Ok(None);
        };
        let key = preimage.key();
        // One that is forced is not looked up, and its new result must stay all the same.
        self.records.pin(&key)?;
        let forced = self.forced.contains(&node.name);
        let rerun = self.rerun.contains(&node.name);
        let action = if forced || rerun {
            None
        } else {
            self.records.action(&key)?
        };
        let mut claim = None;
        if action.is_none() && !forced && self.records.exchange().is_some() {
            match self.records.claim(&key) {
                Some(answer) => claim = answer,
                None => {
                    self.ask(index, key)?;
                    return Ok(None);
                }
            }
        }
        let prepared = Prepared {
            preimage: Rc::new(preimage),
            key,
            forced: forced || rerun,
            action,
            claim,
        };
        self.queue.remember(index, prepared.clone());
        Ok(Some(prepared))
    }

    /// The shard of a step that is to be made, if it can be parted and only a shard is wanted.
    fn shard(&self, index: usize) -> Option<Shard> {
        let definition = self.graph.nodes()[index].definition();
        self.settings.shard.filter(|_| definition.pieces.is_some())
    }

    fn restore(&mut self, index: usize, action: &Action) -> Result<(), PipelineError> {
        let step = self.graph.nodes()[index].name.clone();
        self.set(index, Progress::Restoring { key: action.key });
        let (workshop, name, action) = (self.workshop.clone(), step.clone(), action.clone());
        spawn(&self.workshop, &step, move || {
            workshop.restore(&name, action)
        })
    }

    fn start(
        &mut self,
        index: usize,
        prepared: Prepared,
        share: Share,
        lock: KeyLock,
    ) -> Result<(), PipelineError> {
        let node = &self.graph.nodes()[index];
        let key_of = |step: &str| Some(self.actions.get(step)?.key);
        let task = Task {
            outputs: node
                .upstream()
                .filter_map(|step| {
                    let action = self.actions.get(step)?;
                    Some((step.to_owned(), action.output))
                })
                .collect::<BTreeMap<_, _>>(),
            origins: Task::origins(node, &self.contents, key_of),
            node: node.clone(),
            preimage: Preimage::clone(&prepared.preimage),
            key: prepared.key,
            threads: share.cores,
            forced: prepared.forced,
            shard: self.shard(index),
        };
        let key = prepared.key;
        self.set(index, Progress::Running { key, share });
        let workshop = self.workshop.clone();
        spawn(&self.workshop, &node.name, move || {
            workshop.carry_out(&task, lock)
        })
    }

    /// What the running steps have.
    fn taken(&self) -> Vec<Share> {
        let share = |state: &Progress| match state {
            Progress::Running { share, .. } => Some(*share),
            _ => None,
        };
        self.states.iter().filter_map(share).collect()
    }

    /// Moves a step on, and with it those that wait for it.
    fn set(&mut self, index: usize, progress: Progress) {
        let before = std::mem::replace(&mut self.states[index], progress);
        match (before, progress) {
            (Progress::Restoring { .. }, Progress::Restoring { .. }) => {}
            (Progress::Restoring { .. }, _) => self.restoring -= 1,
            (_, Progress::Restoring { .. }) => self.restoring += 1,
            _ => {}
        }
        self.exchanging += usize::from(progress.is_exchanging());
        self.exchanging -= usize::from(before.is_exchanging());
        match progress {
            Progress::Waiting => self.queue.put_back(index, before.is_known()),
            Progress::Done | Progress::Away => self.queue.done(index),
            Progress::Failed | Progress::Dropped => self.queue.give_up(index),
            Progress::Restoring { .. }
            | Progress::Asking
            | Progress::Fetching { .. }
            | Progress::Running { .. } => self.queue.take(index),
        }
    }

    fn drop_blocked(&mut self, index: usize) {
        let node = &self.graph.nodes()[index];
        let gone = |step: &&str| {
            let state = self.graph.index(step).map(|index| self.states[index]);
            matches!(state, Some(Progress::Failed | Progress::Dropped))
        };
        if let Some(needs) = node.upstream().find(gone).map(str::to_owned) {
            self.drop_step(index, NotRun::Needs { step: needs });
        }
    }

    fn drop_step(&mut self, index: usize, reason: NotRun) {
        self.set(index, Progress::Dropped);
        let step = self.graph.nodes()[index].name.clone();
        self.outcome.not_run.push(step.clone());
        (self.observe)(RunEvent::NotRun { step, reason });
    }

    fn conclude(mut self) -> Outcome {
        for index in 0..self.states.len() {
            let state = self.states[index];
            if state == Progress::Away {
                let step = self.graph.nodes()[index].name.clone();
                self.outcome.remote.push(step);
            }
            if state != Progress::Waiting && !state.is_exchanging() {
                continue;
            }
            let reason = if self.outcome.interrupted {
                NotRun::Interrupted
            } else {
                NotRun::OtherFailure
            };
            self.drop_step(index, reason);
        }
        self.outcome.seconds = self.began.elapsed().as_secs_f64();
        self.wait_for_uploads();
        (self.observe)(RunEvent::Ended {
            outcome: self.outcome.clone(),
        });
        self.outcome
    }
}

/// Starts a thread for a step and has it tell its ending, whatever happens in it.
fn spawn(
    workshop: &Workshop,
    step: &str,
    work: impl FnOnce() -> Ending + Send + 'static,
) -> Result<(), PipelineError> {
    let workshop = workshop.clone();
    let name = step.to_owned();
    std::thread::Builder::new()
        .name(format!("step {step}"))
        .spawn(move || {
            let ending = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
                .unwrap_or_else(|_| {
                    Ending::Failed(crate::Failure::new(
                        "the runner broke off while it worked on this step; this is a fault in fedact",
                    ))
                });
            workshop.tell(Message::Over { step: name, ending });
        })
        .map(drop)
        .map_err(PipelineError::system("start a thread"))
}

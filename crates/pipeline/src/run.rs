//! The run of a plan: what is ready starts as soon as there are cores for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use fedact_artifact::{Action, Digest, Store};
use fedact_stage::Cores;

use crate::event::NotRun;
use crate::folders::Folders;
use crate::plan::Records;
use crate::work::{Ending, Message, Task, Workshop};
use crate::{
    Contents, Graph, Launcher, Node, Outcome, PipelineError, Plan, Preimage, RunEvent, Stop,
    StoreRecords,
};

/// How often the scheduler looks whether it should stop.
const PULSE: Duration = Duration::from_millis(50);

/// How a plan is to be run.
#[derive(Clone)]
pub struct Settings {
    /// The folder of the steps' outputs.
    pub artifacts: PathBuf,
    /// How a stage's process is started.
    pub launcher: Launcher,
    /// Cores to share out; at least 1.
    pub cores: usize,
    /// Whether steps that do not need a failed one still run.
    pub keep_going: bool,
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
    let (messages, inbox) = channel();
    // A failure stops this run's processes without asking the caller's handle to stop.
    let internal = Stop::new();
    let workshop = Workshop {
        store: store.clone(),
        folders: Folders::new(store.clone(), settings.artifacts.clone()),
        launcher: settings.launcher.clone(),
        version: settings.version.clone(),
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
        states: graph
            .nodes()
            .iter()
            .map(|node| (node.name.clone(), Progress::Waiting))
            .collect(),
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
    (scheduler.observe)(RunEvent::Planned { plan: plan.clone() });
    let result = scheduler.drive(&inbox);
    if result.is_err() {
        scheduler.workshop.stop.ask();
    }
    result?;
    Ok(scheduler.conclude())
}

/// Where a step is.
#[derive(Debug, Clone, PartialEq)]
enum Progress {
    /// Not started.
    Waiting,
    /// Its thread runs, with so many cores.
    Running { key: Digest, cores: usize },
    /// Its output is there.
    Done,
    /// It failed.
    Failed,
    /// It will not run.
    Dropped,
}

struct Scheduler<'a> {
    graph: &'a Graph,
    contents: Contents,
    records: &'a StoreRecords<'a>,
    settings: &'a Settings,
    workshop: Workshop,
    observe: &'a mut dyn FnMut(RunEvent),
    began: Instant,
    states: HashMap<String, Progress>,
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
            if self.settings.stop.asked() && !self.outcome.interrupted {
                self.outcome.interrupted = true;
                self.workshop.stop.ask();
            }
            if !self.workshop.stop.asked() {
                self.start_what_is_ready()?;
            }
            if !self
                .states
                .values()
                .any(|state| matches!(state, Progress::Running { .. }))
            {
                return Ok(());
            }
            match inbox.recv_timeout(PULSE) {
                Ok(message) => self.hear(message)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    fn start_what_is_ready(&mut self) -> Result<(), PipelineError> {
        for node in self.graph.nodes() {
            if self.states[&node.name] != Progress::Waiting {
                continue;
            }
            if let Some(needs) = self.blocked_by(node) {
                self.drop_step(&node.name, NotRun::Needs { step: needs });
                continue;
            }
            let Some(preimage) = Preimage::of(node, &self.contents) else {
                continue;
            };
            self.start(node, preimage)?;
        }
        Ok(())
    }

    /// The first step it needs that will not have an output.
    fn blocked_by(&self, node: &Node) -> Option<String> {
        node.upstream()
            .find(|step| {
                matches!(
                    self.states.get(*step),
                    Some(Progress::Failed | Progress::Dropped)
                )
            })
            .map(str::to_owned)
    }

    fn start(&mut self, node: &Node, preimage: Preimage) -> Result<(), PipelineError> {
        let key = preimage.key();
        let forced = self.forced.contains(&node.name) || self.rerun.contains(&node.name);
        if !forced && let Some(action) = self.records.action(&key)? {
            let workshop = self.workshop.clone();
            let (step, action) = (node.name.clone(), Action::clone(&action));
            self.states
                .insert(node.name.clone(), Progress::Running { key, cores: 0 });
            return spawn(&self.workshop, &node.name, move || {
                workshop.restore(&step, action)
            });
        }
        let Some(cores) = self.cores_for(node) else {
            return Ok(());
        };
        let keys: HashMap<String, Digest> = self
            .actions
            .iter()
            .map(|(step, action)| (step.clone(), action.key))
            .collect();
        let task = Task {
            outputs: node
                .upstream()
                .filter_map(|step| {
                    let action = self.actions.get(step)?;
                    Some((step.to_owned(), action.output))
                })
                .collect::<BTreeMap<_, _>>(),
            origins: Task::origins(node, &self.contents, |step| keys.get(step).copied()),
            node: node.clone(),
            preimage,
            key,
            threads: cores,
            forced,
        };
        self.states
            .insert(node.name.clone(), Progress::Running { key, cores });
        let workshop = self.workshop.clone();
        spawn(&self.workshop, &node.name, move || {
            workshop.carry_out(&task)
        })
    }

    /// How many cores a step gets now; `None` while there are too few.
    fn cores_for(&self, node: &Node) -> Option<usize> {
        let total = self.settings.cores.max(1);
        let used: usize = self
            .states
            .values()
            .map(|state| match state {
                Progress::Running { cores, .. } => *cores,
                _ => 0,
            })
            .sum();
        let free = total.saturating_sub(used);
        match (node.definition().cores)(&node.params) {
            Cores::All => (free > 0).then_some(free),
            // What wants more than there is runs alone.
            Cores::Fixed(wanted) if wanted > total => (used == 0).then_some(wanted),
            Cores::Fixed(wanted) => {
                let wanted = wanted.max(1);
                (wanted <= free).then_some(wanted)
            }
        }
    }

    fn hear(&mut self, message: Message) -> Result<(), PipelineError> {
        match message {
            Message::Waiting { step, reason } => (self.observe)(RunEvent::Waiting { step, reason }),
            Message::Reported { step, report } => {
                (self.observe)(RunEvent::Reported { step, report });
            }
            Message::Started { step, resumed } => self.tell_started(step, resumed),
            Message::Over { step, ending } => self.end(step, ending)?,
        }
        Ok(())
    }

    fn tell_started(&mut self, step: String, resumed: bool) {
        let Some(Progress::Running { key, cores }) = self.states.get(&step).cloned() else {
            return;
        };
        let Some(node) = self.graph.get(&step) else {
            return;
        };
        (self.observe)(RunEvent::Started {
            stage: node.definition().name.to_owned(),
            key,
            cores,
            resumed,
            last_seconds: self.last_seconds.get(&step).copied(),
            step,
        });
    }

    fn end(&mut self, step: String, ending: Ending) -> Result<(), PipelineError> {
        match ending {
            Ending::FromStore { action } => {
                (self.observe)(RunEvent::FromStore {
                    step: step.clone(),
                    key: action.key,
                    output: action.output,
                });
                self.outcome.from_store.push(step.clone());
                self.done(step, *action);
            }
            Ending::Ran { action } => {
                let before = self.records.latest(&step)?;
                (self.observe)(RunEvent::Finished {
                    step: step.clone(),
                    key: action.key,
                    output: action.output,
                    seconds: action.provenance.seconds,
                    unchanged: before.is_some_and(|before| before.output == action.output),
                    metrics: action.provenance.metrics.clone(),
                    warnings: action.provenance.warnings.clone(),
                });
                self.outcome.ran.push(step.clone());
                self.done(step, *action);
            }
            Ending::Gone => self.gone(&step),
            Ending::Stopped => {
                let reason = if self.outcome.interrupted {
                    NotRun::Interrupted
                } else {
                    NotRun::OtherFailure
                };
                self.drop_step(&step, reason);
            }
            Ending::Failed(failure) => {
                self.outcome.invalid_input = failure.invalid_input
                    && (self.outcome.failed.is_empty() || self.outcome.invalid_input);
                self.outcome.failed.push(step.clone());
                self.states.insert(step.clone(), Progress::Failed);
                (self.observe)(RunEvent::Failed { step, failure });
                if !self.settings.keep_going {
                    self.workshop.stop.ask();
                }
            }
            Ending::Broken(error) => return Err(error),
        }
        Ok(())
    }

    fn done(&mut self, step: String, action: Action) {
        self.contents.steps.insert(step.clone(), action.output);
        self.states.insert(step.clone(), Progress::Done);
        self.rerun.remove(&step);
        self.actions.insert(step, Rc::new(action));
    }

    /// Objects were lost between the plan and now. A result on its way out of the store is made again;
    /// a step that could not have its inputs waits until the steps before it have been looked at anew.
    fn gone(&mut self, step: &str) {
        let Some(Progress::Running { key, cores }) = self.states.get(step).cloned() else {
            return;
        };
        self.records.forget(&key);
        self.states.insert(step.to_owned(), Progress::Waiting);
        if cores == 0 {
            self.rerun.insert(step.to_owned());
            return;
        }
        for upstream in self.graph.get(step).into_iter().flat_map(Node::upstream) {
            if let Some(action) = self.actions.remove(upstream) {
                self.records.forget(&action.key);
            }
            self.contents.steps.remove(upstream);
            self.outcome.from_store.retain(|name| name != upstream);
            self.states.insert(upstream.to_owned(), Progress::Waiting);
        }
    }

    fn drop_step(&mut self, step: &str, reason: NotRun) {
        self.states.insert(step.to_owned(), Progress::Dropped);
        self.outcome.not_run.push(step.to_owned());
        (self.observe)(RunEvent::NotRun {
            step: step.to_owned(),
            reason,
        });
    }

    fn conclude(mut self) -> Outcome {
        let left: Vec<String> = self
            .graph
            .nodes()
            .iter()
            .filter(|node| self.states[&node.name] == Progress::Waiting)
            .map(|node| node.name.clone())
            .collect();
        for step in left {
            let reason = if self.outcome.interrupted {
                NotRun::Interrupted
            } else {
                NotRun::OtherFailure
            };
            self.drop_step(&step, reason);
        }
        self.outcome.seconds = self.began.elapsed().as_secs_f64();
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

//! A device's side: it reads its orders, fetches the model, lets a [`Trainer`] work, and sends the update until it is
//! told what became of it.
//!
//! Everything that a restart needs lies in its folder (`keep.rs`, `models.rs`), so that it may be killed at any moment: half a model is
//! fetched to its end, an update that was computed is sent and not computed again. Memory: the trainer's, the model, and the
//! update.

mod fetch;
mod keep;
mod listen;
mod models;
mod pace;
mod part;
mod reach;
mod session;
mod sign;
mod trainer;
mod upload;
mod work;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::files::Locked;
use crate::identity::Join;
use crate::link::{self, Door};
use crate::wire::{Assignment, Subjects, Verdict};
use crate::{FleetError, Stop, files};

pub use trainer::{Trainer, TrainerError, Work};

use keep::Keep;
use models::Models;
use part::Part;
use session::{Left, Session};

/// How long to wait before asking again for something that is not there yet.
const PAUSE: Duration = Duration::from_millis(500);

/// How a device's process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The run is over: the reason code.
    Finished(String),
    /// It was told to stop.
    Stopped,
}

/// What a device tells whoever watches it.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// The server cannot be reached, and is tried again and again.
    ServerAway {
        /// What is wrong with its certificate, if it is that, and what to do.
        disbelief: Option<String>,
    },
    /// The server can be reached.
    ServerThere,
    /// There is nothing to do yet, and this is missing.
    Waits(Awaited),
    /// It has a task.
    Task(Assignment),
    /// The update of a task was computed and is on its way.
    Update {
        /// Which.
        task: u64,
        /// How long it is.
        bytes: u64,
    },
    /// It knows what became of an update: that is in the coordinator's journal.
    Decided(Verdict),
    /// The trainer failed at a task, which was given back.
    GivenBack {
        /// Which.
        task: u64,
        /// Why.
        reason: String,
    },
}

/// What a device that is connected waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// A run that a coordinator describes.
    Run,
    /// A task.
    Task,
    /// The run that is described was over before the device came.
    NextRun,
    /// A program that speaks the coordinator's version of the messages, or the other way round.
    SameVersion,
}

/// A device.
pub struct Client<T> {
    join: Join,
    folder: PathBuf,
    trainer: Option<T>,
    told: Box<dyn FnMut(&Told) + Send>,
    stays: bool,
}

/// A task of this runtime that ends with what needs it.
struct Background(JoinHandle<()>);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<T: Trainer> Client<T> {
    /// A device that keeps what it must in `folder`.
    pub fn new(join: Join, folder: PathBuf, trainer: T) -> Self {
        Self {
            join,
            folder,
            trainer: Some(trainer),
            told: Box::new(|_| {}),
            stays: true,
        }
    }

    /// Has it leave, too, when it finds a run that was over before it came, in the place of waiting for the next one.
    pub fn for_one_run(mut self) -> Self {
        self.stays = false;
        self
    }

    /// Has somebody told what happens.
    pub fn telling(mut self, told: impl FnMut(&Told) + Send + 'static) -> Self {
        self.told = Box::new(told);
        self
    }

    /// Takes part until the run ends or `stop` says so. A server or a coordinator that is away is waited for.
    ///
    /// # Errors
    /// The server does not let the device in (any more), or its folder cannot be used.
    pub async fn take_part(self, stop: &Stop) -> Result<Ended, FleetError> {
        let Self {
            join,
            folder,
            mut trainer,
            told,
            stays,
        } = self;
        let told = Arc::new(Mutex::new(told));
        let mut tell = |what: &Told| reach::tell(&told, what);
        files::folder(&folder)?;
        let _lock = Locked::take(&folder)?;
        let keep = Keep::open(&folder)?;
        let models = Models::open(&folder)?;
        let part = Part::open(&folder)?;
        let subjects = Subjects::new(&join.fleet);
        let join = Arc::new(join);
        let door = Door {
            addresses: join.addresses(),
            authority: join.authority.as_deref(),
            key: &join.key,
            inbox: subjects.inbox(&join.device),
            name: join.device.to_string(),
        };
        let connecting = tokio::select! {
            connected = link::connect(&door) => Some(connected?),
            () = reach::patience(&told) => None,
            () = stop.stopped() => None,
        };
        let Some(line) = connecting else {
            return Ok(Ended::Stopped);
        };
        let _watching = reach::watch(&line, &told);
        let (_listening, orders) = listen::listen(&line, &subjects, &join);
        let mut session = Session {
            line,
            subjects,
            join,
            keep,
            models,
            part,
            stays,
            orders,
            stop: stop.clone(),
            told: None,
            waits: None,
            clips: watch::Sender::default(),
            fetched: AtomicU64::new(0),
        };
        loop {
            match session.run(&mut trainer, &mut tell).await? {
                Left::Ended(ended) => return Ok(ended),
                Left::OtherRun => {}
            }
        }
    }
}

//! What a plan asks of a real store, and the digests of the folders that users give.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use fedact_artifact::{Action, Digest, Pin, Store};

use crate::key::Contents;
use crate::plan::{Found, Previous, Records};
use crate::{Graph, Pipeline, PipelineError, Preimage, Problem};

/// The records of a store; remembers what it found. Pins every key before it looks it up, so that no collection
/// takes a result between the plan and its use, unless it is for a look only, which waits for no collection.
#[derive(Debug)]
pub struct StoreRecords<'a> {
    store: &'a Store,
    pins: Option<RefCell<Pins>>,
    found: RefCell<HashMap<Digest, Rc<Action>>>,
    latest: RefCell<Option<Latest>>,
}

/// What is pinned.
#[derive(Debug, Default)]
struct Pins {
    pin: Option<Pin>,
    keys: HashSet<Digest>,
}

/// The key that each step used last.
#[derive(Debug)]
struct Latest {
    keys: HashMap<String, Digest>,
    /// Whether they were just now taken from the records themselves.
    certain: bool,
}

impl<'a> StoreRecords<'a> {
    /// Of a store: what is found there stays as long as this does.
    pub fn new(store: &'a Store) -> Self {
        Self {
            pins: Some(RefCell::default()),
            ..Self::for_a_look(store)
        }
    }

    /// The same for those who only look: what is found may be collected a moment later.
    pub fn for_a_look(store: &'a Store) -> Self {
        Self {
            store,
            pins: None,
            found: RefCell::default(),
            latest: RefCell::default(),
        }
    }

    /// The result under a key, with all that the store knows of it.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn action(&self, key: &Digest) -> Result<Option<Rc<Action>>, PipelineError> {
        if let Some(action) = self.found.borrow().get(key) {
            return Ok(Some(Rc::clone(action)));
        }
        self.pin(key)?;
        let action = self.store.lookup(key)?.map(Rc::new);
        if let Some(action) = &action {
            self.found.borrow_mut().insert(*key, Rc::clone(action));
        }
        Ok(action)
    }

    /// Keeps every collection from taking the result of a key, now or once it is made.
    ///
    /// # Errors
    /// A store that cannot be written to.
    pub(crate) fn pin(&self, key: &Digest) -> Result<(), PipelineError> {
        let Some(pins) = &self.pins else {
            return Ok(());
        };
        let Pins { pin, keys } = &mut *pins.borrow_mut();
        if !keys.insert(*key) {
            return Ok(());
        }
        let pin = match pin {
            Some(pin) => pin,
            empty => empty.insert(self.store.pin()?),
        };
        Ok(pin.add([key])?)
    }

    /// Forgets what was found under a key: it turned out to be damaged, or was made anew.
    pub(crate) fn forget(&self, key: &Digest) {
        self.found.borrow_mut().remove(key);
    }

    /// Looks up which keys the steps used last, so that what happens from now on does not count.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(crate) fn remember_latest(&self) -> Result<(), PipelineError> {
        let mut latest = self.latest.borrow_mut();
        if latest.is_none() {
            *latest = Some(Latest {
                keys: self.store.latest()?,
                certain: false,
            });
        }
        Ok(())
    }

    /// The latest result that a step of this name has used, made or accepted, whatever its key; without
    /// a look at its objects.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn latest_action(&self, step: &str) -> Result<Option<Rc<Action>>, PipelineError> {
        self.remember_latest()?;
        let mut latest = self.latest.borrow_mut();
        let Some(latest) = &mut *latest else {
            return Ok(None);
        };
        let known = latest.keys.get(step).copied();
        let Some(key) = known else {
            return Ok(None);
        };
        let action = self.record(&key)?;
        if action.is_some() || latest.certain {
            return Ok(action);
        }
        // The record is gone; the step may have an older one.
        *latest = Latest {
            keys: self.store.find_latest()?,
            certain: true,
        };
        latest
            .keys
            .get(step)
            .map_or(Ok(None), |key| self.record(key))
    }

    /// The record of a key as it was when it was first looked at.
    fn record(&self, key: &Digest) -> Result<Option<Rc<Action>>, PipelineError> {
        if let Some(action) = self.found.borrow().get(key) {
            return Ok(Some(Rc::clone(action)));
        }
        Ok(self.store.record_of(key)?.map(Rc::new))
    }

    /// Takes note that a step uses the result of a key now.
    pub(crate) fn note(&self, step: &str, key: &Digest) {
        let mut latest = self.latest.borrow_mut();
        let known = latest.as_mut().map(|latest| &mut latest.keys);
        if known.is_some_and(|keys| keys.insert(step.to_owned(), *key) == Some(*key)) {
            return;
        }
        self.store.note_latest(step, key);
    }
}

impl Records for StoreRecords<'_> {
    fn lookup(&self, key: &Digest) -> Result<Option<Found>, PipelineError> {
        Ok(self.action(key)?.map(|action| Found {
            output: action.output,
            seconds: action.provenance.seconds,
        }))
    }

    fn latest(&self, step: &str) -> Result<Option<Previous>, PipelineError> {
        Ok(self.latest_action(step)?.map(|action| Previous {
            preimage: Preimage::from_json(&action.preimage),
            output: action.output,
            seconds: action.provenance.seconds,
        }))
    }
}

/// Digests every folder of the user's that a graph reads; `progress` hears of the folder, bytes done
/// and bytes to do, and not at all where nothing has changed since the last time.
///
/// # Errors
/// A folder without a file in it, and what cannot be read.
pub fn digest_folders(
    graph: &Graph,
    pipeline: &Pipeline,
    store: &Store,
    mut progress: impl FnMut(&std::path::Path, u64, u64),
) -> Result<Contents, PipelineError> {
    let mut contents = Contents::default();
    for (path, node, binding) in graph.folders() {
        let found = store.digest_folder(path, |done, total| progress(path, done, total))?;
        if found.files == 0 {
            return Err(PipelineError::from(Problem::Folder {
                place: pipeline.place_of_input(&node.step, &binding.input),
                key: format!("steps.{}.inputs.{}", node.step, binding.input),
                path: path.clone(),
                problem: "has no file in it",
            }));
        }
        contents.folders.insert(path.clone(), found.digest);
    }
    Ok(contents)
}

//! What a plan asks of a real store, and the digests of the folders that users give.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use fedact_artifact::{Action, Digest, Pin, Store};

use crate::key::Contents;
use crate::plan::{Found, Previous, Records};
use crate::{Graph, Pipeline, PipelineError, Preimage, Problem};

/// The records of a store. Pins every key before it looks it up, so that no collection takes a result
/// between the plan and its use; remembers what it found.
#[derive(Debug)]
pub struct StoreRecords<'a> {
    store: &'a Store,
    pin: RefCell<Option<Pin>>,
    found: RefCell<HashMap<Digest, Rc<Action>>>,
    latest: RefCell<Option<HashMap<String, Latest>>>,
}

#[derive(Debug)]
struct Latest {
    started: f64,
    previous: Previous,
    key: Digest,
}

impl<'a> StoreRecords<'a> {
    /// Of a store.
    pub fn new(store: &'a Store) -> Self {
        Self {
            store,
            pin: RefCell::default(),
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
        {
            let mut pin = self.pin.borrow_mut();
            let pin = match &mut *pin {
                Some(pin) => pin,
                empty => empty.insert(self.store.pin()?),
            };
            pin.add([key])?;
        }
        let action = self.store.lookup(key)?.map(Rc::new);
        if let Some(action) = &action {
            self.found.borrow_mut().insert(*key, Rc::clone(action));
        }
        Ok(action)
    }

    /// Forgets what was found under a key: it turned out to be damaged, or was made anew.
    pub(crate) fn forget(&self, key: &Digest) {
        self.found.borrow_mut().remove(key);
    }

    /// The key of the latest result that a step of this name has had.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn latest_key(&self, step: &str) -> Result<Option<Digest>, PipelineError> {
        self.with_latest(step, |latest| latest.key)
    }

    fn with_latest<T>(
        &self,
        step: &str,
        get: impl FnOnce(&Latest) -> T,
    ) -> Result<Option<T>, PipelineError> {
        let mut cached = self.latest.borrow_mut();
        let all = match &mut *cached {
            Some(all) => all,
            empty => empty.insert(latest_of_each(self.store)?),
        };
        Ok(all.get(step).map(get))
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
        self.with_latest(step, |latest| latest.previous.clone())
    }
}

fn latest_of_each(store: &Store) -> Result<HashMap<String, Latest>, PipelineError> {
    let mut all: HashMap<String, Latest> = HashMap::new();
    for action in store.actions()? {
        let action = action?;
        let started = action.provenance.started;
        let latest = all.get(&action.provenance.step);
        if latest.is_none_or(|latest| latest.started < started) {
            let previous = Previous {
                preimage: Preimage::from_json(&action.preimage),
                output: action.output,
                seconds: action.provenance.seconds,
            };
            all.insert(
                action.provenance.step.clone(),
                Latest {
                    started,
                    previous,
                    key: action.key,
                },
            );
        }
    }
    Ok(all)
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

//! Results that the command line names: by the name of a step, or by a key or the beginning of one.

use std::collections::BTreeSet;
use std::rc::Rc;

use fedact_artifact::{Action, Digest, Store};
use fedact_pipeline::StoreRecords;

use crate::exit::{Code, Refusal};
use crate::session::Session;

/// The fewest letters of a key that stand for it.
const SHORTEST: usize = 4;

/// A result that the command line names.
pub struct Named {
    /// The step by whose name it was found, or for which it was made.
    pub step: String,
    /// The result.
    pub action: Rc<Action>,
    /// Whether it was found by its key.
    pub by_key: bool,
}

impl Named {
    fn by_key(action: Action) -> Self {
        Self {
            step: action.provenance.step.clone(),
            action: Rc::new(action),
            by_key: true,
        }
    }
}

/// Finds results.
pub struct Results<'a> {
    session: &'a Session,
    store: &'a Store,
    records: StoreRecords<'a>,
}

impl<'a> Results<'a> {
    /// In a store, for the steps of a session.
    pub fn of(session: &'a Session, store: &'a Store) -> Self {
        Self {
            session,
            store,
            records: StoreRecords::for_a_look(store),
        }
    }

    /// The result that the pipeline as it is now would give, or else the latest.
    ///
    /// # Errors
    /// What is wrong with the pipeline or the store; no such result.
    pub fn current(&self, step: &str) -> Result<Named, Refusal> {
        let graph = self.session.graph.only(&[step.to_owned()])?;
        let nothing = BTreeSet::new();
        let (plan, _) =
            self.session
                .plan(&graph, self.store, &self.records, &nothing, &mut |_| {})?;
        let planned = plan.steps.iter().find(|planned| planned.step == step);
        let fresh = match planned.and_then(|planned| planned.key) {
            Some(key) => self.records.action(&key)?,
            None => None,
        };
        let found = match fresh {
            Some(action) => Some(action),
            None => self.records.latest_action(step)?,
        };
        let named = |action| Named {
            step: step.to_owned(),
            action,
            by_key: false,
        };
        found.map(named).ok_or_else(|| {
            Refusal::new(
                Code::Failed,
                format!("step `{step}` has no result yet"),
                format!("`fedact run {step}` makes one"),
            )
        })
    }

    /// The one before the current one, and the current one.
    ///
    /// # Errors
    /// What is wrong with the pipeline or the store; no such result.
    pub fn two_latest(&self, step: &str) -> Result<(Named, Named), Refusal> {
        let current = self.current(step)?;
        let mut before: Option<Action> = None;
        for action in self.store.actions()? {
            let action = action?;
            let candidate = action.provenance.step == step && action.key != current.action.key;
            let recorded = |action: &Action| action.provenance.recorded();
            if candidate
                && before
                    .as_ref()
                    .is_none_or(|before| recorded(before) < recorded(&action))
            {
                before = Some(action);
            }
        }
        match before {
            Some(before) => Ok((Named::by_key(before), current)),
            None => Err(Refusal::new(
                Code::Failed,
                format!(
                    "step `{step}` has only one result, of key {}",
                    current.action.key.short()
                ),
                "name another step, or a key, to compare it with",
            )),
        }
    }

    /// What a word on the command line stands for: a step first, then a key.
    ///
    /// # Errors
    /// What is wrong with the pipeline or the store; no such result.
    pub fn named(&self, step: &str, word: &str) -> Result<Named, Refusal> {
        if self.session.graph.get(word).is_some() {
            return self.current(word);
        }
        let known = "`fedact show STEP` prints the key of a step's result";
        let refuse = |problem: String| Err(Refusal::new(Code::Usage, problem, known));
        let Some(matching) = beginning(word) else {
            return refuse(format!(
                "`{word}` is neither a step nor the beginning of a key ({SHORTEST} letters or more)"
            ));
        };
        let mut found: Vec<Action> = Vec::new();
        for key in self.store.keys()?.iter().filter(|key| matching(key)) {
            found.extend(self.store.record_of(key)?);
        }
        if found.len() > 1 {
            // A short beginning is unambiguous enough among the step's own results.
            let own = |action: &Action| action.provenance.step == step;
            if found.iter().filter(|action| own(action)).count() == 1 {
                found.retain(own);
            }
        }
        match found.as_slice() {
            [] => refuse(format!(
                "no result in the store has a key that begins with {word}"
            )),
            [_] => Ok(Named::by_key(found.remove(0))),
            several => {
                let keys: Vec<String> = several
                    .iter()
                    .map(|action| action.key.to_string())
                    .collect();
                refuse(format!(
                    "several keys begin with {word}: {}",
                    keys.join(", ")
                ))
            }
        }
    }
}

/// Whether a key begins with a word; `None` for a word that cannot stand for a key.
pub fn beginning(word: &str) -> Option<impl Fn(&Digest) -> bool + use<>> {
    let hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let beginning = word.to_ascii_lowercase();
    (hex && word.len() >= SHORTEST)
        .then_some(move |key: &Digest| key.to_string().starts_with(&beginning))
}

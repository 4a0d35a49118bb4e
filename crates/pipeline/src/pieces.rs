//! Which steps share their pieces, and where the pieces of a step may lie already.
//!
//! A key stands for a whole result; a *space* for what all pieces of it have in common: the stage, its code, its
//! libraries and those params that decide a piece ([`Definition::pieces`](fedact_stage::Definition::pieces)).
//! Neither inputs nor the other params are in it, so that a folder with one more video, or another split
//! of the same videos, finds the pieces that there are. No key ever depends on a space.

use std::collections::{BTreeMap, BTreeSet};

use fedact_artifact::{Action, Digest, Store, Workspace};
use fedact_stage::{Definition, Pieces, Shard};
use serde_json::{Value, json};

use crate::{Node, PipelineError, Preimage};

/// The version of the way in which spaces are made.
const SPACE_VERSION: u32 = 1;

/// How many earlier results lend their pieces at most: opening one costs the stage some time.
const LENDERS: usize = 4;

impl Node {
    /// What decides the pieces of its result, besides their own content; `None` where it has none.
    pub fn pieces(&self) -> Option<Digest> {
        let definition = self.definition();
        space(definition, &self.stage.code, &self.libraries, &self.params)
    }
}

fn space(
    definition: &Definition,
    code: &str,
    libraries: &BTreeMap<String, String>,
    params: &Value,
) -> Option<Digest> {
    let settings = definition.pieces?(params);
    Some(Digest::of_json(&json!({
        "format": SPACE_VERSION,
        "stage": definition.name,
        "code": code,
        "libraries": libraries,
        "settings": settings,
    })))
}

/// What is locked by who works on one shard of a key, so that no two processes do the same.
pub fn shard_of(key: &Digest, shard: Shard) -> Digest {
    Digest::of_json(&json!({"key": key, "shard": shard}))
}

/// The pieces that a step's process may use; nothing but a shard where the step is not made of any.
pub(crate) fn gather(
    node: &Node,
    store: &Store,
    workspace: &mut Workspace,
    shard: Option<Shard>,
) -> Result<Option<Pieces>, PipelineError> {
    let Some(space) = node.pieces() else {
        return Ok(None);
    };
    let folder = workspace.pieces(&space)?;
    let mut earlier = Vec::new();
    for key in lenders(node, &space, store)? {
        if earlier.len() == LENDERS {
            break;
        }
        earlier.extend(workspace.borrow(&key)?);
    }
    Ok(Some(Pieces {
        folder,
        earlier,
        shard,
    }))
}

/// Keys of results that are made of the same kind of pieces, those first that are likely to have most of them: the
/// step's own latest one, the latest of every other step, then older ones; no output twice.
fn lenders(node: &Node, space: &Digest, store: &Store) -> Result<Vec<Digest>, PipelineError> {
    let mut actions: Vec<Action> = Vec::new();
    for action in store.actions()? {
        let action = action?;
        if action.provenance.stage == node.definition().name
            && Preimage::from_json(&action.preimage)
                // The same code: it understands its own params.
                .filter(|made_from| made_from.code == node.stage.code)
                .and_then(|made_from| space_of(node.definition(), &made_from))
                == Some(*space)
        {
            actions.push(action);
        }
    }
    let own = |action: &Action| action.provenance.step == node.name;
    actions.sort_by(|one, other| {
        own(other)
            .cmp(&own(one))
            .then(other.provenance.started.total_cmp(&one.provenance.started))
    });
    let mut outputs = BTreeSet::new();
    actions.retain(|action| outputs.insert(action.output));
    let mut steps = BTreeSet::new();
    let (latest, older): (Vec<_>, Vec<_>) = actions
        .into_iter()
        .partition(|action| steps.insert(action.provenance.step.clone()));
    Ok(latest
        .iter()
        .chain(&older)
        .map(|action| action.key)
        .collect())
}

fn space_of(definition: &Definition, made_from: &Preimage) -> Option<Digest> {
    space(
        definition,
        &made_from.code,
        &made_from.libraries,
        &made_from.params,
    )
}

//! The params of one step as given, judged by its stage.

use std::borrow::Cow;

use fedact_stage::{Cores, Definition, ParamsError};
use serde_json::Value;

use crate::matrix::Instance;
use crate::resources::Needs;
use crate::set::{segments, touches};
use crate::{Origin, Pipeline, Problem};

/// Fills in the defaults of an instance's params. `None`, and complaints of every key that is unknown or of the
/// wrong type, where the stage refuses them. Of values that are out of range it is the first: the range of one
/// often depends on another, and a fault should not be found because of the fault before it.
pub(crate) fn resolve(
    pipeline: &Pipeline,
    instance: &Instance<'_>,
    definition: &Definition,
    problems: &mut Vec<Problem>,
) -> Option<Value> {
    let mut params = Cow::Borrowed(&*instance.params);
    let mut first = true;
    loop {
        let error = match (definition.resolve)(&params) {
            Ok(resolved) => return first.then_some(resolved),
            Err(ParamsError::OutOfRange(_)) if !first => return None,
            Err(error) => error,
        };
        let path = segments(error.key());
        let goes_on =
            !matches!(error, ParamsError::OutOfRange(_)) && take_out(params.to_mut(), &path);
        problems.push(Problem::Params {
            origin: origin(pipeline, instance, &path),
            step: instance.name.clone(),
            stage: definition.name.to_owned(),
            source: error,
        });
        first = false;
        if !goes_on {
            return None;
        }
    }
}

/// What a step needs of the machine.
pub(crate) fn needs(
    pipeline: &Pipeline,
    instance: &Instance<'_>,
    definition: &Definition,
    params: &Value,
    problems: &mut Vec<Problem>,
) -> Needs {
    let needs = instance.step.resources.needs(definition, params);
    if let (Some((_, spot)), Cores::Fixed(_)) = (instance.step.resources.cores, needs.cores) {
        problems.push(Problem::CoresDecideResults {
            place: pipeline.place(spot),
            stage: definition.name.to_owned(),
        });
    }
    needs
}

/// Takes the value under a path of keys out of a mapping; whether it was there.
fn take_out(params: &mut Value, path: &[String]) -> bool {
    let Some((last, above)) = path.split_last() else {
        return false;
    };
    let mut place = params;
    for key in above {
        let next = match place {
            Value::Object(mapping) => mapping.get_mut(key),
            Value::Array(items) => key.parse().ok().and_then(|at: usize| items.get_mut(at)),
            _ => None,
        };
        let Some(next) = next else {
            return false;
        };
        place = next;
    }
    match place {
        Value::Object(mapping) => mapping.shift_remove(last).is_some(),
        _ => false,
    }
}

/// Where a param came from: the last override or axis that touches it, else its place in the file.
fn origin(pipeline: &Pipeline, instance: &Instance<'_>, path: &[String]) -> Origin {
    let given = instance
        .given
        .iter()
        .rev()
        .find(|(given, _)| touches(given, path));
    match given {
        Some((_, origin)) => origin.clone(),
        None => pipeline.origin(instance.step.spot_of_param(path)),
    }
}

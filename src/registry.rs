//! The stages as the planner sees them, with the digests that the build computed for them.

use std::collections::BTreeMap;

use fedact_pipeline::{Catalogue, StageEntry};
use fedact_stage::{Definition, Library};

/// The stages in the order of a pipeline.
static STAGES: &[&Definition] = &[
    &fedact_synthesize_params::DEFINITION,
    &fedact_extract_params::DEFINITION,
    &fedact_teach_params::DEFINITION,
    &fedact_distill_params::DEFINITION,
    &fedact_quantize_params::DEFINITION,
    &fedact_federate_params::DEFINITION,
    &fedact_evaluate_params::DEFINITION,
];

/// The stages as the planner sees them.
pub fn catalogue() -> Catalogue {
    let stages = STAGES
        .iter()
        .map(|definition| StageEntry {
            definition,
            code: fedact_code::of_stage(definition.package)
                .unwrap_or_default()
                .to_owned(),
        })
        .collect();
    let libraries = BTreeMap::from([
        (Library::Libtorch, fedact_code::LIBTORCH.to_owned()),
        (Library::Ffmpeg, fedact_code::FFMPEG.to_owned()),
    ]);
    Catalogue::new(stages, libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_code() {
        for entry in catalogue().stages() {
            assert_eq!(entry.code.len(), 64, "{}", entry.definition.name);
        }
    }

    #[test]
    fn every_stage_takes_its_own_defaults_and_describes_them() {
        for definition in STAGES {
            let defaults = (definition.resolve)(&serde_json::Value::Null).unwrap();
            assert_eq!(
                (definition.resolve)(&defaults).unwrap(),
                defaults,
                "{}",
                definition.name
            );
            let schema = (definition.schema)();
            let described = schema["properties"].as_object().unwrap();
            for key in defaults.as_object().unwrap().keys() {
                assert!(
                    described[key]["description"].is_string(),
                    "{}.{key} has no description",
                    definition.name
                );
            }
        }
    }
}

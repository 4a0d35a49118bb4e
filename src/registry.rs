//! The stages that this binary has, with the digests that the build computed for them.

use std::collections::BTreeMap;

use fedact_pipeline::{Catalogue, StageEntry};
use fedact_stage::{Definition, Library, Run};

/// What the build wrote down.
mod built {
    include!(concat!(env!("OUT_DIR"), "/code.rs"));
}

pub use built::{FFMPEG, LIBTORCH};

/// The stages in the order of a pipeline, each with the function that does its work.
static STAGES: &[(&Definition, Run)] = &[
    (&fedact_synthesize::DEFINITION, fedact_synthesize::run),
    (&fedact_extract::DEFINITION, fedact_extract::run),
    (&fedact_distill::DEFINITION, fedact_distill::run),
    (&fedact_quantize::DEFINITION, fedact_quantize::run),
    (&fedact_federate::DEFINITION, fedact_federate::run),
    (&fedact_evaluate::DEFINITION, fedact_evaluate::run),
];

/// The stages as the planner sees them.
pub fn catalogue() -> Catalogue {
    let stages = STAGES
        .iter()
        .map(|(definition, _)| StageEntry {
            definition,
            code: code_digest(definition.package).to_owned(),
        })
        .collect();
    let libraries = BTreeMap::from([
        (Library::Libtorch, LIBTORCH.to_owned()),
        (Library::Ffmpeg, FFMPEG.to_owned()),
    ]);
    Catalogue::new(stages, libraries)
}

/// The function that does a stage's work.
pub fn work_of(stage: &str) -> Option<Run> {
    STAGES
        .iter()
        .find(|(definition, _)| definition.name == stage)
        .map(|(_, run)| *run)
}

fn code_digest(package: &str) -> &'static str {
    built::CODE
        .iter()
        .find(|(name, _)| *name == package)
        .map_or("", |(_, digest)| digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_code_and_they_all_differ() {
        let catalogue = catalogue();
        let mut digests: Vec<&str> = catalogue
            .stages()
            .iter()
            .map(|entry| entry.code.as_str())
            .collect();
        assert!(
            digests.iter().all(|digest| digest.len() == 64),
            "{digests:?}"
        );
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), STAGES.len());
    }

    #[test]
    fn the_versions_of_the_libraries_are_known() {
        assert!(LIBTORCH.starts_with("2."), "{LIBTORCH}");
        assert!(FFMPEG.contains("libavcodec "), "{FFMPEG}");
    }

    #[test]
    fn every_stage_takes_its_own_defaults_and_describes_them() {
        for (definition, _) in STAGES {
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

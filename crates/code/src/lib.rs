//! Which code this is: what the build found out about itself, and what a process loaded.
//!
//! The command computes keys and the library of the stages makes results. Both contain this crate, so that
//! each knows which code it is of, and the two can be compared before a result is stored under a key.

mod loaded;

/// What the build wrote down.
mod built {
    include!(concat!(env!("OUT_DIR"), "/code.rs"));
}

pub use built::{FFMPEG, LIBTORCH, STAGES, WORK};
pub use loaded::{Loaded, LoadedFfmpeg, LoadedLibtorch, LoadedOnednn, Pace, ReferencePace};

/// The digest of the code of a stage's package, as in `fedact-extract`; `None` where there is no such stage.
pub fn of_stage(package: &str) -> Option<&'static str> {
    STAGES
        .iter()
        .find(|(name, _)| *name == package)
        .map(|(_, digest)| *digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_digest_of_its_own() {
        let mut digests: Vec<&str> = STAGES.iter().map(|(_, digest)| *digest).collect();
        assert!(
            digests.iter().all(|digest| digest.len() == 64),
            "{digests:?}"
        );
        assert_eq!(WORK.to_bytes().len(), 64);
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), STAGES.len());
        assert_eq!(of_stage(STAGES[0].0), Some(STAGES[0].1));
        assert_eq!(of_stage("fedact"), None);
    }

    #[test]
    fn the_versions_of_the_libraries_are_known() {
        assert!(LIBTORCH.starts_with("2."), "{LIBTORCH}");
        assert!(FFMPEG.contains("libavcodec "), "{FFMPEG}");
    }
}

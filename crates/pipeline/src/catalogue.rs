//! The stages that there are, with what decides their results besides params and inputs.

use std::collections::BTreeMap;

use fedact_stage::{Definition, Library};

/// One stage.
#[derive(Debug, Clone)]
pub struct StageEntry {
    /// What it is.
    pub definition: &'static Definition,
    /// Digest of its sources and of the workspace crates they use, as the build computed it.
    pub code: String,
}

/// All stages and the versions of the libraries under them.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    stages: Vec<StageEntry>,
    libraries: BTreeMap<Library, String>,
}

impl Catalogue {
    /// From the stages in the order of the documentation, and the library versions of this build.
    pub fn new(stages: Vec<StageEntry>, libraries: BTreeMap<Library, String>) -> Self {
        Self { stages, libraries }
    }

    /// All stages.
    pub fn stages(&self) -> &[StageEntry] {
        &self.stages
    }

    /// The stage of this name.
    pub fn get(&self, name: &str) -> Option<&StageEntry> {
        self.stages
            .iter()
            .find(|entry| entry.definition.name == name)
    }

    /// The names of all stages.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.stages.iter().map(|entry| entry.definition.name)
    }

    /// The versions of the libraries that decide a stage's results, by name.
    pub fn libraries_of(&self, definition: &Definition) -> BTreeMap<String, String> {
        definition
            .libraries
            .iter()
            .map(|library| {
                let version = self.libraries.get(library).cloned().unwrap_or_default();
                (library_name(*library).to_owned(), version)
            })
            .collect()
    }
}

/// The name of a library as in keys and messages.
fn library_name(library: Library) -> &'static str {
    match library {
        Library::Libtorch => "libtorch",
        Library::Ffmpeg => "ffmpeg",
    }
}

//! The crates of the workspace: their manifests, and the files that can reach a compiled crate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use walkdir::WalkDir;

use crate::lock::Lock;

/// Where crates stand, and how deep: `stages/<stage>/params` is a crate of its own.
const GROUPS: [(&str, usize); 4] = [("crates", 1), ("stages", 2), ("media", 0), ("work", 0)];

/// What lies in a crate's folder and never reaches the compiled crate.
const LEFT_OUT: [&str; 4] = ["tests", "benches", "examples", "README.md"];

/// The workspace as its files say.
pub struct Workspace {
    root: PathBuf,
    /// The root's `Cargo.toml`.
    pub manifest: Table,
    /// `Cargo.lock`.
    pub lock: Lock,
    members: BTreeMap<String, Member>,
}

/// A crate of the workspace.
struct Member {
    folder: PathBuf,
    manifest: Table,
}

impl Workspace {
    /// Reads the manifests below a root and its `Cargo.lock`.
    pub fn read(root: &Path) -> Self {
        let mut members = BTreeMap::new();
        for (group, depth) in GROUPS {
            let group = root.join(group);
            if !group.is_dir() {
                continue;
            }
            for entry in WalkDir::new(group).max_depth(depth) {
                let folder = entry.expect("the workspace can be read").into_path();
                let file = folder.join("Cargo.toml");
                if file.is_file() {
                    let manifest = read_toml(&file);
                    let name = name_of(&manifest);
                    members.insert(name, Member { folder, manifest });
                }
            }
        }
        Self {
            manifest: read_toml(&root.join("Cargo.toml")),
            lock: Lock::read(&read_toml(&root.join("Cargo.lock"))),
            root: root.to_owned(),
            members,
        }
    }

    /// The packages of the stages, sorted.
    pub fn stages(&self) -> impl Iterator<Item = &str> {
        let stages = self.root.join("stages");
        self.members
            .iter()
            .filter(move |(_, member)| member.folder.parent() == Some(&stages))
            .map(|(name, _)| name.as_str())
    }

    /// Whether a package is one of the workspace's own.
    pub fn has(&self, package: &str) -> bool {
        self.members.contains_key(package)
    }

    /// The packages that a member is compiled with: everything but what its tests alone need.
    pub fn dependencies(&self, package: &str) -> Vec<String> {
        let manifest = &self.members[package].manifest;
        entries(manifest).map(|(name, _)| name).collect()
    }

    /// How the workspace asks for a package of others: versions and features, wherever they are turned on. Cargo
    /// builds a package once, with the features that any member wants.
    pub fn requests(&self, package: &str) -> Vec<String> {
        let shared = self.manifest.get("workspace").and_then(Value::as_table);
        let manifests = self.members.values().map(|member| &member.manifest);
        let mut requests: Vec<String> = shared
            .into_iter()
            .chain([&self.manifest])
            .chain(manifests)
            .flat_map(entries)
            .filter(|(name, _)| name == package)
            .map(|(_, request)| request.to_string())
            .collect();
        requests.sort();
        requests.dedup();
        requests
    }

    /// The files of a member that can reach the compiled crate, sorted, with their paths below the root.
    pub fn files(&self, package: &str) -> Vec<(String, PathBuf)> {
        let mut files: Vec<(String, PathBuf)> = self
            .parts(package)
            .flat_map(|part| {
                WalkDir::new(part)
                    .into_iter()
                    .filter_entry(|entry| !hidden(&entry.file_name().to_string_lossy()))
            })
            .map(|entry| entry.expect("a crate can be read"))
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                let path = entry.into_path();
                let below = path.strip_prefix(&self.root);
                let name = below
                    .expect("a member is in the workspace")
                    .to_string_lossy();
                (name.into_owned(), path.clone())
            })
            .collect();
        files.sort();
        files
    }

    /// Everything whose change may change a digest.
    pub fn watched(&self) -> Vec<PathBuf> {
        let own = ["Cargo.toml", "Cargo.lock"].map(|file| self.root.join(file));
        let parts = self.members.keys().flat_map(|package| self.parts(package));
        own.into_iter().chain(parts).collect()
    }

    /// The files and folders right below a member's own that can reach the compiled crate.
    fn parts(&self, package: &str) -> impl Iterator<Item = PathBuf> {
        let entries = std::fs::read_dir(&self.members[package].folder);
        entries
            .expect("a crate can be read")
            .map(|entry| entry.expect("a crate can be read"))
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                let another_crate = entry.path().join("Cargo.toml").is_file();
                !(LEFT_OUT.contains(&&*name) || hidden(&name) || another_crate)
            })
            .map(|entry| entry.path())
    }
}

/// Whether a file is an editor's or the system's.
fn hidden(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~')
}

fn name_of(manifest: &Table) -> String {
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"));
    name.and_then(Value::as_str)
        .expect("a manifest names its package")
        .to_owned()
}

/// The dependencies of a manifest, those of tests apart, by the name of the package: what it is compiled with on any
/// target.
fn entries(manifest: &Table) -> impl Iterator<Item = (String, &Value)> {
    let of_targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(|targets| targets.values().filter_map(Value::as_table));
    std::iter::once(manifest)
        .chain(of_targets)
        .flat_map(|table| ["dependencies", "build-dependencies"].map(|kind| table.get(kind)))
        .flatten()
        .filter_map(Value::as_table)
        .flatten()
        .map(|(alias, request)| {
            let renamed = request.get("package").and_then(Value::as_str);
            (renamed.unwrap_or(alias).to_owned(), request)
        })
}

fn read_toml(file: &Path) -> Table {
    let text = std::fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

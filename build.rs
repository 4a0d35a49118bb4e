//! What of this build decides results: a digest of each stage's code, and the versions of the libraries.
//!
//! The code digest of a stage covers every file of its crate that can reach the compiled stage, those
//! of the workspace crates it depends on (tests apart), and name and version of the external crates
//! that all of these use directly, as locked. So an edit in one stage leaves the others fresh.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

/// What lies in a crate's folder and never reaches the compiled crate.
const LEFT_OUT: [&str; 4] = ["tests", "benches", "examples", "README.md"];

#[derive(Deserialize)]
struct Manifest {
    package: Package,
    #[serde(default)]
    dependencies: BTreeMap<String, toml::Value>,
    #[serde(default, rename = "build-dependencies")]
    build_dependencies: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// A crate of the workspace.
struct Member {
    folder: PathBuf,
    manifest: Manifest,
}

fn main() {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let members = members(&root);
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rerun-if-changed=build.rs");
    let lock: Lock = read_toml(&root.join("Cargo.lock"));

    let mut code = String::new();
    for (name, member) in &members {
        if member.folder.parent() == Some(&root.join("stages")) {
            let digest = code_digest(&root, name, &members, &lock);
            writeln!(code, "    ({name:?}, {digest:?}),").expect("a string grows");
        }
    }
    let libtorch = libtorch_version();
    let ffmpeg = ffmpeg_version();
    let generated = format!(
        "/// Digest of the code of each stage's package.\n\
         pub const CODE: &[(&str, &str)] = &[\n{code}];\n\
         /// The libtorch that this was built against.\n\
         pub const LIBTORCH: &str = {libtorch:?};\n\
         /// The FFmpeg libraries that this was built against.\n\
         pub const FFMPEG: &str = {ffmpeg:?};\n"
    );
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it")).join("code.rs");
    std::fs::write(&out, generated).expect("OUT_DIR is writable");
}

/// The crates of the workspace by package name.
fn members(root: &Path) -> BTreeMap<String, Member> {
    let mut members = BTreeMap::new();
    for group in ["crates", "stages"] {
        // `stages/<stage>/params` is a crate of its own.
        for entry in WalkDir::new(root.join(group)).min_depth(1).max_depth(2) {
            let folder = entry.expect("the workspace can be read").into_path();
            let file = folder.join("Cargo.toml");
            if file.is_file() {
                let manifest: Manifest = read_toml(&file);
                members.insert(manifest.package.name.clone(), Member { folder, manifest });
            }
        }
    }
    members
}

fn read_toml<T: serde::de::DeserializeOwned>(file: &Path) -> T {
    let text = std::fs::read_to_string(file)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The digest of a stage's code.
fn code_digest(
    root: &Path,
    package: &str,
    members: &BTreeMap<String, Member>,
    lock: &Lock,
) -> String {
    let mut covered: BTreeSet<&str> = BTreeSet::new();
    let mut external: BTreeSet<String> = BTreeSet::new();
    let mut open = vec![package];
    while let Some(name) = open.pop() {
        if !covered.insert(name) {
            continue;
        }
        let manifest = &members[name].manifest;
        let dependencies = manifest.dependencies.iter();
        for (alias, value) in dependencies.chain(&manifest.build_dependencies) {
            let dependency = value
                .get("package")
                .and_then(toml::Value::as_str)
                .unwrap_or(alias);
            match members.get_key_value(dependency) {
                Some((workspace_crate, _)) => open.push(workspace_crate),
                None => {
                    external.insert(locked(lock, name, dependency));
                }
            }
        }
    }
    let mut hasher = Sha256::new();
    let mut feed = |part: &[u8]| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    for name in covered {
        for file in files(&members[name].folder) {
            let path = file
                .strip_prefix(root)
                .expect("a member is in the workspace");
            feed(path.to_string_lossy().as_bytes());
            feed(&std::fs::read(&file).expect("a source can be read"));
        }
    }
    for dependency in external {
        feed(dependency.as_bytes());
    }
    hex::encode(hasher.finalize())
}

/// `name version` of a package's dependency, as locked.
fn locked(lock: &Lock, package: &str, dependency: &str) -> String {
    let of_package = lock.package.iter().find(|locked| locked.name == package);
    let exact = of_package
        .into_iter()
        .flat_map(|locked| &locked.dependencies)
        .find_map(|entry| {
            // Where the lock has several versions, the entry says which.
            let mut words = entry.split(' ');
            (words.next() == Some(dependency)).then(|| words.next())?
        });
    let version = exact.or_else(|| {
        let locked = lock
            .package
            .iter()
            .find(|locked| locked.name == dependency)?;
        Some(locked.version.as_str())
    });
    format!("{dependency} {}", version.unwrap_or("unlocked"))
}

/// The files of a crate that can reach the compiled crate, sorted; asks cargo to watch them.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a crate can be read") {
        let entry = entry.expect("a crate can be read");
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let another_crate = entry.path().join("Cargo.toml").is_file();
        if LEFT_OUT.contains(&&*name) || hidden(&name) || another_crate {
            continue;
        }
        println!("cargo::rerun-if-changed={}", entry.path().display());
        let below = WalkDir::new(entry.path())
            .into_iter()
            .filter_entry(|entry| !hidden(&entry.file_name().to_string_lossy()))
            .map(|entry| entry.expect("a crate can be read"))
            .filter(|entry| entry.file_type().is_file())
            .map(walkdir::DirEntry::into_path);
        files.extend(below);
    }
    files.sort();
    files
}

/// Whether a file is an editor's or the system's.
fn hidden(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~')
}

/// From the headers that the bindings are compiled against.
fn libtorch_version() -> String {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-env-changed=LIBTORCH_INCLUDE");
    let folder = std::env::var_os("LIBTORCH_INCLUDE")
        .or_else(|| std::env::var_os("LIBTORCH"))
        .map(PathBuf::from)
        .expect("LIBTORCH is not set; run scripts/setup.sh, which sets it for cargo");
    let header = [
        "headeronly/version.h",
        "version.h",
        "csrc/api/include/torch/version.h",
    ]
    .into_iter()
    .map(|file| folder.join("include/torch").join(file))
    .find(|file| file.is_file())
    .unwrap_or_else(|| panic!("{} has no include/torch/version.h", folder.display()));
    println!("cargo::rerun-if-changed={}", header.display());
    let text = std::fs::read_to_string(&header).expect("the header can be read");
    let number = |part: &str| {
        text.lines()
            .find_map(|line| {
                line.strip_prefix("#define TORCH_VERSION_")?
                    .strip_prefix(part)
            })
            .map(str::trim)
            .unwrap_or_else(|| panic!("{} has no TORCH_VERSION_{part}", header.display()))
            .to_owned()
    };
    format!(
        "{}.{}.{}",
        number("MAJOR"),
        number("MINOR"),
        number("PATCH")
    )
}

/// From pkg-config, as the bindings find FFmpeg.
fn ffmpeg_version() -> String {
    println!("cargo::rerun-if-env-changed=PKG_CONFIG_PATH");
    let ask = |arguments: &[&str]| {
        let output = Command::new("pkg-config").args(arguments).output();
        let output = output.expect("pkg-config is missing; run scripts/setup.sh");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let versions = ["libavcodec", "libavformat", "libavutil", "libswscale"].map(|library| {
        let folder = ask(&["--variable=pcfiledir", library]);
        println!("cargo::rerun-if-changed={folder}/{library}.pc");
        format!("{library} {}", ask(&["--modversion", library]))
    });
    versions.join(", ")
}

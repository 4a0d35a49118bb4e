//! Stores with results in them, and servers between them.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use fedact_artifact::{Action, Digest, Provenance, Store};
use fedact_remote::{Access, Config, Limits, Remote};
use serde_json::json;

#[allow(unused_imports, reason = "each test uses a part")]
pub use fedact_servers::{Cache, Fault, s3};

/// A store in a folder of its own.
pub struct Shop {
    pub store: Store,
    folder: tempfile::TempDir,
}

impl Shop {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(folder.path().join("store")).unwrap(),
            folder,
        }
    }

    /// Makes a result: `fill` writes its files.
    pub fn make(&self, step: &str, fill: impl FnOnce(&Path)) -> Action {
        let preimage = json!({"stage": "source", "params": {"step": step}});
        let key = Digest::of_json(&preimage);
        let lock = self.store.lock(&key, |_| {}).unwrap();
        let workspace = self.store.workspace(lock).unwrap();
        fill(workspace.output());
        let provenance = Provenance {
            step: step.to_owned(),
            seconds: 12.5,
            ..Provenance::default()
        };
        workspace.publish(preimage, provenance).unwrap()
    }

    /// Takes a result from a remote into this store.
    pub fn take(&self, remote: &Remote, key: &Digest) -> Option<Action> {
        let entry = remote.find(key)?;
        let tree = self.store.scratch_tree().unwrap();
        remote.fetch(&entry, tree.path(), &|_, _| true).unwrap()?;
        let lock = self.store.lock(key, |_| {}).unwrap();
        self.store.adopt(lock, entry.action.clone(), tree).unwrap();
        self.store.lookup(key).unwrap()
    }

    /// The files of a result, with their contents: from a folder that they were delivered to.
    pub fn files(&self, action: &Action) -> BTreeMap<String, String> {
        let folder = self.folder.path().join("out");
        self.store.materialize(&action.output, &folder).unwrap();
        let mut files = BTreeMap::new();
        describe(&folder, &folder, &mut files);
        files
    }
}

fn describe(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_symlink() {
            files.insert(
                name,
                format!("-> {}", fs::read_link(&path).unwrap().display()),
            );
        } else if metadata.is_dir() {
            files.insert(name, "folder".to_owned());
            describe(root, &path, files);
        } else {
            let executable = metadata.permissions().mode() & 0o100 != 0;
            let digest = Digest::of(fs::read(&path).unwrap()).short();
            files.insert(
                name,
                format!("{digest}{}", if executable { " x" } else { "" }),
            );
        }
    }
}

/// A bit of everything: links, an empty file, an empty folder, a twin, a program, odd names.
pub fn everything(folder: &Path) {
    fs::create_dir_all(folder.join("a/b")).unwrap();
    fs::create_dir(folder.join("nothing")).unwrap();
    fs::write(folder.join("a/b/text"), "hello").unwrap();
    fs::write(folder.join("twin"), "hello").unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("odd \n name ü"), "odd").unwrap();
    fs::write(folder.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../twin", folder.join("a/link")).unwrap();
    fs::write(folder.join("weights"), noise(300_000, 1)).unwrap();
}

/// Many small files.
pub fn many(folder: &Path) {
    for index in 0..200 {
        let folder = folder.join(format!("part-{}", index % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(
            folder.join(index.to_string()),
            format!("content {}", index / 2),
        )
        .unwrap();
    }
}

/// Bytes that do not compress.
pub fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// As short as a test can wait.
pub fn impatient() -> Limits {
    Limits {
        connect: Duration::from_millis(500),
        answer: Duration::from_millis(700),
        slowest: 10 << 20,
    }
}

pub fn config(address: &str) -> Config {
    Config {
        address: address.parse().unwrap(),
        access: Access::default(),
        trust: Vec::new(),
        signing: None,
        write: true,
        limits: Limits::default(),
        spool: std::env::temp_dir(),
    }
}

/// A remote that is a bucket of a server of the test.
pub fn bucket(server: &fedact_servers::Server, address: &str) -> Config {
    let aws = [
        ("AWS_ACCESS_KEY_ID", fedact_servers::ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", fedact_servers::SECRET_KEY),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", &server.url()),
        // A variable for another tool.
        ("AWS_PAGER", ""),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Config {
        access: Access {
            aws: aws.into(),
            bearer: None,
        },
        ..config(address)
    }
}

pub fn open(config: &Config) -> Remote {
    Remote::open(config.clone()).unwrap()
}

/// Every file below a folder.
pub fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

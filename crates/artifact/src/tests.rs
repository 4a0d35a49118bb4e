//! Behaviour of the store as a whole, one module per operation.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::json;
use tempfile::TempDir;

use crate::*;

mod adopt;
mod gc;
mod killed;
mod lookup;
mod materialize;
mod packs;
mod pieces;
mod publish;
mod scan;
mod verify;

/// A store and a folder beside it, gone at the end of the test.
struct House {
    folder: TempDir,
    store: Store,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().join("artifacts/store")).unwrap();
        Self { folder, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn step(&self, name: &str) -> PathBuf {
        self.path("artifacts").join(name)
    }

    fn workspace(&self, key: &Digest) -> Workspace {
        let lock = self
            .store
            .lock(key, |owner| panic!("held by {owner}"))
            .unwrap();
        self.store.workspace(lock).unwrap()
    }

    /// Publishes an output that `fill` writes.
    fn publish(&self, key: &Digest, fill: impl FnOnce(&Path)) -> Action {
        let workspace = self.workspace(key);
        fill(workspace.output());
        workspace
            .publish(json!({"key of": key}), provenance("step"))
            .unwrap()
    }

    fn manifest(&self, action: &Action) -> Manifest {
        self.store.manifest(&action.output).unwrap().unwrap()
    }

    fn object_path(&self, digest: &Digest) -> PathBuf {
        self.store.objects.find(digest).unwrap().unwrap().path
    }
}

fn provenance(step: &str) -> Provenance {
    Provenance {
        step: step.to_owned(),
        stage: "stage".to_owned(),
        seconds: 1.5,
        ..Provenance::default()
    }
}

fn key(name: &str) -> Digest {
    Digest::of(name)
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Writes through the read-only flag, as an editor run by root or `chmod u+w` would.
fn overwrite(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .unwrap();
    std::io::Write::write_all(&mut &file, bytes.as_ref()).unwrap();
}

/// Every kind of thing that an artifact may hold.
fn fill_with_oddities(folder: &Path) {
    write(&folder.join("plain.txt"), "hello");
    write(&folder.join("empty"), "");
    write(&folder.join("deep/er/twin-a"), "same bytes");
    write(&folder.join("deep/twin-b"), "same bytes");
    write(&folder.join("big.bin"), noise(300_000));
    write(
        &folder.join("table.jsonl"),
        "{\"clip\": 1, \"label\": \"walk\"}\n".repeat(4000),
    );
    write(&folder.join(" spaces \n and 'quotes\" \\ ünï %20 *"), "odd");
    let not_text: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"caf\xe9");
    write(&folder.join(not_text), "latin");
    fs::create_dir_all(folder.join("hollow/inner")).unwrap();
    write(&folder.join("run.sh"), "#!/bin/sh\n");
    fs::set_permissions(folder.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../plain.txt", folder.join("deep/link")).unwrap();
    symlink("nowhere", folder.join("dangling")).unwrap();
    symlink("deep", folder.join("link-to-folder")).unwrap();
}

/// The same, with enough small files for a pack, identical ones among them, and some large ones.
fn fill_with_everything(folder: &Path) {
    fill_with_oddities(folder);
    for index in 0..90 {
        let path = folder.join(format!("many/{}/{index}", index % 7));
        write(&path, format!("file {}", index % 80));
    }
    for index in 0..3 {
        write(
            &folder.join(format!("large-{index}")),
            noise(70_000 + index),
        );
    }
}

/// Bytes that neither pack nor repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

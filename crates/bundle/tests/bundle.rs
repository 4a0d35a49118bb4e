//! Results through a file into another store; and files that are not what they should be.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fedact_artifact::{Action, Digest, Provenance, Store};
use fedact_bundle::{BundleError, Imported, export, import};
use serde_json::json;

/// A store in a folder of its own.
struct Shop {
    store: Store,
    folder: tempfile::TempDir,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(folder.path().join("store")).unwrap(),
            folder,
        }
    }

    fn make(&self, step: &str, fill: impl FnOnce(&Path)) -> Action {
        let preimage = json!({"stage": "source", "params": {"step": step}});
        let lock = self
            .store
            .lock(&Digest::of_json(&preimage), |_| {})
            .unwrap();
        let workspace = self.store.workspace(lock).unwrap();
        fill(workspace.output());
        let provenance = Provenance {
            step: step.to_owned(),
            ..Provenance::default()
        };
        workspace.publish(preimage, provenance).unwrap()
    }

    /// Two results that share a file, and one of many small ones.
    fn stock(&self) -> Vec<Action> {
        vec![
            self.make("one", |output| {
                everything(output);
                fs::write(output.join("shared"), noise(200_000)).unwrap();
            }),
            self.make("two", |output| {
                fs::write(output.join("same as shared"), noise(200_000)).unwrap();
            }),
            self.make("many", |output| {
                for index in 0..150 {
                    fs::write(output.join(index.to_string()), format!("content {index}")).unwrap();
                }
            }),
        ]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn export(&self, actions: &[Action], name: &str) -> PathBuf {
        let file = self.path(name);
        export(&self.store, actions, &file, 2, |_, _| {}).unwrap();
        file
    }

    fn import(&self, file: &Path) -> Result<Imported, BundleError> {
        import(&self.store, file, |_| true, |_, _| {})
    }

    /// Nothing of a refused bundle is in the store, nor left lying about in it.
    fn is_untouched(&self) -> bool {
        let empty = |name: &str| fs::read_dir(self.store.root().join(name)).unwrap().count() == 0;
        empty("actions") && empty("manifests") && empty("objects") && empty("tmp")
    }

    fn files(&self, action: &Action) -> BTreeMap<String, String> {
        let folder = self.path("out");
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

fn everything(folder: &Path) {
    fs::create_dir_all(folder.join("a/b")).unwrap();
    fs::create_dir(folder.join("nothing")).unwrap();
    fs::write(folder.join("a/b/text"), "hello\n".repeat(9000)).unwrap();
    fs::write(folder.join("twin"), "hello\n".repeat(9000)).unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    fs::write(folder.join("odd \n name ü"), "odd").unwrap();
    fs::write(folder.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(folder.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../twin", folder.join("a/link")).unwrap();
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

/// A file of an archive.
type Member = (String, Vec<u8>);

/// Names and contents of the archive in a bundle, in order.
fn members(file: &Path) -> Vec<Member> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(fs::File::open(file).unwrap()).unwrap());
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            (name, bytes)
        })
        .collect()
}

/// A bundle with these members, whatever they are.
fn forge(file: &Path, members: &[Member]) {
    let mut encoder = zstd::Encoder::new(fs::File::create(file).unwrap(), 1).unwrap();
    {
        let mut tar = tar::Builder::new(&mut encoder);
        for (name, bytes) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            // Past the checks of the library that writes archives.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, &bytes[..]).unwrap();
        }
        tar.finish().unwrap();
    }
    encoder.finish().unwrap();
}

#[test]
fn results_come_out_as_they_went_in() {
    let (here, there) = (Shop::new(), Shop::new());
    let actions = here.stock();
    let bundle = here.export(&actions, "all.tar.zst");
    let imported = there.import(&bundle).unwrap();
    let mut steps: Vec<&str> = imported.taken.iter().map(|one| one.step.as_str()).collect();
    steps.sort_unstable();
    assert_eq!(steps, ["many", "one", "two"]);
    assert!(imported.known.is_empty());
    let bytes: u64 = actions.iter().map(|action| action.bytes).sum();
    assert_eq!(imported.bytes, bytes);
    for action in &actions {
        assert_eq!(
            there.store.lookup(&action.key).unwrap().as_ref(),
            Some(action)
        );
        assert_eq!(there.files(action), here.files(action));
    }
    // A second time there is nothing to take.
    let again = there.import(&bundle).unwrap();
    assert_eq!(
        (again.taken.len(), again.known.len(), again.bytes),
        (0, 3, 0)
    );
}

#[test]
fn equal_results_give_equal_bytes_whatever_the_threads_the_order_and_the_store() {
    let (here, there) = (Shop::new(), Shop::new());
    let mut actions = here.stock();
    let first = fs::read(here.export(&actions, "first")).unwrap();
    actions.reverse();
    let file = here.path("second");
    export(&here.store, &actions, &file, 7, |_, _| {}).unwrap();
    assert!(
        first == fs::read(&file).unwrap(),
        "another order, more threads"
    );
    there.import(&file).unwrap();
    assert!(first == fs::read(there.export(&actions, "third")).unwrap());
}

#[test]
fn each_content_is_there_once_and_any_tar_reads_it() {
    let here = Shop::new();
    let bundle = here.export(&here.stock(), "all.tar.zst");
    let members = members(&bundle);
    assert_eq!(members[0].0, "fedact-export.json");
    let contents: Vec<_> = members
        .iter()
        .filter_map(|(name, bytes)| Some((name.strip_prefix("contents/")?, bytes)))
        .collect();
    // text, empty, odd, run.sh, shared and 150 small ones.
    assert_eq!(contents.len(), 155);
    for (name, bytes) in contents {
        assert_eq!(name, Digest::of(bytes).to_string());
    }
}

#[test]
fn only_what_is_wanted_is_taken() {
    let (here, there) = (Shop::new(), Shop::new());
    let bundle = here.export(&here.stock(), "all.tar.zst");
    let imported = import(&there.store, &bundle, |step| step == "two", |_, _| {}).unwrap();
    assert_eq!(imported.taken.len(), 1);
    assert_eq!(imported.taken[0].step, "two");
    assert_eq!(there.store.keys().unwrap(), [imported.taken[0].key]);
}

#[test]
fn from_a_file_that_is_cut_off_anywhere_nothing_is_taken() {
    let (here, there) = (Shop::new(), Shop::new());
    let whole = fs::read(here.export(&here.stock(), "all.tar.zst")).unwrap();
    let file = here.path("cut");
    for part in 0..20 {
        fs::write(&file, &whole[..whole.len() * part / 20]).unwrap();
        let error = there.import(&file).unwrap_err();
        assert!(
            matches!(
                error,
                BundleError::Damaged { .. } | BundleError::NotABundle { .. }
            ),
            "{part}: {error}"
        );
        assert!(there.is_untouched(), "{part}: {error}");
    }
    fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    assert!(there.import(&file).is_err());
    assert!(there.is_untouched());
}

#[test]
fn from_a_file_with_a_flipped_byte_nothing_is_taken() {
    let (here, there) = (Shop::new(), Shop::new());
    let whole = fs::read(here.export(&here.stock(), "all.tar.zst")).unwrap();
    let file = here.path("flipped");
    for part in 0..40 {
        let mut flipped = whole.clone();
        flipped[(whole.len() - 1) * part / 39] ^= 0x10;
        fs::write(&file, &flipped).unwrap();
        // A bit that no decoder looks at may be another one; then all that was read is right.
        if there.import(&file).is_err() {
            assert!(there.is_untouched(), "{part}");
        } else {
            panic!("byte {part} of 39 was not noticed");
        }
    }
}

#[test]
fn archives_that_lie_are_refused_and_nothing_is_taken() {
    let (here, there) = (Shop::new(), Shop::new());
    let right = members(&here.export(&here.stock(), "all.tar.zst"));
    let find = |start: &str| {
        right
            .iter()
            .position(|(name, _)| name.starts_with(start))
            .unwrap()
    };
    let (record, manifest, content) = (find("records/"), find("manifests/"), find("contents/"));
    let file = here.path("forged");
    let refused = |members: &[Member], words: &str| {
        forge(&file, members);
        let error = there.import(&file).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
        assert!(there.is_untouched(), "{words}");
    };
    let with = |index: usize, change: &dyn Fn(&mut Member)| {
        let mut members = right.clone();
        change(&mut members[index]);
        members
    };
    forge(&file, &right);
    assert!(
        Shop::new().import(&file).is_ok(),
        "the forge itself is sound"
    );

    for outside in ["../outside", "/tmp/outside", "contents/../../outside"] {
        let name = |member: &mut Member| member.0 = outside.into();
        refused(&with(content, &name), "in the place of contents/");
    }
    assert!(!here.path("outside").exists());
    refused(
        &with(content, &|member| member.1[0] ^= 1),
        "its digest is another",
    );
    refused(
        &with(content, &|member| member.1.push(0)),
        "its size is another",
    );
    refused(
        &with(manifest, &|member| member.1[30] ^= 1),
        "its digest is another",
    );
    refused(&with(record, &|member| member.1[60] ^= 1), "checksum");
    refused(&right[..right.len() - 1], "it ends before contents/");
    let mut more = right.clone();
    more.push(("contents/more".into(), b"more".to_vec()));
    refused(&more, "more files than its index names");
    let mut swapped = right.clone();
    swapped.swap(content, content + 1);
    refused(&swapped, "in the place of");

    // A record whose key is not that of its preimage, with a checksum that fits.
    let mut action = Action::from_bytes(&right[record].1).unwrap();
    action.preimage["params"] = json!("other");
    let bytes = action.to_bytes().unwrap();
    refused(
        &with(record, &|member| member.1 = bytes.clone()),
        "preimage",
    );
    // One that says another size.
    let mut action = Action::from_bytes(&right[record].1).unwrap();
    action.bytes += 1;
    let bytes = action.to_bytes().unwrap();
    refused(
        &with(record, &|member| member.1 = bytes.clone()),
        "another size",
    );
}

#[test]
fn a_link_in_the_archive_is_refused() {
    let (here, there) = (Shop::new(), Shop::new());
    let right = members(&here.export(&here.stock(), "all.tar.zst"));
    let file = here.path("link");
    let mut encoder = zstd::Encoder::new(fs::File::create(&file).unwrap(), 1).unwrap();
    {
        let mut tar = tar::Builder::new(&mut encoder);
        for (name, bytes) in &right {
            let mut header = tar::Header::new_gnu();
            if name.starts_with("contents/") {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                tar.append_link(&mut header, name, "/etc/passwd").unwrap();
            } else {
                header.set_size(bytes.len() as u64);
                tar.append_data(&mut header, name, &bytes[..]).unwrap();
            }
        }
    }
    encoder.finish().unwrap();
    let error = there.import(&file).unwrap_err().to_string();
    assert!(error.contains("in the place of"), "{error}");
    assert!(there.is_untouched());
}

#[test]
fn what_is_no_bundle_or_one_of_another_version_is_told() {
    let shop = Shop::new();
    let file = shop.path("file");
    for (content, words) in [
        (&b""[..], "not a file of"),
        (b"hello, world", "not a file of"),
    ] {
        fs::write(&file, content).unwrap();
        let error = shop.import(&file).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    forge(&file, &[("hello".into(), b"x".to_vec())]);
    assert!(matches!(
        shop.import(&file),
        Err(BundleError::NotABundle { .. })
    ));
    let newer = json!({"format": 2, "results": "who knows"}).to_string();
    forge(&file, &[("fedact-export.json".into(), newer.into())]);
    let error = shop.import(&file).unwrap_err();
    assert!(
        matches!(error, BundleError::OtherVersion { found: 2, .. }),
        "{error}"
    );
    assert!(matches!(
        shop.import(&shop.path("gone")),
        Err(BundleError::Read { .. })
    ));
    assert!(shop.is_untouched());
}

#[test]
fn an_export_that_fails_leaves_the_file_that_was_there() {
    let shop = Shop::new();
    let mut actions = shop.stock();
    let file = shop.export(&actions, "all.tar.zst");
    let before = fs::read(&file).unwrap();
    for action in &mut actions {
        action.output = Digest::of("gone");
    }
    assert!(export(&shop.store, &actions, &file, 1, |_, _| {}).is_err());
    assert_eq!(fs::read(&file).unwrap(), before);
    let mut names: Vec<_> = fs::read_dir(shop.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["all.tar.zst", "store"]);
    let mut written = fs::File::create(shop.path("full")).unwrap();
    written.write_all(b"x").unwrap();
    let nowhere = shop.path("no/such/folder/all.tar.zst");
    assert!(matches!(
        export(&shop.store, &[], &nowhere, 1, |_, _| {}),
        Err(BundleError::Write { .. })
    ));
}

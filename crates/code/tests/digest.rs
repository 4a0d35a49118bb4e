//! What makes a code digest another one, on a small workspace.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(dead_code, reason = "the build script uses the rest of these modules")]

#[path = "../build/digest.rs"]
mod digest;
#[path = "../build/lock.rs"]
mod lock;
#[path = "../build/workspace.rs"]
mod workspace;

use std::path::Path;

use digest::{Toolchain, code_digest};
use workspace::Workspace;

/// `one` uses `shared` and its own params; `two` uses nothing of the workspace. `shared` needs `direct`, which needs
/// `deep`; tests of `shared` need `checker`.
const FILES: [(&str, &str); 9] = [
    (
        "Cargo.toml",
        "[workspace.dependencies]\ndirect = \"1\"\n[profile.dev]\nopt-level = 2\n",
    ),
    (
        "Cargo.lock",
        r#"
[[package]]
name = "shared"
version = "0.1.0"
dependencies = ["checker", "direct 1.0.0"]
[[package]]
name = "direct"
version = "1.0.0"
checksum = "aa"
dependencies = ["deep"]
[[package]]
name = "direct"
version = "0.9.0"
checksum = "old"
[[package]]
name = "deep"
version = "2.0.0"
checksum = "bb"
[[package]]
name = "checker"
version = "3.0.0"
checksum = "cc"
"#,
    ),
    (
        "crates/shared/Cargo.toml",
        "[package]\nname = \"shared\"\n[dependencies]\ndirect.workspace = true\n\
         [dev-dependencies]\nchecker = \"3\"\n",
    ),
    ("crates/shared/src/lib.rs", "shared"),
    (
        "stages/one/Cargo.toml",
        "[package]\nname = \"one\"\n[dependencies]\nshared = {}\none-params = {}\n",
    ),
    ("stages/one/src/lib.rs", "one"),
    (
        "stages/one/params/Cargo.toml",
        "[package]\nname = \"one-params\"\n",
    ),
    ("stages/one/params/src/lib.rs", "params"),
    ("stages/two/Cargo.toml", "[package]\nname = \"two\"\n"),
];

fn digests(root: &Path, optimisation: &str) -> (String, String) {
    let toolchain = Toolchain {
        compiler: "rustc 1".to_owned(),
        target: "x".to_owned(),
        features: String::new(),
        optimisation: optimisation.to_owned(),
    };
    let workspace = Workspace::read(root);
    assert_eq!(workspace.stages().collect::<Vec<_>>(), ["one", "two"]);
    let digest = |package| code_digest(&workspace, package, &toolchain);
    (digest("one"), digest("two"))
}

/// Whether replacing a text in a file (or making the file) changes the digests of `one` and `two`.
fn changes(file: &str, from: &str, to: &str) -> (bool, bool) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (name, text) in FILES {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let before = digests(root, "2");
    let path = root.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    let after = digests(root, "2");
    (before.0 != after.0, before.1 != after.1)
}

#[test]
fn an_edit_reaches_the_stages_above_it_and_no_other() {
    assert_eq!(changes("stages/one/src/lib.rs", "one", "1"), (true, false));
    assert_eq!(changes("stages/one/src/new.rs", "", "new"), (true, false));
    assert_eq!(
        changes("stages/one/params/src/lib.rs", "params", "p"),
        (true, false)
    );
    assert_eq!(
        changes("crates/shared/src/lib.rs", "shared", "s"),
        (true, false)
    );
    assert_eq!(changes("stages/two/src/lib.rs", "", "two"), (false, true));
}

#[test]
fn what_never_reaches_the_compiled_crate_changes_nothing() {
    for file in [
        "stages/one/README.md",
        "stages/one/tests/stage.rs",
        "stages/one/params/README.md",
        "crates/shared/benches/speed.rs",
        "crates/shared/src/.lib.rs.swp",
    ] {
        assert_eq!(changes(file, "", "text"), (false, false), "{file}");
    }
}

#[test]
fn packages_of_others_count_as_locked_all_the_way_down_but_not_those_of_tests() {
    assert_eq!(
        changes("Cargo.lock", "\"aa\"", "\"ab\""),
        (true, false),
        "direct"
    );
    assert_eq!(
        changes("Cargo.lock", "2.0.0", "2.0.1"),
        (true, false),
        "deep"
    );
    assert_eq!(
        changes("Cargo.lock", "\"cc\"", "\"cd\""),
        (false, false),
        "of tests"
    );
    assert_eq!(
        changes("Cargo.lock", "\"old\"", "\"older\""),
        (false, false),
        "another version"
    );
}

#[test]
fn features_count_wherever_they_are_turned_on() {
    let wanted = "{ version = \"1\", features = [\"fast\"] }";
    assert_eq!(
        changes("Cargo.toml", "\"1\"", wanted),
        (true, false),
        "in the root"
    );
    let asked =
        "[package]\nname = \"two\"\n[build-dependencies]\ndirect = { features = [\"fast\"] }\n";
    let manifest = "stages/two/Cargo.toml";
    assert_eq!(
        changes(manifest, FILES[8].1, asked),
        (true, true),
        "by another member"
    );
}

#[test]
fn profiles_and_the_toolchain_count_for_all() {
    assert_eq!(
        changes("Cargo.toml", "opt-level = 2", "opt-level = 3"),
        (true, true)
    );
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let (plain, optimised) = (digests(folder.path(), "0"), digests(folder.path(), "3"));
    assert!(plain.0 != optimised.0 && plain.1 != optimised.1);
}

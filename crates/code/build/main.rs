//! Writes down what of this build decides results; see `digest.rs` for the table of it.

#![allow(
    clippy::print_stdout,
    reason = "a build script speaks to cargo on standard output"
)]

mod digest;
mod libraries;
mod lock;
mod workspace;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use digest::{Toolchain, code_digest};
use sha2::{Digest, Sha256};
use workspace::Workspace;

/// The libraries that do the work of stages, with libtorch and without.
const WORK: [&str; 2] = ["fedact-work", "fedact-media"];

fn main() {
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = manifest
        .ancestors()
        .nth(2)
        .expect("this crate is two folders below the root");
    let workspace = Workspace::read(root);
    for path in workspace.watched() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let toolchain = toolchain();
    let mut stages = String::new();
    for package in workspace.stages() {
        let digest = code_digest(&workspace, package, &toolchain);
        writeln!(stages, "    ({package:?}, {digest:?}),").expect("a string grows");
    }
    let work = WORK.map(|library| code_digest(&workspace, library, &toolchain));
    let work = hex::encode(Sha256::digest(work.concat()));
    let libtorch = libraries::libtorch();
    let ffmpeg = libraries::ffmpeg();
    let generated = format!(
        "/// Digest of the code of each stage's package.\n\
         pub const STAGES: &[(&str, &str)] = &[\n{stages}];\n\
         /// Digest of the code of the libraries that do the work of stages.\n\
         pub const WORK: &std::ffi::CStr = c{work:?};\n\
         /// The libtorch that this was built against.\n\
         pub const LIBTORCH: &str = {libtorch:?};\n\
         /// The FFmpeg libraries that this was built against.\n\
         pub const FFMPEG: &str = {ffmpeg:?};\n"
    );
    let out = PathBuf::from(variable("OUT_DIR")).join("code.rs");
    std::fs::write(&out, generated).expect("OUT_DIR is writable");
}

fn toolchain() -> Toolchain {
    let output = Command::new(variable("RUSTC")).arg("-vV").output();
    let output = output.expect("the compiler that cargo names can be started");
    Toolchain {
        compiler: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        target: variable("TARGET"),
        features: std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default(),
        optimisation: variable("OPT_LEVEL"),
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

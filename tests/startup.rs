//! The command starts without libtorch and FFmpeg, and works with none but the library of its own build.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::path::{Path, PathBuf};
use std::process::Command;

use bench::{Bench, TINY};

/// The libraries of the stages, with libtorch and without.
const LIBRARIES: [&str; 2] = ["libfedact_work.so", "libfedact_media.so"];

/// The shared libraries that the dynamic linker would load for the command.
fn needed() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_fedact"))
        .arg("--help")
        .env("LD_TRACE_LOADED_OBJECTS", "1")
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_command_needs_neither_libtorch_nor_ffmpeg_to_start() {
    let needed = needed();
    assert!(needed.contains("libc.so"), "{needed}");
    for library in [
        "torch", "c10", "gomp", "dnnl", "avcodec", "avformat", "avutil", "swscale",
    ] {
        // With what their files begin with: the addresses beside them have any three digits.
        let file = format!("lib{library}");
        assert!(!needed.contains(&file), "{library}:\n{needed}");
    }
}

#[test]
fn the_library_of_the_stages_that_need_ffmpeg_loads_no_libtorch() {
    let built = Path::new(env!("CARGO_BIN_EXE_fedact")).parent().unwrap();
    let output = Command::new("ldd")
        .arg(built.join("deps/libfedact_media.so"))
        .output()
        .unwrap();
    let needed = String::from_utf8(output.stdout).unwrap();
    assert!(needed.contains("avcodec"), "{needed}");
    assert!(
        !needed.contains("libtorch") && !needed.contains("libc10") && !needed.contains("libdnnl"),
        "{needed}"
    );
}

/// A copy of the command in a folder of its own, where it finds no library but the one put there.
fn lonely_command(bench: &Bench) -> PathBuf {
    let command = bench.path("fedact");
    std::fs::copy(env!("CARGO_BIN_EXE_fedact"), &command).unwrap();
    command
}

/// What the copy says when it shall make videos; where it succeeds, an empty text.
fn refusal(bench: &Bench, command: &Path) -> String {
    bench.write(&format!(
        "version: 1\nsteps:\n  videos: {{stage: synthesize, params: {TINY}}}\n"
    ));
    let output = Command::new(command)
        .arg("run")
        .current_dir(bench.path(""))
        .output()
        .unwrap();
    if output.status.success() {
        return String::new();
    }
    assert_eq!(output.status.code(), Some(1));
    assert!(!bench.path("artifacts/videos").exists());
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn without_its_library_the_command_says_where_it_looked_and_what_to_do() {
    let bench = Bench::new("");
    let refusal = refusal(&bench, &lonely_command(&bench));
    assert!(refusal.contains("libfedact_work.so"), "{refusal}");
    assert!(refusal.contains("cargo build"), "{refusal}");
}

#[test]
fn a_library_of_other_code_makes_nothing() {
    let bench = Bench::new("");
    let command = lonely_command(&bench);
    let source = bench.path("other.c");
    std::fs::write(
        &source,
        "const char *fedact_work_code(void) { return \"0123\"; }\n\
         int fedact_work_serve(void) { return 0; }\n",
    )
    .unwrap();
    for library in LIBRARIES {
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(bench.path(library))
            .arg(&source)
            .status()
            .unwrap();
        assert!(compiled.success());
    }
    let refusal = refusal(&bench, &command);
    assert!(refusal.contains("was built from other code"), "{refusal}");
    assert!(refusal.contains("cargo build"), "{refusal}");
}

#[test]
fn a_library_that_cannot_be_loaded_is_named() {
    let bench = Bench::new("");
    let command = lonely_command(&bench);
    for library in LIBRARIES {
        std::fs::write(bench.path(library), "no library").unwrap();
    }
    let refusal = refusal(&bench, &command);
    assert!(refusal.contains("cannot load"), "{refusal}");
}

#[test]
fn an_installed_command_finds_its_library_in_the_folder_beside() {
    let bench = Bench::new("");
    for folder in ["bin", "lib"] {
        std::fs::create_dir(bench.path(folder)).unwrap();
    }
    let command = bench.path("bin/fedact");
    std::fs::copy(env!("CARGO_BIN_EXE_fedact"), &command).unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_fedact")).parent().unwrap();
    for library in LIBRARIES {
        let place = bench.path("lib").join(library);
        std::os::unix::fs::symlink(built.join("deps").join(library), place).unwrap();
    }
    assert_eq!(refusal(&bench, &command), "");
    assert!(bench.path("artifacts/videos").exists());
}

/// Writes down in whose environment it is loaded; in the place of the allocator.
const WITNESS: &str = "#include <stdio.h>\n#include <stdlib.h>\n\
    __attribute__((constructor)) static void loaded(void) {\n\
        FILE *file = fopen(getenv(\"WITNESS\"), \"a\");\n\
        if (file) { fprintf(file, \"%s\\n\", getenv(\"MIMALLOC_PURGE_DELAY\")); fclose(file); }\n\
    }\n";

#[test]
fn steps_with_libtorch_have_their_memory_from_the_allocator_beside_the_command() {
    let bench = Bench::new("");
    let command = lonely_command(&bench);
    let built = Path::new(env!("CARGO_BIN_EXE_fedact")).parent().unwrap();
    for library in LIBRARIES {
        let place = bench.path(library);
        std::os::unix::fs::symlink(built.join("deps").join(library), place).unwrap();
    }
    let source = bench.path("witness.c");
    std::fs::write(&source, WITNESS).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(bench.path("libfedact_memory.so"))
        .arg(&source)
        .status()
        .unwrap();
    assert!(compiled.success());
    bench.write(&format!(
        "version: 1\nsteps:\n  videos: {{stage: synthesize, params: {TINY}}}\n  \
         clips: {{stage: extract, inputs: {{videos: videos}}, params: {{frames: 4, size: 16, resize: 16}}}}\n  \
         student: {{stage: distill, inputs: {{clips: clips}}, params: {{model: {{depth: 10, width: 2}}, batch_size: 2, epochs: 1, warmup_epochs: 0}}}}\n"
    ));
    let witness = bench.path("witness.txt");
    let run = |target: &str, environment: &[(&str, &str)]| {
        let output = Command::new(&command)
            .args(["run", target, "--force", target])
            .current_dir(bench.path(""))
            .env("WITNESS", &witness)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let seen = std::fs::read_to_string(&witness).unwrap_or_default();
        let _ = std::fs::remove_file(&witness);
        seen
    };
    // Decoders run under a limit of memory that an allocator which reserves ahead would spend.
    assert_eq!(run("clips", &[]), "");
    assert_eq!(run("student", &[]), "-1\n");
    assert_eq!(run("student", &[("MIMALLOC_PURGE_DELAY", "5")]), "5\n");
    // Whoever preloads something of their own keeps it.
    assert_eq!(run("student", &[("LD_PRELOAD", "libm.so.6")]), "");
}

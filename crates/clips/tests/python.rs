//! The lines of Python in the README, run where Python has what they need.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[allow(dead_code)]
mod kit;

use std::path::Path;
use std::process::Command;

use fedact_clips::ClipSet;
use kit::{dataset, jpeg_dataset, write_scenes};

/// The program of `FEDACT_PYTHON`, else `python3`, if it has these modules.
fn python(modules: &str) -> Option<String> {
    let program = std::env::var("FEDACT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&program)
        .args(["-c", &format!("import {modules}")])
        .output();
    let there = import.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("SKIPPED: `{program}` has no {modules}; set FEDACT_PYTHON to one that has");
    }
    there.then_some(program)
}

/// The README's block of Python that contains these words.
fn block(words: &str) -> &'static str {
    let readme = include_str!("../README.md");
    let mut blocks = readme.split("```python\n").skip(1);
    let block = blocks.find_map(|rest| {
        let block = rest.split("```").next().unwrap();
        block.contains(words).then_some(block)
    });
    block.unwrap_or_else(|| panic!("the README has no Python with `{words}`"))
}

/// What a program prints in a folder.
fn run(program: &str, folder: &Path, script: &str) -> String {
    let output = Command::new(program)
        .args(["-c", script])
        .current_dir(folder)
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn raw_clips_are_the_same_in_python() {
    let Some(python) = python("numpy, safetensors.numpy") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    write_scenes(folder.path(), &dataset(), usize::MAX);
    let script = format!(
        "{}\nfor clip in index: print(clip['label'], *clips[clip['row']].flatten())",
        block("[\"clips\"]")
    );
    let printed = run(&python, folder.path(), &script);
    let set = ClipSet::open(folder.path()).unwrap();
    let mut room = Vec::new();
    let mut lines = printed.lines();
    for clip in 0..set.len() {
        let mut expected = set.label(clip).to_string();
        for value in set.pixels(clip, &mut room).unwrap() {
            expected.push_str(&format!(" {value}"));
        }
        assert_eq!(lines.next(), Some(expected.as_str()), "clip {clip}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn jpeg_clips_look_the_same_in_python() {
    let Some(python) = python("numpy, safetensors.numpy, PIL.Image") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    write_scenes(folder.path(), &jpeg_dataset(90), usize::MAX);
    let script = format!(
        "{}\nfor row in range(7): print(*pixels(row).flatten())",
        block("Image.open")
    );
    let printed = run(&python, folder.path(), &script);
    let set = ClipSet::open(folder.path()).unwrap();
    let mut room = Vec::new();
    assert_eq!(printed.lines().count(), set.len());
    for (clip, line) in printed.lines().enumerate() {
        let found: Vec<u8> = line
            .split(' ')
            .map(|value| value.parse().unwrap())
            .collect();
        let expected = set.pixels(clip, &mut room).unwrap();
        assert_eq!(found.len(), expected.len());
        // Another decoder rounds otherwise and blends colours otherwise, and shows the same picture.
        let off: u64 = found
            .iter()
            .zip(expected)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        let mean = off as f64 / found.len() as f64;
        assert!(mean < 2.0, "clip {clip} is off by {mean} on average");
    }
}

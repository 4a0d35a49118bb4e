//! The workflow of this repository and the page about CI: what they call is there.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code)]
mod bench;

use std::collections::BTreeSet;

use bench::Bench;
use serde_yaml::Value;

const WORKFLOW: &str = include_str!("../.github/workflows/ci.yml");
const PAGE: &str = include_str!("../docs/ci.md");

/// The blocks of a page whose opening fence has this word behind it.
fn blocks(page: &str, word: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, String)> = None;
    for line in page.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(found)) => open = Some((found == word, String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take().filter(|(meant, _)| *meant)),
            (Some((_, text)), None) => text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    blocks.into_iter().map(|(_, text)| text).collect()
}

/// Each call of the command in a text, as its words.
fn calls(text: &str) -> Vec<Vec<&str>> {
    let commands = text.split(['\n', ';', '|']).map(str::trim_start);
    commands
        .filter_map(|command| {
            let at = ["fedact ", "target/debug/fedact "]
                .iter()
                .find_map(|name| {
                    let from = command.find(name)?;
                    let begins = from == 0 || command[..from].ends_with([' ', '/']);
                    begins.then_some(from + name.len())
                })?;
            Some(command[at..].split_whitespace().collect())
        })
        .collect()
}

/// Every call must be one that the command understands: the words of its subcommand, and its options.
fn check(text: &str) -> usize {
    let bench = Bench::new("");
    let calls = calls(text);
    for call in &calls {
        let words = call
            .iter()
            .take_while(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
        let words: Vec<&str> = words.copied().collect();
        let help = bench.fedact(&[&words[..1], &["--help"]].concat());
        assert_eq!(help.code, 0, "{call:?}: {help:#?}");
        for option in call.iter().filter(|word| word.starts_with("--")) {
            assert!(help.stdout.contains(*option), "{call:?}: {help:#?}");
        }
    }
    calls.len()
}

#[test]
fn the_workflow_calls_what_there_is_and_saves_on_main_alone() {
    let workflow: Value = serde_yaml::from_str(WORKFLOW).unwrap();
    let steps = workflow["jobs"]["check"]["steps"].as_sequence().unwrap();
    let runs = steps.iter().filter_map(|step| step["run"].as_str());
    let text = runs.collect::<Vec<_>>().join("\n");
    assert_eq!(check(&text), 3, "import, run, export");
    for file in text
        .split_whitespace()
        .filter(|word| word.starts_with(".ci/"))
    {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        assert!(path.is_file(), "{file}");
    }
    // What is restored, and under which keys, is what is saved.
    let of = |action: &str| -> Vec<&Value> {
        let uses = |step: &&Value| {
            step["uses"]
                .as_str()
                .is_some_and(|uses| uses.starts_with(action))
        };
        steps.iter().filter(uses).collect()
    };
    let paths = |steps: &[&Value]| -> BTreeSet<String> {
        let path = |step: &&Value| step["with"]["path"].as_str().unwrap().to_owned();
        steps.iter().map(path).collect()
    };
    let (restored, saved) = (of("actions/cache/restore@"), of("actions/cache/save@"));
    assert_eq!(paths(&restored), paths(&saved));
    assert!(of("actions/cache@").is_empty(), "saves for everybody");
    for step in saved {
        let only = step["if"].as_str().unwrap();
        assert!(
            only.starts_with("github.ref == 'refs/heads/main'"),
            "{only}"
        );
    }
    // A pull request of a stranger has the rights of a stranger.
    assert!(!WORKFLOW.contains("pull_request_target"));
    assert_eq!(workflow["permissions"]["contents"], "read");
}

#[test]
fn the_page_shows_commands_that_there_are_and_yaml_that_is_yaml() {
    let yaml = blocks(PAGE, "yaml");
    assert_eq!(yaml.len(), 4);
    for block in &yaml {
        serde_yaml::from_str::<Value>(block).unwrap();
    }
    let shell = blocks(PAGE, "").join("\n");
    let found = check(&format!("{}\n{shell}", yaml.join("\n")));
    assert!(found >= 8, "{found}");
}

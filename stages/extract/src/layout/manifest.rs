//! A manifest of one's own: `manifest.csv` or `manifest.jsonl` in the folder of videos, or the file that the
//! param `manifest` names. Paths are relative to the folder of videos.
//!
//! | column | meaning |
//! | --- | --- |
//! | `path` | the video |
//! | `label` | its class |
//! | `start`, `end` | seconds that are meant, counted from the start of the video; all where empty |
//! | `split` | `train`, `val` or `test`, in every line or in none |
//! | `group` | the person or recording |

use std::path::{Component, Path};

use serde::Deserialize;

use super::files::{Lists, name_of};
use super::listing::{Entry, Listing, Side, Wanted};
use super::table::{Row, Table, seconds};
use super::text::{fault, lines, read as read_text};
use crate::error::ExtractError;
use crate::part::Part;

const NAMES: [&str; 2] = ["manifest.csv", "manifest.jsonl"];

const COLUMNS: [&str; 6] = ["path", "label", "start", "end", "split", "group"];

fn found(lists: &Lists) -> Vec<&Path> {
    lists
        .files
        .iter()
        .filter(|path| {
            path.parent() == Some(&lists.root) && NAMES.contains(&name_of(path).as_str())
        })
        .map(|path| path.as_path())
        .collect()
}

pub(super) fn recognised(lists: &Lists) -> bool {
    !found(lists).is_empty()
}

pub(super) fn read(lists: &Lists, named: Option<&str>) -> Result<Listing, ExtractError> {
    let path = match (named, &found(lists)[..]) {
        (Some(name), _) => lists.root.join(name),
        (None, [one]) => (*one).to_owned(),
        (None, []) => {
            return Err(ExtractError::NoLists {
                layout: "manifest",
                expected: NAMES.join(" or "),
                path: lists.root.clone(),
            });
        }
        (None, _) => {
            return Err(ExtractError::SeveralLayouts {
                path: lists.root.clone(),
                layouts: NAMES.to_vec(),
            });
        }
    };
    let mut listing = Listing {
        lists: vec![path.clone()],
        own: true,
        ..Listing::default()
    };
    if name_of(&path).ends_with(".jsonl") {
        let text = read_text(&path)?;
        for (line, text) in lines(&text) {
            listing
                .entries
                .push(from_json(&path, line, text)?.entry(&path, line)?);
        }
    } else {
        let mut table = Table::open(&path)?;
        check_columns(&path, &table)?;
        while let Some(row) = table.next_row()? {
            listing
                .entries
                .push(from_row(&row)?.entry(&path, row.line)?);
        }
    }
    all_or_none(&path, &listing.entries)?;
    listing.sort_classes();
    Ok(listing)
}

/// A line, from either format.
struct Line {
    path: String,
    label: String,
    start: Option<f64>,
    end: Option<f64>,
    split: Option<String>,
    group: Option<String>,
}

fn check_columns(path: &Path, table: &Table) -> Result<(), ExtractError> {
    let unknown = table
        .columns()
        .iter()
        .find(|column| !COLUMNS.contains(&column.as_str()));
    if let Some(column) = unknown {
        return Err(fault(
            path,
            1,
            format!("the column `{column}` is not known"),
            &format!("rename or remove it; known are {}", COLUMNS.join(", ")),
        ));
    }
    for column in ["path", "label"] {
        if !table.has(column) {
            return Err(fault(
                path,
                1,
                format!("the header has no column `{column}`"),
                "begin the file with a line `path,label`, and more columns where wanted",
            ));
        }
    }
    Ok(())
}

fn from_row(row: &Row<'_>) -> Result<Line, ExtractError> {
    let text = |column| row.get(column).map(str::to_owned);
    Ok(Line {
        path: row.required("path")?.to_owned(),
        label: row.required("label")?.to_owned(),
        start: seconds(row, "start")?,
        end: seconds(row, "end")?,
        split: text("split"),
        group: text("group"),
    })
}

/// Text, or a number that stands for itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Text(String),
    Number(serde_json::Number),
}

impl Text {
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLine {
    path: String,
    label: Text,
    start: Option<f64>,
    end: Option<f64>,
    split: Option<String>,
    group: Option<Text>,
}

fn from_json(path: &Path, line: usize, text: &str) -> Result<Line, ExtractError> {
    let parsed: JsonLine = serde_json::from_str(text).map_err(|error| {
        // Of the place in the text only the column says anything: the line is always the first.
        let message = error.to_string();
        let message = message.replace(" at line 1 column ", " at column ");
        fault(
            path,
            line,
            message,
            &format!(
                "write a JSON object with `path` and `label` on each line; known are {}",
                COLUMNS.join(", ")
            ),
        )
    })?;
    Ok(Line {
        path: parsed.path,
        label: parsed.label.into_text(),
        start: parsed.start,
        end: parsed.end,
        split: parsed.split,
        group: parsed.group.map(Text::into_text),
    })
}

impl Line {
    fn entry(self, list: &Path, line: usize) -> Result<Entry, ExtractError> {
        let refuse = |text: String, remedy: &str| Err(fault(list, line, text, remedy));
        for (key, value) in [("path", &self.path), ("label", &self.label)] {
            if value.trim().is_empty() {
                return refuse(
                    format!("`{key}` is empty"),
                    "fill it in, or remove the line",
                );
            }
        }
        let Some(path) = inside(&self.path) else {
            return refuse(
                format!("`{}` leads out of the folder of videos", self.path),
                "put the videos, or a link to them, into the folder of the input `videos`, and write paths relative to it: only what lies there is part of what a result depends on",
            );
        };
        if let Some(time) = [self.start, self.end]
            .into_iter()
            .flatten()
            .find(|time| *time < 0.0)
        {
            return refuse(
                format!("{time} is before the start of the video"),
                "write seconds from the start of the video, as in 12.5",
            );
        }
        let start = self.start.unwrap_or(0.0);
        if let Some(end) = self.end.filter(|end| *end <= start) {
            return refuse(
                format!("`end` is {end}, which is not after `start`, {start}"),
                "correct the two times: seconds from the start of the video",
            );
        }
        let part =
            (self.start.is_some() || self.end.is_some()).then(|| Part::seconds(start, self.end));
        let split = self.split.filter(|split| !split.is_empty());
        let side = match &split {
            None => None,
            Some(word) => match Side::parse(word) {
                Some(side) => Some(side),
                None => {
                    return refuse(format!("`split` is `{word}`"), "write train, val or test");
                }
            },
        };
        Ok(Entry {
            name: path.clone(),
            class: self.label,
            side,
            wanted: vec![Wanted::Path(path, part)],
            group: self.group.filter(|group| !group.is_empty()),
            list: 0,
            line,
        })
    }
}

/// A path within the folder, without `.`; `None` if it leads out of it.
fn inside(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir => {}
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Refuses a manifest in which some lines have a split and some have none.
fn all_or_none(path: &Path, entries: &[Entry]) -> Result<(), ExtractError> {
    let (with, without): (Vec<&Entry>, Vec<&Entry>) =
        entries.iter().partition(|entry| entry.side.is_some());
    match (with.first(), without.first()) {
        (Some(with), Some(without)) => Err(fault(
            path,
            without.line,
            format!("it has no split, but line {} has one", with.line),
            "give every line train, val or test, or none of them, so that groups decide",
        )),
        (None, None) => Err(fault(
            path,
            1,
            "it names no video".to_owned(),
            "add a line for each video, with its path and its label",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_folder() {
        for (path, expected) in [
            ("a/b.mp4", Some("a/b.mp4")),
            ("./a//b.mp4", Some("a/b.mp4")),
            ("a/../b.mp4", Some("b.mp4")),
            ("../b.mp4", None),
            ("a/../../b.mp4", None),
            ("/b.mp4", None),
            (".", None),
        ] {
            assert_eq!(inside(path).as_deref(), expected, "{path}");
        }
    }
}

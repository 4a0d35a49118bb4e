//! Something-Something v2 (Goyal et al. 2017): `labels.json` numbers the classes, `train.json` and
//! `validation.json` are arrays of videos with an `id` and a `template`, the class with its placeholders in
//! brackets. The names may have a prefix (`something-something-v2-labels.json`). The test list has no
//! classes and is not read.
//!
//! A video is `<id>.webm`, or whatever extension it has after a conversion.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use super::files::{Lists, name_of};
use super::listing::{Entry, Listing, Side, Wanted};
use super::text::{fault, read as read_text};
use crate::error::ExtractError;

const LABELS: &str = "labels.json";

/// A number that is written as text, or as what it is.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Text(String),
    Plain(u64),
}

impl Number {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Plain(number) => number.to_string(),
        }
    }
}

/// A video of a list; other keys (`label`, `placeholders`) say what the somethings are.
#[derive(Deserialize)]
struct Item {
    id: Number,
    template: String,
}

/// The lists of labels, of training and of validation, in one folder.
fn found(lists: &Lists) -> Option<[&Path; 3]> {
    lists
        .named(|name| name.ends_with(LABELS))
        .into_iter()
        .find_map(|labels| {
            let name = name_of(labels);
            let prefix = &name[..name.len() - LABELS.len()];
            Some([
                labels,
                lists.beside(labels, &format!("{prefix}train.json"))?,
                lists.beside(labels, &format!("{prefix}validation.json"))?,
            ])
        })
}

pub(super) fn recognised(lists: &Lists) -> bool {
    found(lists).is_some()
}

pub(super) fn read(lists: &Lists) -> Result<Listing, ExtractError> {
    let [labels, train, validation] = found(lists).ok_or_else(|| ExtractError::NoLists {
        layout: "something-something",
        expected: "files that end with labels.json, train.json and validation.json".to_owned(),
        path: lists.root.clone(),
    })?;
    let classes = classes(labels)?;
    let known: BTreeSet<&str> = classes.iter().map(String::as_str).collect();
    let mut listing = Listing::default();
    for (path, side) in [(train, Side::Train), (validation, Side::Validation)] {
        listing.lists.push(path.to_owned());
        let list = listing.lists.len() - 1;
        let items: Vec<Item> = parsed(path)?;
        for (index, item) in items.into_iter().enumerate() {
            let id = item.id.text();
            let class = item.template.replace(['[', ']'], "");
            if !known.contains(class.as_str()) {
                return Err(ExtractError::BadList {
                    path: path.to_owned(),
                    place: format!("entry {}, id {id}", index + 1),
                    fault: format!("the class `{class}` is not in {}", labels.display()),
                    remedy: "correct the template, or add the class to the file of labels"
                        .to_owned(),
                });
            }
            listing.entries.push(Entry {
                name: format!("{id}.webm"),
                class,
                side: Some(side),
                wanted: vec![Wanted::Stem(id, None)],
                group: None,
                list,
                line: index + 1,
            });
        }
    }
    listing.classes = classes;
    Ok(listing)
}

/// The classes by their numbers.
fn classes(path: &Path) -> Result<Vec<String>, ExtractError> {
    let numbers: BTreeMap<String, Number> = parsed(path)?;
    let mut classes = Vec::new();
    for (class, number) in numbers {
        let text = number.text();
        let number: u64 = text.parse().map_err(|_| ExtractError::BadList {
            path: path.to_owned(),
            place: format!("class `{class}`"),
            fault: format!("`{text}` is not a number"),
            remedy: "number the classes from 0".to_owned(),
        })?;
        classes.push((number, class));
    }
    classes.sort();
    Ok(classes.into_iter().map(|(_, class)| class).collect())
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ExtractError> {
    serde_json::from_str(&read_text(path)?).map_err(|error| {
        fault(
            path,
            error.line(),
            format!("it is not a list of Something-Something ({error})"),
            "take the published file, in which a video has at least `id` and `template`",
        )
    })
}

//! UCF101 (Soomro et al. 2012): `classInd.txt` numbers the classes from 1, `trainlist0N.txt` and
//! `testlist0N.txt` are the three official splits. A line of a list is `Class/video.avi`, in train lists
//! followed by the number of the class.
//!
//! The archive unpacks into `UCF-101/<Class>/`, the lists into `ucfTrainTestlist/`; videos are found by their
//! names, wherever they lie and whatever their extension.

use std::collections::BTreeMap;
use std::path::Path;

use super::files::{Lists, name_of};
use super::listing::{Entry, Listing, Side, Wanted};
use super::text::{fault, file_name, lines, read as read_text, stem};
use crate::error::ExtractError;

const CLASSES: &str = "classInd.txt";

fn list_name(side: &str, number: u32) -> String {
    format!("{side}list{number:02}.txt")
}

/// Whether a file is one of the lists.
pub(super) fn is_list(name: &str) -> bool {
    (1..=3).any(|number| name == list_name("train", number))
}

pub(super) fn recognised(lists: &Lists) -> bool {
    lists.files.iter().any(|path| is_list(&name_of(path)))
}

pub(super) fn read(lists: &Lists, number: u32) -> Result<Listing, ExtractError> {
    let [train, test] = ["train", "test"].map(|side| list_name(side, number));
    let none = || ExtractError::NoLists {
        layout: "ucf101",
        expected: format!("{train} and {test}"),
        path: lists.root.clone(),
    };
    let found = lists.named(|name| name == train);
    let train = *found.first().ok_or_else(none)?;
    let test = lists.beside(train, &test).ok_or_else(none)?;
    let mut listing = Listing::default();
    let mut numbers = BTreeMap::new();
    if let Some(path) = lists.beside(train, CLASSES) {
        listing.classes = classes(path)?;
        for (index, class) in listing.classes.iter().enumerate() {
            numbers.insert(class.clone(), index + 1);
        }
    }
    for (path, side) in [(train, Side::Train), (test, Side::Test)] {
        listing.lists.push(path.to_owned());
        let list = listing.lists.len() - 1;
        let text = read_text(path)?;
        for (line, text) in lines(&text) {
            let entry = entry(path, line, text, side, list, &numbers)?;
            listing.entries.push(entry);
        }
    }
    if listing.classes.is_empty() {
        listing.sort_classes();
    }
    Ok(listing)
}

/// The names in `classInd.txt`, whose numbers must count from 1.
fn classes(path: &Path) -> Result<Vec<String>, ExtractError> {
    let text = read_text(path)?;
    let mut classes = Vec::new();
    for (line, text) in lines(&text) {
        let parsed = text
            .split_once(char::is_whitespace)
            .map(|(number, name)| (number.parse::<usize>(), name.trim()));
        match parsed {
            Some((Ok(number), name)) if number == classes.len() + 1 => {
                classes.push(name.to_owned());
            }
            _ => {
                let expected = classes.len() + 1;
                return Err(fault(
                    path,
                    line,
                    format!("`{text}` is not `{expected} ClassName`"),
                    "number the classes from 1, one a line",
                ));
            }
        }
    }
    Ok(classes)
}

fn entry(
    path: &Path,
    line: usize,
    text: &str,
    side: Side,
    list: usize,
    numbers: &BTreeMap<String, usize>,
) -> Result<Entry, ExtractError> {
    let (name, number) = match text.rsplit_once(char::is_whitespace) {
        Some((name, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name.trim_end(), number.parse::<usize>().ok())
        }
        _ => (text, None),
    };
    let Some((class, _)) = name.split_once('/').filter(|(class, _)| !class.is_empty()) else {
        return Err(fault(
            path,
            line,
            format!("`{text}` is not of the form Class/video.avi"),
            "correct the list, or set `layout: folders`",
        ));
    };
    let known = numbers.get(class).copied();
    if !numbers.is_empty() && (known.is_none() || number.is_some() && number != known) {
        let fault_text = match (known, number) {
            (Some(known), Some(number)) => {
                format!("`{class}` has the number {number}, but {CLASSES} says {known}")
            }
            _ => format!("the class `{class}` is not in {CLASSES}"),
        };
        return Err(fault(
            path,
            line,
            fault_text,
            "correct the list or the file of classes",
        ));
    }
    Ok(Entry {
        name: name.to_owned(),
        class: class.to_owned(),
        side: Some(side),
        wanted: vec![Wanted::Stem(stem(file_name(name)).to_owned(), None)],
        group: None,
        list,
        line,
    })
}

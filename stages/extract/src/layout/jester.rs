//! Jester (Materzynska et al. 2019) as published: `*-labels.csv` with a class a line, `*-train.csv` and
//! `*-validation.csv` with lines `id;class`. The test list has no classes and is not read. Something-Something
//! v1 has lists of the same form.
//!
//! A video is `<id>.<ext>`, or a folder `<id>/` of numbered pictures.

use std::collections::BTreeSet;
use std::path::Path;

use super::files::Lists;
use super::listing::{Entry, Listing, Side, Wanted};
use super::table::Records;
use super::text::{fault, lines, read as read_text};
use crate::error::ExtractError;

const LABELS: &str = "labels.csv";

/// The lists of labels, of training and of validation, in one folder.
fn found(lists: &Lists) -> Option<[&Path; 3]> {
    lists
        .named(|name| name.ends_with(LABELS))
        .into_iter()
        .find_map(|labels| {
            let name = super::files::name_of(labels);
            let prefix = &name[..name.len() - LABELS.len()];
            Some([
                labels,
                lists.beside(labels, &format!("{prefix}train.csv"))?,
                lists.beside(labels, &format!("{prefix}validation.csv"))?,
            ])
        })
}

pub(super) fn recognised(lists: &Lists) -> bool {
    found(lists).is_some()
}

pub(super) fn read(lists: &Lists) -> Result<Listing, ExtractError> {
    let [labels, train, validation] = found(lists).ok_or_else(|| ExtractError::NoLists {
        layout: "jester",
        expected: "files that end with labels.csv, train.csv and validation.csv".to_owned(),
        path: lists.root.clone(),
    })?;
    let classes: Vec<String> = lines(&read_text(labels)?)
        .map(|(_, class)| class.to_owned())
        .collect();
    let mut listing = Listing::default();
    let known: BTreeSet<&str> = classes.iter().map(String::as_str).collect();
    for (path, side) in [(train, Side::Train), (validation, Side::Validation)] {
        listing.lists.push(path.to_owned());
        let list = listing.lists.len() - 1;
        let mut records = Records::open(path, b';')?;
        while let Some(line) = records.advance()? {
            let record = records.record();
            let (Some(id), Some(class), None) = (record.get(0), record.get(1), record.get(2))
            else {
                let text = record.iter().collect::<Vec<_>>().join(";");
                return Err(fault(
                    path,
                    line,
                    format!("`{text}` is not of the form id;class"),
                    "correct the list",
                ));
            };
            if !known.contains(class) {
                return Err(fault(
                    path,
                    line,
                    format!("the class `{class}` is not in {}", labels.display()),
                    "correct the class, or add it to the file of labels",
                ));
            }
            listing.entries.push(Entry {
                name: id.to_owned(),
                class: class.to_owned(),
                side: Some(side),
                wanted: vec![Wanted::Stem(id.to_owned(), None)],
                group: None,
                list,
                line,
            });
        }
    }
    listing.classes = classes;
    Ok(listing)
}

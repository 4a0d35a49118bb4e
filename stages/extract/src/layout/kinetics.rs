//! Kinetics (Kay et al. 2017; 400, 600, 700): csv files with the columns `label`, `youtube_id`, `time_start`,
//! `time_end` (seconds) and `split`, or without `split` where the file's name says it (`train.csv`, `val.csv`,
//! `kinetics_600_validate.csv`). Other columns are passed over, and so are rows without a label.
//!
//! Tools that fetch the videos name them `<id>_000010_000020.<ext>` or `<id>.<ext>`, in class folders, folders of
//! the split or one flat folder. Of a file without times in its name only the seconds of the list are
//! meant, unless it is no longer than they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::{Lists, name_of};
use super::listing::{Entry, Listing, Side, Wanted};
use super::table::{Row, Table, seconds};
use super::text::{fault, stem};
use crate::error::ExtractError;
use crate::part::Part;

/// The columns by which such a list is told.
const SIGNS: [&str; 3] = ["youtube_id", "time_start", "time_end"];

fn is_list(path: &Path) -> bool {
    name_of(path).to_lowercase().ends_with(".csv")
        && Table::open(path).is_ok_and(|table| SIGNS.iter().all(|sign| table.has(sign)))
}

pub(super) fn recognised(lists: &Lists) -> bool {
    lists.files.iter().any(|path| is_list(path))
}

pub(super) fn read(lists: &Lists) -> Result<Listing, ExtractError> {
    let found: Vec<&PathBuf> = lists.files.iter().filter(|path| is_list(path)).collect();
    if found.is_empty() {
        return Err(ExtractError::NoLists {
            layout: "kinetics",
            expected:
                "a csv file with the columns label, youtube_id, time_start, time_end and split"
                    .to_owned(),
            path: lists.root.clone(),
        });
    }
    let mut listing = Listing::default();
    for path in found {
        listing.lists.push(path.clone());
        let list = listing.lists.len() - 1;
        let side = side_of_file(path);
        let mut table = Table::open(path)?;
        while let Some(row) = table.next_row()? {
            if let Some(entry) = entry(&row, side, list)? {
                listing.entries.push(entry);
            }
        }
    }
    listing.sort_classes();
    Ok(listing)
}

/// `kinetics_600_val.csv` is a validation list.
fn side_of_file(path: &Path) -> Option<Side> {
    let name = name_of(path);
    let words: BTreeMap<_, _> = stem(&name)
        .split(|char: char| !char.is_ascii_alphabetic())
        .filter_map(|word| Some((word, side_of(word)?)))
        .collect();
    let mut sides = words.into_values();
    sides.next().filter(|_| sides.next().is_none())
}

fn side_of(word: &str) -> Option<Side> {
    // The videos that Kinetics-600 set aside for the test of later years.
    if word.eq_ignore_ascii_case("holdout") {
        return Some(Side::Spare);
    }
    Side::parse(word)
}

/// The video of a row; `None` where it has no label.
fn entry(row: &Row<'_>, of_file: Option<Side>, list: usize) -> Result<Option<Entry>, ExtractError> {
    let Some(class) = row.get("label") else {
        return Ok(None);
    };
    let id = row.required("youtube_id")?;
    let start = seconds(row, "time_start")?.unwrap_or(0.0);
    let Some(end) = seconds(row, "time_end")?.filter(|end| *end > start) else {
        let end = row.get("time_end").unwrap_or_default();
        return Err(fault(
            row.path,
            row.line,
            format!("`time_end` is `{end}`, which is not after `time_start`, {start}"),
            "correct the two times: seconds from the start of the video",
        ));
    };
    let side = match row.get("split") {
        Some(word) => side_of(word),
        None => of_file,
    };
    if side.is_none() {
        let fault_text = match row.get("split") {
            Some(word) => format!("the split is `{word}`, not train, val or test"),
            None => "it has no split, and the name of the file does not say it".to_owned(),
        };
        return Err(fault(
            row.path,
            row.line,
            fault_text,
            "give each row train, val or test in the column `split`, or name the file after it, as in train.csv",
        ));
    }
    let cut = format!("{id}_{start:06.0}_{end:06.0}");
    Ok(Some(Entry {
        name: format!("{class}/{cut}"),
        class: class.to_owned(),
        side,
        wanted: vec![
            Wanted::Stem(cut, None),
            Wanted::Stem(format!("{id}_{start:.0}_{end:.0}"), None),
            Wanted::Stem(id.to_owned(), Some(Part::unless_cut(start, end))),
        ],
        group: Some(id.to_owned()),
        list,
        line: row.line,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_says_its_split_where_one_word_of_it_does() {
        for (name, side) in [
            ("train.csv", Some(Side::Train)),
            ("kinetics_600_validate.csv", Some(Side::Validation)),
            ("kinetics400-val.csv", Some(Side::Validation)),
            ("k600_holdout.csv", Some(Side::Spare)),
            ("train_and_val.csv", None),
            ("kinetics.csv", None),
        ] {
            assert_eq!(side_of_file(Path::new(name)), side, "{name}");
        }
    }
}

//! HMDB51 (Kuehne et al. 2011): for each class and each of three splits a file `<class>_test_splitN.txt`,
//! whose lines are a video and 1 (train), 2 (test) or 0 (neither).
//!
//! The outer archive holds one archive a class, which unpacks into `<class>/`; the lists unpack into
//! `testTrainMulti_7030_splits/`. Names are unique, so that videos in one flat folder are found as well.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::files::{Lists, name_of};
use super::listing::{Entry, Listing, Side, Wanted};
use super::text::{fault, lines, read as read_text, stem};
use crate::error::ExtractError;

/// What a name says after its source and its class: visible body part, camera motion, number of persons,
/// direction, quality, and the number of the clip of that source.
static TAIL: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"_[a-z]+_(?:cm|nm)_np\d+_(?:fr|ba|le|ri)_(?:goo|med|bad)_\d+$").ok()
});

/// The recording that a video was cut from, by its name (without extension) and its class.
pub(crate) fn source<'a>(stem: &'a str, class: &str) -> Option<&'a str> {
    let tail = TAIL.as_ref()?.find(stem)?;
    let source = stem[..tail.start()]
        .strip_suffix(class)?
        .strip_suffix('_')?;
    (!source.is_empty()).then_some(source)
}

/// The class and the number of the split that a file's name says.
fn parse_name(name: &str) -> Option<(&str, u32)> {
    let (class, number) = name.strip_suffix(".txt")?.rsplit_once("_test_split")?;
    let number = number.parse().ok()?;
    ((1..=3).contains(&number) && !class.is_empty()).then_some((class, number))
}

/// Whether a file is one of the lists.
pub(super) fn is_list(name: &str) -> bool {
    parse_name(name).is_some()
}

pub(super) fn recognised(lists: &Lists) -> bool {
    lists.files.iter().any(|path| is_list(&name_of(path)))
}

pub(super) fn read(lists: &Lists, number: u32) -> Result<Listing, ExtractError> {
    let none = |expected: String| ExtractError::NoLists {
        layout: "hmdb51",
        expected,
        path: lists.root.clone(),
    };
    let mut listing = Listing::default();
    for path in &lists.files {
        let name = name_of(path);
        let Some((class, split)) = parse_name(&name) else {
            continue;
        };
        listing.classes.push(class.to_owned());
        if split == number {
            listing.lists.push(path.clone());
            let list = listing.lists.len() - 1;
            entries(path, class, list, &mut listing.entries)?;
        }
    }
    listing.classes.sort_unstable();
    listing.classes.dedup();
    if listing.classes.is_empty() {
        return Err(none(format!("files <class>_test_split{number}.txt")));
    }
    for class in &listing.classes {
        let wanted = format!("{class}_test_split{number}.txt");
        if !listing.lists.iter().any(|path| name_of(path) == wanted) {
            return Err(none(wanted));
        }
    }
    Ok(listing)
}

fn entries(
    path: &Path,
    class: &str,
    list: usize,
    entries: &mut Vec<Entry>,
) -> Result<(), ExtractError> {
    let text = read_text(path)?;
    for (line, text) in lines(&text) {
        let parsed = text.rsplit_once(char::is_whitespace);
        let side = match parsed {
            Some((_, "1")) => Side::Train,
            Some((_, "2")) => Side::Test,
            Some((_, "0")) => Side::Spare,
            _ => {
                return Err(fault(
                    path,
                    line,
                    format!("`{text}` is not a video followed by 0, 1 or 2"),
                    "correct the list: 1 is for training, 2 for testing, 0 for neither",
                ));
            }
        };
        let name = parsed.map_or(text, |(name, _)| name.trim_end());
        entries.push(Entry {
            name: format!("{class}/{name}"),
            class: class.to_owned(),
            side: Some(side),
            wanted: vec![Wanted::Stem(stem(name).to_owned(), None)],
            group: source(stem(name), class).map(str::to_owned),
            list,
            line,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_its_source() {
        for (name, class, expected) in [
            (
                "TrumanShow_wave_f_nm_np1_fr_med_26",
                "wave",
                Some("TrumanShow"),
            ),
            (
                "Brushing_Her_Hair__[_NEW_AUDIO_]_UPDATED!!!!_brush_hair_h_cm_np1_fr_goo_0",
                "brush_hair",
                Some("Brushing_Her_Hair__[_NEW_AUDIO_]_UPDATED!!!!"),
            ),
            (
                "metacafe_coolsoccer_run_f_cm_np10_le_bad_2",
                "run",
                Some("metacafe_coolsoccer"),
            ),
            ("TrumanShow_wave_f_nm_np1_fr_med_26", "walk", None),
            ("wave_f_nm_np1_fr_med_26", "wave", None),
            ("holiday_wave", "wave", None),
        ] {
            assert_eq!(source(name, class), expected, "{name}");
        }
    }

    #[test]
    fn names_of_lists_are_told_from_others() {
        assert_eq!(
            parse_name("climb_stairs_test_split3.txt"),
            Some(("climb_stairs", 3))
        );
        for other in [
            "climb_test_split4.txt",
            "climb_test_split.txt",
            "_test_split1.txt",
            "test_split1.txt",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }
}

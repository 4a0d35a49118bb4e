//! What lists say, and how the videos that they name are found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fedact_clips::{Problem, Reason, Split};
use fedact_extract_params::{ExtractParams, Layout, Validation};

use super::files::{Files, Match, name_of};
use super::text::fault;
use super::{Candidate, Found, selected};
use crate::error::ExtractError;
use crate::part::Part;

/// The part of a data set that a list says a video is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Train,
    Validation,
    Test,
    /// In the lists, and in none of the parts.
    Spare,
}

impl Side {
    /// By the words that lists and their file names use.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "train" | "training" => Self::Train,
            "val" | "valid" | "validate" | "validation" => Self::Validation,
            "test" | "testing" => Self::Test,
            _ => return None,
        })
    }
}

/// How a video is looked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Wanted {
    /// By its path within the folder.
    Path(String, Option<Part>),
    /// By its name without folders and extension.
    Stem(String, Option<Part>),
}

/// A video that a list names.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// What it is called in `problems.jsonl` where it is not found.
    pub(super) name: String,
    pub(super) class: String,
    /// `None` where the list leaves the split to groups.
    pub(super) side: Option<Side>,
    /// The files that would do, the best first.
    pub(super) wanted: Vec<Wanted>,
    pub(super) group: Option<String>,
    /// Index in [`Listing::lists`].
    pub(super) list: usize,
    /// Counted from 1.
    pub(super) line: usize,
}

/// What lists say.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) lists: Vec<PathBuf>,
    /// In the order of their labels.
    pub(super) classes: Vec<String>,
    pub(super) entries: Vec<Entry>,
    /// Whether the user wrote them and can be asked to mend them, unlike a published list.
    pub(super) own: bool,
}

impl Listing {
    /// Sets the classes to those of the entries, in alphabetical order.
    pub(super) fn sort_classes(&mut self) {
        self.classes = self
            .entries
            .iter()
            .map(|entry| entry.class.clone())
            .collect();
        self.classes.sort_unstable();
        self.classes.dedup();
    }

    fn place(&self, entry: &Entry) -> String {
        format!(
            "line {} of {}",
            entry.line,
            name_of(&self.lists[entry.list])
        )
    }
}

/// What becomes of each part of a data set.
fn assignment(
    listing: &Listing,
    layout: Layout,
    validation: Validation,
) -> impl Fn(Side) -> Option<Split> {
    let has = |side| listing.entries.iter().any(|entry| entry.side == Some(side));
    let measured = !has(Side::Test) || layout.measured_on_validation();
    let validation = match validation {
        Validation::Auto if has(Side::Validation) && measured => Validation::Test,
        Validation::Auto => Validation::LeaveOut,
        // Where there is no such list, nothing takes the place of the test list.
        _ if !has(Side::Validation) => Validation::LeaveOut,
        chosen => chosen,
    };
    move |side| match side {
        Side::Train => Some(Split::Train),
        Side::Validation => match validation {
            Validation::Test => Some(Split::Test),
            Validation::Train => Some(Split::Train),
            Validation::Auto | Validation::LeaveOut => None,
        },
        Side::Test => (validation != Validation::Test).then_some(Split::Test),
        Side::Spare => None,
    }
}

/// Finds the videos of a listing among the files of a folder.
pub(super) fn find(
    root: &Path,
    layout: Layout,
    listing: Listing,
    params: &ExtractParams,
) -> Result<Found, ExtractError> {
    let files = Files::of(root)?;
    let classes = selected(&listing.classes, params, root)?;
    let labels: BTreeMap<&str, usize> = classes
        .iter()
        .enumerate()
        .map(|(label, class)| (class.as_str(), label))
        .collect();
    let split_of = assignment(&listing, layout, params.validation);
    let by_groups = listing.entries.iter().all(|entry| entry.side.is_none());
    let mut gathered = Gathered::new(&listing, &files);
    let mut unused = 0;
    for entry in &listing.entries {
        let split = match entry.side {
            Some(side) => split_of(side),
            None => Some(Split::Train),
        };
        match (labels.get(entry.class.as_str()), split) {
            (Some(label), Some(split)) => gathered.add(entry, *label, split)?,
            (None, _) => gathered.pass_over(entry),
            (Some(_), None) => {
                unused += 1;
                gathered.pass_over(entry);
            }
        }
    }
    let (mut candidates, problems, unlisted) = gathered.finish();
    candidates.sort_by(|(a, _), (b, _)| {
        let order = |one: &Candidate| one.part.map_or((0.0, 0.0), |part| part.order());
        let (x, y) = (order(a), order(b));
        a.name
            .cmp(&b.name)
            .then(x.0.total_cmp(&y.0))
            .then(x.1.total_cmp(&y.1))
    });
    let (candidates, splits): (Vec<_>, Vec<_>) = candidates.into_iter().unzip();
    Ok(Found {
        layout,
        classes,
        candidates,
        official: (!by_groups).then_some(splits),
        problems,
        unlisted,
        unused,
    })
}

/// A file, and the part of it that is meant ([`Part::key`]).
type Meant = (usize, Option<[u8; 17]>);

/// The candidates that were found so far, and what was wrong with the lists.
struct Gathered<'a> {
    listing: &'a Listing,
    files: &'a Files,
    /// Which files a list names.
    named: Vec<bool>,
    /// Which entry a file or a part of it was first found by.
    taken: BTreeMap<Meant, (&'a Entry, Split)>,
    candidates: Vec<(Candidate, Split)>,
    problems: Vec<Problem>,
}

impl<'a> Gathered<'a> {
    fn new(listing: &'a Listing, files: &'a Files) -> Self {
        Self {
            listing,
            files,
            named: vec![false; files.files.len()],
            taken: BTreeMap::new(),
            candidates: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// The file of an entry, or how many could be meant.
    fn look_up(&mut self, entry: &Entry) -> Result<(usize, Option<Part>), usize> {
        let mut several = 0;
        for wanted in &entry.wanted {
            let (matched, part) = match wanted {
                Wanted::Path(path, part) => (
                    self.files.by_path(path).map_or(Match::None, Match::One),
                    part,
                ),
                Wanted::Stem(stem, part) => (self.files.by_stem(stem, &entry.class), part),
            };
            match matched {
                Match::One(file) => {
                    self.named[file] = true;
                    return Ok((file, *part));
                }
                Match::Several(count) => several = count,
                Match::None => {}
            }
        }
        Err(several)
    }

    /// An entry that is on neither side: what it names is listed nevertheless.
    fn pass_over(&mut self, entry: &Entry) {
        let _ = self.look_up(entry);
    }

    fn add(&mut self, entry: &'a Entry, label: usize, split: Split) -> Result<(), ExtractError> {
        let (file, part) = match self.look_up(entry) {
            Ok(found) => found,
            Err(several) => {
                self.problems.push(missing(self.listing, entry, several));
                return Ok(());
            }
        };
        let key = (file, part.map(|part| part.key()));
        if let Some(&(first, side)) = self.taken.get(&key) {
            return self.again(entry, split, first, side);
        }
        self.taken.insert(key, (entry, split));
        let file = &self.files.files[file];
        let candidate = Candidate {
            name: file.name.clone(),
            path: file.path.clone(),
            label,
            part,
            group: entry.group.clone(),
        };
        self.candidates.push((candidate, split));
        Ok(())
    }

    /// An entry that names what an earlier one named: the same again is no news, a contradiction is the
    /// user's to mend in a list of their own, and noted in a published one.
    fn again(
        &mut self,
        entry: &Entry,
        split: Split,
        first: &Entry,
        side: Split,
    ) -> Result<(), ExtractError> {
        if entry.class == first.class && split == side {
            return Ok(());
        }
        let contradiction = format!(
            "`{}` is named again as {} of `{}`; {} has it as {} of `{}`",
            entry.name,
            split.name(),
            entry.class,
            self.listing.place(first),
            side.name(),
            first.class,
        );
        if self.listing.own {
            let path = &self.listing.lists[entry.list];
            return Err(fault(
                path,
                entry.line,
                contradiction,
                "remove one of the two lines",
            ));
        }
        self.problems.push(Problem {
            path: entry.name.clone(),
            reason: Reason::Duplicate,
            message: format!("{}: {contradiction}", self.listing.place(entry)),
            ffmpeg: Vec::new(),
        });
        Ok(())
    }

    fn finish(self) -> (Vec<(Candidate, Split)>, Vec<Problem>, usize) {
        let unlisted = self.named.iter().filter(|named| !**named).count();
        (self.candidates, self.problems, unlisted)
    }
}

fn missing(listing: &Listing, entry: &Entry, several: usize) -> Problem {
    let place = listing.place(entry);
    Problem {
        path: entry.name.clone(),
        reason: Reason::Missing,
        message: match several {
            0 => format!("{place} names it, but it is not there"),
            count => format!(
                "{place} names it, but {count} files have that name and no single one of them lies in a folder `{}`",
                entry.class
            ),
        },
        ffmpeg: Vec::new(),
    }
}

//! What a clip set must have: videos of every class to train on and, unless all are trained on, of every class that measure.

use fedact_clips::Split;
use fedact_extract_params::ExtractParams;

use crate::error::ExtractError;
use crate::layout::{Candidate, Found};
use crate::problems::ProblemList;

/// The sides of the split that must not be empty.
pub(crate) fn sides(found: &Found, params: &ExtractParams) -> &'static [Split] {
    if found.official.is_none() && params.test_share == 0.0 {
        &[Split::Train]
    } else {
        &[Split::Train, Split::Test]
    }
}

/// Refuses classes that have fewer videos than there are sides; `list` says why others are not among them.
pub(crate) fn one_for_each(
    sides: &[Split],
    classes: &[String],
    labels: &[usize],
    list: Option<&ProblemList>,
) -> Result<(), ExtractError> {
    let mut counts = vec![0; classes.len()];
    for label in labels {
        counts[*label] += 1;
    }
    let few: Vec<(String, usize)> = classes
        .iter()
        .cloned()
        .zip(counts)
        .filter(|(_, count)| *count < sides.len())
        .collect();
    if few.is_empty() {
        return Ok(());
    }
    Err(ExtractError::TooFewVideos {
        classes: few,
        sides: sides.len(),
        list: list.map(ToString::to_string),
    })
}

/// Refuses classes that have nothing on one of these sides, counting the candidates that `counts`.
pub(crate) fn none_empty(
    sides: &[Split],
    found: &Found,
    splits: &[Split],
    groups: &[String],
    counts: impl Fn(usize) -> bool,
    reason: &str,
) -> Result<(), ExtractError> {
    let mut members = vec![[0usize; 2]; found.classes.len()];
    for (index, candidate) in found.candidates.iter().enumerate() {
        if counts(index) {
            members[candidate.label][side(splits[index])] += 1;
        }
    }
    for split in sides.iter().copied() {
        let empty: Vec<usize> = (0..members.len())
            .filter(|label| members[*label][side(split)] == 0)
            .collect();
        if empty.is_empty() {
            continue;
        }
        let (reason, remedy) = explained(found, groups, &empty, &counts, reason);
        let named = |labels: &[usize]| -> Vec<String> {
            labels
                .iter()
                .map(|label| found.classes[*label].clone())
                .collect()
        };
        let kept: Vec<usize> = (0..members.len())
            .filter(|label| sides.iter().all(|split| members[*label][side(*split)] > 0))
            .collect();
        return Err(ExtractError::EmptySplit {
            split: split.name(),
            classes: named(&empty),
            others: named(&kept),
            reason,
            remedy,
        });
    }
    Ok(())
}

fn side(split: Split) -> usize {
    usize::from(split == Split::Test)
}

/// Why classes have nothing on one side, and what to do about it other than leaving them out.
fn explained(
    found: &Found,
    groups: &[String],
    empty: &[usize],
    counts: &impl Fn(usize) -> bool,
    reason: &str,
) -> (String, &'static str) {
    if found.official.is_some() {
        return (
            "the lists name none that is there and can be used".to_owned(),
            "complete the videos or the lists",
        );
    }
    let of_class = |label: usize| {
        let mine = move |(index, candidate): &(usize, &Candidate)| {
            candidate.label == label && counts(*index)
        };
        found
            .candidates
            .iter()
            .enumerate()
            .filter(mine)
            .map(|(index, _)| groups[index].as_str())
    };
    let alone = empty.iter().find_map(|label| {
        let mut names = of_class(*label);
        let first = names.next()?;
        names.all(|name| name == first).then_some(first)
    });
    match alone {
        Some(group) => (
            format!(
                "all videos of the class belong to the group `{group}`, which stays on one side"
            ),
            "use another `group_pattern`, add videos of other groups",
        ),
        None => (
            reason.to_owned(),
            "change `test_share` or `seed`, add videos",
        ),
    }
}

//! Which data set a folder holds, by the lists in it.

use fedact_extract_params::{ExtractParams, Layout};

use super::files::Lists;
use super::{hmdb51, jester, kinetics, manifest, something, ucf101};
use crate::error::ExtractError;

/// Whether lists belong to a data set.
type Sign = fn(&Lists) -> bool;

/// The layout that is asked for, or else the one whose lists are there.
///
/// # Errors
/// Lists of several data sets.
pub(super) fn layout(lists: &Lists, params: &ExtractParams) -> Result<Layout, ExtractError> {
    if params.layout != Layout::Auto {
        return Ok(params.layout);
    }
    if params.manifest.is_some() {
        return Ok(Layout::Manifest);
    }
    let signs: [(Layout, Sign); 6] = [
        (Layout::Manifest, manifest::recognised),
        (Layout::Ucf101, ucf101::recognised),
        (Layout::Hmdb51, hmdb51::recognised),
        (Layout::Kinetics, kinetics::recognised),
        (Layout::SomethingSomething, something::recognised),
        (Layout::Jester, jester::recognised),
    ];
    let there: Vec<Layout> = signs
        .into_iter()
        .filter(|(_, recognised)| recognised(lists))
        .map(|(layout, _)| layout)
        .collect();
    match there[..] {
        [] => Ok(Layout::Folders),
        [one] => Ok(one),
        _ => Err(ExtractError::SeveralLayouts {
            path: lists.root.clone(),
            layouts: there.into_iter().map(Layout::name).collect(),
        }),
    }
}

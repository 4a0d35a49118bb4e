//! `STEP@axis=value,axis=value`: some instances of a matrix step.

use super::Label;
use crate::suggest::nearest;

/// A step by name, and perhaps which of its instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection<'t> {
    pub(crate) step: &'t str,
    /// The axes that are held, with the text of their values.
    pub(crate) held: Vec<(&'t str, &'t str)>,
}

impl<'t> Selection<'t> {
    /// Reads a name; what cannot be read selects by an axis that no step has.
    pub(crate) fn parse(text: &'t str) -> Self {
        let (step, labels) = match text.split_once('@') {
            Some((step, labels)) => (step, Some(labels)),
            None => (text, None),
        };
        let pairs = labels.into_iter().flat_map(|labels| labels.split(','));
        Self {
            step,
            held: pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .collect(),
        }
    }

    /// Whether it takes the instance with these labels.
    pub(crate) fn takes(&self, labels: &[Label]) -> bool {
        self.held.iter().all(|(axis, text)| {
            labels
                .iter()
                .any(|label| label.axis == *axis && label.text == *text)
        })
    }

    /// Whether it holds this axis at one value.
    pub(crate) fn holds(&self, axis: &str) -> bool {
        self.held.iter().any(|(held, _)| *held == axis)
    }
}

/// Why a selection takes nothing of a step with these axes (a name and its values each), and what would take
/// something.
pub(crate) fn refuse(
    selection: &Selection<'_>,
    axes: &[(String, Vec<String>)],
) -> Option<(String, String)> {
    let step = selection.step;
    let known = || {
        if axes.is_empty() {
            return format!("`{step}` has no matrix: name it without `@`");
        }
        let axes = axes
            .iter()
            .map(|(axis, texts)| format!("{axis} ({})", some_of(texts)));
        format!("its axes are {}", axes.collect::<Vec<_>>().join(", "))
    };
    for (index, (held, text)) in selection.held.iter().enumerate() {
        let Some((_, texts)) = axes.iter().find(|(axis, _)| axis == held) else {
            let near = nearest(held, axes.iter().map(|(axis, _)| axis.as_str()));
            let near = near.map_or_else(String::new, |axis| format!(" (did you mean `{axis}`?)"));
            return Some((format!("step `{step}` has no axis `{held}`{near}"), known()));
        };
        if !texts.iter().any(|known| known == text) {
            return Some((
                format!("the axis `{held}` of step `{step}` has no value `{text}`"),
                known(),
            ));
        }
        if selection.held[..index]
            .iter()
            .any(|(axis, other)| axis == held && other != text)
        {
            return Some((
                format!("the axis `{held}` of step `{step}` is held at two values"),
                known(),
            ));
        }
    }
    None
}

/// The first values of an axis, and how many more there are.
fn some_of(texts: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = texts
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match texts.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

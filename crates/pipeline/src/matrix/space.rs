//! The axes of a step, and where its instances lie along them.

use std::collections::HashSet;

use super::Label;

/// The axes that the instances of a step lie along.
#[derive(Default)]
pub(super) struct Space {
    pub(super) dimensions: Vec<Dimension>,
    /// The index of its first instance.
    pub(super) first: usize,
    /// Whether its instances are there: not yet, or not at all where something does not fit.
    pub(super) there: bool,
}

#[derive(Clone)]
pub(super) struct Dimension {
    pub(super) labels: Vec<Label>,
    pub(super) name: String,
    /// The step that it comes from.
    pub(super) source: String,
    /// The axis in the step's own matrix.
    pub(super) own: Option<usize>,
}

impl Dimension {
    pub(super) fn position(&self, text: &str, guess: usize) -> Option<usize> {
        if self
            .labels
            .get(guess)
            .is_some_and(|label| label.text == text)
        {
            return Some(guess);
        }
        self.labels.iter().position(|label| label.text == text)
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.labels.iter().map(|label| label.text.clone()).collect()
    }

    pub(super) fn has_the_values_of(&self, other: &Self) -> bool {
        let texts =
            |dimension: &Self| -> HashSet<String> { dimension.texts().into_iter().collect() };
        self.labels.len() == other.labels.len() && texts(self) == texts(other)
    }
}

impl Space {
    pub(super) fn axes(&self) -> Vec<(String, Vec<String>)> {
        let axes = self.dimensions.iter();
        axes.map(|dimension| (dimension.name.clone(), dimension.texts()))
            .collect()
    }

    /// The position on each axis of each instance, in order.
    pub(super) fn coordinates(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        let sizes: Vec<usize> = self
            .dimensions
            .iter()
            .map(|dimension| dimension.labels.len())
            .collect();
        let count: usize = sizes.iter().product();
        (0..count).map(move |mut index| {
            let mut coordinates = vec![0; sizes.len()];
            for (at, size) in sizes.iter().enumerate().rev() {
                coordinates[at] = index % size;
                index /= size;
            }
            coordinates
        })
    }
}

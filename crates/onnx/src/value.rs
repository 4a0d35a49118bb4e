//! A tensor on its way through the graph, and how its numbers are arranged.

/// How clips lie in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrangement {
    /// \[clips, channels, frames, height, width\].
    Volumes,
    /// \[clips x frames, channels, height, width\]: convolutions across space are two-dimensional.
    Pictures,
    /// \[clips, channels, frames, height x width\]: convolutions through time are two-dimensional.
    Times,
    /// \[clips, channels\].
    Features,
}

/// A tensor of 32-bit numbers in the graph.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub name: String,
    pub channels: i64,
    /// Frames, height, width.
    pub size: [i64; 3],
    pub arrangement: Arrangement,
}

impl Value {
    /// One of the same shape under another name.
    pub fn named(&self, name: String) -> Self {
        Self {
            name,
            ..self.clone()
        }
    }

    /// Length of each side; `None` for that of the clips, which is whatever is put in.
    pub fn dimensions(&self) -> Vec<Option<i64>> {
        let [frames, height, width] = self.size;
        let known = match self.arrangement {
            Arrangement::Volumes => vec![self.channels, frames, height, width],
            Arrangement::Pictures => vec![self.channels, height, width],
            Arrangement::Times => vec![self.channels, frames, height * width],
            Arrangement::Features => vec![self.channels],
        };
        std::iter::once(None)
            .chain(known.into_iter().map(Some))
            .collect()
    }

    /// What the side of the clips is called.
    pub fn batch(&self) -> String {
        match self.arrangement {
            Arrangement::Pictures => format!("clips x {}", self.size[0]),
            _ => "clips".to_owned(),
        }
    }
}

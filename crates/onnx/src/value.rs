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

    /// Length of each side behind that of the clips.
    pub fn dimensions(&self) -> Vec<i64> {
        let [frames, height, width] = self.size;
        match self.arrangement {
            Arrangement::Volumes => vec![self.channels, frames, height, width],
            Arrangement::Pictures => vec![self.channels, height, width],
            Arrangement::Times => vec![self.channels, frames, height * width],
            Arrangement::Features => vec![self.channels],
        }
    }

    /// How often a clip lies along the first side.
    pub fn of_a_clip(&self) -> i64 {
        match self.arrangement {
            Arrangement::Pictures => self.size[0],
            _ => 1,
        }
    }
}

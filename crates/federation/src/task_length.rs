//! How long a client's task is.

use serde::{Deserialize, Serialize};

/// The clips of a task, by those that its client has.
///
/// Whole passes are whole passes. Any other length is one of whole steps of SGD, the nearest and at least one, so that no
/// step is made of what is left of a batch; the next task of the client goes on in its clips where this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TaskLength {
    /// Passes over the client's clips, above 0.
    pub passes: f64,
    /// Clips in a step.
    pub batch_size: u64,
}

impl TaskLength {
    /// Clips of a task of a client that has so many, repeats counted.
    pub fn samples(&self, clips: u64) -> u64 {
        let wanted = clips as f64 * self.passes;
        if self.passes.fract() == 0.0 || clips == 0 {
            return wanted as u64;
        }
        let batch = self.batch_size.clamp(1, clips);
        ((wanted / batch as f64).round() as u64)
            .max(1)
            .saturating_mul(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(passes: f64, clips: u64) -> u64 {
        let length = TaskLength {
            passes,
            batch_size: 4,
        };
        length.samples(clips)
    }

    #[test]
    fn whole_passes_take_every_clip_as_often() {
        assert_eq!(samples(1.0, 23), 23);
        assert_eq!(samples(3.0, 7), 21);
        assert_eq!(samples(1.0, 0), 0);
    }

    #[test]
    fn parts_of_a_pass_are_whole_steps_and_never_none() {
        // 23/2 = 11.5 is nearer to 12 than to 8; 23/4 = 5.75 to 4.
        assert_eq!(samples(0.5, 23), 12);
        assert_eq!(samples(0.25, 23), 4);
        assert_eq!(samples(0.01, 23), 4);
        assert_eq!(samples(1.5, 22), 32);
        // A client with less than a batch makes steps of what it has.
        assert_eq!(samples(0.25, 3), 3);
        assert_eq!(samples(2.5, 2), 6);
        assert_eq!(samples(0.5, 0), 0);
    }
}

//! When each frame of a video is shown.

/// The presentation times of a video's frames, ascending, in seconds from the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    times: Vec<f64>,
    duration: f64,
}

impl Timeline {
    /// From ascending times and how long the last frame is shown; where that is not known (0), it is
    /// taken to be shown as long as the frames before it on average.
    pub fn new(mut times: Vec<f64>, last: f64) -> Self {
        let first = times.first().copied().unwrap_or(0.0);
        times.iter_mut().for_each(|time| *time -= first);
        let end = times.last().copied().unwrap_or(0.0);
        let last = match (last > 0.0, times.len()) {
            (true, _) => last,
            (false, 0 | 1) => 0.04,
            (false, frames) => end / (frames - 1) as f64,
        };
        Self {
            duration: end + last,
            times,
        }
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no frame at all.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// From the first frame's appearance to the last one's disappearance, in seconds.
    pub fn duration(&self) -> f64 {
        self.duration
    }

    /// When a frame appears, in seconds from the first.
    pub fn time(&self, frame: usize) -> f64 {
        self.times[frame]
    }

    /// When a frame disappears, in seconds from the first: when the next one appears.
    pub fn end(&self, frame: usize) -> f64 {
        self.times.get(frame + 1).copied().unwrap_or(self.duration)
    }

    /// Frames a second on average; 0 for a video of no duration.
    pub fn frame_rate(&self) -> f64 {
        if self.duration > 0.0 {
            self.len() as f64 / self.duration
        } else {
            0.0
        }
    }

    /// The frame on the screen at a time: the last to appear no later; the first before the start.
    pub fn shown_at(&self, seconds: f64) -> usize {
        self.times
            .partition_point(|time| *time <= seconds)
            .saturating_sub(1)
    }

    /// What is on the screen between two times: the number here of the first frame, and the frames from it on
    /// as a timeline of their own that begins at `start`. `None` where the video shows nothing then.
    ///
    /// The times are in seconds from the first frame; what lies outside the video is cut off.
    pub fn part(&self, start: f64, end: f64) -> Option<(usize, Self)> {
        let (start, end) = (start.max(0.0), end.min(self.duration));
        if self.is_empty() || start >= end {
            return None;
        }
        let first = self.shown_at(start);
        let behind = self.times.partition_point(|time| *time < end);
        let times: Vec<f64> = self.times[first..behind]
            .iter()
            .map(|time| time.max(start))
            .collect();
        let last = end - times.last()?;
        Some((first, Self::new(times, last)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_on_the_screen_is_the_last_to_have_appeared() {
        let timeline = Timeline::new(vec![5.0, 5.1, 5.5, 6.0], 0.2);
        assert_eq!(timeline.duration(), 1.2);
        assert_eq!((timeline.end(1), timeline.end(3)), (0.5, 1.2));
        for (seconds, frame) in [
            (-1.0, 0),
            (0.0, 0),
            (0.09, 0),
            (0.3, 1),
            (0.5, 2),
            (0.99, 2),
            (1.0, 3),
            (9.0, 3),
        ] {
            assert_eq!(timeline.shown_at(seconds), frame, "at {seconds}");
        }
    }

    #[test]
    fn a_last_frame_without_a_duration_lasts_as_long_as_the_others() {
        assert_eq!(Timeline::new(vec![0.0, 0.5, 1.0], 0.0).duration(), 1.5);
        assert_eq!(Timeline::new(vec![0.0, 0.5, 1.0], 0.0).frame_rate(), 2.0);
        assert!(Timeline::new(vec![3.0], 0.0).duration() > 0.0);
        assert_eq!(Timeline::new(vec![], 0.0).frame_rate(), 25.0 * 0.0);
    }
    #[test]
    fn a_part_begins_with_the_frame_on_the_screen_and_ends_before_its_end() {
        let timeline = Timeline::new(vec![0.0, 0.4, 1.0, 2.0, 2.2], 0.8);
        let (first, part) = timeline.part(0.5, 2.1).unwrap();
        assert_eq!((first, part.len()), (1, 3));
        assert!((part.duration() - 1.6).abs() < 1e-9);
        assert_eq!(part.time(0), 0.0);
        assert!((part.time(1) - 0.5).abs() < 1e-9);
        assert!((part.time(2) - 1.5).abs() < 1e-9);
        // A frame that appears at the end belongs to what follows.
        assert_eq!(timeline.part(0.0, 1.0).unwrap().1.len(), 2);
        let (first, whole) = timeline.part(-1.0, 99.0).unwrap();
        assert_eq!((first, whole), (0, timeline.clone()));
        for nothing in [(3.0, 4.0), (1.0, 1.0), (2.0, 1.0), (f64::NAN, 0.0)] {
            assert_eq!(timeline.part(nothing.0, nothing.1), None, "{nothing:?}");
        }
        assert_eq!(Timeline::new(vec![], 0.0).part(0.0, 1.0), None);
    }
}

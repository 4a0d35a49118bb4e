//! Which frames make a clip: always by presentation time, never by counting.

use crate::Timeline;

/// What a clip does that is longer than the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// Begins again.
    Loop,
    /// Holds the last frame.
    Hold,
}

/// One frame from each of `frames` equal segments that together cover the whole video (temporal segment
/// networks, Wang et al. 2016, without their random offset): clip `clip` of `clips` takes the frame at
/// the fraction `(clip + 1/2) / clips` of each segment. A video with fewer frames repeats some.
pub fn segments(timeline: &Timeline, frames: usize, clip: usize, clips: usize) -> Vec<usize> {
    let phase = (clip as f64 + 0.5) / clips as f64;
    (0..frames)
        .map(|frame| (frame as f64 + phase) / frames as f64 * timeline.duration())
        .map(|seconds| timeline.shown_at(seconds))
        .collect()
}

/// A window of `frames` frames at `rate` frames a second, whatever the video's own rate: the windows of
/// `clips` clips lie at equal distances over the video, a single one in its middle.
pub fn window(
    timeline: &Timeline,
    frames: usize,
    rate: f64,
    clip: usize,
    clips: usize,
    short: Short,
) -> Vec<usize> {
    let duration = timeline.duration();
    let spare = (duration - frames as f64 / rate).max(0.0);
    let start = spare * (clip as f64 + 0.5) / clips as f64;
    (0..frames)
        .map(|frame| start + (frame as f64 + 0.5) / rate)
        .map(|seconds| match short {
            Short::Loop if duration > 0.0 => timeline.shown_at(seconds % duration),
            Short::Loop | Short::Hold => timeline.shown_at(seconds),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(frames: usize, rate: f64) -> Timeline {
        Timeline::new((0..frames).map(|i| i as f64 / rate).collect(), 1.0 / rate)
    }

    #[test]
    fn segments_take_every_frame_of_a_video_that_has_as_many() {
        let timeline = constant(16, 29.97);
        assert_eq!(segments(&timeline, 16, 0, 1), (0..16).collect::<Vec<_>>());
        assert_eq!(segments(&timeline, 4, 0, 1), [2, 6, 10, 14]);
        assert_eq!(segments(&timeline, 4, 0, 2), [1, 5, 9, 13]);
        assert_eq!(segments(&timeline, 4, 1, 2), [3, 7, 11, 15]);
    }

    #[test]
    fn segments_of_a_video_with_fewer_frames_repeat_some() {
        assert_eq!(segments(&constant(2, 25.0), 4, 0, 1), [0, 0, 1, 1]);
        assert_eq!(segments(&constant(1, 25.0), 3, 0, 1), [0, 0, 0]);
    }

    #[test]
    fn segments_follow_time_and_not_the_count_of_frames() {
        // Ten frames in the first second, then one that is shown for nine.
        let mut times: Vec<f64> = (0..10).map(|i| f64::from(i) / 10.0).collect();
        times.push(1.0);
        let timeline = Timeline::new(times, 9.0);
        assert_eq!(segments(&timeline, 5, 0, 1), [10, 10, 10, 10, 10]);
        assert_eq!(segments(&timeline, 20, 0, 1)[..3], [2, 7, 10]);
    }

    #[test]
    fn a_window_keeps_its_rate_whatever_the_videos() {
        let slow = window(&constant(100, 10.0), 5, 5.0, 0, 1, Short::Hold);
        let fast = window(&constant(500, 50.0), 5, 5.0, 0, 1, Short::Hold);
        assert_eq!(
            slow.windows(2)
                .map(|pair| pair[1] - pair[0])
                .collect::<Vec<_>>(),
            [2; 4]
        );
        assert_eq!(
            fast.windows(2)
                .map(|pair| pair[1] - pair[0])
                .collect::<Vec<_>>(),
            [10; 4]
        );
        let last = window(&constant(100, 10.0), 5, 5.0, 2, 3, Short::Hold);
        assert!(last[0] > slow[0] && last[4] < 100);
    }

    #[test]
    fn a_window_longer_than_the_video_loops_or_holds() {
        let timeline = constant(3, 10.0);
        assert_eq!(
            window(&timeline, 7, 10.0, 0, 1, Short::Loop),
            [0, 1, 2, 0, 1, 2, 0]
        );
        assert_eq!(
            window(&timeline, 7, 10.0, 0, 1, Short::Hold),
            [0, 1, 2, 2, 2, 2, 2]
        );
    }
}

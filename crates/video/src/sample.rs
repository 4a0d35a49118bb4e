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

/// A time that is meant to be a frame's own may fall short of it by rounding.
const ROUNDING: f64 = 1e-6;

/// `frames` frames at equal distances over a part of the video, its first and last frame included: the
/// `clips` clips are equal parts of the video, one after the other. A single frame is the one in the middle.
pub fn uniform(timeline: &Timeline, frames: usize, clip: usize, clips: usize) -> Vec<usize> {
    let part = timeline.duration() / clips as f64;
    let first = timeline.shown_at(part * clip as f64 + ROUNDING);
    let last = timeline.shown_at(part * (clip + 1) as f64 - ROUNDING);
    let (start, end) = (timeline.time(first), timeline.time(last.max(first)));
    (0..frames)
        .map(|frame| match frames {
            1 => 0.5,
            _ => frame as f64 / (frames - 1) as f64,
        })
        .map(|share| timeline.shown_at(start + (end - start) * share + ROUNDING))
        .collect()
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

/// Every `stride`-th frame from a run of frames as the video has them, whatever its rate: the runs of
/// `clips` clips lie at equal distances over the video, a single one in its middle.
pub fn dense(
    timeline: &Timeline,
    frames: usize,
    stride: usize,
    clip: usize,
    clips: usize,
    short: Short,
) -> Vec<usize> {
    let spare = timeline.len().saturating_sub((frames - 1) * stride + 1);
    let start = spare * (2 * clip + 1) / (2 * clips);
    (0..frames)
        .map(|frame| start + frame * stride)
        .map(|frame| match short {
            Short::Loop => frame % timeline.len(),
            Short::Hold => frame.min(timeline.len() - 1),
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
    fn uniform_frames_reach_from_the_first_to_the_last() {
        let timeline = constant(180, 29.97);
        let frames = uniform(&timeline, 16, 0, 1);
        // As numpy's linspace(0, 179, 16), rounded down.
        let expected: Vec<usize> = (0..16).map(|frame| frame * 179 / 15).collect();
        assert_eq!(frames, expected);
        assert_eq!(uniform(&timeline, 1, 0, 1), [89]);
        assert_eq!(
            uniform(&constant(16, 29.97), 16, 0, 1),
            (0..16).collect::<Vec<_>>()
        );
    }

    #[test]
    fn uniform_clips_are_parts_of_the_video() {
        let timeline = constant(12, 29.97);
        assert_eq!(uniform(&timeline, 3, 0, 2), [0, 2, 5]);
        assert_eq!(uniform(&timeline, 3, 1, 2), [6, 8, 11]);
        // More clips than frames: each is what is on the screen meanwhile.
        assert_eq!(uniform(&constant(4, 25.0), 2, 0, 9), [0, 0]);
        assert_eq!(uniform(&constant(4, 25.0), 2, 2, 9), [0, 1]);
        assert_eq!(uniform(&constant(4, 25.0), 2, 8, 9), [3, 3]);
    }

    #[test]
    fn dense_runs_take_frames_as_they_come() {
        // A frame that stays on the screen for nine seconds counts once.
        let mut times: Vec<f64> = (0..10).map(|i| f64::from(i) / 10.0).collect();
        times.push(1.0);
        let timeline = Timeline::new(times, 9.0);
        assert_eq!(
            dense(&timeline, 11, 1, 0, 1, Short::Loop),
            (0..11).collect::<Vec<_>>()
        );
        assert_eq!(dense(&timeline, 3, 2, 0, 1, Short::Loop), [3, 5, 7]);
        assert_eq!(dense(&timeline, 3, 2, 0, 3, Short::Loop), [1, 3, 5]);
        assert_eq!(dense(&timeline, 3, 2, 2, 3, Short::Loop), [5, 7, 9]);
    }

    #[test]
    fn a_dense_run_longer_than_the_video_loops_or_holds() {
        let timeline = constant(3, 10.0);
        assert_eq!(dense(&timeline, 5, 2, 1, 2, Short::Loop), [0, 2, 1, 0, 2]);
        assert_eq!(dense(&timeline, 5, 2, 1, 2, Short::Hold), [0, 2, 2, 2, 2]);
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

//! The part of a video that a list or a manifest names, in seconds of presentation time.

use std::fmt;

use fedact_video::Timeline;

/// By how many seconds lists may be off about where a video ends.
const SLACK: f64 = 1.0;

/// By how many seconds a cut that was made at key frames is longer than what was asked for.
const KEY_FRAMES: f64 = 5.0;

/// Seconds of a video.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Part {
    start: f64,
    /// `None` is the end of the video.
    end: Option<f64>,
    /// Whether the file may hold these seconds and nothing else, as Kinetics's files mostly do whatever
    /// their names say.
    perhaps_cut: bool,
}

impl Part {
    /// From `start` on, to `end` or the end of the video.
    pub(crate) fn seconds(start: f64, end: Option<f64>) -> Self {
        Self {
            start,
            end,
            perhaps_cut: false,
        }
    }

    /// The same of a file that may have been cut down to these seconds. One that is no longer than they are is
    /// taken whole; so is one that is little longer, as a cut at key frames is, and ends before they do.
    pub(crate) fn unless_cut(start: f64, end: f64) -> Self {
        Self {
            start,
            end: Some(end),
            perhaps_cut: true,
        }
    }

    /// Whether two parts of one video (`None` is all of it) share any time.
    pub(crate) fn overlap(one: Option<&Self>, other: Option<&Self>) -> bool {
        let (Some(one), Some(other)) = (one, other) else {
            return true;
        };
        one.start < other.end.unwrap_or(f64::INFINITY)
            && other.start < one.end.unwrap_or(f64::INFINITY)
    }

    /// Enough bytes to tell parts apart.
    pub(crate) fn key(&self) -> [u8; 17] {
        let mut key = [u8::from(self.perhaps_cut); 17];
        key[1..9].copy_from_slice(&self.start.to_le_bytes());
        key[9..].copy_from_slice(&self.end.unwrap_or(f64::INFINITY).to_le_bytes());
        key
    }

    /// The part of such bytes, if they are any.
    pub(crate) fn from_key(key: &[u8]) -> Option<Self> {
        let (flag, times) = key.split_first()?;
        let (start, end) = times.split_first_chunk::<8>()?;
        let end = f64::from_le_bytes(end.try_into().ok()?);
        Some(Self {
            start: f64::from_le_bytes(*start),
            end: end.is_finite().then_some(end),
            perhaps_cut: *flag == 1,
        })
    }

    /// Its place in an order of parts of one video.
    pub(crate) fn order(&self) -> (f64, f64) {
        (self.start, self.end.unwrap_or(f64::INFINITY))
    }

    /// The frames that `part` (`None` is everything) of a video shows, as a timeline of its own, and the
    /// number in the video of the first of them.
    ///
    /// # Errors
    /// What is wrong, where the video does not have these seconds.
    pub(crate) fn within(
        part: Option<&Self>,
        video: &Timeline,
    ) -> Result<(usize, Timeline), String> {
        let whole = || Ok((0, video.clone()));
        let Some(part) = part else {
            return whole();
        };
        let end = part.end.unwrap_or(f64::INFINITY);
        let surplus = video.duration() - (end - part.start);
        let ends_early = video.duration() + SLACK < end;
        if part.perhaps_cut && (surplus <= SLACK || surplus <= KEY_FRAMES && ends_early) {
            return whole();
        }
        video.part(part.start, end).ok_or_else(|| {
            format!(
                "its seconds {part} are asked for, and it lasts {:.1} s",
                video.duration()
            )
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.end {
            Some(end) => write!(f, "{}-{end}", self.start),
            None => write!(f, "{}-", self.start),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten frames a second.
    fn video(seconds: usize) -> Timeline {
        Timeline::new((0..seconds * 10).map(|i| i as f64 / 10.0).collect(), 0.1)
    }

    #[test]
    fn a_part_is_counted_from_the_start_of_the_video() {
        let part = Part::seconds(3.0, Some(5.0));
        let (first, shown) = Part::within(Some(&part), &video(20)).unwrap();
        assert_eq!((first, shown.len()), (30, 20));
        let open = Part::seconds(15.0, None);
        let (first, shown) = Part::within(Some(&open), &video(20)).unwrap();
        assert_eq!((first, shown.len()), (150, 50));
        assert_eq!(Part::within(None, &video(2)).unwrap(), (0, video(2)));
        let fault = Part::within(Some(&Part::seconds(77.0, Some(87.0))), &video(10)).unwrap_err();
        assert!(
            fault.contains("77-87") && fault.contains("10.0 s"),
            "{fault}"
        );
    }

    #[test]
    fn a_file_that_was_cut_already_is_taken_whole() {
        let part = Part::unless_cut(77.0, 87.0);
        for cut in [6, 10, 11, 14] {
            let (first, shown) = Part::within(Some(&part), &video(cut)).unwrap();
            assert_eq!((first, shown), (0, video(cut)), "{cut} s");
        }
        let (first, shown) = Part::within(Some(&part), &video(200)).unwrap();
        assert_eq!((first, shown.len()), (770, 100));
        // The end of a video that ends a little early.
        let (first, shown) = Part::within(Some(&part), &video(80)).unwrap();
        assert_eq!((first, shown.len()), (770, 30));
        assert!(Part::within(Some(&part), &video(30)).is_err());
        let early = Part::unless_cut(0.0, 10.0);
        assert_eq!(Part::within(Some(&early), &video(60)).unwrap().1.len(), 100);
    }

    #[test]
    fn a_part_is_the_same_again_from_its_bytes() {
        for part in [
            Part::seconds(0.1, None),
            Part::seconds(1.0 / 3.0, Some(7.7)),
            Part::unless_cut(77.0, 87.0),
        ] {
            assert_eq!(Part::from_key(&part.key()), Some(part));
        }
        assert_eq!(Part::from_key(&[0; 16]), None);
        assert_eq!(Part::from_key(&[]), None);
    }

    #[test]
    fn parts_overlap_where_they_share_time() {
        let part = |start, end| Part::seconds(start, end);
        for (one, other, shared) in [
            (part(0.0, Some(2.0)), part(2.0, Some(3.0)), false),
            (part(0.0, Some(2.0)), part(1.9, Some(3.0)), true),
            (part(5.0, None), part(1.0, Some(5.5)), true),
            (part(5.0, None), part(1.0, Some(5.0)), false),
        ] {
            assert_eq!(Part::overlap(Some(&one), Some(&other)), shared);
            assert_eq!(Part::overlap(Some(&other), Some(&one)), shared);
            assert!(Part::overlap(None, Some(&one)));
        }
    }
}

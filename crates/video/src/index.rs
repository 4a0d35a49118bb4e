//! Which packet is shown when, and where decoding must begin to see it.

use crate::Timeline;
use crate::packet::{Packet, known};

/// What the container says about one packet of the video stream: 24 bytes, since a film has a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Times as FFmpeg has them, with its own value for "none".
    pts: i64,
    dts: i64,
    duration: u32,
    key: bool,
    hidden: bool,
}

impl Entry {
    pub(crate) fn of(packet: &Packet) -> Self {
        Self {
            pts: packet.pts().unwrap_or(i64::MIN),
            dts: packet.dts().unwrap_or(i64::MIN),
            duration: u32::try_from(packet.duration()).unwrap_or(0),
            key: packet.key(),
            hidden: packet.hidden(),
        }
    }

    /// The same packet, of which no frame comes.
    pub(crate) fn without_frame(self) -> Self {
        Self {
            hidden: true,
            ..self
        }
    }

    pub(crate) fn pts(&self) -> Option<i64> {
        known(self.pts)
    }

    pub(crate) fn dts(&self) -> Option<i64> {
        known(self.dts)
    }
}

/// The frames of a video in the order in which they are shown.
#[derive(Debug)]
pub(crate) struct Index {
    /// In the order of the file, which is that of decoding.
    entries: Vec<Entry>,
    /// The packets of the shown frames, in the order in which they are shown.
    order: Vec<u32>,
    /// Whether presentation times are known. Otherwise frames can only be told apart by counting
    /// what the decoder gives, from the first key frame on.
    timed: bool,
    /// The first key frame: the first packet that the decoder is given.
    first: usize,
    /// When the first frame of the timeline is shown, in seconds on the container's clock.
    begins: f64,
    timeline: Timeline,
}

impl Index {
    /// Frames before the first key frame cannot be decoded and are left out, as are those that an edit
    /// list hides. `trusted` says whether presentation times, where every packet has one, are true.
    pub(crate) fn new(
        entries: Vec<Entry>,
        time_base: f64,
        nominal_rate: f64,
        trusted: bool,
    ) -> Self {
        let first = entries.iter().position(|entry| entry.key).unwrap_or(0);
        let mut order: Vec<u32> = (0u32..)
            .zip(&entries)
            .skip(first)
            .filter(|(_, entry)| !entry.hidden)
            .map(|(packet, _)| packet)
            .collect();
        let entry = |packet: u32| &entries[packet as usize];
        let timed = trusted && order.iter().all(|packet| entry(*packet).pts().is_some());
        if timed {
            order.sort_by_key(|packet| entry(*packet).pts);
            order.dedup_by_key(|packet| entry(*packet).pts);
        }
        let last = order
            .last()
            .map_or(0.0, |packet| f64::from(entry(*packet).duration) * time_base);
        let time = |packet: &u32| match timed {
            true => entry(*packet).pts(),
            false => entry(*packet).dts(),
        };
        // Decode times, in ascending order, are as far apart as presentation times.
        let ascending =
            order.iter().all(|packet| time(packet).is_some()) && order.is_sorted_by_key(time);
        let distinct = order
            .windows(2)
            .all(|pair| time(&pair[0]) != time(&pair[1]));
        let known = order.iter().filter_map(time).min();
        let begins = known.map_or(0.0, |time| time as f64 * time_base);
        let times = if ascending && distinct {
            let times = order.iter().filter_map(time);
            times.map(|time| time as f64 * time_base).collect()
        } else {
            (0..order.len())
                .map(|number| number as f64 / nominal_rate)
                .collect()
        };
        Self {
            begins,
            timeline: Timeline::new(times, last),
            entries,
            order,
            timed,
            first,
        }
    }

    /// What the container says about each packet.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// When the first frame is shown, in seconds on the container's clock, which is that of its sound.
    pub(crate) fn begins(&self) -> f64 {
        self.begins
    }

    pub(crate) fn timed(&self) -> bool {
        self.timed
    }

    /// The packet with which decoding begins at the earliest.
    pub(crate) fn first(&self) -> usize {
        self.first
    }

    /// The packet that holds a frame.
    pub(crate) fn packet(&self, slot: usize) -> usize {
        self.order[slot] as usize
    }

    /// The slot of a decoded frame: by its presentation time, else by its number.
    pub(crate) fn slot(&self, pts: Option<i64>, number: usize) -> Option<usize> {
        let after = if self.timed {
            let pts = pts?;
            self.order
                .partition_point(|packet| self.entries[*packet as usize].pts <= pts)
        } else {
            (number + 1).min(self.order.len())
        };
        after.checked_sub(1)
    }

    /// The packet at which decoding may begin to see a frame: the last key frame that is neither
    /// decoded nor shown after it. (A frame shown before the key frame that it follows in the file
    /// refers to frames before that key frame: an open group of pictures.)
    pub(crate) fn start(&self, slot: usize) -> usize {
        if !self.timed {
            return self.first;
        }
        let packet = self.packet(slot);
        let shown = self.entries[packet].pts;
        (self.first..=packet)
            .rev()
            .find(|index| {
                let entry = self.entries[*index];
                entry.key && entry.pts().is_some_and(|pts| pts <= shown)
            })
            .unwrap_or(self.first)
    }

    /// Whether frames are shown before the first key frame; they may or may not be decodable.
    pub(crate) fn leading(&self) -> bool {
        self.timed
            && self
                .order
                .first()
                .is_some_and(|packet| *packet as usize > self.first)
    }

    /// Leaves out the frames before `slot`, which turned out not to be decodable.
    pub(crate) fn begin_at(&mut self, slot: usize) {
        let last = self.timeline.duration() - self.timeline.time(self.timeline.len() - 1);
        let times = (slot..self.timeline.len())
            .map(|frame| self.timeline.time(frame))
            .collect();
        self.begins += self.timeline.time(slot);
        self.timeline = Timeline::new(times, last);
        self.order.drain(..slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pts: i64, key: bool) -> Entry {
        Entry {
            pts,
            dts: i64::MIN,
            duration: 1,
            key,
            hidden: false,
        }
    }

    /// Two groups of pictures in decode order; the second is open: 5 and 6 follow the key frame 7 in the
    /// file and are shown before it.
    fn entries() -> Vec<Entry> {
        [
            (0, true),
            (3, false),
            (1, false),
            (2, false),
            (4, false),
            (7, true),
            (5, false),
            (6, false),
            (8, false),
        ]
        .map(|(pts, key)| entry(pts, key))
        .to_vec()
    }

    #[test]
    fn a_frame_of_a_long_film_takes_few_bytes() {
        assert_eq!(size_of::<Entry>(), 24);
    }

    #[test]
    fn frames_are_in_order_of_presentation() {
        let index = Index::new(entries(), 0.1, 25.0, true);
        let packets: Vec<usize> = (0..9).map(|slot| index.packet(slot)).collect();
        assert_eq!(packets, [0, 2, 3, 1, 4, 6, 7, 5, 8]);
        assert!((index.timeline().duration() - 0.9).abs() < 1e-9);
        assert_eq!(index.slot(Some(7), 0), Some(7));
        assert_eq!(index.slot(Some(-1), 0), None);
        assert!(!index.leading());
    }

    #[test]
    fn decoding_begins_at_a_key_frame_that_is_shown_no_later() {
        let index = Index::new(entries(), 0.1, 25.0, true);
        let starts: Vec<usize> = (0..9).map(|slot| index.start(slot)).collect();
        assert_eq!(starts, [0, 0, 0, 0, 0, 0, 0, 5, 5]);
    }

    #[test]
    fn what_comes_before_the_first_key_frame_or_is_hidden_is_left_out() {
        let mut entries = entries();
        entries[0].key = false;
        entries[8].hidden = true;
        let mut index = Index::new(entries, 0.1, 25.0, true);
        assert_eq!(index.timeline().len(), 3);
        assert!(index.leading());
        let begins = index.begins();
        index.begin_at(2);
        assert_eq!((index.timeline().len(), index.packet(0)), (1, 5));
        assert!((begins - 0.5).abs() < 1e-9 && (index.begins() - 0.7).abs() < 1e-9);
    }

    #[test]
    fn without_presentation_times_frames_are_counted() {
        let entries: Vec<Entry> = (0..4)
            .map(|number| Entry {
                pts: i64::MIN,
                dts: 2 * number,
                ..entry(0, number == 0)
            })
            .collect();
        let index = Index::new(entries, 0.5, 25.0, true);
        assert!(!index.timed());
        assert_eq!(index.slot(None, 2), Some(2));
        assert_eq!(index.timeline().time(3), 3.0);
        assert_eq!(index.start(3), 0);
    }

    #[test]
    fn without_any_times_the_nominal_rate_must_do() {
        let entries = vec![
            Entry {
                pts: i64::MIN,
                dts: i64::MIN,
                duration: 0,
                ..entry(0, true)
            };
            5
        ];
        let index = Index::new(entries, 0.5, 10.0, false);
        assert_eq!(index.timeline().len(), 5);
        assert!((index.timeline().duration() - 0.5).abs() < 1e-9);
    }
}

//! From the numbers of frames to their pixels: what is decoded, from where on, and how often.

use std::time::Instant;

use crate::collector::{Collector, Pass, Verdict};
use crate::decoder::{Answer, Decoder, Frame};
use crate::deinterlace::Deinterlacer;
use crate::scaler::Scaler;
use crate::{Conversion, Frames, Video, VideoError, fault, log};

/// Packets at the end of a video without presentation times that may hold no frame of their own: packed
/// MPEG-4 streams end with such.
const EMPTY_TAIL: usize = 2;

/// How a pass over the video ended.
enum End {
    Whole(Frames),
    Broken(Verdict),
}

impl Video {
    /// Decodes frames by their numbers in the [`timeline`](Self::timeline), in any order and with
    /// repetitions.
    ///
    /// Frames in between are not decoded where no wanted frame refers to them: key frames are jumped
    /// to, and frames without dependants left out. If a wanted frame does not come out that way, everything
    /// is decoded. Interlaced frames come out with those beside them, which deinterlacing needs.
    ///
    /// # Errors
    /// A video of which no frame decodes, whose pixel format cannot be converted, or whose dynamic range is
    /// to be refused; the limits of time and memory.
    ///
    /// # Panics
    /// If a number is not below the timeline's length.
    pub fn frames(
        &mut self,
        wanted: &[usize],
        conversion: impl Into<Conversion>,
    ) -> Result<Frames, VideoError> {
        let conversion = conversion.into();
        let mut slots = wanted.to_vec();
        slots.sort_unstable();
        slots.dedup();
        let (result, messages) = log::caught(|| self.passes(&slots, conversion));
        let mut said = self.messages.clone();
        said.extend(messages);
        let demuxer = &self.source.demuxer;
        let result = demuxer.budget().judge(demuxer.path(), result, &said);
        let decoded = match result {
            Ok(decoded) => decoded,
            Err(error) => return Err(error.with_messages(said)),
        };
        let in_order = slots == wanted;
        let pixels = if in_order {
            decoded.pixels
        } else {
            let bytes = conversion.geometry.frame_bytes();
            let mut pixels = Vec::with_capacity(wanted.len() * bytes);
            for slot in wanted {
                let position = slots.partition_point(|one| one < slot);
                pixels.extend_from_slice(&decoded.pixels[position * bytes..][..bytes]);
            }
            pixels
        };
        Ok(Frames {
            pixels,
            messages: said,
            ..decoded
        })
    }

    /// Decodes `slots` (ascending, each once) by the quickest way that gives them all.
    fn passes(&mut self, slots: &[usize], conversion: Conversion) -> Result<Frames, VideoError> {
        let mut pass = Pass {
            quickly: self.index.timed(),
            neighbours: !self.index.timed() || conversion.deinterlace && self.info().interlaced,
        };
        loop {
            match self.pass(slots, conversion, pass)? {
                End::Whole(frames) => return Ok(frames),
                End::Broken(Verdict::Interlaced) if !pass.neighbours => pass.neighbours = true,
                End::Broken(_) if pass.quickly => {
                    pass = Pass {
                        quickly: false,
                        neighbours: true,
                    };
                }
                End::Broken(_) => {
                    return Err(self.undecodable("not one frame of it can be decoded"));
                }
            }
        }
    }

    fn pass(
        &mut self,
        slots: &[usize],
        conversion: Conversion,
        pass: Pass,
    ) -> Result<End, VideoError> {
        let began = Instant::now();
        let mut decoder = Decoder::open(&self.source.demuxer)?;
        let margin = usize::from(pass.neighbours);
        let last = self.timeline().len() - 1;
        let mut wanted = vec![!pass.quickly; self.index.entries().len()];
        for slot in slots {
            for beside in slot.saturating_sub(margin)..=(slot + margin).min(last) {
                wanted[self.index.packet(beside)] = true;
            }
        }
        let mut collector = self.collector(slots, conversion, pass);
        let mut packet = self.index.first();
        let mut number = 0;
        let mut frame = Frame::empty();
        let mut sought = None;
        'packets: while let Some(awaited) = collector.awaited() {
            if pass.quickly && sought != Some(awaited) {
                sought = Some(awaited);
                let start = self.index.start(awaited.saturating_sub(margin));
                if start > packet {
                    decoder.flush();
                    packet = start;
                }
            }
            fault::decoding(self.source.demuxer.path());
            match self.source.packet(packet, self.index.entries())? {
                Some(compressed) => decoder.send(compressed, wanted[packet]),
                None => decoder.finish(),
            }
            packet += 1;
            loop {
                match decoder.receive(&mut frame) {
                    Answer::Frame => {}
                    Answer::Hungry => break,
                    Answer::End if packet > self.index.entries().len() => break 'packets,
                    Answer::End => break,
                }
                if let Some(slot) = self.index.slot(frame.pts(), number) {
                    match collector.take(&mut frame, slot) {
                        Ok(Verdict::GoOn) => {}
                        Ok(verdict) => return Ok(End::Broken(verdict)),
                        Err(reason) => return Err(self.undecodable(&reason)),
                    }
                }
                number += 1;
                if collector.awaited().is_none() {
                    break;
                }
            }
        }
        match collector.finish(began) {
            Ok(Some(frames)) => Ok(End::Whole(frames)),
            Ok(None) => Ok(End::Broken(Verdict::Incomplete)),
            Err(reason) => Err(self.undecodable(&reason)),
        }
    }

    fn collector<'a>(
        &self,
        slots: &'a [usize],
        conversion: Conversion,
        pass: Pass,
    ) -> Collector<'a> {
        let demuxer = &self.source.demuxer;
        let scaler = Scaler::new(conversion, demuxer.pixel_aspect(), demuxer.orientation());
        let tail = if self.index.timed() {
            usize::MAX
        } else {
            self.timeline().len().saturating_sub(EMPTY_TAIL)
        };
        let deinterlacer = conversion.deinterlace.then(Deinterlacer::new);
        Collector::new(slots, pass, scaler, deinterlacer, tail)
    }
}

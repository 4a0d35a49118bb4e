//! From the numbers of frames to their pixels: what is decoded, from where on, and how often.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::collector::{Collector, Pass, See, Verdict};
use crate::conversion::Treatment;
use crate::decoder::{Answer, Decoder, Frame};
use crate::deinterlace::Deinterlacer;
use crate::scaler::Scaler;
use crate::{Conversion, Frames, Size, Video, VideoError, fault, log};

/// Packets at the end of a video without presentation times that may hold no frame of their own: packed
/// MPEG-4 streams end with such.
const EMPTY_TAIL: usize = 2;

/// Why a video is refused of which no frame may stand in for the others.
const NOTHING: &str = "not one frame of it can be decoded";

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
        let (decoded, said) = self.judged(|video| video.passes(&slots, conversion))?;
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

    /// Shows all frames in the order of the [`timeline`](Self::timeline), one at a time, as whole pictures of `size`
    /// (packed RGB: height x width x 3) the right way up: deinterlaced, tone-mapped, and with a stand-in for each that does
    /// not decode. `see` is told the number of the frame and may draw on it.
    ///
    /// Of a picture that has not the proportions of `size`, which should be those of [`size`](Self::size), the middle is
    /// shown.
    ///
    /// # Errors
    /// Whatever `see` says, which ends it; a video of which no frame decodes or whose pixel format cannot be converted; the
    /// limits of time and memory.
    pub fn show<E: From<VideoError>>(
        &mut self,
        size: Size,
        mut see: impl FnMut(usize, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let slots: Vec<usize> = (0..self.timeline().len()).collect();
        let mut refusal = None;
        let mut see = |number: usize, pixels: &mut [u8]| match see(number, pixels) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                refusal = Some(error);
                ControlFlow::Break(())
            }
        };
        // What has been shown cannot be taken back, so there is one pass, the surest.
        let pass = Pass {
            quickly: false,
            neighbours: true,
        };
        let shown = self.judged(|video| {
            match video.pass(&slots, Treatment::whole(size), pass, Some(&mut see))? {
                End::Whole(_) => Ok(()),
                End::Broken(_) => Err(video.undecodable(NOTHING)),
            }
        });
        match refusal {
            Some(error) => Err(error),
            None => shown.map(|_| ()).map_err(E::from),
        }
    }

    /// What `work` gives, unless it has gone beyond the limits, and all that FFmpeg has said of the video by now.
    fn judged<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, VideoError>,
    ) -> Result<(T, Vec<String>), VideoError> {
        let (result, messages) = log::caught(|| work(self));
        let mut said = self.messages.clone();
        said.extend(messages);
        let demuxer = &self.source.demuxer;
        match demuxer.budget().judge(demuxer.path(), result, &said) {
            Ok(result) => Ok((result, said)),
            Err(error) => Err(error.with_messages(said)),
        }
    }

    /// Decodes `slots` (ascending, each once) by the quickest way that gives them all.
    fn passes(&mut self, slots: &[usize], conversion: Conversion) -> Result<Frames, VideoError> {
        let mut pass = Pass {
            quickly: self.index.timed(),
            neighbours: !self.index.timed() || conversion.deinterlace && self.info().interlaced,
        };
        loop {
            match self.pass(slots, conversion.into(), pass, None)? {
                End::Whole(frames) => return Ok(frames),
                End::Broken(Verdict::Interlaced) if !pass.neighbours => pass.neighbours = true,
                End::Broken(_) if pass.quickly => {
                    pass = Pass {
                        quickly: false,
                        neighbours: true,
                    };
                }
                End::Broken(_) => {
                    return Err(self.undecodable(NOTHING));
                }
            }
        }
    }

    fn pass<'a>(
        &mut self,
        slots: &'a [usize],
        treatment: Treatment,
        pass: Pass,
        see: Option<See<'a>>,
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
        let mut collector = self.collector(slots, treatment, pass, see);
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
        treatment: Treatment,
        pass: Pass,
        see: Option<See<'a>>,
    ) -> Collector<'a> {
        let demuxer = &self.source.demuxer;
        let scaler = Scaler::new(treatment, demuxer.pixel_aspect(), demuxer.orientation());
        let tail = if self.index.timed() {
            usize::MAX
        } else {
            self.timeline().len().saturating_sub(EMPTY_TAIL)
        };
        let deinterlacer = treatment.deinterlace.then(Deinterlacer::new);
        Collector::new(slots, pass, scaler, deinterlacer, tail, see)
    }
}

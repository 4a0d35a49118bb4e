//! Picks the wanted frames from what the decoder gives, and finds stand-ins.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::decoder::Frame;
use crate::deinterlace::{Deinterlacer, interlaced};
use crate::scaler::Scaler;
use crate::video::Frames;

/// How frames are decoded, from the quickest way to the surest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Frames that no wanted one needs are not decoded. A wanted frame that does not come out ends the pass.
    pub(crate) quickly: bool,
    /// The frames before and after each wanted one are decoded too: deinterlacing needs them.
    pub(crate) neighbours: bool,
}

/// Whoever is shown pictures: told which of the wanted ones it is, and free to want no more.
pub(crate) type See<'a> = &'a mut dyn FnMut(usize, &mut [u8]) -> ControlFlow<()>;

/// Where pictures go.
pub(crate) enum Pictures<'a> {
    /// One behind the other into memory.
    Kept(Vec<u8>),
    /// Past somebody, one at a time.
    Shown { picture: Vec<u8>, see: See<'a> },
}

/// What has become of a frame, and of a whole pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    GoOn,
    /// A wanted frame did not come out, and none may stand in.
    Incomplete,
    /// A wanted frame is interlaced, and its neighbours are not being decoded.
    Interlaced,
}

/// Picks the wanted frames from what the decoder gives, and finds stand-ins.
pub(crate) struct Collector<'a> {
    /// Ascending, each once.
    slots: &'a [usize],
    pass: Pass,
    /// Position in `slots` of the first that has not come out.
    next: usize,
    scaler: Scaler,
    /// Present if interlaced frames are to be deinterlaced.
    deinterlacer: Option<Deinterlacer>,
    bytes: usize,
    pictures: Pictures<'a>,
    /// Whoever the pictures are shown to wants no more.
    enough: bool,
    /// The frame before, for those that are missing or interlaced.
    previous: Option<Frame>,
    last_slot: Option<usize>,
    /// An interlaced frame that waits for the one after it, which is `previous`, and the one before it.
    waiting: Option<Option<Frame>>,
    /// The first slot at the end that need not be there.
    tail: usize,
    missing: usize,
    damaged: usize,
    deinterlaced: usize,
    scaling: Duration,
}

impl<'a> Collector<'a> {
    /// `tail` is the first slot at the end of the video that need not be there; `see` is shown the pictures, which are
    /// kept where it is not given.
    pub(crate) fn new(
        slots: &'a [usize],
        pass: Pass,
        scaler: Scaler,
        deinterlacer: Option<Deinterlacer>,
        tail: usize,
        see: Option<See<'a>>,
    ) -> Self {
        let bytes = scaler.frame_bytes();
        let pictures = match see {
            None => Pictures::Kept(vec![0; slots.len() * bytes]),
            Some(see) => Pictures::Shown {
                picture: vec![0; bytes],
                see,
            },
        };
        Self {
            slots,
            pass,
            next: 0,
            scaler,
            deinterlacer,
            bytes,
            pictures,
            enough: false,
            previous: None,
            last_slot: None,
            waiting: None,
            tail,
            missing: 0,
            damaged: 0,
            deinterlaced: 0,
            scaling: Duration::ZERO,
        }
    }

    /// The first wanted frame that has not come out.
    pub(crate) fn awaited(&self) -> Option<usize> {
        self.slots.get(self.next).filter(|_| !self.enough).copied()
    }

    /// Takes a decoded frame, which is left empty where it is still needed.
    ///
    /// # Errors
    /// Why it cannot be converted.
    pub(crate) fn take(&mut self, frame: &mut Frame, slot: usize) -> Result<Verdict, String> {
        if self.last_slot.is_some_and(|last| slot <= last) {
            return Ok(Verdict::GoOn);
        }
        self.settle(Some(frame))?;
        let follows = self.last_slot.is_some_and(|last| last + 1 == slot);
        self.last_slot = Some(slot);
        while self.awaited().is_some_and(|awaited| awaited < slot) {
            if self.pass.quickly {
                return Ok(Verdict::Incomplete);
            }
            self.missing += 1;
            let stand_in = self.previous.take();
            self.store_alone(stand_in.as_ref().unwrap_or(frame))?;
            self.previous = stand_in;
        }
        let wanted = self.awaited() == Some(slot);
        if wanted {
            self.damaged += usize::from(frame.damaged());
        }
        let before = self.previous.take().filter(|_| follows);
        if wanted && self.deinterlacer.is_some() && interlaced(frame) {
            if !self.pass.neighbours {
                return Ok(Verdict::Interlaced);
            }
            self.waiting = Some(before);
        } else if wanted {
            self.store(frame)?;
        }
        if self.pass.neighbours || !self.pass.quickly {
            self.previous = Some(std::mem::replace(frame, Frame::empty()));
        }
        Ok(Verdict::GoOn)
    }

    /// Deinterlaces the frame that waits, now that the one after it is here, or never will be.
    fn settle(&mut self, after: Option<&Frame>) -> Result<(), String> {
        if let Some(before) = self.waiting.take()
            && let Some(frame) = self.previous.take()
        {
            self.store_deinterlaced(before.as_ref(), &frame, after)?;
            self.previous = Some(frame);
        }
        Ok(())
    }

    /// Stores a frame whose neighbours are not at hand.
    fn store_alone(&mut self, frame: &Frame) -> Result<(), String> {
        if self.deinterlacer.is_some() && interlaced(frame) {
            return self.store_deinterlaced(None, frame, None);
        }
        self.store(frame)
    }

    fn store_deinterlaced(
        &mut self,
        before: Option<&Frame>,
        frame: &Frame,
        after: Option<&Frame>,
    ) -> Result<(), String> {
        let began = Instant::now();
        let picture = match &mut self.deinterlacer {
            Some(deinterlacer) => deinterlacer.apply(before, frame, after)?,
            None => return self.store(frame),
        };
        self.scaling += began.elapsed();
        self.deinterlaced += 1;
        self.store(&picture)
    }

    fn store(&mut self, frame: &Frame) -> Result<(), String> {
        let began = Instant::now();
        let pixels = match &mut self.pictures {
            Pictures::Kept(pixels) => &mut pixels[self.next * self.bytes..][..self.bytes],
            Pictures::Shown { picture, .. } => &mut picture[..],
        };
        self.scaler.scale(frame, pixels)?;
        self.scaling += began.elapsed();
        if let Pictures::Shown { picture, see } = &mut self.pictures {
            self.enough = see(self.next, picture).is_break();
        }
        self.next += 1;
        Ok(())
    }

    /// What came out since `began`; `None` if something is missing for which nothing may stand in.
    ///
    /// # Errors
    /// Why a frame cannot be converted.
    pub(crate) fn finish(mut self, began: Instant) -> Result<Option<Frames>, String> {
        self.settle(None)?;
        if self.awaited().is_some() {
            let Some(previous) = self.previous.take().filter(|_| !self.pass.quickly) else {
                return Ok(None);
            };
            while let Some(awaited) = self.awaited() {
                self.missing += usize::from(awaited < self.tail);
                self.store_alone(&previous)?;
            }
        }
        Ok(Some(Frames {
            pixels: match self.pictures {
                Pictures::Kept(pixels) => pixels,
                Pictures::Shown { .. } => Vec::new(),
            },
            missing: self.missing,
            damaged: self.damaged,
            deinterlaced: self.deinterlaced,
            decoding: began.elapsed().saturating_sub(self.scaling),
            scaling: self.scaling,
            messages: Vec::new(),
        }))
    }
}

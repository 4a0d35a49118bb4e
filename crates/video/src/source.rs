//! The compressed packets of a video, from memory or from the file.

use std::sync::Arc;

use ffmpeg_next::ffi::AVCodecID;

use crate::VideoError;
use crate::demuxer::Demuxer;
use crate::index::Entry;
use crate::packet::Packet;

/// Compressed data of one video that is kept in memory, so that a short video is read once. Longer
/// ones are read again.
const KEPT_BYTES: usize = 64 << 20;

/// What is counted for a packet's place in the index, in bytes: its 36, three times over, since a list that grows is
/// there twice for a moment.
const ENTRY_BYTES: u64 = 128;

/// What a kept packet takes beside its data, measured: FFmpeg's packet, its buffer and their allocations.
const PACKET_BYTES: usize = 512;

/// Packets of MPEG-4 that hold no picture are no longer than this.
const PLACEHOLDER_BYTES: usize = 19;

/// The compressed packets of the video, from memory or from the file.
pub(crate) struct Source {
    pub(crate) demuxer: Demuxer,
    kept: Option<Vec<Packet>>,
    /// The packet that the demuxer reads next.
    at: usize,
    current: Option<Packet>,
}

impl Source {
    /// Reads the whole file once. Gives what the container says about each packet and, where reading ended
    /// before the end of the file, FFmpeg's words.
    ///
    /// # Errors
    /// The limits of time and memory.
    pub(crate) fn scan(
        mut demuxer: Demuxer,
    ) -> Result<(Self, Vec<Entry>, Option<String>), VideoError> {
        let mut entries = Vec::new();
        let mut kept = Some(Vec::new());
        let mut bytes = 0;
        let budget = Arc::clone(demuxer.budget());
        let divx = demuxer.container() == "avi"
            && demuxer.parameters().codec_id == AVCodecID::AV_CODEC_ID_MPEG4;
        let breaks_off = loop {
            demuxer.deadline().check(demuxer.path())?;
            let packet = match demuxer.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => break None,
                Err(words) => break Some(words),
            };
            // AVI says with an empty packet that the last frame stays on.
            if packet.size() == 0 {
                continue;
            }
            let entry = Entry::of(&packet);
            entries.push(if divx && is_placeholder(packet.data()) {
                entry.without_frame()
            } else {
                entry
            });
            if !budget.take(ENTRY_BYTES) {
                return Err(budget.exceeded_by(demuxer.path(), "its index"));
            }
            bytes += packet.size() + PACKET_BYTES;
            if bytes > budget.kept(KEPT_BYTES) {
                kept = None;
            } else if let Some(kept) = &mut kept {
                kept.push(packet);
            }
        };
        demuxer.deadline().check(demuxer.path())?;
        budget.check(demuxer.path())?;
        entries.shrink_to_fit();
        let source = Self {
            demuxer,
            kept,
            at: entries.len(),
            current: None,
        };
        Ok((source, entries, breaks_off))
    }

    /// A packet by its number; `None` after the last. Reading them one after the other is cheap.
    ///
    /// # Errors
    /// The limits of time and memory: a decoder that did not get its memory goes on without.
    pub(crate) fn packet(
        &mut self,
        index: usize,
        entries: &[Entry],
    ) -> Result<Option<&Packet>, VideoError> {
        self.demuxer.deadline().check(self.demuxer.path())?;
        self.demuxer.budget().check(self.demuxer.path())?;
        if self.kept.is_some() {
            return Ok(self.kept.as_ref().and_then(|kept| kept.get(index)));
        }
        let Some(entry) = entries.get(index) else {
            return Ok(None);
        };
        if index != self.at && !self.jump(index, entry)? {
            self.demuxer = self.demuxer.reopened()?;
            self.at = 0;
        }
        while self.at <= index {
            self.current = self.read()?;
            if self.current.is_none() {
                return Ok(None);
            }
            self.at += 1;
        }
        Ok(self.current.as_ref())
    }

    /// Goes to a key frame by seeking; says whether the demuxer now stands right before it.
    fn jump(&mut self, index: usize, entry: &Entry) -> Result<bool, VideoError> {
        let Some(time) = entry.dts().or(entry.pts()) else {
            return Ok(false);
        };
        if index == 0 || !self.demuxer.seek(time) {
            return Ok(false);
        }
        while let Some(packet) = self.read()? {
            if packet.pts() == entry.pts() && packet.dts() == entry.dts() {
                self.current = Some(packet);
                self.at = index + 1;
                return Ok(true);
            }
            if packet.dts() > entry.dts() {
                break;
            }
        }
        Ok(false)
    }

    /// The next packet that is not empty.
    fn read(&mut self) -> Result<Option<Packet>, VideoError> {
        loop {
            self.demuxer.deadline().check(self.demuxer.path())?;
            match self.demuxer.next_packet() {
                Ok(Some(packet)) if packet.size() == 0 => {}
                Ok(packet) => return Ok(packet),
                Err(_) => return Ok(None),
            }
        }
    }
}

/// Whether a packet of MPEG-4 part 2 in AVI only keeps the count of packets right, as DivX's packed streams have
/// them: short, and without a picture (a "video object plane", ISO/IEC 14496-2, 6.2.5).
fn is_placeholder(data: &[u8]) -> bool {
    data.len() <= PLACEHOLDER_BYTES && !data.windows(4).any(|code| code == [0, 0, 1, 0xb6])
}

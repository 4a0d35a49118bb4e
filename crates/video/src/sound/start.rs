//! The time at which sound begins, in the header of an AVI.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// Bytes of the name and the size of a chunk, and of a list with its kind.
const CHUNK: u64 = 8;
const LIST: u64 = 12;

/// Where a stream's header, behind name and size, says when the stream begins (`dwStart` of `AVISTREAMHEADER`).
const START: u64 = 28;

/// Has the sound of an AVI begin that many of its units after the pictures, which FFmpeg's muxer cannot say.
///
/// # Errors
/// A file that cannot be read or written, or has no sound.
pub(super) fn set(path: &Path, units: u32) -> io::Result<()> {
    if units == 0 {
        return Ok(());
    }
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut at = LIST;
    loop {
        let mut head = [0; LIST as usize];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut head)?;
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        match (&head[..4], &head[8..]) {
            (b"LIST", b"movi") => return Err(io::ErrorKind::InvalidData.into()),
            (b"LIST", _) => at += LIST,
            (b"strh", b"auds") => break,
            // Chunks begin at even places.
            _ => at += CHUNK + u64::from(size.next_multiple_of(2)),
        }
    }
    file.seek(SeekFrom::Start(at + CHUNK + START))?;
    file.write_all(&units.to_le_bytes())
}

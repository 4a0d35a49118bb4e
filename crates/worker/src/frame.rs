//! Bytes over a socket: their number (8 bytes, little endian), then themselves.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Sends a question and waits for the answer.
///
/// # Errors
/// `WouldBlock` or `TimedOut` when the time is over; anything else, and the end of the stream, where the other side is
/// gone.
pub(crate) fn exchange(
    socket: &mut UnixStream,
    question: &[u8],
    deadline: Instant,
) -> io::Result<Vec<u8>> {
    // No worker reads a second question before it has answered the first, so a question finds an empty socket; one
    // that is larger than that must wait until it is read.
    socket.set_write_timeout(Some(left(deadline)?))?;
    write(socket, question)?;
    let mut head = [0; 8];
    read_until(socket, &mut head, deadline)?;
    let length = length(head)?;
    // Room is made as bytes come: the number may be wrong.
    let mut answer = Vec::new();
    while answer.len() < length {
        let begin = answer.len();
        answer.resize(length.min(begin + CHUNK), 0);
        read_until(socket, &mut answer[begin..], deadline)?;
    }
    Ok(answer)
}

/// Sends bytes.
pub(crate) fn write(socket: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    socket.write_all(&(bytes.len() as u64).to_le_bytes())?;
    socket.write_all(bytes)
}

/// Receives bytes, however long that takes; `None` at the end of the stream.
pub(crate) fn read(socket: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 8];
    match socket.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut bytes = vec![0; length(head)?];
    socket.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// A worker that has lost its mind may write anything.
fn length(head: [u8; 8]) -> io::Result<usize> {
    const MOST: u64 = 1 << 40;
    let length = u64::from_le_bytes(head);
    if length > MOST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn read_until(socket: &mut UnixStream, mut room: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !room.is_empty() {
        socket.set_read_timeout(Some(left(deadline)?))?;
        match socket.read(room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => room = &mut room[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time that is left; a timeout of zero would mean none.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

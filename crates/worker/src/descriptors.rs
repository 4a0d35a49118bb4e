//! Open files between processes: one handed over through a socket, all others closed.

use std::io;
use std::mem::zeroed;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Room for the header of one message and one descriptor, aligned as the system wants it.
type Control = [u64; 4];

/// Sends a byte, and an open file with it.
pub(crate) fn send(socket: BorrowedFd<'_>, byte: u8, file: BorrowedFd<'_>) -> io::Result<()> {
    let mut byte = [byte];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control: Control = [0; 4];
    // SAFETY: the message points to a byte and to room for one descriptor, both alive until the call returns; the
    // macros of cmsg(3) stay within the length that is given.
    let sent = unsafe {
        let size = size_of::<RawFd>() as u32;
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(header)
            .cast::<RawFd>()
            .write_unaligned(file.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent == 1 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Receives a byte, and the open file that may come with it; `None` at the end of the stream.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<(u8, Option<OwnedFd>)>> {
    let mut byte = [0u8];
    let mut part = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control: Control = [0; 4];
    // SAFETY: as in `send`; a descriptor that the system has put there is this process's, and nobody else's.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<Control>() as _;
        let received = loop {
            let received =
                libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
            if received >= 0 {
                break received;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        };
        if received == 0 {
            return Ok(None);
        }
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let file = (!header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS).then(|| {
            let number = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
            OwnedFd::from_raw_fd(number)
        });
        Ok(Some((byte[0], file)))
    }
}

/// Leaves a fresh copy of a process nothing open but standard output and error, and `kept`, whose number in it is
/// returned. Standard input reads nothing.
///
/// # Safety
/// No other code of the process uses an open file afterwards.
pub(crate) unsafe fn keep_only(kept: RawFd) -> io::Result<OwnedFd> {
    const PLACE: RawFd = 3;
    let checked = |code: libc::c_int| {
        if code < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(code)
        }
    };
    // SAFETY: plain system calls; nobody else uses what is closed (the caller's promise).
    unsafe {
        let nothing = checked(libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY))?;
        checked(libc::dup2(nothing, 0))?;
        if kept != PLACE {
            checked(libc::dup2(kept, PLACE))?;
        }
        let first = PLACE as libc::c_uint + 1;
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) != 0 {
            // Linux before 5.9.
            let most = libc::sysconf(libc::_SC_OPEN_MAX).clamp(256, 1 << 16) as RawFd;
            (PLACE + 1..most).for_each(|number| {
                libc::close(number);
            });
        }
        Ok(OwnedFd::from_raw_fd(PLACE))
    }
}

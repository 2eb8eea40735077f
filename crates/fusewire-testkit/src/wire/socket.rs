//! A pair of `SOCK_SEQPACKET` sockets: what any daemon can be given that takes an open file descriptor.
//!
//! To a daemon that only reads and writes, one end behaves as `/dev/fuse` does: a read gives one request, a write is one
//! reply. Two things differ: the end of the connection is a read of 0 bytes and not `ENODEV`, and a wrong reply is not
//! refused with `EINVAL` at once but breaks a law.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, recv, send, setsockopt, shutdown, socketpair, sockopt,
};

use crate::wire::{Received, Wire};

/// The kernel's end of a pair of sockets.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
}

/// Room for messages under way, in bytes. Without privilege the system may grant less (`net.core.wmem_max`), which still holds
/// the requests and replies of 128 KiB that [`Config`](crate::kernel::Config) allows by default.
const ROOM: usize = 4 << 20;

impl Socket {
    /// A pair: the kernel's end, and the file descriptor for the daemon. Both are close-on-exec.
    ///
    /// # Errors
    /// What socketpair(2) says.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (kernel, daemon) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        for end in [&kernel, &daemon] {
            // Forcing needs privilege; the ordinary option takes what the system allows.
            if setsockopt(end, sockopt::SndBufForce, &ROOM).is_err() {
                setsockopt(end, sockopt::SndBuf, &ROOM)?;
            }
        }
        Ok((Self { fd: kernel }, daemon))
    }
}

impl Wire for Socket {
    fn send(&self, request: &[u8]) -> io::Result<()> {
        loop {
            match send(self.fd.as_raw_fd(), request, MsgFlags::MSG_NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Received> {
        let limit = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        loop {
            let mut polled = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut polled, limit) {
                Ok(0) => return Ok(Received::Quiet),
                Ok(_) => {}
                // Waits anew: a signal makes a failing test slower, and no other wrong.
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            match recv(self.fd.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT) {
                Ok(0) | Err(Errno::ECONNRESET) => return Ok(Received::End),
                Ok(length) => return Ok(Received::Message(length)),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn close(&self) {
        // ENOTCONN: the daemon has closed already.
        let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Write);
    }
}

//! `/dev/fuse`, or a socket that somebody on the other end treats as such.
//!
//! Two system calls a request: one that waits for it, one that sends the reply. rustix makes them, since those of the C
//! library are points of cancellation, which costs a process with threads four atomic operations a request. How the file
//! descriptor came about, and where it is mounted, is not known here.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use fusewire_proto::BackingId;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};
use rustix::io::Errno;
use std::os::fd::AsRawFd;

use crate::backing;
use crate::transport::{Received, RequestBuffer, Transport};

/// A connection through a file descriptor: every read gives one request, every write is one reply.
#[derive(Debug)]
pub struct Device {
    fd: OwnedFd,
}

impl From<OwnedFd> for Device {
    /// `fd` is `/dev/fuse`, or one end of a pair of `SOCK_SEQPACKET` sockets.
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

impl AsFd for Device {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What a look at the device brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    /// A request of so many bytes.
    Request(usize),
    /// There is none at the moment.
    Nothing,
    /// The connection is over.
    End,
}

impl Device {
    /// Takes a request into `room`, if there is one. Waits for it, unless the device never waits.
    pub(super) fn take(&self, room: &mut [u8]) -> io::Result<Got> {
        loop {
            match rustix::io::read(&self.fd, &mut *room) {
                // A socket whose other end is closed.
                Ok(0) => return Ok(Got::End),
                Ok(length) => return Ok(Got::Request(length)),
                // ENOENT: the caller was killed before its request was read (fs/fuse/dev.c fuse_dev_do_read()).
                Err(Errno::INTR | Errno::NOENT) => {}
                Err(Errno::AGAIN) => return Ok(Got::Nothing),
                // ENODEV: unmounted. ECONNABORTED: aborted, with the capability ABORT_ERROR. ECONNRESET: of a socket.
                Err(Errno::NODEV | Errno::CONNABORTED | Errno::CONNRESET) => return Ok(Got::End),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// From now on [`take`](Self::take) does not wait, through whichever descriptor of this open device.
    pub(super) fn never_wait(&self) -> io::Result<()> {
        let flags = OFlag::from_bits_retain(fcntl(&self.fd, FcntlArg::F_GETFL)?);
        fcntl(&self.fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        Ok(())
    }

    /// Waits, without a limit, until there is something to read or the connection is over.
    fn wait(&self) -> io::Result<()> {
        let mut polled = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Transport for Device {
    fn name(&self) -> &'static str {
        "/dev/fuse"
    }

    fn receive<'b>(&self, buffer: &'b mut RequestBuffer) -> io::Result<Received<'b>> {
        let room = buffer.room();
        loop {
            match self.take(room)? {
                Got::Request(length) => return Ok(Received::Request(room.get(..length).unwrap_or(&[]))),
                Got::Nothing => self.wait()?,
                Got::End => return Ok(Received::End),
            }
        }
    }

    fn has_pending(&self) -> bool {
        let mut polled = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    fn has_local_callers(&self) -> bool {
        rustix::fs::fstat(&self.fd).is_ok_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::CharacterDevice
        })
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        loop {
            match rustix::io::write(&self.fd, message) {
                // Messages are taken whole or not at all.
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send_parts(&self, header: &[u8], body: &[u8]) -> io::Result<()> {
        loop {
            match rustix::io::writev(&self.fd, &[IoSlice::new(header), IoSlice::new(body)]) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn open_backing(&self, file: BorrowedFd<'_>) -> io::Result<BackingId> {
        backing::open(self.fd.as_fd(), file)
    }

    fn close_backing(&self, id: BackingId) -> io::Result<()> {
        backing::close(self.fd.as_fd(), id)
    }

    /// Ends a connection through a socket. `/dev/fuse` ends when it is unmounted, or when the last descriptor is closed.
    fn close(&self) {
        // ENOTSOCK for /dev/fuse, whose readers cannot be woken from this side.
        let _ = shutdown(self.fd.as_raw_fd(), Shutdown::Both);
    }
}

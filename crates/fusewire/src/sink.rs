//! Places for replies that carry bytes: a filesystem writes into them, and nothing is copied after that.
//!
//! A sink is the reply itself, not a copy of it: its room is the memory that goes to the kernel. It holds no more than the
//! caller asked for.

use std::io;
use std::os::fd::AsFd;
use std::sync::Weak;

use fusewire_proto::reply::{self, Dirent, Entry, ReplyBody, ReplyWriter};
use fusewire_proto::{Errno, IoctlFlags, Negotiated, ReplyHeader, Unique};

use crate::context::Context;
use crate::transport::{Answer, Transport, report};

/// There is no room for another entry: the reply is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The room of a reply, taken down to what the caller asked for.
fn within(room: &mut [u8], limit: Option<u32>) -> &mut [u8] {
    let most = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX).min(room.len());
    room.get_mut(..most).unwrap_or(&mut [])
}

/// How a sink is made from the room of a reply, and how long the reply is in the end. Used by dispatch.
pub(crate) trait Sink<'b>: Sized {
    fn open(room: &'b mut [u8], limit: Option<u32>, cx: &Context<'b>) -> Self;
    fn length(&self) -> usize;

    fn outcome(&self) -> Answer {
        Answer::Body(self.length())
    }
}

/// The reply to `READ` and `READLINK`.
///
/// ```
/// use fusewire::sink::Data;
///
/// let mut room = [0; 8]; // what the caller asked for
/// let mut out = Data::over(&mut room);
/// assert_eq!(out.put(b"hello, "), 7);
/// assert_eq!(out.put(b"world"), 1);
/// assert_eq!((out.written(), out.remaining()), (b"hello, w".as_slice(), 0));
/// ```
#[derive(Debug)]
pub struct Data<'b> {
    out: ReplyWriter<'b>,
    way: Option<Way<'b>>,
    sent: bool,
}

/// How data go out from where they lie.
#[derive(Clone, Copy, Debug)]
struct Way<'b> {
    unique: Unique,
    transport: &'b Weak<dyn Transport>,
}

/// From how many bytes on it is cheaper to send from two places than to copy into one.
const WORTH_LENDING: usize = 8 << 10;

impl<'b> Data<'b> {
    /// A sink over memory of your own, to call a filesystem's methods directly.
    #[must_use]
    pub fn over(room: &'b mut [u8]) -> Self {
        Self { out: ReplyWriter::new(room), way: None, sent: false }
    }

    /// How many more bytes the caller takes; none after [`lend`](Self::lend).
    #[must_use]
    pub fn remaining(&self) -> usize {
        if self.sent { 0 } else { self.out.remaining() }
    }

    /// What was written so far.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.out.written()
    }

    /// Appends as much of `bytes` as the caller takes; returns how much that was.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let most = bytes.len().min(self.remaining());
        let taken = bytes.get(..most).unwrap_or(&[]);
        // It fits: it was cut to do so.
        self.out.put_bytes(taken).map_or(0, |()| most)
    }

    /// Answers with as much of `bytes` as the caller takes, and with nothing else; returns how much that was.
    ///
    /// Many bytes go out from where they lie, now, without being copied first, if the transport can do that. The caller may
    /// have them before the filesystem's method returns, which must return `Ok` then. What was put before, or few bytes,
    /// make it the same as [`put`](Self::put).
    pub fn lend(&mut self, bytes: &[u8]) -> usize {
        let most = bytes.len().min(self.remaining());
        if most < WORTH_LENDING || self.out.length() > 0 {
            return self.put(bytes);
        }
        let Some((unique, transport)) = self.way.and_then(|way| Some((way.unique, way.transport.upgrade()?))) else {
            return self.put(bytes);
        };
        let body = bytes.get(..most).unwrap_or(&[]);
        let header = ReplyHeader::new(unique, None).encode(most);
        report(transport.send_parts(&header, body), header.len() + most);
        self.sent = true;
        most
    }

    /// The room that is left, to be filled in place; then [`advance`](Self::advance). It holds what earlier replies left.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.sent { &mut [] } else { self.out.spare() }
    }

    /// Counts the first `length` bytes of [`spare`](Self::spare) as written.
    pub fn advance(&mut self, length: usize) {
        self.out.advance(length);
    }

    /// Appends what `file` has from `offset` on, until the caller takes no more or the file ends; returns how much.
    ///
    /// # Errors
    /// Those of pread(2), if nothing was read before.
    pub fn put_file(&mut self, file: impl AsFd, offset: u64) -> io::Result<usize> {
        let mut total: usize = 0;
        while self.remaining() > 0 {
            let position = i64::try_from(offset.saturating_add(total as u64)).map_err(|_| Errno::EOVERFLOW)?;
            match nix::sys::uio::pread(&file, self.spare(), position) {
                Ok(0) => break,
                Ok(length) => {
                    self.advance(length);
                    total += length;
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) if total == 0 => return Err(error.into()),
                Err(_) => break,
            }
        }
        Ok(total)
    }
}

impl<'b> Sink<'b> for Data<'b> {
    fn open(room: &'b mut [u8], limit: Option<u32>, cx: &Context<'b>) -> Self {
        let way = cx.transport().map(|transport| Way { unique: cx.unique(), transport });
        Self { way, ..Self::over(within(room, limit)) }
    }

    fn length(&self) -> usize {
        self.out.length()
    }

    fn outcome(&self) -> Answer {
        if self.sent { Answer::Nothing } else { Answer::Body(self.length()) }
    }
}

/// The reply to `GETXATTR` and `LISTXATTR`: a value, or how long it is.
///
/// ```
/// use fusewire::sink::Xattr;
/// use fusewire::{Errno, reply};
///
/// // Callers may ask for the length first: they have no room then.
/// let mut out = Xattr::over(&mut []);
/// out.value(b"blue")?;
/// assert_eq!(out.answer(), reply::Xattr::Size(4));
///
/// let mut room = [0; 4];
/// let mut out = Xattr::over(&mut room);
/// out.value(b"blue")?;
/// assert_eq!(out.answer(), reply::Xattr::Value(b"blue"));
///
/// assert_eq!(Xattr::over(&mut [0; 3]).value(b"blue"), Err(Errno::ERANGE));
/// # Ok::<(), Errno>(())
/// ```
#[derive(Debug)]
pub struct Xattr<'b> {
    out: ReplyWriter<'b>,
    wanted: Wanted,
    /// The length that was answered, where that is asked for.
    size: Option<u32>,
}

/// What the caller asks of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Size,
    Value,
}

impl<'b> Xattr<'b> {
    /// A sink over memory of your own, to call a filesystem's methods directly; empty memory asks for the size.
    #[must_use]
    pub fn over(room: &'b mut [u8]) -> Self {
        let wanted = if room.is_empty() { Wanted::Size } else { Wanted::Value };
        Self { out: ReplyWriter::new(room), wanted, size: None }
    }

    /// The answer so far: the value, or its length if that was asked for and given.
    #[must_use]
    pub fn answer(&self) -> reply::Xattr<'_> {
        self.size.map_or_else(|| reply::Xattr::Value(self.out.written()), reply::Xattr::Size)
    }

    /// Answers with the value, or its length, whichever is asked for.
    ///
    /// # Errors
    /// `ERANGE` if the caller has not enough room for it, `E2BIG` if it is longer than 32 bits can say.
    pub fn value(&mut self, value: &[u8]) -> Result<(), Errno> {
        match self.wanted {
            Wanted::Size => self.size(value.len()),
            Wanted::Value => self.out.put_bytes(value).map_err(|_| Errno::ERANGE),
        }
    }

    /// Answers with what `fill` finds, as getxattr(2) does: with no room it returns the length, with room it puts the value
    /// there and returns its length.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn fill(&mut self, fill: impl FnOnce(&mut [u8]) -> io::Result<usize>) -> Result<(), Errno> {
        match self.wanted {
            Wanted::Size => {
                let length = fill(&mut [])?;
                self.size(length)
            }
            Wanted::Value => {
                let length = fill(self.out.spare())?;
                self.out.advance(length);
                Ok(())
            }
        }
    }

    fn size(&mut self, length: usize) -> Result<(), Errno> {
        let size = u32::try_from(length).map_err(|_| Errno::E2BIG)?;
        self.out.truncate(0);
        self.size = Some(size);
        if self.out.spare().is_empty() {
            // Memory of the caller, who reads it from `answer`.
            return Ok(());
        }
        reply::Xattr::Size(size).encode(&Negotiated::default(), &mut self.out).map_err(|_| Errno::EIO)
    }
}

impl<'b> Sink<'b> for Xattr<'b> {
    fn open(room: &'b mut [u8], limit: Option<u32>, _: &Context<'b>) -> Self {
        match limit {
            Some(0) => Self { out: ReplyWriter::new(room), wanted: Wanted::Size, size: None },
            limit => Self { out: ReplyWriter::new(within(room, limit)), wanted: Wanted::Value, size: None },
        }
    }

    fn length(&self) -> usize {
        self.out.length()
    }
}

/// The reply to `READDIR`.
///
/// ```
/// use fusewire::reply::Dirent;
/// use fusewire::sink::{DirEntries, Full};
/// use fusewire::{FileType, Name};
///
/// let mut room = [0; 64];
/// let mut out = DirEntries::over(&mut room);
/// // The offset says where the next request goes on.
/// assert_eq!(out.push(&Dirent::new(2, 1, FileType::REGULAR, Name::new(b"one")?)), Ok(()));
/// assert_eq!(out.push(&Dirent::new(3, 2, FileType::DIRECTORY, Name::new(b"two")?)), Ok(()));
/// // No room: it comes first in the answer to the next request.
/// assert_eq!(out.push(&Dirent::new(4, 3, FileType::REGULAR, Name::new(b"three")?)), Err(Full));
/// # Ok::<(), fusewire::InvalidBytes>(())
/// ```
#[derive(Debug)]
pub struct DirEntries<'b> {
    out: ReplyWriter<'b>,
}

impl<'b> DirEntries<'b> {
    /// A sink over memory of your own, to call a filesystem's methods directly.
    #[must_use]
    pub fn over(room: &'b mut [u8]) -> Self {
        Self { out: ReplyWriter::new(room) }
    }

    /// What was written so far, to be read with [`reply::DirEntries`].
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.out.written()
    }

    /// Appends an entry.
    ///
    /// # Errors
    /// There is no room for it: leave it for the next request.
    #[inline]
    pub fn push(&mut self, entry: &Dirent<'_>) -> Result<(), Full> {
        entry.put(&mut self.out).map_err(|_| Full)
    }
}

impl<'b> Sink<'b> for DirEntries<'b> {
    fn open(room: &'b mut [u8], limit: Option<u32>, _: &Context<'b>) -> Self {
        Self::over(within(room, limit))
    }

    fn length(&self) -> usize {
        self.out.length()
    }
}

/// The reply to `READDIRPLUS`.
///
/// ```
/// use std::time::Duration;
/// use fusewire::reply::{Dirent, Entry};
/// use fusewire::sink::DirEntriesPlus;
/// use fusewire::{Attr, FileType, Name, Negotiated, NodeId};
///
/// let (mut room, negotiated) = ([0; 200], Negotiated::default());
/// let mut out = DirEntriesPlus::over(&mut room, &negotiated);
/// let mut lookups = 0;
/// for (node, name) in [(2, b"a"), (3, b"b")] {
///     let dirent = Dirent::new(node, node, FileType::REGULAR, Name::new(name)?);
///     let attr = Attr::new(node, FileType::REGULAR, 0o644);
///     let pushed = out.push(&dirent, || {
///         lookups += 1;
///         Entry::new(NodeId(node), attr, Duration::MAX)
///     });
///     if pushed.is_err() {
///         break;
///     }
/// }
/// assert_eq!(lookups, 1); // there was no room for the second
/// # Ok::<(), fusewire::InvalidBytes>(())
/// ```
#[derive(Debug)]
pub struct DirEntriesPlus<'b> {
    out: ReplyWriter<'b>,
    negotiated: &'b Negotiated,
}

impl<'b> DirEntriesPlus<'b> {
    /// A sink over memory of your own, to call a filesystem's methods directly.
    #[must_use]
    pub fn over(room: &'b mut [u8], negotiated: &'b Negotiated) -> Self {
        Self { out: ReplyWriter::new(room), negotiated }
    }

    /// What was written so far, to be read with [`reply::DirEntriesPlus`].
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.out.written()
    }

    /// Appends an entry. `lookup` looks it up, adding one to the lookup count of its node; it is called only if there is
    /// room for the entry, so that no lookup is counted that the kernel does not see.
    ///
    /// # Errors
    /// There is no room for it: leave it for the next request.
    pub fn push(&mut self, entry: &Dirent<'_>, lookup: impl FnOnce() -> Entry) -> Result<(), Full> {
        entry.put_plus(self.negotiated, lookup, &mut self.out).map_err(|_| Full)
    }

    /// Appends an entry that is not looked up: `.` and `..`, or one whose attributes cannot be had.
    ///
    /// # Errors
    /// There is no room for it: leave it for the next request.
    pub fn push_plain(&mut self, entry: &Dirent<'_>) -> Result<(), Full> {
        self.push(entry, Entry::not_looked_up)
    }
}

impl<'b> Sink<'b> for DirEntriesPlus<'b> {
    fn open(room: &'b mut [u8], limit: Option<u32>, cx: &Context<'b>) -> Self {
        Self::over(within(room, limit), cx.negotiated())
    }

    fn length(&self) -> usize {
        self.out.length()
    }
}

/// The reply to `IOCTL`: what ioctl(2) returns, and what goes into the caller's memory. Without an answer, it returns 0.
///
/// ```
/// use fusewire::sink::Ioctl;
///
/// let mut room = [0; 64];
/// let mut out = Ioctl::over(&mut room);
/// out.answer(0, &1u32.to_ne_bytes())?;
/// # Ok::<(), fusewire::Errno>(())
/// ```
#[derive(Debug)]
pub struct Ioctl<'b> {
    out: ReplyWriter<'b>,
    limit: usize,
}

impl<'b> Ioctl<'b> {
    /// A sink over memory of your own, to call a filesystem's methods directly.
    #[must_use]
    pub fn over(room: &'b mut [u8]) -> Self {
        let limit = room.len();
        Self { out: ReplyWriter::new(room), limit }
    }

    /// The reply so far, to be read with [`reply::Ioctl`].
    #[must_use]
    pub fn written(&self) -> &[u8] {
        self.out.written()
    }

    /// Answers with `result`, which ioctl(2) returns, and `data` for the caller's memory.
    ///
    /// # Errors
    /// `E2BIG` if the data are more than the command has room for.
    pub fn answer(&mut self, result: i32, data: &[u8]) -> Result<(), Errno> {
        if data.len() > self.limit {
            return Err(Errno::E2BIG);
        }
        self.put(&reply::Ioctl { result, data, ..reply::Ioctl::default() })
    }

    /// Asks for the memory that `areas` name (as `fuse_ioctl_iovec`, first those to read, then those to write), to be called
    /// again with them. Only an unrestricted ioctl may do so.
    ///
    /// # Errors
    /// `E2BIG` if there are more areas than fit.
    pub fn retry(&mut self, in_areas: u32, out_areas: u32, areas: &[u8]) -> Result<(), Errno> {
        self.put(&reply::Ioctl { result: 0, flags: IoctlFlags::RETRY, in_areas, out_areas, data: areas })
    }

    fn put(&mut self, reply: &reply::Ioctl<'_>) -> Result<(), Errno> {
        self.out.truncate(0);
        reply.encode(&Negotiated::default(), &mut self.out).map_err(|_| Errno::E2BIG)
    }
}

impl<'b> Sink<'b> for Ioctl<'b> {
    fn open(room: &'b mut [u8], limit: Option<u32>, _: &Context<'b>) -> Self {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let mut sink = Self { out: ReplyWriter::new(room), limit };
        // The header must be there even if the filesystem has nothing to say.
        let _ = sink.answer(0, &[]);
        sink
    }

    fn length(&self) -> usize {
        self.out.length()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::transport::{Received, RequestBuffer};

    /// Keeps what is sent, header and body apart.
    #[derive(Default)]
    struct Kept(Mutex<Vec<(Vec<u8>, Vec<u8>)>>);

    impl Transport for Kept {
        fn name(&self) -> &'static str {
            "memory"
        }

        fn receive<'b>(&self, _: &'b mut RequestBuffer) -> io::Result<Received<'b>> {
            Ok(Received::End)
        }

        fn send(&self, _: &[u8]) -> io::Result<()> {
            Err(io::Error::other("only parts are sent here"))
        }

        fn send_parts(&self, header: &[u8], body: &[u8]) -> io::Result<()> {
            self.0.lock().unwrap().push((header.to_vec(), body.to_vec()));
            Ok(())
        }
    }

    /// A message in two parts.
    type Sent = (Vec<u8>, Vec<u8>);

    /// Lends `bytes` behind `before` to a sink with so much room; gives the answer and what was sent.
    fn lend(room: usize, before: &[u8], bytes: &[u8]) -> (Answer, Vec<Sent>) {
        let kept = Arc::new(Kept::default());
        let transport: Arc<dyn Transport> = kept.clone();
        let transport = Arc::downgrade(&transport);
        let mut memory = vec![0; room];
        let way = Some(Way { unique: Unique(6), transport: &transport });
        let mut sink = Data { way, ..Data::over(&mut memory) };
        sink.put(before);
        assert_eq!(sink.lend(bytes), bytes.len().min(room - before.len()));
        let answer = sink.outcome();
        if answer == Answer::Nothing {
            assert_eq!((sink.remaining(), sink.spare().len(), sink.put(b"more")), (0, 0, 0));
        }
        (answer, std::mem::take(&mut *kept.0.lock().unwrap()))
    }

    #[test]
    fn many_lent_bytes_go_out_at_once_as_far_as_the_caller_takes_them() {
        let bytes = vec![7; 2 * WORTH_LENDING];
        for room in [bytes.len(), bytes.len() - 1, bytes.len() + 1] {
            let taken = &bytes[..room.min(bytes.len())];
            let header = ReplyHeader::new(Unique(6), None).encode(taken.len());
            assert_eq!(lend(room, b"", &bytes), (Answer::Nothing, vec![(header.to_vec(), taken.to_vec())]));
        }
    }

    #[test]
    fn few_lent_bytes_and_those_behind_others_are_put() {
        let bytes = vec![7; 2 * WORTH_LENDING];
        assert_eq!(lend(4096, b"", &bytes), (Answer::Body(4096), vec![]));
        assert_eq!(lend(bytes.len(), b"", b"few"), (Answer::Body(3), vec![]));
        assert_eq!(lend(bytes.len() + 2, b"ab", &bytes), (Answer::Body(bytes.len() + 2), vec![]));
    }
}

//! The memory of an entry: a header that the kernel fills in, and a payload that a reply is made in.
//!
//! It is mapped and not touched before it is used: a large payload costs what its largest message needed. Whoever has an
//! [`Entry`] has its memory; one that is submitted belongs to `submit` until the kernel gives it back.
#![expect(unsafe_code, reason = "mapped memory that the kernel writes to behind the compiler's back")]

use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use fusewire_proto::uring::{EntryHeader, HEADER_SIZE, encode_entry};
use fusewire_proto::{Errno, ReplyHeader, Unique};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::transport::Answer;

const PAGE: usize = 4096;

/// Where in the first page the two ranges are described. The header is before it.
const AREAS: usize = 512;
const _: () = assert!(HEADER_SIZE <= AREAS && AREAS + size_of::<[libc::iovec; 2]>() <= PAGE);

/// The memory of an entry that the kernel does not have: the first page for the header, then the payload.
#[derive(Debug)]
pub(super) struct Entry {
    memory: NonNull<u8>,
    payload: usize,
    queue: u16,
}

// SAFETY: the value is the only owner of its memory, which belongs to no thread in particular.
unsafe impl Send for Entry {}

/// The two parts of an entry.
pub(super) struct Parts<'e> {
    /// The request's header and fixed arguments.
    pub(super) header: &'e mut [u8],
    /// Names and data of the request; then the body of the reply.
    pub(super) payload: &'e mut [u8],
}

impl Entry {
    /// An entry of `queue`, with memory for a payload of `payload` bytes, untouched as yet.
    ///
    /// # Errors
    /// There is no room in the address space.
    pub(super) fn new(queue: u16, payload: usize) -> io::Result<Self> {
        let payload = payload.next_multiple_of(PAGE);
        let length = NonZeroUsize::new(PAGE + payload).ok_or(io::ErrorKind::InvalidInput)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: the kernel chooses where, so nothing that exists is mapped over.
        let memory = unsafe { mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) };
        let memory = memory.map_err(io::Error::from)?.cast::<u8>();
        let area = |start: usize, length| libc::iovec {
            iov_base: memory.as_ptr().wrapping_add(start).cast(),
            iov_len: length,
        };
        let areas = [area(0, HEADER_SIZE), area(PAGE, payload)];
        // SAFETY: the place is within the first page, which is mapped, writable and ours alone; AREAS is a multiple of the
        // alignment of an iovec.
        unsafe { memory.as_ptr().wrapping_add(AREAS).cast::<[libc::iovec; 2]>().write(areas) };
        Ok(Self { memory, payload, queue })
    }

    /// The queue that it belongs to.
    pub(super) fn queue(&self) -> u16 {
        self.queue
    }

    /// Where the two ranges are described, for the registration: the address of two `iovec`, valid as long as the entry.
    pub(super) fn areas(&self) -> u64 {
        self.memory.as_ptr().wrapping_add(AREAS).addr() as u64
    }

    /// The memory.
    pub(super) fn parts(&mut self) -> Parts<'_> {
        // SAFETY: HEADER_SIZE initialised bytes at the start of the mapping, which lives as long as `self` and has no other
        // user: the kernel does not have the entry, and `&mut self` keeps others away.
        let header = unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr(), HEADER_SIZE) };
        let start = self.memory.as_ptr().wrapping_add(PAGE);
        // SAFETY: as above, for the `payload` bytes from the next page on, which do not overlap the header.
        let payload = unsafe { std::slice::from_raw_parts_mut(start, self.payload) };
        Parts { header, payload }
    }

    /// Puts the header of the reply in place; the body of one is in the payload already.
    pub(super) fn finish(&mut self, ids: Ids, answer: Answer) {
        let (error, length) = match answer {
            Answer::Body(length) => (None, length),
            Answer::Error(errno) => (Some(errno), 0),
            // Every request in a ring has a reply: without one its caller, and the entry, would wait for ever.
            Answer::Nothing => (Some(Errno::EIO), 0),
        };
        let header = ReplyHeader::new(ids.unique, error).encode(length);
        let payload_size = u32::try_from(length).unwrap_or(0);
        let entry = EntryHeader { flags: 0, commit_id: ids.commit, payload_size };
        encode_entry(self.parts().header, &header, &[], entry).expect("a reply's header is shorter than a request's");
    }

    /// Makes `message`, a whole reply with its header, the reply of this entry.
    pub(super) fn finish_with(&mut self, ids: Ids, message: &[u8]) {
        let answer = match ReplyHeader::decode(message) {
            Ok((ReplyHeader { error: Some(errno), .. }, _)) => Answer::Error(errno),
            Ok((_, body)) => match self.parts().payload.get_mut(..body.len()) {
                Some(place) => {
                    place.copy_from_slice(body);
                    Answer::Body(body.len())
                }
                None => Answer::Error(Errno::EIO),
            },
            Err(_) => Answer::Error(Errno::EIO),
        };
        self.finish(ids, answer);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: exactly what was mapped, by its only owner; no reference into it outlives `self`, and the kernel does not
        // have the entry, or will not write to it any more (see `submit`).
        let unmapped = unsafe { munmap(self.memory.cast(), PAGE + self.payload) };
        if let Err(error) = unmapped {
            tracing::error!(%error, "giving memory of an entry back");
        }
    }
}

/// Which request an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ids {
    /// What the answer is committed by.
    pub(super) commit: u64,
    pub(super) unique: Unique,
}

#[cfg(test)]
mod tests {
    use fusewire_proto::uring::decode_entry;

    use super::*;

    const IDS: Ids = Ids { commit: 6, unique: Unique(6) };

    /// The unique, the error and the size of the reply, from where the kernel reads them.
    fn reply(entry: &mut Entry) -> (u64, i32, usize) {
        let parts = entry.parts();
        let unique = u64::from_ne_bytes(parts.header[8..16].try_into().unwrap());
        let error = i32::from_ne_bytes(parts.header[4..8].try_into().unwrap());
        let (header, _) = decode_entry(parts.header, parts.payload).unwrap();
        assert_eq!(header.commit_id, IDS.commit);
        (unique, error, usize::try_from(header.payload_size).unwrap())
    }

    #[test]
    fn memory_is_page_aligned_and_large_enough() {
        let mut entry = Entry::new(0, 5000).unwrap();
        let parts = entry.parts();
        assert_eq!((parts.header.len(), parts.payload.len()), (HEADER_SIZE, 2 * PAGE));
        assert_eq!(parts.payload.as_ptr().align_offset(PAGE), 0);
        parts.payload.fill(1);
    }

    #[test]
    fn replies_are_where_the_kernel_looks_for_them() {
        let mut entry = Entry::new(0, PAGE).unwrap();
        entry.finish(IDS, Answer::Body(7));
        assert_eq!(reply(&mut entry), (6, 0, 7));
        entry.finish(IDS, Answer::Error(Errno::ENOENT));
        assert_eq!(reply(&mut entry), (6, -libc::ENOENT, 0));
        entry.finish(IDS, Answer::Nothing);
        assert_eq!(reply(&mut entry), (6, -libc::EIO, 0));
    }

    #[test]
    fn whole_messages_become_replies_if_they_fit() {
        let mut entry = Entry::new(0, PAGE).unwrap();
        let message = |error, body: &[u8]| [&ReplyHeader::new(IDS.unique, error).encode(body.len())[..], body].concat();
        entry.finish_with(IDS, &message(None, b"body"));
        assert_eq!(reply(&mut entry), (6, 0, 4));
        assert_eq!(entry.parts().payload.get(..4), Some(&b"body"[..]));
        entry.finish_with(IDS, &message(Some(Errno::EROFS), b""));
        assert_eq!(reply(&mut entry), (6, -libc::EROFS, 0));
        entry.finish_with(IDS, &message(None, &[0; PAGE + 1]));
        assert_eq!(reply(&mut entry), (6, -libc::EIO, 0));
        entry.finish_with(IDS, b"no message");
        assert_eq!(reply(&mut entry), (6, -libc::EIO, 0));
    }
}

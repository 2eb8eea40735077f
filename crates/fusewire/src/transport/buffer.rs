//! Memory for one request and one reply, page-aligned and used again and again.
//!
//! Both are laid out so that bulk data begin on a page: then they can go to and come from a file opened with `O_DIRECT`
//! without a copy. Pages that are never used are never touched, so a large buffer costs what its largest message needed.

use fusewire_proto::{ReplyHeader, abi};

const PAGE: usize = 4096;

/// The longest body that is moved next to its header, in bytes.
const SHORT: usize = 1024;

/// Memory that begins on a page.
#[derive(Debug)]
struct Pages {
    bytes: Vec<u8>,
    start: usize,
}

impl Pages {
    fn new(length: usize) -> Self {
        // Zeroed memory of this size comes from the kernel untouched.
        let bytes = vec![0; length + PAGE];
        let start = bytes.as_ptr().align_offset(PAGE);
        Self { bytes, start }
    }

    fn get(&mut self, from: usize) -> &mut [u8] {
        self.bytes.get_mut(self.start + from..).unwrap_or(&mut [])
    }
}

/// Where a request is received.
#[derive(Debug)]
pub struct RequestBuffer {
    pages: Pages,
}

impl RequestBuffer {
    /// What comes before the data of a `WRITE`.
    const FRONT: usize = size_of::<abi::fuse_in_header>() + size_of::<abi::fuse_write_in>();

    /// Room for a request of `longest` bytes.
    #[must_use]
    pub fn new(longest: usize) -> Self {
        Self { pages: Pages::new(longest.max(abi::FUSE_MIN_READ_BUFFER) + PAGE) }
    }

    /// The room. The data of a `WRITE` that is put at its start begin on a page.
    pub fn room(&mut self) -> &mut [u8] {
        self.pages.get(PAGE - Self::FRONT)
    }
}

/// Where a reply is made: the header in front of the body, in one run.
#[derive(Debug)]
pub struct ReplyBuffer {
    pages: Pages,
    room: usize,
}

impl ReplyBuffer {
    /// Room for a reply with a body of `room` bytes.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { pages: Pages::new(PAGE + room), room }
    }

    /// The room for the body. It begins on a page, and holds what earlier replies left.
    pub fn room(&mut self) -> &mut [u8] {
        let room = self.room;
        self.pages.get(PAGE).get_mut(..room).unwrap_or(&mut [])
    }

    /// The whole message: `header` and the first `body` bytes of the room.
    ///
    /// A short one is moved into a page of its own: the kernel pins each page that it reads from
    /// (`fs/fuse/dev.c fuse_copy_fill()`), which costs more than the move.
    pub(crate) fn message(&mut self, header: &[u8; ReplyHeader::LENGTH], body: usize) -> &[u8] {
        if body <= SHORT {
            let whole = self.pages.get(0);
            if let Some((front, room)) = whole.split_at_mut_checked(PAGE)
                && let Some((place, front)) = front.split_first_chunk_mut()
                && let (Some(front), Some(body)) = (front.get_mut(..body), room.get(..body))
            {
                *place = *header;
                front.copy_from_slice(body);
            }
            return whole.get(..ReplyHeader::LENGTH + body).unwrap_or(&[]);
        }
        let message = self.pages.get(PAGE - ReplyHeader::LENGTH);
        if let Some(place) = message.first_chunk_mut() {
            *place = *header;
        }
        message.get(..ReplyHeader::LENGTH + body).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_data_begin_on_a_page() {
        let mut request = RequestBuffer::new(1 << 20);
        let data = request.room().split_at(RequestBuffer::FRONT).1;
        assert_eq!(data.as_ptr().align_offset(PAGE), 0);
        assert!(data.len() >= 1 << 20);
        let mut reply = ReplyBuffer::new(1 << 20);
        assert_eq!(reply.room().as_ptr().align_offset(PAGE), 0);
        assert_eq!(reply.room().len(), 1 << 20);
    }

    #[test]
    fn message_is_header_and_body_in_one_run() {
        let mut reply = ReplyBuffer::new(8);
        reply.room().copy_from_slice(b"12345678");
        let message = reply.message(&[7; ReplyHeader::LENGTH], 3);
        assert_eq!(message.len(), 19);
        assert!(message.ends_with(b"\x07123"));
    }

    #[test]
    fn short_message_is_within_a_page_and_long_one_is_where_its_body_was_made() {
        let mut reply = ReplyBuffer::new(2 * SHORT);
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(2 * SHORT).collect();
        reply.room().copy_from_slice(&bytes);
        let room = reply.room().as_ptr();
        for length in [0, 1, SHORT, SHORT + 1, 2 * SHORT] {
            let message = reply.message(&[7; ReplyHeader::LENGTH], length);
            assert_eq!(message.strip_prefix(&[7; ReplyHeader::LENGTH]), bytes.get(..length));
            let moved = message.get(ReplyHeader::LENGTH..).map(<[u8]>::as_ptr) != Some(room);
            assert_eq!(moved, length <= SHORT);
            assert!(!moved || message.as_ptr().align_offset(PAGE) == 0);
        }
    }
}

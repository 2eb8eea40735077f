//! The last messages of a connection, kept as bytes and put into words only when somebody asks.
//!
//! Nothing is judged here.

use std::collections::VecDeque;

use fusewire_proto::reply::Reply;
use fusewire_proto::{Incoming, Negotiated, Notification, Opcode, ReplyHeader, Request};

/// How many messages are kept.
const KEPT: usize = 32;
/// How many bytes of a message are kept.
const LONGEST: usize = 512;
/// How many characters a message has in words.
const WIDEST: usize = 240;

/// A ring of the last messages.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    messages: VecDeque<Message>,
}

#[derive(Debug)]
struct Message {
    from: From,
    bytes: Vec<u8>,
    /// Bytes of the whole message.
    length: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Kernel,
    /// What it answers, if that is known: the opcode, and the room for a reply.
    Daemon(Option<(Opcode, Option<u32>)>),
}

impl Exchange {
    /// Remembers what was sent to the daemon.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.push(From::Kernel, bytes);
    }

    /// Remembers what came from the daemon, and what it answers.
    pub(crate) fn came(&mut self, bytes: &[u8], answers: Option<(Opcode, Option<u32>)>) {
        self.push(From::Daemon(answers), bytes);
    }

    fn push(&mut self, from: From, bytes: &[u8]) {
        let mut buffer = match self.messages.len() {
            KEPT => self.messages.pop_front().map(|message| message.bytes).unwrap_or_default(),
            _ => Vec::new(),
        };
        buffer.clear();
        buffer.extend_from_slice(bytes.get(..LONGEST).unwrap_or(bytes));
        self.messages.push_back(Message { from, bytes: buffer, length: bytes.len() });
    }

    /// The messages in words, oldest first.
    pub(crate) fn in_words(&self, negotiated: &Negotiated) -> Vec<String> {
        self.messages.iter().map(|message| message.in_words(negotiated)).collect()
    }
}

impl Message {
    fn in_words(&self, negotiated: &Negotiated) -> String {
        let words = match self.from {
            From::Kernel => request_in_words(&self.bytes, negotiated).map(|words| format!("-> {words}")),
            From::Daemon(answers) => {
                reply_in_words(&self.bytes, answers, negotiated).map(|words| format!("<- {words}"))
            }
        };
        let mut words = words.unwrap_or_else(|| {
            let what = match (self.from, Incoming::identify(&self.bytes)) {
                (From::Kernel, Some((unique, opcode))) => format!("-> #{unique} {opcode},"),
                (From::Kernel, None) => String::from("->"),
                (From::Daemon(_), _) => String::from("<-"),
            };
            format!("{what} {} bytes: {}", self.length, hexadecimal(&self.bytes))
        });
        if let Some((end, _)) = words.char_indices().nth(WIDEST) {
            words.truncate(end);
            words.push_str(" ...");
        }
        words
    }
}

fn request_in_words(bytes: &[u8], negotiated: &Negotiated) -> Option<String> {
    let incoming = Incoming::parse(bytes).ok()?;
    let unique = incoming.header.unique;
    match Request::decode(negotiated, &incoming) {
        Ok((request, _)) => Some(format!("#{unique} {request:?}")),
        Err(error) => Some(format!("#{unique} {} (malformed: {error}): {}", incoming.opcode, hexadecimal(bytes))),
    }
}

fn reply_in_words(bytes: &[u8], answers: Option<(Opcode, Option<u32>)>, negotiated: &Negotiated) -> Option<String> {
    let unique_at = size_of::<u64>();
    if bytes.get(unique_at..).and_then(|rest| rest.first_chunk::<8>()).is_some_and(|unique| *unique == [0; 8]) {
        return Notification::decode(bytes).ok().map(|notification| format!("notification {notification:?}"));
    }
    let (header, body) = ReplyHeader::decode(bytes).ok()?;
    let unique = header.unique;
    if let Some(errno) = header.error.filter(|_| body.is_empty()) {
        let asked = match answers {
            Some((opcode, _)) => opcode.to_string(),
            // fs/fuse/dev.c FUSE_INT_REQ_BIT
            None if unique.0 & 1 == 1 => Opcode::INTERRUPT.to_string(),
            None => String::from("what nobody waits for"),
        };
        return Some(format!("#{unique} {asked}: {errno:?}"));
    }
    let (opcode, limit) = answers?;
    let reply = Reply::decode(negotiated, opcode, limit, body).ok()?;
    Some(format!("#{unique} {opcode}: {reply:?}"))
}

/// The bytes, with a blank behind every fourth.
fn hexadecimal(bytes: &[u8]) -> String {
    let groups: Vec<String> =
        bytes.chunks(4).map(|group| group.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    groups.join(" ")
}

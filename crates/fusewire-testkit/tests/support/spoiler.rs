//! A wire that spoils what passes, in one way: the session's mutations, as the kernel would see them.
//!
//! It knows opcodes and the headers, and nothing of the bodies.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use fusewire::{Incoming, Opcode, Unique};
use fusewire_testkit::wire::{Received, Wire};

/// How messages are spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoil {
    /// Answers to this operation do not arrive.
    LosesReply(Opcode),
    /// Answers to this operation arrive twice.
    DoublesReply(Opcode),
    /// The length in the header of answers to this operation is one too many.
    WrongLength(Opcode),
    /// The error of answers to this operation is replaced; what follows stays.
    Error(Opcode, i32),
    /// A byte is added to answers to this operation, and counted.
    Lengthens(Opcode),
    /// A byte is taken off answers to this operation, and the rest counted.
    Shortens(Opcode),
    /// This operation is answered, with success, although it wants no answer.
    Answers(Opcode),
    /// After this operation, a request is answered that was never sent.
    Invents(Opcode),
    /// After this operation, a notification with this code comes.
    Notifies(Opcode, i32),
    /// This operation does not reach the daemon, and is answered as done if it wants an answer.
    Swallows(Opcode),
    /// The answer to `INIT` takes a capability that was not offered.
    TakesMore,
    /// The answer to `INIT` is of another major version.
    OtherMajor,
    /// A notification comes before `INIT` is answered.
    TalksFirst,
    /// The daemon does not see the end of the connection.
    HidesEnd,
}

pub(crate) struct Spoiler {
    inner: Box<dyn Wire>,
    spoil: Spoil,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    asked: HashMap<Unique, Opcode>,
    /// What comes next, beside what the daemon sends.
    extra: VecDeque<Vec<u8>>,
}

impl Spoiler {
    pub(crate) fn around(inner: Box<dyn Wire>, spoil: Spoil) -> Box<dyn Wire> {
        Box::new(Self { inner, spoil, state: Mutex::default() })
    }
}

fn message(unique: u64, error: i32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap();
    [&length.to_ne_bytes()[..], &error.to_ne_bytes(), &unique.to_ne_bytes(), body].concat()
}

fn with_length(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[..4].copy_from_slice(&length.to_ne_bytes());
    bytes
}

impl Wire for Spoiler {
    fn send(&self, request: &[u8]) -> io::Result<()> {
        if let Some((unique, opcode)) = Incoming::identify(request) {
            let mut state = self.state.lock().unwrap();
            state.asked.insert(unique, opcode);
            match self.spoil {
                Spoil::Swallows(swallowed) if swallowed == opcode => {
                    if opcode.wants_reply() {
                        state.extra.push_back(message(unique.0, 0, &[]));
                    }
                    return Ok(());
                }
                Spoil::Answers(answered) if answered == opcode => state.extra.push_back(message(unique.0, 0, &[])),
                Spoil::Invents(after) if after == opcode => state.extra.push_back(message(1 << 40, 0, &[])),
                Spoil::Notifies(after, code) if after == opcode => state.extra.push_back(message(0, code, &[])),
                Spoil::TalksFirst if opcode == Opcode::INIT => {
                    state.extra.push_back(message(0, 1, &7_u64.to_ne_bytes()));
                }
                _ => {}
            }
        }
        self.inner.send(request)
    }

    fn receive(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Received> {
        loop {
            if let Some(extra) = self.state.lock().unwrap().extra.pop_front() {
                buffer[..extra.len()].copy_from_slice(&extra);
                return Ok(Received::Message(extra.len()));
            }
            let received = self.inner.receive(buffer, patience)?;
            let Received::Message(length) = received else { return Ok(received) };
            let mut bytes = buffer[..length].to_vec();
            let unique = Unique(u64::from_ne_bytes(bytes[8..16].try_into().unwrap()));
            let mut state = self.state.lock().unwrap();
            let answered = state.asked.get(&unique).copied();
            let hit = |opcode: Opcode| answered == Some(opcode);
            match self.spoil {
                Spoil::LosesReply(opcode) if hit(opcode) => continue,
                Spoil::DoublesReply(opcode) if hit(opcode) => state.extra.push_back(bytes.clone()),
                Spoil::WrongLength(opcode) if hit(opcode) => bytes[0] += 1,
                Spoil::Error(opcode, error) if hit(opcode) => bytes[4..8].copy_from_slice(&error.to_ne_bytes()),
                Spoil::Lengthens(opcode) if hit(opcode) => {
                    bytes.push(0);
                    bytes = with_length(bytes);
                }
                Spoil::Shortens(opcode) if hit(opcode) => {
                    bytes.pop();
                    bytes = with_length(bytes);
                }
                // fuse_init_out.flags, behind major, minor and max_readahead. FILE_OPS is not offered.
                Spoil::TakesMore if hit(Opcode::INIT) => bytes[16 + 12] |= 4,
                Spoil::OtherMajor if hit(Opcode::INIT) => bytes[16] = 8,
                _ => {}
            }
            buffer[..bytes.len()].copy_from_slice(&bytes);
            return Ok(Received::Message(bytes.len()));
        }
    }

    fn close(&self) {
        if self.spoil != Spoil::HidesEnd {
            self.inner.close();
        }
    }

    fn is_direct(&self) -> bool {
        self.inner.is_direct()
    }
}

//! Requests on their way out: with a number and bytes, delivered once, twice, late, or spoilt.
//!
//! Who waits for the answers is the business of the connection.

use fusewire_proto::ext::{Extensions, ExtensionsBuilder};
use fusewire_proto::{Errno, InitFlags, NodeId, Opcode, Request, RequestHeader, Unique, abi};

use crate::kernel::state::{Expected, Pending};
use crate::kernel::{Caller, Kernel};

/// A request under way, to be waited for.
#[must_use = "an answer that nobody waits for is still owed when the connection ends"]
#[derive(Debug)]
pub struct Ticket {
    pub(super) unique: Unique,
}

impl Ticket {
    /// The number of the request.
    #[must_use]
    pub fn unique(&self) -> Unique {
        self.unique
    }
}

/// What a request that no kernel sends is expected to be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostile {
    /// The opcode does not exist: `ENOSYS`.
    UnknownOpcode,
    /// The arguments make no sense: an error, but not `ENOSYS`.
    Malformed,
    /// Nothing, or anything: the daemon only has to survive it.
    Garbage,
}

/// A request that has its number and bytes, and can be sent.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(crate) unique: Unique,
    pub(crate) opcode: Opcode,
    pub(crate) limit: Option<u32>,
    pub(crate) wants_reply: bool,
    pub(crate) bytes: Vec<u8>,
}

impl Draft {
    /// The number of the request.
    #[must_use]
    pub fn unique(&self) -> Unique {
        self.unique
    }

    /// The bytes as they are sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same request as a successor of the daemon gets it that read it first: with bit 63 of its number set.
    #[must_use]
    pub fn as_resent(mut self) -> Self {
        self.unique = Unique(self.unique.0 | abi::FUSE_UNIQUE_RESEND);
        let place = std::mem::offset_of!(abi::fuse_in_header, unique);
        if let Some(bytes) = self.bytes.get_mut(place..).and_then(|rest| rest.first_chunk_mut::<8>()) {
            *bytes = self.unique.0.to_ne_bytes();
        }
        self
    }
}

impl Kernel {
    /// Gives a request its number and its bytes, and does not send it yet: so that it can be sent later than others, more than
    /// once, or after an interrupt for it.
    ///
    /// # Errors
    /// `EMSGSIZE` if it is too long to be sent.
    pub fn draft_as<'a>(&self, caller: &Caller, request: impl Into<Request<'a>>) -> Result<Draft, Errno> {
        let request = request.into();
        let (unique, negotiated) = self.lock().new_unique();
        let mut header = RequestHeader::new(unique);
        header.uid = Some(caller.uid);
        header.gid = Some(caller.gid);
        header.pid = caller.pid;
        if let Request::NotifyReply(reply) = &request {
            header.unique = Unique(reply.notify_unique.0);
        }
        let group = caller.supplementary.filter(|_| request.creates() && negotiated.has(InitFlags::CREATE_SUPP_GROUP));
        let mut extensions = ExtensionsBuilder::default();
        if let Some(group) = group {
            extensions.group(group);
        }
        let extensions = if group.is_some() { extensions.build() } else { Extensions::default() };
        let bytes = request.encode_with(&header, &extensions, &negotiated).map_err(|_| too_long())?;
        Ok(Draft {
            unique: header.unique,
            opcode: request.opcode(),
            limit: request.reply_limit(),
            wants_reply: request.opcode().wants_reply(),
            bytes,
        })
    }

    /// Sends a draft. Sent again, it is a second request with the same number, and owed a second answer.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn deliver(&self, draft: &Draft) -> Result<(), Errno> {
        self.deliver_as(draft, Expected::Answer)
    }

    /// Sends bytes that no kernel sends, and notes what they must be answered with.
    ///
    /// # Errors
    /// `ENOTCONN` if the connection is over.
    pub fn deliver_bytes(&self, bytes: Vec<u8>, hostile: Hostile) -> Result<Option<Ticket>, Errno> {
        let identified = fusewire_proto::Incoming::identify(&bytes);
        match (identified, hostile) {
            (Some((unique, opcode)), Hostile::UnknownOpcode | Hostile::Malformed) => {
                let wants_reply = opcode.wants_reply();
                let draft = Draft { unique, opcode, limit: None, wants_reply, bytes };
                self.deliver_as(&draft, Expected::Error(hostile))?;
                Ok(wants_reply.then_some(Ticket { unique }))
            }
            _ => {
                let mut state = self.lock();
                if state.ended {
                    return Err(Errno::ENOTCONN);
                }
                if let Some((unique, _)) = identified {
                    state.tolerated.insert(unique);
                }
                state.exchange.sent(&bytes);
                drop(state);
                self.transmit(&bytes)?;
                Ok(None)
            }
        }
    }

    /// Sends a request of any opcode to the root, with these bytes as its arguments, and notes what it must be answered with.
    ///
    /// # Errors
    /// `ENOTCONN` if the connection is over.
    pub fn deliver_request(&self, opcode: Opcode, args: &[u8], hostile: Hostile) -> Result<Ticket, Errno> {
        let (unique, _) = self.lock().new_unique();
        let bytes = raw_request(unique, opcode, args);
        let draft = Draft { unique, opcode, limit: None, wants_reply: true, bytes };
        self.deliver_as(&draft, Expected::Error(hostile))?;
        Ok(Ticket { unique })
    }

    fn deliver_as(&self, draft: &Draft, expected: Expected) -> Result<(), Errno> {
        let mut state = self.lock();
        if state.ended || state.refused {
            return Err(Errno::ENOTCONN);
        }
        state.exchange.sent(&draft.bytes);
        *state.sent.entry(draft.opcode).or_default() += 1;
        if draft.opcode == Opcode::INIT {
            state.init_unique = Some(draft.unique);
        }
        if draft.wants_reply {
            let pending = state.pending.entry(draft.unique).or_insert_with(|| Pending::new(draft, expected));
            pending.owed += 1;
        } else {
            state.note_without_reply(draft.unique, draft.opcode);
        }
        drop(state);
        self.transmit(&draft.bytes).inspect_err(|_| {
            self.lock().pending.remove(&draft.unique);
        })
    }
}

/// A request to the root whose arguments are any bytes.
fn raw_request(unique: Unique, opcode: Opcode, args: &[u8]) -> Vec<u8> {
    let length = u32::try_from(size_of::<abi::fuse_in_header>() + args.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&opcode.0.to_ne_bytes());
    bytes.extend_from_slice(&unique.0.to_ne_bytes());
    bytes.extend_from_slice(&NodeId::ROOT.0.to_ne_bytes());
    // By root, of no process, without extensions.
    bytes.resize(size_of::<abi::fuse_in_header>(), 0);
    bytes.extend_from_slice(args);
    bytes
}

fn too_long() -> Errno {
    Errno::from_raw(libc::EMSGSIZE).unwrap_or(Errno::E2BIG)
}

//! What a connection remembers: requests under way, counts, the law book.
//!
//! All of it is behind one lock, which is never held while something is sent or waited for.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use fusewire_proto::{Errno, Negotiated, NodeId, NotifyUnique, Opcode, Unique, abi};

use crate::kernel::exchange::Exchange;
use crate::kernel::{Answer, Draft, Heard, Hostile};
use crate::laws::ledger::Ledger;
use crate::laws::{Law, LawBook};

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) negotiated: Negotiated,
    /// The number of the next request.
    next_unique: u64,
    /// The number of `INIT`.
    pub(crate) init_unique: Option<Unique>,
    /// `INIT` was answered well.
    pub(crate) open: bool,
    /// `INIT` was refused.
    pub(crate) refused: bool,
    /// The daemon has closed its end.
    pub(crate) ended: bool,
    /// Somebody is receiving.
    pub(crate) receiving: bool,
    /// How many wait for the one who is receiving.
    pub(crate) waiting: usize,
    /// The connection is being closed, or is.
    pub(crate) closed: bool,
    /// What the daemon has answered with `ENOSYS`, as far as the kernel remembers that.
    pub(crate) enosys: HashSet<Opcode>,
    /// The daemon does not want `INTERRUPT`s.
    pub(crate) no_interrupts: bool,
    pub(crate) pending: HashMap<Unique, Pending>,
    /// The last requests that want no reply.
    without_reply: VecDeque<(Unique, Opcode)>,
    /// Numbers of garbage that was sent: it may be answered.
    pub(crate) tolerated: HashSet<Unique>,
    pub(crate) errands: Vec<Errand>,
    pub(crate) notifications: Vec<Heard>,
    pub(crate) ledger: Ledger,
    pub(crate) book: LawBook,
    pub(crate) exchange: Exchange,
    /// How many requests of each kind were sent.
    pub(crate) sent: BTreeMap<Opcode, u64>,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) opcode: Opcode,
    pub(crate) limit: Option<u32>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) expected: Expected,
    /// How many answers are still to come.
    pub(crate) owed: u32,
    pub(crate) interrupted: bool,
    pub(crate) outcome: Option<Result<Answer, Errno>>,
}

/// How an answer is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// As the answer to a good request.
    Answer,
    /// As the refusal of a bad one.
    Error(Hostile),
}

/// Something that is to be sent because of what was received.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Errand {
    Retrieve { node: NodeId, notify_unique: NotifyUnique, offset: u64 },
    Resend,
    InterruptAgain(Unique),
}

/// Numbers of requests step by two; bit 0 marks an interrupt (`fs/fuse/dev.c FUSE_REQ_ID_STEP`).
const UNIQUE_STEP: u64 = 2;

/// How many requests without a reply are remembered.
const WITHOUT_REPLY: usize = 256;

impl Pending {
    pub(crate) fn new(draft: &Draft, expected: Expected) -> Self {
        Self {
            opcode: draft.opcode,
            limit: draft.limit,
            bytes: draft.bytes.clone(),
            expected,
            owed: 0,
            interrupted: false,
            outcome: None,
        }
    }
}

impl State {
    pub(crate) fn new(minor: u32) -> Self {
        let mut negotiated = Negotiated::default();
        negotiated.minor = minor;
        Self { negotiated, next_unique: UNIQUE_STEP, ..Self::default() }
    }

    /// A number for a request, and how to encode it.
    pub(crate) fn new_unique(&mut self) -> (Unique, Negotiated) {
        let unique = Unique(self.next_unique);
        self.next_unique += UNIQUE_STEP;
        (unique, self.negotiated)
    }

    /// Whether this number was given to a request.
    pub(crate) fn was_sent(&self, unique: Unique) -> bool {
        (UNIQUE_STEP..self.next_unique).contains(&unique.0)
    }

    /// The outcome of a request, once all answers to it have come.
    pub(crate) fn take_outcome(&mut self, unique: Unique) -> Option<Result<Answer, Errno>> {
        let pending = self.pending.get_mut(&unique)?;
        if pending.owed > 0 {
            return None;
        }
        let outcome = pending.outcome.take()?;
        self.pending.remove(&unique);
        Some(outcome)
    }

    pub(crate) fn is_owed(&self, unique: Unique) -> bool {
        self.pending.get(&unique).is_none_or(|pending| pending.owed > 0)
    }

    pub(crate) fn note_without_reply(&mut self, unique: Unique, opcode: Opcode) {
        if self.without_reply.len() == WITHOUT_REPLY {
            self.without_reply.pop_front();
        }
        self.without_reply.push_back((unique, opcode));
        // Kept until it shows that it is not.
        self.book.check(Law::NoReplyWanted, Ok(()));
    }

    /// Whether it was the number of a request that wants no reply.
    pub(crate) fn without_reply(&self, unique: Unique) -> Option<Opcode> {
        self.without_reply.iter().find(|(sent, _)| *sent == unique).map(|(_, opcode)| *opcode)
    }

    /// Gives every request under way the number of a resent one, and returns their bytes.
    pub(crate) fn mark_resent(&mut self) -> Vec<Vec<u8>> {
        let unanswered: Vec<Unique> =
            self.pending.iter().filter(|(_, pending)| pending.owed > 0).map(|(unique, _)| *unique).collect();
        let mut again = Vec::new();
        for unique in unanswered {
            let Some(pending) = self.pending.remove(&unique) else { continue };
            let draft = Draft {
                unique,
                opcode: pending.opcode,
                limit: pending.limit,
                wants_reply: true,
                bytes: pending.bytes.clone(),
            };
            let draft = draft.as_resent();
            again.push(draft.bytes.clone());
            // Under its old number nobody waits for it any more, and an answer to that is no fault: it crossed the resend.
            self.tolerated.insert(unique);
            self.pending.insert(draft.unique, Pending { bytes: draft.bytes, ..pending });
        }
        again
    }

    /// The number under which a request is known, which a resend may have changed.
    pub(crate) fn current(&self, unique: Unique) -> Unique {
        let resent = Unique(unique.0 | abi::FUSE_UNIQUE_RESEND);
        if self.pending.contains_key(&resent) { resent } else { unique }
    }
}

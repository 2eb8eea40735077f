//! What happens to a message of the daemon: it is matched with its request, judged, and counted.
//!
//! What a body says is judged by the [`laws`](crate::laws); who waits for it is the business of the connection.

use fusewire_proto::InvalEntryFlags;
use fusewire_proto::{Errno, Incoming, NodeId, Notification, Opcode, PollHandle, ReplyHeader, Request, Unique};

use crate::kernel::state::{Errand, Expected, State};
use crate::kernel::{Answer, Hostile};
use crate::laws::ledger::{Handle, HandleKind};
use crate::laws::{Law, replies};
use fusewire_proto::reply::Reply;

/// What a daemon told unasked, owned. Those that the connection answers itself (`RETRIEVE`, `RESEND`) are not among them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heard {
    /// A file became ready.
    Poll(PollHandle),
    /// Data and attributes of a node are stale.
    InvalInode {
        /// The node.
        node: NodeId,
        /// The first byte; negative: attributes only.
        offset: i64,
        /// How many bytes; 0 or less: to the end.
        length: i64,
    },
    /// A name may mean something else now.
    InvalEntry {
        /// The directory.
        parent: NodeId,
        /// The name in it.
        name: Vec<u8>,
        /// Whether the entry goes, or only expires.
        flags: InvalEntryFlags,
    },
    /// Data for the page cache.
    Store {
        /// The file.
        node: NodeId,
        /// Where they go.
        offset: u64,
        /// The data.
        data: Vec<u8>,
    },
    /// A name is gone.
    Delete {
        /// The directory.
        parent: NodeId,
        /// The node that had the name.
        child: NodeId,
        /// The name.
        name: Vec<u8>,
    },
    /// All entries are to be looked up once more.
    IncEpoch,
    /// Nodes to be forgotten if nobody uses them.
    Prune(Vec<NodeId>),
}

impl State {
    /// Takes in a message of `length` bytes, of which `room` holds as many as fit.
    pub(crate) fn hear(&mut self, room: &[u8], length: usize) {
        let bytes = room.get(..length).unwrap_or(room);
        let unique = raw_u64(bytes, std::mem::offset_of!(fusewire_proto::abi::fuse_out_header, unique)).map(Unique);
        let answers = unique.and_then(|unique| self.pending.get(&self.current(unique)));
        self.exchange.came(bytes, answers.map(|pending| (pending.opcode, pending.limit)));
        if length > room.len() {
            let detail = format!("a message of {length} bytes, where {} are the most", room.len());
            self.book.check(Law::ReplyLimit, Err(detail));
            self.fail(unique);
            return;
        }
        let promised = raw_u32(bytes, 0).and_then(|length| usize::try_from(length).ok());
        let right = length >= ReplyHeader::LENGTH && promised == Some(length);
        self.book.demand(Law::ReplyLength, right, || {
            format!("{length} bytes came, the header says {}", promised.unwrap_or(0))
        });
        let Some(unique) = unique.filter(|_| right) else {
            self.fail(unique);
            return;
        };
        let alone = self.open || Some(unique) == self.init_unique;
        self.book.demand(Law::SilentBeforeInit, alone && !self.refused, || {
            format!("message #{unique} although the connection is not open")
        });
        if unique == Unique(0) {
            self.hear_notification(bytes);
        } else if unique.0 & 1 == 1 {
            self.hear_interrupt_reply(unique, bytes);
        } else {
            self.hear_reply(unique, bytes);
        }
    }

    /// Answers a request with `EIO` whose answer was of no use, as the kernel does.
    fn fail(&mut self, unique: Option<Unique>) {
        let Some(unique) = unique.map(|unique| self.current(unique)) else { return };
        if let Some(pending) = self.pending.get_mut(&unique) {
            pending.owed = pending.owed.saturating_sub(1);
            pending.outcome = Some(Err(Errno::EIO));
        }
    }

    fn hear_reply(&mut self, unique: Unique, bytes: &[u8]) {
        let Some(pending) = self.pending.get_mut(&unique).filter(|pending| pending.owed > 0) else {
            self.hear_unwanted(unique);
            return;
        };
        let (opcode, limit, expected) = (pending.opcode, pending.limit, pending.expected);
        let interrupted = pending.interrupted;
        let request_bytes = std::mem::take(&mut pending.bytes);
        for law in [Law::AnswersEveryRequest, Law::OneReply, Law::KnownUnique] {
            self.book.check(law, Ok(()));
        }
        if interrupted {
            self.book.check(Law::InterruptEndsWait, Ok(()));
        }
        let number = raw_u32(bytes, size_of::<u32>()).map_or(0, u32::cast_signed);
        self.book.demand(Law::ErrnoRange, (-511..=0).contains(&number), || format!("error {number} on the wire"));
        let outcome = match ReplyHeader::decode(bytes) {
            Err(_) => Err(Errno::EIO),
            Ok((header, body)) => {
                self.book.demand(Law::ReplyBody, header.error.is_none() || body.is_empty(), || {
                    format!("an error with a body of {} bytes", body.len())
                });
                match (header.error, expected) {
                    (error, Expected::Error(hostile)) => Err(self.judge_refusal(hostile, opcode, error)),
                    (Some(errno), Expected::Answer) => Err(errno),
                    (None, Expected::Answer) => self.judge_success(opcode, limit, &request_bytes, body),
                }
            }
        };
        if opcode == Opcode::RELEASE || opcode == Opcode::RELEASEDIR {
            // Gone, whatever was answered.
            self.count_released(&request_bytes);
        }
        if let Some(pending) = self.pending.get_mut(&unique) {
            pending.bytes = request_bytes;
            pending.owed -= 1;
            if pending.outcome.is_none() {
                pending.outcome = Some(outcome);
            }
        }
    }

    fn hear_unwanted(&mut self, unique: Unique) {
        if self.tolerated.contains(&unique) {
            return;
        }
        if let Some(opcode) = self.without_reply(unique) {
            self.book.check(Law::NoReplyWanted, Err(format!("{opcode} #{unique} was answered")));
        } else if self.was_sent(unique) {
            self.book.check(Law::OneReply, Err(format!("another answer to request #{unique}")));
        } else {
            self.book.check(Law::KnownUnique, Err(format!("an answer to #{unique}, which was not asked")));
        }
    }

    fn judge_refusal(&mut self, hostile: Hostile, opcode: Opcode, error: Option<Errno>) -> Errno {
        let said = || error.map_or_else(|| String::from("success"), |error| format!("{error:?}"));
        match hostile {
            Hostile::UnknownOpcode => {
                let right = error == Some(Errno::ENOSYS);
                self.book.demand(Law::UnknownIsEnosys, right, || format!("{opcode}: {}", said()));
            }
            Hostile::Malformed => {
                let right = error.is_some_and(|error| error != Errno::ENOSYS);
                self.book.demand(Law::MalformedIsEio, right, || format!("{opcode}: {}", said()));
            }
            Hostile::Garbage => {}
        }
        error.unwrap_or(Errno::EIO)
    }

    fn judge_success(
        &mut self,
        opcode: Opcode,
        limit: Option<u32>,
        request_bytes: &[u8],
        body: &[u8],
    ) -> Result<Answer, Errno> {
        let negotiated = self.negotiated;
        let over = match limit.and_then(|limit| usize::try_from(limit).ok()) {
            // Only the length was asked for, which is a struct and no data.
            Some(0) if matches!(opcode, Opcode::GETXATTR | Opcode::LISTXATTR) => false,
            // The struct in front of the data does not count.
            Some(limit) if opcode == Opcode::IOCTL => body.len() > limit + IOCTL_OUT,
            Some(limit) => body.len() > limit,
            None => false,
        };
        if let Some(limit) = limit {
            self.book.demand(Law::ReplyLimit, !over, || format!("{opcode}: {} bytes, room is for {limit}", body.len()));
            if over {
                return Err(Errno::EIO);
            }
        }
        let reply = match Reply::decode(&negotiated, opcode, limit, body) {
            Ok(reply) => reply,
            Err(error) => {
                let law = if opcode == Opcode::READDIR || opcode == Opcode::READDIRPLUS {
                    Law::DirentNames
                } else {
                    Law::ReplyBody
                };
                self.book.check(law, Err(format!("{opcode}: {error}")));
                return Err(Errno::EIO);
            }
        };
        self.book.check(Law::ReplyBody, Ok(()));
        let Ok(incoming) = Incoming::parse(request_bytes) else { return Err(Errno::EIO) };
        let Ok((request, _)) = Request::decode(&negotiated, &incoming) else { return Err(Errno::EIO) };
        replies::check(&mut self.book, &negotiated, &request, &reply, body);
        self.count(&request, &reply);
        Ok(Answer { opcode, limit, negotiated, body: body.to_vec() })
    }

    /// What a good answer does to nodes and handles.
    fn count(&mut self, request: &Request<'_>, reply: &Reply<'_>) {
        let book = &mut self.book;
        let valid = |node: NodeId| node != NodeId(0) && node != NodeId::ROOT;
        match reply {
            Reply::Entry(entry) if valid(entry.node) => self.ledger.looked_up(entry, book),
            Reply::Created(created) => {
                if valid(created.entry.node) {
                    self.ledger.looked_up(&created.entry, book);
                }
                self.ledger.opened(Handle {
                    node: created.entry.node,
                    handle: created.opened.handle,
                    kind: HandleKind::File,
                });
            }
            Reply::DirEntriesPlus(entries) => {
                let negotiated = self.negotiated;
                for (entry, dirent) in entries.iter(&negotiated).flatten() {
                    if valid(entry.node) && !replies::is_dot(dirent.name.as_bytes()) {
                        self.ledger.looked_up(&entry, book);
                    }
                }
            }
            Reply::Attributes(attributes) => self.ledger.seen(request.node(), &attributes.attr, book),
            Reply::Opened(opened) => {
                let kind = match request {
                    Request::Opendir(_) => HandleKind::Directory,
                    _ => HandleKind::File,
                };
                self.ledger.opened(Handle { node: request.node(), handle: opened.handle, kind });
            }
            _ => {}
        }
    }

    fn count_released(&mut self, request_bytes: &[u8]) {
        let Ok(incoming) = Incoming::parse(request_bytes) else { return };
        let released = match Request::decode(&self.negotiated, &incoming) {
            Ok((Request::Release(op), _)) => Handle { node: op.node, handle: op.handle, kind: HandleKind::File },
            Ok((Request::Releasedir(op), _)) => {
                Handle { node: op.node, handle: op.handle, kind: HandleKind::Directory }
            }
            _ => return,
        };
        self.ledger.released(released);
    }

    fn hear_interrupt_reply(&mut self, unique: Unique, bytes: &[u8]) {
        let number = raw_u32(bytes, size_of::<u32>()).map_or(0, u32::cast_signed);
        let right = bytes.len() == ReplyHeader::LENGTH && [-libc::EAGAIN, -libc::ENOSYS].contains(&number);
        self.book.demand(Law::InterruptReply, right, || format!("error {number}, {} bytes", bytes.len()));
        let target = self.current(Unique(unique.0 & !1));
        if number == -libc::ENOSYS {
            self.no_interrupts = true;
            if let Some(pending) = self.pending.get_mut(&target) {
                pending.interrupted = false;
            }
        } else if number == -libc::EAGAIN && self.pending.get(&target).is_some_and(|pending| pending.owed > 0) {
            self.errands.push(Errand::InterruptAgain(target));
        }
    }

    fn hear_notification(&mut self, bytes: &[u8]) {
        let notification = match Notification::decode(bytes) {
            Ok(notification) => notification,
            Err(error) => {
                self.book.check(Law::NotificationKnown, Err(error.to_string()));
                return;
            }
        };
        let minor = self.negotiated.minor;
        self.book.demand(Law::NotificationKnown, notification.since() <= minor, || {
            format!("{notification:?} came with 7.{}, the connection speaks 7.{minor}", notification.since())
        });
        let heard = match notification {
            Notification::Retrieve { notify_unique, node, offset, .. } => {
                self.errands.push(Errand::Retrieve { node, notify_unique, offset });
                return;
            }
            Notification::Resend => {
                self.errands.push(Errand::Resend);
                return;
            }
            Notification::Poll { poll_handle } => Heard::Poll(poll_handle),
            Notification::InvalInode { node, offset, length } => Heard::InvalInode { node, offset, length },
            Notification::InvalEntry { parent, name, flags } => {
                Heard::InvalEntry { parent, name: name.as_bytes().to_vec(), flags }
            }
            Notification::Store { node, offset, data } => Heard::Store { node, offset, data: data.to_vec() },
            Notification::Delete { parent, child, name } => {
                Heard::Delete { parent, child, name: name.as_bytes().to_vec() }
            }
            Notification::IncEpoch => Heard::IncEpoch,
            Notification::Prune { nodes } => Heard::Prune(nodes.iter().collect()),
            _ => return,
        };
        self.notifications.push(heard);
    }
}

/// Length of what stands in front of the data of an ioctl.
const IOCTL_OUT: usize = size_of::<fusewire_proto::abi::fuse_ioctl_out>();

fn raw_u32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|word| u32::from_ne_bytes(*word))
}

fn raw_u64(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|word| u64::from_ne_bytes(*word))
}

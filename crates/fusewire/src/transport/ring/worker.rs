//! A worker with a ring of its own: serves requests of one queue, and hands each reply over with the same system call that
//! waits for the next request.
//!
//! It stays on the CPU of its queue, so a caller is answered without waking another CPU. It begins with one request, whose
//! entry becomes its own; more come to it when requests come faster than they are served. What then waits for a handler that
//! blocks is taken from it. Who starts workers, and does that, is in `reserve`.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fusewire_proto::uring::{EntryHeader, decode_entry, identify_entry};
use fusewire_proto::{DecodeError, Errno, Opcode};

use super::away::Place;
use super::entry::{Entry, Ids, Parts};
use super::postponed::{Mail, Postponed};
use super::queue::{Member, Queue};
use super::submit::{Event, Kept, Submitter, Work};
use super::watch::Watch;
use crate::context::{Slot, Slots};
use crate::handler::Manner;
use crate::transport::{Answer, Service, schedule};

/// For how many entries a ring has room. There may be more.
const ENTRIES: usize = 31;
/// Longest names and data of a request that are moved out of the way of its reply, in bytes.
const ASIDE: usize = 4096;
/// Room for the reply to a request whose data stay where they are: an ioctl's at most, in bytes.
const REPLY_ASIDE: usize = 64 << 10;
const _: () = assert!(ASIDE <= REPLY_ASIDE);

/// What all who have rings in a session share.
#[derive(Clone, Copy)]
pub(super) struct Shared<'j> {
    pub(super) device: BorrowedFd<'j>,
    pub(super) service: &'j dyn Service,
    pub(super) slots: &'j Slots,
    pub(super) postponed: &'j Postponed,
    pub(super) kept: &'j Kept,
    pub(super) watch: &'j Watch,
    pub(super) closing: &'j AtomicBool,
    /// Bytes of payload of an entry.
    pub(super) payload: usize,
}

/// What a worker begins with.
pub(super) struct Post<'j> {
    pub(super) queue: &'j Queue,
    pub(super) place: Place<'j>,
    /// The CPU that it stays on.
    pub(super) cpu: u16,
    /// A request to begin with.
    pub(super) first: Option<Entry>,
}

/// A thread that serves a queue.
pub(super) struct Worker<'j> {
    shared: Shared<'j>,
    queue: &'j Queue,
    place: Place<'j>,
    ring: Submitter<'j>,
    slot: &'j Slot,
    member: &'j Member,
    /// Where what is in the way of a reply is moved to, or the reply itself.
    aside: Vec<u8>,
}

/// Serves the queue of a post as `member`, until that is told of the end.
///
/// # Errors
/// There is no ring, and the first request comes back unanswered; or the ring is of no more use.
pub(super) fn run(shared: Shared<'_>, post: Post<'_>, member: &Arc<Member>) -> Result<(), (io::Error, Option<Entry>)> {
    let Post { queue, place, cpu, first } = post;
    schedule::stay_on(schedule::THIS, cpu.into());
    schedule::serve_callers_there(schedule::THIS, schedule::THREEFOLD);
    // What is stuck in a ring behind a handler that blocks must be within reach of others.
    let work = if shared.service.manner() == Manner::NeverBlocks { Work::WhenAsked } else { Work::AtAnyTime };
    let ring = match Submitter::new(shared.device, member.mailbox.bell(), ENTRIES, work, shared.kept) {
        Ok(ring) => ring,
        Err(error) => return Err((error, first)),
    };
    let slot = shared.slots.add_ring();
    member.sit_down(Arc::clone(&slot), Arc::clone(ring.offered()));
    if let Place::Away { home, .. } = &place {
        home.away.begin(cpu, Arc::clone(member));
    }
    let aside = vec![0; REPLY_ASIDE];
    let result = Worker { shared, queue, place, ring, slot: &slot, member, aside }.run(first);
    shared.slots.remove(&slot);
    result.map_err(|error| (error, None))
}

impl Worker<'_> {
    fn run(&mut self, first: Option<Entry>) -> io::Result<()> {
        self.ring.listen()?;
        if let Some(first) = first {
            self.serve(first)?;
        }
        let mut mail = Vec::new();
        let at_home = matches!(self.place, Place::Home { .. });
        loop {
            while at_home && let Some(entry) = self.queue.take() {
                self.serve(entry)?;
            }
            self.ring.wait()?;
            let mut rung = false;
            while let Some(event) = self.ring.reap() {
                match event {
                    Event::Request(entry) => self.give_or_serve(entry)?,
                    Event::Bell => rung = true,
                    Event::Over => {}
                    Event::Refused(error) => return Err(error),
                }
            }
            if rung {
                self.member.mailbox.empty(&mut mail);
                for item in mail.drain(..) {
                    match item {
                        Mail::Answered(entry, ids) => self.ring.commit(entry, ids.commit)?,
                        Mail::Request(entry) => self.serve(entry)?,
                    }
                }
                if self.shared.closing.load(Ordering::SeqCst) {
                    // What is answered goes out; who asked and got no answer sees the connection end.
                    return self.ring.flush();
                }
                self.ring.listen()?;
            }
        }
    }

    /// Serves the request that an entry holds, or leaves that to somebody elsewhere.
    fn give_or_serve(&mut self, mut entry: Entry) -> io::Result<()> {
        match self.place.instead(&mut entry, self.shared.watch) {
            Some(other) => {
                other.mailbox.deliver(Mail::Request(entry));
                Ok(())
            }
            None => self.serve(entry),
        }
    }

    /// Serves the request that an entry holds, and submits the entry again with the reply in it.
    fn serve(&mut self, mut entry: Entry) -> io::Result<()> {
        let load = self.place.load(&mut entry);
        let (ids, answer) = answer(&self.shared, self.slot, entry.parts(), &mut self.aside);
        self.slot.end();
        if answer != Answer::Nothing {
            entry.finish(ids, answer);
            if let Some(home) = self.place.next_home(load) {
                home.mailbox.deliver(Mail::Answered(entry, ids));
                return Ok(());
            }
            return self.ring.commit(entry, ids.commit);
        }
        match self.shared.postponed.put_away(entry, ids, &self.member.mailbox) {
            Some(entry) => self.ring.commit(entry, ids.commit),
            None => Ok(()),
        }
    }
}

/// Serves the request in `parts`; the body of the reply is in the payload afterwards.
fn answer(shared: &Shared<'_>, slot: &Slot, parts: Parts<'_>, aside: &mut [u8]) -> (Ids, Answer) {
    let Parts { header, payload } = parts;
    let (commit, unique, opcode) = identify_entry(header);
    let ids = Ids { commit, unique };
    shared.slots.begin_in_ring(slot, unique);
    shared.watch.wake();
    let served = serve(shared.service, slot, header, payload, aside);
    (ids, served.unwrap_or_else(|error| shared.service.refuse(opcode, error)))
}

/// The request and its reply have the payload in common, so one of them goes out of the way: the shorter one.
fn serve(
    service: &dyn Service,
    slot: &Slot,
    header: &[u8],
    payload: &mut [u8],
    aside: &mut [u8],
) -> Result<Answer, DecodeError> {
    let size = usize::try_from(EntryHeader::decode(header)?.payload_size).unwrap_or(usize::MAX);
    let (_, _, opcode) = identify_entry(header);
    // What is written stays where it is, on a page: a file that is open with O_DIRECT takes it from nowhere else.
    if opcode != Opcode::WRITE && size <= ASIDE && size <= payload.len() {
        // Names: the reply is made where the kernel takes it from.
        let (names, _) = aside.split_at_mut(size);
        names.copy_from_slice(payload.split_at(size).0);
        let (_, incoming) = decode_entry(header, names)?;
        return Ok(service.serve(slot, &incoming, payload));
    }
    // Data: the reply is short, and is moved when the data are done with.
    let (_, incoming) = decode_entry(header, payload)?;
    let answer = service.serve(slot, &incoming, aside);
    if let Answer::Body(length) = answer {
        let (Some(place), Some(body)) = (payload.get_mut(..length), aside.get(..length)) else {
            return Ok(Answer::Error(Errno::EIO));
        };
        place.copy_from_slice(body);
    }
    Ok(answer)
}

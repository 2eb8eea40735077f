//! A filesystem made wrong in one way, to see that the laws catch it: a law that cannot fail says nothing.
//!
//! What goes wrong here is what a filesystem does with its counts. Spoilt messages are the business of a
//! [`Wire`](crate::wire::Wire) around the wire.

use fusewire::{Context, Handler, Negotiated, Notifier, Reply, Wishes};
use fusewire_proto::op::{self, Forgotten, WireList};
use fusewire_proto::{Errno, Request, reply};

/// What a [`Mutant`] does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// `FORGET` and `BATCH_FORGET` take back one lookup too few. The law is `lookups-balanced`, which needs
    /// [`Inspect::nodes`](crate::Inspect::nodes).
    ForgetsOneLess,
    /// They take back one lookup too many. The law is `node-lives-until-forgotten`; without [`Inspect`](crate::Inspect), only
    /// a node shows it that has no name any more.
    ForgetsOneMore,
    /// `RELEASE` and `RELEASEDIR` do nothing. The law is `handles-released`, which needs
    /// [`Inspect::handles`](crate::Inspect::handles).
    LeaksHandles,
}

/// A filesystem that is wrong in one way.
#[derive(Debug)]
pub struct Mutant<H> {
    handler: H,
    mutation: Mutation,
}

impl<H: Handler> Mutant<H> {
    /// `handler` with a fault.
    pub fn of(handler: H, mutation: Mutation) -> Self {
        Self { handler, mutation }
    }

    /// How many lookups are taken back where the kernel says `nlookup`.
    fn taken(&self, nlookup: u64) -> u64 {
        match self.mutation {
            Mutation::ForgetsOneLess => nlookup.saturating_sub(1),
            Mutation::ForgetsOneMore => nlookup.saturating_add(1),
            Mutation::LeaksHandles => nlookup,
        }
    }
}

impl<H: Handler> Handler for Mutant<H> {
    fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        self.handler.init(offer, wishes)
    }

    fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
        self.handler.ready(negotiated, notifier);
    }

    fn destroy(&self) {
        self.handler.destroy();
    }

    fn handle(&self, cx: &Context<'_>, request: Request<'_>, reply: Reply<'_>) {
        match request {
            Request::Forget(op) => {
                self.handler.handle(cx, op::Forget::new(op.node, self.taken(op.nlookup)).into(), reply);
            }
            Request::BatchForget(op) => {
                let taken = |forgotten: Forgotten| Forgotten { nlookup: self.taken(forgotten.nlookup), ..forgotten };
                let forgets: Vec<Forgotten> = op.forgets.iter().map(taken).collect();
                let bytes = WireList::bytes_of(&forgets);
                self.handler.handle(cx, op::BatchForget::new(WireList::new(&bytes)).into(), reply);
            }
            Request::Release(_) | Request::Releasedir(_) if self.mutation == Mutation::LeaksHandles => {
                reply.send(reply::Done);
            }
            request => self.handler.handle(cx, request, reply),
        }
    }
}

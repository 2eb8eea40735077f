//! The kernel's side of a connection: requests out, answers in, and every law that shows in between.
//!
//! It knows nothing of paths; that is the [`vfs`](crate::vfs). Nothing is sent that a kernel would not send, but for what is
//! handed to [`Kernel::deliver_bytes`].

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fusewire_proto::op;
use fusewire_proto::{Errno, InitFlags, Negotiated, NodeId, Opcode, Request, abi};

mod answer;
mod config;
mod delivery;
mod end;
mod exchange;
mod inbox;
mod state;
mod waiting;

pub use answer::Answer;
pub use config::{Caller, Config, Strictness};
pub use delivery::{Draft, Hostile, Ticket};
pub use inbox::Heard;

use crate::inside::Inside;
use crate::laws::{Law, LawBook};
use crate::wire::Wire;
use state::State;

/// The kernel's side of a connection. Clones are the same connection, for concurrent callers.
#[derive(Clone)]
pub struct Kernel {
    shared: Arc<Shared>,
}

struct Shared {
    wire: Box<dyn Wire>,
    config: Config,
    inside: Arc<Inside>,
    state: Mutex<State>,
    /// Rings when an answer has come, or when the one who received has stopped.
    bell: Condvar,
    /// Room for a message; whoever receives has it.
    room: Mutex<Vec<u8>>,
}

impl Kernel {
    /// Connects to the daemon at the other end of `wire`, and negotiates.
    ///
    /// # Errors
    /// What the daemon refuses `INIT` with.
    pub fn connect(wire: Box<dyn Wire>, config: Config) -> Result<Self, Errno> {
        let kernel = Self::over(wire, config, Arc::default());
        kernel.init()?;
        Ok(kernel)
    }

    /// A connection on which nothing was sent yet.
    pub(crate) fn over(wire: Box<dyn Wire>, config: Config, inside: Arc<Inside>) -> Self {
        // The longest reply: data, or a list of extended attributes, and the header.
        let room = usize::from(config.max_pages).saturating_mul(4096).max(65_536) + 4096;
        let shared = Shared {
            wire,
            config,
            inside,
            state: Mutex::new(State::new(config.minor)),
            bell: Condvar::new(),
            room: Mutex::new(vec![0; room]),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Sends `INIT` and takes the answer to heart.
    ///
    /// # Errors
    /// What the daemon refuses it with; `EPROTO` if it answers another major version.
    pub fn init(&self) -> Result<Negotiated, Errno> {
        let config = &self.shared.config;
        let mut offer = op::Init::new(config.minor, config.offered);
        offer.max_readahead = config.max_readahead;
        let answer = self.call(offer);
        let mut state = self.lock();
        let init = match answer.and_then(|answer| answer.init()) {
            Ok(init) => init,
            Err(errno) => {
                state.refused = true;
                return Err(errno);
            }
        };
        let book = &mut state.book;
        book.demand(Law::InitVersion, init.major == abi::FUSE_KERNEL_VERSION, || format!("major {}", init.major));
        let unasked = init.flags - config.offered;
        book.demand(Law::InitFlags, unasked.is_empty(), || format!("taken, but not offered: {unasked:?}"));
        book.demand(Law::InitMaxWrite, init.max_write >= 4096, || format!("max_write {}", init.max_write));
        let pages = if init.flags.contains(InitFlags::MAX_PAGES) { init.max_pages.max(1) } else { 32 };
        let max_pages = pages.min(config.max_pages);
        let mut negotiated = Negotiated::default();
        negotiated.minor = init.minor.min(config.minor);
        negotiated.flags = init.flags & config.offered;
        negotiated.max_readahead = init.max_readahead.min(config.max_readahead);
        negotiated.max_write = init.max_write.clamp(4096, u32::from(max_pages) * 4096);
        negotiated.max_pages = max_pages;
        negotiated.time_gran = init.time_gran.clamp(1, 1_000_000_000);
        state.negotiated = negotiated;
        state.open = init.major == abi::FUSE_KERNEL_VERSION;
        let open = state.open;
        self.uphold(state);
        if open { Ok(negotiated) } else { Err(Errno::EPROTO) }
    }

    /// What was negotiated; before `INIT`, nothing but the minor.
    #[must_use]
    pub fn negotiated(&self) -> Negotiated {
        self.lock().negotiated
    }

    /// Which kernel is played.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// Whether requests are served inside the call that sends them.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.shared.wire.is_direct()
    }

    /// Sends a request on behalf of root and waits for the answer.
    ///
    /// # Errors
    /// What the daemon answers; `EIO` if that is no valid answer; `ENOTCONN` if the connection is over, `ECONNABORTED` if it
    /// ends meanwhile; `ETIMEDOUT` if no answer comes.
    pub fn call<'a>(&self, request: impl Into<Request<'a>>) -> Result<Answer, Errno> {
        self.call_as(&Caller::default(), request)
    }

    /// Sends a request on behalf of `caller` and waits for the answer.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn call_as<'a>(&self, caller: &Caller, request: impl Into<Request<'a>>) -> Result<Answer, Errno> {
        let ticket = self.submit_as(caller, request)?;
        self.wait(ticket)
    }

    /// Sends a request on behalf of root; the answer is waited for later.
    ///
    /// # Errors
    /// `ENOTCONN` if the connection is over, `EMSGSIZE` if the wire cannot carry it.
    pub fn submit<'a>(&self, request: impl Into<Request<'a>>) -> Result<Ticket, Errno> {
        self.submit_as(&Caller::default(), request)
    }

    /// Sends a request on behalf of `caller`; the answer is waited for later.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_as<'a>(&self, caller: &Caller, request: impl Into<Request<'a>>) -> Result<Ticket, Errno> {
        let draft = self.draft_as(caller, request)?;
        self.deliver(&draft)?;
        Ok(Ticket { unique: draft.unique })
    }

    /// Sends without noting anything.
    fn transmit(&self, bytes: &[u8]) -> Result<(), Errno> {
        self.shared.wire.send(bytes).map_err(|error| match error.raw_os_error() {
            Some(libc::EPIPE | libc::ECONNRESET | libc::ENOTCONN) => Errno::ENOTCONN,
            _ => Errno::from(error),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `count` lookups of a node back.
    ///
    /// # Errors
    /// `ENOTCONN` if the connection is over.
    pub fn forget(&self, node: NodeId, count: u64) -> Result<(), Errno> {
        if count == 0 || node == NodeId::ROOT {
            return Ok(());
        }
        self.lock().ledger.forgotten(node, count);
        let draft = self.draft_as(&Caller::default(), op::Forget::new(node, count))?;
        self.deliver(&draft)
    }

    /// Takes lookups of many nodes back, in one request.
    ///
    /// # Errors
    /// `ENOTCONN` if the connection is over.
    pub fn batch_forget(&self, nodes: &[op::Forgotten]) -> Result<(), Errno> {
        let mut state = self.lock();
        for forgotten in nodes {
            state.ledger.forgotten(forgotten.node, forgotten.nlookup);
        }
        drop(state);
        let bytes = op::WireList::bytes_of(nodes);
        let draft = self.draft_as(&Caller::default(), op::BatchForget::new(op::WireList::new(&bytes)))?;
        self.deliver(&draft)
    }

    /// How often the node is looked up, as far as the answers say that have come.
    #[must_use]
    pub fn lookups(&self, node: NodeId) -> u64 {
        self.lock().ledger.lookups(node)
    }

    /// Whether the daemon has answered this operation with `ENOSYS` and the kernel remembers that.
    pub(crate) fn remembers_enosys(&self, opcode: Opcode) -> bool {
        self.lock().enosys.contains(&opcode)
    }

    /// Remembers that the daemon has answered this operation with `ENOSYS`.
    pub(crate) fn remember_enosys(&self, opcode: Opcode) {
        self.lock().enosys.insert(opcode);
    }

    /// Notes the outcome of a check that is made elsewhere.
    pub(crate) fn check(&self, law: Law, outcome: Result<(), String>) {
        let mut state = self.lock();
        state.book.check(law, outcome);
        self.uphold(state);
    }

    /// How many requests of this kind were sent.
    #[must_use]
    pub fn sent(&self, opcode: Opcode) -> u64 {
        self.lock().sent.get(&opcode).copied().unwrap_or(0)
    }

    /// Whether the daemon has ended the connection.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// What was checked so far, and what was broken.
    #[must_use]
    pub fn laws(&self) -> LawBook {
        self.lock().book.clone()
    }

    /// Whether no law was broken so far.
    #[must_use]
    pub fn is_lawful(&self) -> bool {
        self.lock().book.violations().is_empty()
    }

    /// Attaches the exchange to what was found to break a law; panics, if that is what the configuration wants.
    fn uphold(&self, mut state: MutexGuard<'_, State>) {
        if !state.book.has_found() {
            return;
        }
        let exchange = state.exchange.in_words(&state.negotiated);
        state.book.attach(&exchange);
        let violation = state.book.violations().last().cloned();
        drop(state);
        let strict = self.shared.config.strictness == Strictness::Panic && !std::thread::panicking();
        if let Some(violation) = violation.filter(|_| strict) {
            fail(&violation);
        }
    }
}

#[expect(clippy::panic, reason = "a broken law fails the test: that is what this crate is for")]
fn fail(violation: &crate::laws::Violation) -> ! {
    panic!("{violation}")
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

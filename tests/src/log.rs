//! What a daemon received, kept to be looked at. It judges nothing.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fusewire::{Context, Gid, Incoming, Negotiated, Opcode, Pid, Request, RequestHeader, Uid, opcode};

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Every opcode that any log of this process has seen.
static SEEN: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Every opcode that any log of this process has seen.
pub fn seen_by_this_process() -> BTreeSet<u32> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Recorded {
    bytes: Vec<u8>,
    negotiated: Negotiated,
    /// Who asked.
    pub header: RequestHeader,
    /// Groups that came along.
    pub groups: Vec<Gid>,
}

impl Recorded {
    /// The request itself.
    pub fn request(&self) -> Request<'_> {
        let incoming = Incoming::parse(&self.bytes).expect("a message that was encoded here");
        Request::decode(&self.negotiated, &incoming).expect("a request that was decoded before").0
    }

    /// Which operation it is.
    pub fn opcode(&self) -> Opcode {
        self.request().opcode()
    }
}

/// Everything that came, in order. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Arc<Recorded>>>,
    more: Condvar,
}

impl Log {
    fn seen(&self) -> MutexGuard<'_, Vec<Arc<Recorded>>> {
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request that reached a filesystem.
    pub fn record(&self, cx: &Context<'_>, request: &Request<'_>) {
        let mut header = RequestHeader::new(cx.unique());
        (header.uid, header.gid, header.pid) = (cx.uid(), cx.gid(), cx.pid());
        self.keep(header, request, cx.negotiated(), cx.groups().collect());
    }

    /// Keeps a request of which nothing else is known.
    pub fn record_bare(&self, header: RequestHeader, request: &Request<'_>, negotiated: &Negotiated) {
        self.keep(header, request, negotiated, Vec::new());
    }

    fn keep(&self, header: RequestHeader, request: &Request<'_>, negotiated: &Negotiated, groups: Vec<Gid>) {
        let none = fusewire::ext::Extensions::default();
        let bytes = request.encode_with(&header, &none, negotiated).expect("what was decoded can be encoded");
        SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(request.opcode().0);
        self.seen().push(Arc::new(Recorded { bytes, negotiated: *negotiated, header, groups }));
        self.shared.more.notify_all();
    }

    /// Forgets what came so far.
    pub fn clear(&self) {
        self.seen().clear();
    }

    /// How many requests of this operation came so far.
    pub fn count(&self, opcode: Opcode) -> usize {
        self.seen().iter().filter(|recorded| recorded.opcode() == opcode).count()
    }

    /// All requests of this operation so far.
    pub fn all(&self, opcode: Opcode) -> Vec<Arc<Recorded>> {
        self.seen().iter().filter(|recorded| recorded.opcode() == opcode).cloned().collect()
    }

    /// What was asked so far, as the names of methods; without what the kernel sends when nobody waits for it.
    pub fn asked(&self) -> Vec<&'static str> {
        let late = [Opcode::FORGET, Opcode::BATCH_FORGET, Opcode::RELEASE, Opcode::RELEASEDIR];
        let seen = self.seen();
        let asked = seen.iter().map(|recorded| recorded.opcode()).filter(|opcode| !late.contains(opcode));
        asked.filter_map(Opcode::name).collect()
    }

    /// The last request of the operation whose struct has this name; waits for the first one.
    ///
    /// # Panics
    /// None comes.
    pub fn last(&self, op: &str) -> Arc<Recorded> {
        let row = opcode::rows().find(|row| row.op == op).expect("an operation of the table");
        self.wait_for(row.opcode, 1)
    }

    /// The last request of this operation, once there are `count` of them.
    ///
    /// # Panics
    /// They do not come.
    pub fn wait_for(&self, opcode: Opcode, count: usize) -> Arc<Recorded> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.seen();
        loop {
            let mut found = seen.iter().filter(|recorded| recorded.opcode() == opcode);
            if found.clone().count() >= count
                && let Some(last) = found.next_back()
            {
                return Arc::clone(last);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {opcode} came: {:?}", seen.iter().map(|one| one.opcode()).collect::<Vec<_>>());
            seen = self.shared.more.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Waits until `holds` is true.
///
/// # Panics
/// It does not become so in time.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}

impl Recorded {
    /// The caller's user, group and process.
    pub fn caller(&self) -> (Option<Uid>, Option<Gid>, Pid) {
        (self.header.uid, self.header.gid, self.header.pid)
    }
}

/// Checks fields of the last request of an operation, which it waits for; gives the request back.
///
/// `saw!(log, Mkdir { parent: NodeId::ROOT, mode: 0o755 })`
#[macro_export]
macro_rules! saw {
    ($log:expr, $op:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let recorded = $log.last(stringify!($op));
        $crate::is!(recorded, $op { $($field: $value),* });
        recorded
    }};
}

/// Checks fields of a request that was recorded.
#[macro_export]
macro_rules! is {
    ($recorded:expr, $op:ident { $($field:ident: $value:expr),* $(,)? }) => {
        match $recorded.request() {
            fusewire::Request::$op(_op) => {
                $(assert_eq!(_op.$field, $value, "{} of {_op:?}", stringify!($field));)*
            }
            other => panic!("{other:?} is no {}", stringify!($op)),
        }
    };
}

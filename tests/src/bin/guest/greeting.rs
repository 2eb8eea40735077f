//! The filesystem that the guest's own cases mount: a root with the file `greeting`, a large file `large` whose bytes
//! follow from their offset, and a name `never` whose lookup can be held up.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fusewire::{Attr, Context, Errno, FileType, Filesystem, NodeId, op, reply, sink};

/// What `greeting` holds.
pub(crate) const TEXT: &[u8] = b"hello\n";
/// Bytes in `large`.
pub(crate) const LARGE: u64 = 192 << 20;

const HOUR: Duration = Duration::from_secs(3600);
const GREETING: NodeId = NodeId(2);
const BIG: NodeId = NodeId(3);

/// The filesystem. A broken one says the wrong thing.
pub(crate) struct Greeting {
    broken: bool,
    gate: Option<Gate>,
}

/// Where a lookup of `never` waits.
struct Gate {
    entered: Mutex<Sender<()>>,
    leave: Mutex<Receiver<()>>,
}

/// The other side of the gate. Whoever waits goes on when it is dropped.
pub(crate) struct Keeper {
    /// Says that somebody waits.
    pub(crate) entered: Receiver<()>,
    _leave: Sender<()>,
}

impl Greeting {
    /// Broken if the plan of this boot says so.
    pub(crate) fn new() -> Self {
        let broken = std::env::var_os(crate::cases::BROKEN).is_some_and(|what| what == "daemon");
        Self { broken, gate: None }
    }

    /// One that answers a lookup of `never` only when its keeper is gone.
    pub(crate) fn gated() -> (Self, Keeper) {
        let (entered, told) = channel();
        let (leave, left) = channel();
        let gate = Gate { entered: Mutex::new(entered), leave: Mutex::new(left) };
        (Self { gate: Some(gate), ..Self::new() }, Keeper { entered: told, _leave: leave })
    }

    fn wait_at_the_gate(&self) {
        let Some(gate) = &self.gate else { return };
        // Neither side matters when the other is gone: the case is over then.
        let _ = gate.entered.lock().unwrap_or_else(PoisonError::into_inner).send(());
        let _ = gate.leave.lock().unwrap_or_else(PoisonError::into_inner).recv();
    }
}

/// The byte of `large` at this offset.
pub(crate) fn byte_at(offset: u64) -> u8 {
    let [.., top] = offset.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    top
}

fn attr(node: NodeId) -> Result<Attr, Errno> {
    let file = |ino, size| {
        let mut attr = Attr::new(ino, FileType::REGULAR, 0o644);
        attr.size = size;
        attr
    };
    match node {
        NodeId::ROOT => Ok(Attr::new(1, FileType::DIRECTORY, 0o755)),
        GREETING => Ok(file(2, u64::try_from(TEXT.len()).map_err(|_| Errno::EOVERFLOW)?)),
        BIG => Ok(file(3, LARGE)),
        _ => Err(Errno::ENOENT),
    }
}

impl Filesystem for Greeting {
    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        let node = match op.name.as_bytes() {
            b"greeting" => GREETING,
            b"large" => BIG,
            b"never" => {
                self.wait_at_the_gate();
                return Err(Errno::ENOENT);
            }
            _ => return Err(Errno::ENOENT),
        };
        Ok(reply::Entry::new(node, attr(node)?, HOUR))
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(attr(op.node)?, HOUR))
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        if op.node == BIG {
            let end = LARGE.min(op.offset.saturating_add(u64::from(op.size)));
            let bytes: Vec<u8> = (op.offset..end).map(byte_at).collect();
            out.put(&bytes);
            return Ok(());
        }
        let start = usize::try_from(op.offset).unwrap_or(usize::MAX);
        let text: &[u8] = if self.broken { b"h3llo\n" } else { TEXT };
        out.put(text.get(start..).unwrap_or(&[]));
        Ok(())
    }
}

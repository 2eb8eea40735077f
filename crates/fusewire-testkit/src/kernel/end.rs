//! How a connection ends: everything is given back, the wire is closed, the daemon has to follow.
//!
//! The laws that only show at the end are checked here.

use std::time::{Duration, Instant};

use fusewire_proto::op::{self, Forgotten};
use fusewire_proto::{Errno, NodeId, Opcode, Unique};

use crate::kernel::{Kernel, Ticket};
use crate::laws::ledger::HandleKind;
use crate::laws::{Law, LawBook};

/// How many nodes a `BATCH_FORGET` has at most.
const BATCH: usize = 64;

impl Kernel {
    /// Unmounts: waits for what is under way, gives back all handles and lookups, closes the connection, and waits for the
    /// daemon to end. Returns what was checked from the beginning on.
    ///
    /// Called again, it returns the book.
    pub fn unmount(&self) -> LawBook {
        let over = {
            let mut state = self.lock();
            std::mem::replace(&mut state.closed, true)
        };
        if !over {
            self.settle();
            if self.shared.config.probing {
                self.probe_nodes();
            }
            self.compare_nodes();
            self.release_all();
            self.forget_all();
            if self.shared.config.destroy {
                let _ = self.call(op::Destroy::new(NodeId(0)));
            }
            let ended = self.close();
            if ended && self.lock().open {
                self.look_inside();
            }
        }
        self.laws()
    }

    /// Ends the connection in the middle of everything, as `umount -f` does. Nothing is given back, and what is under way is
    /// not waited for. The daemon has to end all the same.
    pub fn abort(&self) -> LawBook {
        self.lock().closed = true;
        self.close();
        self.laws()
    }

    /// Waits for all that is under way.
    fn settle(&self) {
        self.catch_up();
        loop {
            let next: Option<Unique> = self.lock().pending.keys().min().copied();
            let Some(unique) = next else { return };
            if self.wait(Ticket { unique }).is_err_and(|errno| errno == Errno::ENOTCONN) {
                return;
            }
        }
    }

    /// Takes back all lookups but one of the nodes that have more, and asks whether they are still there.
    fn probe_nodes(&self) {
        let nodes = self.lock().ledger.nodes();
        for (node, lookups) in nodes.into_iter().filter(|(_, lookups)| *lookups > 1) {
            if self.forget(node, lookups - 1).is_err() {
                return;
            }
            let outcome = match self.call(op::Getattr::new(node)) {
                Err(errno @ (Errno::ENOENT | Errno::ESTALE | Errno::EBADF)) => Err(format!(
                    "node {node} was looked up {lookups} times and forgotten {} times; GETATTR says {errno:?}",
                    lookups - 1
                )),
                _ => Ok(()),
            };
            self.check(Law::NodeLives, outcome);
        }
    }

    /// Whether the daemon still holds all nodes that are looked up. It may hold more, since nobody hears when a `FORGET` was
    /// served.
    fn compare_nodes(&self) {
        if !self.lock().open {
            return;
        }
        let Some(held) = self.shared.inside.nodes() else { return };
        let known = u64::try_from(self.lock().ledger.nodes().len()).unwrap_or(u64::MAX);
        let outcome = if held >= known {
            Ok(())
        } else {
            Err(format!("{known} nodes are looked up and not forgotten; the daemon holds {held}"))
        };
        self.check(Law::NodeLives, outcome);
    }

    fn release_all(&self) {
        let handles = self.lock().ledger.handles();
        for handle in handles {
            let (no_open, no_opendir) = {
                let state = self.lock();
                (state.enosys.contains(&Opcode::OPEN), state.enosys.contains(&Opcode::OPENDIR))
            };
            let _ = match handle.kind {
                HandleKind::File if !no_open => self.call(op::Release::new(handle.node, handle.handle)),
                HandleKind::Directory if !no_opendir => self.call(op::Releasedir::new(handle.node, handle.handle)),
                _ => continue,
            };
        }
    }

    fn forget_all(&self) {
        let nodes: Vec<Forgotten> = {
            let nodes = self.lock().ledger.nodes();
            nodes.into_iter().map(|(node, nlookup)| Forgotten { node, nlookup }).collect()
        };
        for batch in nodes.chunks(BATCH) {
            // fs/fuse/dev.c fuse_read_forget(): one alone is not sent as a batch.
            let _ = match batch {
                [one] => self.forget(one.node, one.nlookup),
                many => self.batch_forget(many),
            };
        }
    }

    /// Closes the wire and waits for the daemon's end. Whether it came.
    fn close(&self) -> bool {
        self.shared.wire.close();
        let deadline = Instant::now() + self.shared.config.patience;
        let mut state = self.lock();
        while !state.ended {
            state.errands.clear();
            let left = deadline.saturating_duration_since(Instant::now());
            let quiet;
            (state, quiet) = self.listen(state, left);
            if quiet && left == Duration::ZERO {
                break;
            }
        }
        let ended = state.ended;
        state.book.demand(Law::EndsWhenUnmounted, ended, || String::from("the daemon holds on to its end"));
        self.uphold(state);
        ended
    }

    fn look_inside(&self) {
        let (nodes, handles) = self.shared.inside.at_end();
        let counts = [(Law::LookupsBalanced, nodes, "nodes"), (Law::HandlesReleased, handles, "open handles")];
        for (law, count, what) in counts {
            if let Some(count) = count {
                let outcome = if count == 0 { Ok(()) } else { Err(format!("the daemon holds {count} {what}")) };
                self.check(law, outcome);
            }
        }
    }
}

//! A filesystem around another one: it records each request, and does to it what a test asks for. The answers are those
//! of the filesystem inside.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use fusewire::{Context, Errno, Filesystem, Negotiated, Notifier, Opcode, Request, RequestHeader, Unique, Wishes};
use fusewire::{for_each_opcode, op, reply, sink};

use crate::log::Log;

/// Records what `F` is asked, and answers in its place where a test says so.
#[derive(Debug)]
pub struct Recorder<F> {
    inner: F,
    log: Log,
    script: Arc<Script>,
}

#[derive(Debug, Default)]
struct Script {
    orders: Mutex<BTreeMap<u32, Order>>,
    changed: Condvar,
    destroyed: Mutex<u32>,
}

/// What is to happen to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Answer this.
    Fail(Errno),
    /// The next one waits; those behind it do not.
    Hold,
    /// One waits.
    Held,
    /// The one that waits may go on.
    Release,
}

impl Script {
    fn orders(&self) -> MutexGuard<'_, BTreeMap<u32, Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F> Recorder<F> {
    /// Records what `inner` is asked.
    pub fn new(inner: F) -> Self {
        Self { inner, log: Log::default(), script: Arc::default() }
    }

    /// The filesystem inside.
    pub fn inner(&self) -> &F {
        &self.inner
    }

    /// What came.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// From now on this operation is answered with an error.
    pub fn fail(&self, opcode: Opcode, errno: Errno) {
        self.script.orders().insert(opcode.0, Order::Fail(errno));
    }

    /// The next request of this operation waits until it is released or interrupted.
    pub fn hold(&self, opcode: Opcode) {
        self.script.orders().insert(opcode.0, Order::Hold);
    }

    /// Lets a request that is held go on; from now on the operation is served as if nothing had been.
    pub fn let_go(&self, opcode: Opcode) {
        self.script.orders().insert(opcode.0, Order::Release);
        self.script.changed.notify_all();
    }

    /// Whether a request of this operation is held.
    pub fn holds(&self, opcode: Opcode) -> bool {
        self.script.orders().get(&opcode.0) == Some(&Order::Held)
    }

    /// How often the end of the connection was told.
    pub fn destroyed(&self) -> u32 {
        *self.script.destroyed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a request and carries out what was ordered.
    fn meet(&self, cx: &Context<'_>, request: Request<'_>) -> Result<(), Errno> {
        self.log.record(cx, &request);
        let opcode = request.opcode().0;
        let mut orders = self.script.orders();
        match orders.get(&opcode) {
            Some(Order::Fail(errno)) => Err(*errno),
            Some(Order::Hold) => {
                orders.insert(opcode, Order::Held);
                drop(orders);
                self.wait(cx, opcode)
            }
            _ => Ok(()),
        }
    }

    fn wait(&self, cx: &Context<'_>, opcode: u32) -> Result<(), Errno> {
        let script = Arc::clone(&self.script);
        let wake = Arc::new(move || {
            // Not between the look at the flag and the wait.
            drop(script.orders());
            script.changed.notify_all();
        });
        cx.on_interrupt(wake, || {
            let mut orders = self.script.orders();
            while orders.get(&opcode) == Some(&Order::Held) {
                if cx.is_interrupted() {
                    orders.remove(&opcode);
                    return Err(Errno::EINTR);
                }
                orders = self.script.changed.wait(orders).unwrap_or_else(PoisonError::into_inner);
            }
            Ok(())
        })
    }
}

macro_rules! record_one {
    (value $method:ident, $op:ident, $reply:ident $(, $lt:lifetime)?) => {
        fn $method $(<$lt>)?(&self, cx: &Context<'_>, op: op::$op $(<$lt>)?) -> Result<reply::$reply, Errno> {
            self.meet(cx, op.into())?;
            self.inner.$method(cx, op)
        }
    };
    (fill $method:ident, $op:ident, $reply:ident $(, $lt:lifetime)?) => {
        fn $method $(<$lt>)?(
            &self,
            cx: &Context<'_>,
            op: op::$op $(<$lt>)?,
            out: &mut sink::$reply<'_>,
        ) -> Result<(), Errno> {
            self.meet(cx, op.into())?;
            self.inner.$method(cx, op, out)
        }
    };
    (none $method:ident, $op:ident, $reply:ident $(, $lt:lifetime)?) => {
        fn $method $(<$lt>)?(&self, cx: &Context<'_>, op: op::$op $(<$lt>)?) {
            self.log.record(cx, &op.into());
            self.inner.$method(cx, op);
        }
    };
    (session $($rest:tt)*) => {};
}

macro_rules! record {
    ($(($kernel:ident, $name:ident, $op:ident $(<$lt:lifetime>)?, $method:ident, $since:literal,
        $answer:ident $reply:ident, $lookup:ident, $enosys:ident, $doc:literal);)*) => {
        impl<F: Filesystem> Filesystem for Recorder<F> {
            fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
                let header = RequestHeader::new(Unique(0));
                self.log.record_bare(header, &(*offer).into(), &Negotiated::default());
                self.inner.init(offer, wishes)
            }

            fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
                self.inner.ready(negotiated, notifier);
            }

            fn destroy(&self) {
                *self.script.destroyed.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                self.inner.destroy();
            }

            $(record_one!($answer $method, $op, $reply $(, $lt)?);)*
        }
    };
}

for_each_opcode!(record);

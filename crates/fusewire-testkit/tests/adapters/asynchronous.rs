//! A filesystem made `async`, and threads that run what it does.
//!
//! Nothing in it awaits: what is tested is how answers travel that come later, from another thread.

use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context as Polling, Poll, Waker};

use fusewire::{
    Async, AsyncFilesystem, Context, Errno, Filesystem, Handler, Negotiated, Notifier, RequestFuture, Wishes, op,
    reply, sink,
};
use fusewire_proto::for_each_opcode;

/// The methods of a [`Filesystem`], as `async` ones.
struct Eventually<F>(Arc<F>);

macro_rules! method {
    (value $method:ident, $op:ident, $reply:ident $(, $lt:lifetime)?) => {
        async fn $method $(<$lt>)?(&self, cx: &Context<'_>, op: op::$op $(<$lt>)?) -> Result<reply::$reply, Errno> {
            Filesystem::$method(&*self.0, cx, op)
        }
    };
    (fill $method:ident, $op:ident, $reply:ident $(, $lt:lifetime)?) => {
        async fn $method $(<$lt>)?(
            &self,
            cx: &Context<'_>,
            op: op::$op $(<$lt>)?,
            out: &mut sink::$reply<'_>,
        ) -> Result<(), Errno> {
            Filesystem::$method(&*self.0, cx, op, out)
        }
    };
    (none $method:ident, $op:ident, $reply:ident $(, $lt:lifetime)?) => {
        async fn $method $(<$lt>)?(&self, cx: &Context<'_>, op: op::$op $(<$lt>)?) {
            Filesystem::$method(&*self.0, cx, op);
        }
    };
    (session $($rest:tt)*) => {};
}

macro_rules! eventually {
    ($(($kernel:ident, $name:ident, $op:ident $(<$lt:lifetime>)?, $method:ident, $since:literal,
        $answer:ident $reply:ident, $lookup:ident, $enosys:ident, $doc:literal);)*) => {
        impl<F: Filesystem + 'static> AsyncFilesystem for Eventually<F> {
            fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
                Filesystem::init(&*self.0, offer, wishes)
            }

            fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
                Filesystem::ready(&*self.0, negotiated, notifier);
            }

            $(method!($answer $method, $op, $reply $(, $lt)?);)*
        }
    };
}

for_each_opcode!(eventually);

/// Threads that run requests.
pub(crate) struct Executor {
    queue: Sender<RequestFuture>,
    under_way: Arc<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    count: Mutex<usize>,
    changed: Condvar,
}

/// A request that waits for a lock holds a thread, and the one that gives the lock back needs another.
const THREADS: usize = 3;

impl Executor {
    pub(crate) fn new() -> Arc<Self> {
        let (queue, requests) = channel::<RequestFuture>();
        let requests = Arc::new(Mutex::new(requests));
        let under_way: Arc<UnderWay> = Arc::default();
        for _ in 0..THREADS {
            let (requests, under_way) = (Arc::clone(&requests), Arc::clone(&under_way));
            std::thread::spawn(move || {
                loop {
                    let next = requests.lock().unwrap().recv();
                    let Ok(request) = next else { return };
                    let done = pin!(request).poll(&mut Polling::from_waker(Waker::noop()));
                    assert_eq!(done, Poll::Ready(()), "nothing in it waits");
                    *under_way.count.lock().unwrap() -= 1;
                    under_way.changed.notify_all();
                }
            });
        }
        Arc::new(Self { queue, under_way })
    }

    fn spawn(&self, request: RequestFuture) {
        *self.under_way.count.lock().unwrap() += 1;
        self.queue.send(request).unwrap();
    }

    /// Waits until nothing is under way: the end of a connection does not.
    pub(crate) fn drain(&self) {
        let count = self.under_way.count.lock().unwrap();
        drop(self.under_way.changed.wait_while(count, |count| *count > 0).unwrap());
    }
}

/// Serves `filesystem` by `executor`.
pub(crate) fn eventually(filesystem: Arc<impl Filesystem + 'static>, executor: Arc<Executor>) -> impl Handler {
    Async::new(Eventually(filesystem), move |request| executor.spawn(request))
}

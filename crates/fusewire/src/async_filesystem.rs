//! Filesystems with `async` methods, for back ends on a network: a request that waits holds no thread.
//!
//! The caller brings the executor; nothing here polls a future. Operations, replies and meanings are those of
//! [`Filesystem`], and made from the same table.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use fusewire_proto::init::Wishes;
use fusewire_proto::op::Operation;
use fusewire_proto::{Errno, Incoming, Negotiated, ReplyHeader, Request, for_each_opcode, op, reply};

use crate::context::Context;
use crate::filesystem::Filesystem;
use crate::handler::{Deferred, Handler, Manner, Reply};
use crate::notifier::Notifier;
use crate::sink::{self, Sink};
use crate::transport::Answer;

/// Answers as the defaults of [`Filesystem`] do.
struct Defaults;

impl Filesystem for Defaults {}

/// A method of the trait, by how the operation is answered.
macro_rules! method {
    (value rename, $op:ident, $reply:ident, $doc:literal $(, $lt:lifetime)?) => {
        #[doc = $doc]
        /// The default calls [`rename2`](Self::rename2) without flags.
        fn rename $(<$lt>)?(
            &self,
            cx: &Context<'_>,
            op: op::$op $(<$lt>)?,
        ) -> impl Future<Output = Result<reply::$reply, Errno>> + Send {
            self.rename2(cx, op.into())
        }
    };
    (value copy_file_range, $op:ident, $reply:ident, $doc:literal $(, $lt:lifetime)?) => {
        #[doc = $doc]
        /// The default calls [`copy_file_range_64`](Self::copy_file_range_64) for no more than fits the answer.
        fn copy_file_range $(<$lt>)?(
            &self,
            cx: &Context<'_>,
            op: op::$op $(<$lt>)?,
        ) -> impl Future<Output = Result<reply::$reply, Errno>> + Send {
            async move { self.copy_file_range_64(cx, op.into()).await?.try_into() }
        }
    };
    (value $method:ident, $op:ident, $reply:ident, $doc:literal $(, $lt:lifetime)?) => {
        #[doc = $doc]
        #[doc = concat!("See [`Filesystem::", stringify!($method), "`].")]
        fn $method $(<$lt>)?(
            &self,
            cx: &Context<'_>,
            op: op::$op $(<$lt>)?,
        ) -> impl Future<Output = Result<reply::$reply, Errno>> + Send {
            let answer = Filesystem::$method(&Defaults, cx, op);
            std::future::ready(answer)
        }
    };
    (fill $method:ident, $op:ident, $reply:ident, $doc:literal $(, $lt:lifetime)?) => {
        #[doc = $doc]
        #[doc = concat!("See [`Filesystem::", stringify!($method), "`].")]
        fn $method $(<$lt>)?(
            &self,
            cx: &Context<'_>,
            op: op::$op $(<$lt>)?,
            out: &mut sink::$reply<'_>,
        ) -> impl Future<Output = Result<(), Errno>> + Send {
            let answer = Filesystem::$method(&Defaults, cx, op, out);
            std::future::ready(answer)
        }
    };
    (none batch_forget, $op:ident, $reply:ident, $doc:literal $(, $lt:lifetime)?) => {
        #[doc = $doc]
        /// The default calls [`forget`](Self::forget) for each.
        fn batch_forget $(<$lt>)?(&self, cx: &Context<'_>, op: op::$op $(<$lt>)?) -> impl Future<Output = ()> + Send {
            async move {
                for forgotten in op.forgets.iter() {
                    self.forget(cx, op::Forget::new(forgotten.node, forgotten.nlookup)).await;
                }
            }
        }
    };
    (none $method:ident, $op:ident, $reply:ident, $doc:literal $(, $lt:lifetime)?) => {
        #[doc = $doc]
        #[doc = concat!("See [`Filesystem::", stringify!($method), "`].")]
        fn $method $(<$lt>)?(&self, cx: &Context<'_>, op: op::$op $(<$lt>)?) -> impl Future<Output = ()> + Send {
            Filesystem::$method(&Defaults, cx, op);
            std::future::ready(())
        }
    };
    (session $($rest:tt)*) => {};
}

/// Awaits the method that serves a request, and answers with what it returns.
macro_rules! answer {
    (value $fs:ident, $cx:ident, $op:ident, $method:ident, $reply:ident, $deferred:ident) => {
        match $fs.$method(&$cx, $op).await {
            Ok(reply) => $deferred.send(reply),
            Err(errno) => $deferred.error(errno),
        }
    };
    (fill $fs:ident, $cx:ident, $op:ident, $method:ident, $reply:ident, $deferred:ident) => {{
        let limit = $op.reply_limit();
        let mut message = vec![0; ReplyHeader::LENGTH + room_for(limit, $cx.negotiated())];
        let body = message.get_mut(ReplyHeader::LENGTH..).unwrap_or(&mut []);
        let mut sink = sink::$reply::open(body, limit, &$cx);
        let answer = match $fs.$method(&$cx, $op, &mut sink).await {
            Ok(()) => sink.outcome(),
            Err(errno) => Answer::Error(errno),
        };
        $deferred.finish(answer, message);
    }};
    (none $fs:ident, $cx:ident, $op:ident, $method:ident, $reply:ident, $deferred:ident) => {{
        $fs.$method(&$cx, $op).await;
        $deferred.finish(Answer::Nothing, Vec::new());
    }};
    // The session answers these itself and never brings them here.
    (session $fs:ident, $cx:ident, $op:ident, $method:ident, $reply:ident, $deferred:ident) => {{
        let _ = $op;
        $deferred.error(Errno::EIO)
    }};
}

macro_rules! async_filesystem {
    ($(($kernel:ident, $name:ident, $op:ident $(<$lt:lifetime>)?, $method:ident, $since:literal,
        $answer:ident $reply:ident, $lookup:ident, $enosys:ident, $doc:literal);)*) => {
        /// A filesystem with `async` methods: each does what the method of the same name in [`Filesystem`] does, and has the
        /// same default. Wrap it in [`Async`] to serve it.
        ///
        /// ```
        /// use std::time::Duration;
        /// use fusewire::{AsyncFilesystem, Attr, Context, Errno, FileType, op, reply};
        ///
        /// /// A directory whose attributes come from elsewhere.
        /// struct Remote;
        ///
        /// impl Remote {
        ///     async fn ask(&self) -> Result<u32, Errno> {
        ///         Ok(0o755)
        ///     }
        /// }
        ///
        /// impl AsyncFilesystem for Remote {
        ///     async fn getattr(&self, _: &Context<'_>, _: op::Getattr) -> Result<reply::Attributes, Errno> {
        ///         let attr = Attr::new(1, FileType::DIRECTORY, self.ask().await?);
        ///         Ok(reply::Attributes::new(attr, Duration::from_secs(1)))
        ///     }
        /// }
        /// ```
        pub trait AsyncFilesystem: Send + Sync + 'static {
            /// Chooses what to ask of the kernel; see [`Filesystem::init`].
            ///
            /// # Errors
            /// Makes mounting fail.
            fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
                Filesystem::init(&Defaults, offer, wishes)
            }

            /// The connection is open; see [`Filesystem::ready`].
            fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
                Filesystem::ready(&Defaults, negotiated, notifier);
            }

            /// The connection is over; see [`Filesystem::destroy`]. Requests may still be under way.
            fn destroy(&self) {}

            $(method!($answer $method, $op, $reply, $doc $(, $lt)?);)*
        }

        /// Serves the request in `bytes`. The first decoding borrowed from a buffer that is used again by now.
        async fn serve<F: AsyncFilesystem>(fs: &F, bytes: &[u8], mut deferred: Deferred) {
            let negotiated = *deferred.negotiated();
            let slot = Arc::clone(deferred.slot());
            let Ok(incoming) = Incoming::parse(bytes) else { return deferred.error(Errno::EIO) };
            let Ok((request, extensions)) = Request::decode(&negotiated, &incoming) else {
                return deferred.error(Errno::EIO);
            };
            let cx = Context::new(incoming.header, extensions, &negotiated, &slot);
            match request {
                $(Request::$op(op) => answer!($answer fs, cx, op, $method, $reply, deferred),)*
                _ => deferred.error(Errno::ENOSYS),
            }
        }
    };
}

for_each_opcode!(async_filesystem);

/// Room for the body of a reply: what the caller takes, or a page, and the fixed part of an ioctl's answer.
fn room_for(limit: Option<u32>, negotiated: &Negotiated) -> usize {
    const LEAST: u32 = 4096;
    let most = negotiated.max_data().max(128 << 10);
    usize::try_from(limit.unwrap_or(LEAST).clamp(LEAST, most)).unwrap_or(0)
        + size_of::<fusewire_proto::abi::fuse_ioctl_out>()
}

/// What an executor is given: a request under way.
pub type RequestFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves an [`AsyncFilesystem`] by an executor of your own.
///
/// ```
/// use std::time::Duration;
/// use fusewire::{Async, AsyncFilesystem, Attr, Context, Errno, FileType, op, reply};
///
/// struct Remote;
///
/// impl AsyncFilesystem for Remote {
///     async fn getattr(&self, _: &Context<'_>, _: op::Getattr) -> Result<reply::Attributes, Errno> {
///         // An answer from a network would be awaited here.
///         Ok(reply::Attributes::new(Attr::new(1, FileType::DIRECTORY, 0o755), Duration::ZERO))
///     }
/// }
///
/// let runtime = tokio::runtime::Runtime::new()?;
/// let handle = runtime.handle().clone();
/// let served = Async::new(Remote, move |request| drop(handle.spawn(request)));
/// // fusewire::mount(served, ...)
/// # let _ = served;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Async<F, S> {
    filesystem: Arc<F>,
    spawn: S,
}

impl<F: AsyncFilesystem, S: Fn(RequestFuture) + Send + Sync> Async<F, S> {
    /// Serves `filesystem`; `spawn` is given each request and must see that it is polled, without waiting for it.
    #[must_use]
    pub fn new(filesystem: F, spawn: S) -> Self {
        Self { filesystem: Arc::new(filesystem), spawn }
    }
}

impl<F: AsyncFilesystem, S: Fn(RequestFuture) + Send + Sync> Handler for Async<F, S> {
    fn init(&self, offer: &op::Init, wishes: &mut Wishes) -> Result<(), Errno> {
        self.filesystem.init(offer, wishes)
    }

    fn ready(&self, negotiated: &Negotiated, notifier: &Notifier) {
        self.filesystem.ready(negotiated, notifier);
    }

    fn destroy(&self) {
        self.filesystem.destroy();
    }

    fn manner(&self) -> Manner {
        Manner::NeverBlocks
    }

    fn handle(&self, cx: &Context<'_>, request: Request<'_>, reply: Reply<'_>) {
        let Some(deferred) = reply.later() else { return };
        match request.encode_with(cx.header(), cx.extensions(), cx.negotiated()) {
            Ok(bytes) => {
                let filesystem = Arc::clone(&self.filesystem);
                (self.spawn)(Box::pin(async move { serve(&*filesystem, &bytes, deferred).await }));
            }
            Err(_) => deferred.error(Errno::EIO),
        }
    }
}

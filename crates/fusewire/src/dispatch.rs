//! From a decoded request to the method of the filesystem, and from what it returns to the reply.
//!
//! The only place that knows both a request and a filesystem; made from the table of opcodes.

use fusewire_proto::reply::{self, ReplyBody, ReplyWriter};
use fusewire_proto::{Errno, Negotiated, Request, for_each_opcode};

use crate::context::Context;
use crate::filesystem::Filesystem;
use crate::sink::{self, Sink};
use crate::transport::Answer;

/// One arm of the match, by how the operation is answered.
macro_rules! call {
    (value $reply:ident, $fs:ident, $cx:ident, $op:ident, $method:ident, $negotiated:ident, $room:ident) => {{
        let reply: reply::$reply = $fs.$method($cx, $op)?;
        let mut out = ReplyWriter::new($room);
        reply.encode($negotiated, &mut out).map_err(|_| Errno::EIO)?;
        Ok(Answer::Body(out.length()))
    }};
    (fill $reply:ident, $fs:ident, $cx:ident, $op:ident, $method:ident, $negotiated:ident, $room:ident) => {{
        let mut sink = sink::$reply::open($room, fusewire_proto::op::Operation::reply_limit(&$op), $cx);
        $fs.$method($cx, $op, &mut sink)?;
        Ok(sink.outcome())
    }};
    (none $reply:ident, $fs:ident, $cx:ident, $op:ident, $method:ident, $negotiated:ident, $room:ident) => {{
        $fs.$method($cx, $op);
        Ok(Answer::Nothing)
    }};
    (session $reply:ident, $fs:ident, $cx:ident, $op:ident, $method:ident, $negotiated:ident, $room:ident) => {{
        // The session answers these itself and never brings them here.
        let _ = $op;
        Err(Errno::EIO)
    }};
}

macro_rules! dispatch {
    ($(($kernel:ident, $name:ident, $op:ident $(<$lt:lifetime>)?, $method:ident, $since:literal,
        $answer:ident $reply:ident, $lookup:ident, $enosys:ident, $doc:literal);)*) => {
        /// Calls the method that serves `request`, and puts the body of the reply into `room`.
        ///
        /// # Errors
        /// What the filesystem answers; `EIO` if its reply does not fit.
        pub(crate) fn dispatch<F: Filesystem + ?Sized>(
            fs: &F,
            cx: &Context<'_>,
            request: Request<'_>,
            negotiated: &Negotiated,
            room: &mut [u8],
        ) -> Result<Answer, Errno> {
            match request {
                $(Request::$op(op) => call!($answer $reply, fs, cx, op, $method, negotiated, room),)*
                _ => Err(Errno::ENOSYS),
            }
        }
    };
}

for_each_opcode!(dispatch);

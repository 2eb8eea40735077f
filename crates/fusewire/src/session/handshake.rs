//! The first request: what is asked of the kernel, and what comes of it.
//!
//! The rules of the negotiation are in `fusewire_proto::init`.

use fusewire_proto::init::{InitFlags, Negotiation, Wishes, negotiate};
use fusewire_proto::reply::{self, MAX_FIXED_BODY, ReplyBody, ReplyWriter};
use fusewire_proto::{Errno, Incoming, Negotiated, ReplyHeader, Request, Unique, abi};

use crate::handler::Handler;
use crate::session::{Channel, SessionError};
use crate::transport::{Received, RequestBuffer, Transport};

/// What this library serves: all but what belongs to virtio-fs, and what a transport must bring.
const HONOURED: InitFlags = InitFlags::all_named()
    .difference(InitFlags::FILE_OPS)
    .difference(InitFlags::MAP_ALIGNMENT)
    .difference(InitFlags::SUBMOUNTS)
    .difference(InitFlags::HAS_INODE_DAX)
    .difference(InitFlags::INIT_RESERVED)
    .difference(InitFlags::OVER_IO_URING);

/// Receives `INIT`; returns what was agreed and the reply that says so, which is still to be sent.
///
/// # Errors
/// No agreement, or no `INIT`. It is answered all the same.
pub(super) fn handshake(
    transport: &dyn Transport,
    handler: &impl Handler,
    channel: Channel,
) -> Result<(Negotiated, Vec<u8>), SessionError> {
    let failed = |source| SessionError::Transport { transport: transport.name(), source };
    let mut buffer = RequestBuffer::new(abi::FUSE_MIN_READ_BUFFER);
    loop {
        let Received::Request(bytes) = transport.receive(&mut buffer).map_err(failed)? else {
            return Err(SessionError::Closed);
        };
        let unique = Incoming::identify(bytes).map_or(Unique(0), |(unique, _)| unique);
        match decide(bytes, handler, transport.offers(), channel) {
            Ok(Negotiation::Agreed(negotiated, reply)) => return Ok((negotiated, message(unique, Ok(reply))?)),
            // The kernel asks again with our major.
            Ok(Negotiation::AskAgain(reply)) => transport.send(&message(unique, Ok(reply))?).map_err(failed)?,
            Err(error) => {
                let errno = if let SessionError::Refused(errno) = &error { *errno } else { Errno::EPROTO };
                // The reason is what matters, and whoever mounts is let go as well as can be.
                let _ = transport.send(&message(unique, Err(errno))?);
                return Err(error);
            }
        }
    }
}

/// Decides what to answer to the first request.
fn decide(
    bytes: &[u8],
    handler: &impl Handler,
    offers: InitFlags,
    channel: Channel,
) -> Result<Negotiation, SessionError> {
    let broken = |error| SessionError::Handshake(format!("{error}"));
    let incoming = Incoming::parse(bytes).map_err(broken)?;
    let (request, _) = Request::decode(&Negotiated::default(), &incoming).map_err(broken)?;
    let Request::Init(offer) = request else {
        return Err(SessionError::Handshake(format!("it is {}, not init", incoming.opcode)));
    };
    // The version comes first: what a filesystem makes of an offer that is of no use does not matter.
    if let Negotiation::AskAgain(reply) = negotiate(&offer, &Wishes::default(), HONOURED)? {
        return Ok(Negotiation::AskAgain(reply));
    }
    let mut wishes = Wishes::default();
    wishes.want(offers);
    handler.init(&offer, &mut wishes).map_err(SessionError::Refused)?;
    if channel == Channel::Ring {
        wishes.require(offers);
    }
    Ok(negotiate(&offer, &wishes, HONOURED | offers)?)
}

/// The reply to `INIT`.
fn message(unique: Unique, outcome: Result<reply::Init, Errno>) -> Result<Vec<u8>, SessionError> {
    let mut room = [0; MAX_FIXED_BODY];
    let mut out = ReplyWriter::new(&mut room);
    if let Ok(reply) = outcome {
        let encoded = reply.encode(&Negotiated::default(), &mut out);
        encoded.map_err(|error| SessionError::Handshake(format!("{error}")))?;
    }
    let mut message = ReplyHeader::new(unique, outcome.err()).encode(out.length()).to_vec();
    message.extend_from_slice(out.written());
    Ok(message)
}

//! Every truncation of every message is an error, or a shorter message that stands by itself; never a panic.

use fusewire_proto::ext::Extensions;
use fusewire_proto::opcode::OPCODES;
use fusewire_proto::reply::Reply;
use fusewire_proto::{DecodeError, Incoming, InitFlags, Negotiated, Notification, ReplyHeader, Request, abi, uring};
use proptest::prelude::*;

use crate::{HEADER, body, check, contents, fitting, notifications, replies, requests, ring_entry, values};

/// Makes the length in the header of a request or reply that of the bytes.
pub(crate) fn fix_length(bytes: &mut [u8]) {
    let length = u32::try_from(bytes.len()).expect("it is short");
    if let Some(place) = bytes.get_mut(..4) {
        place.copy_from_slice(&length.to_ne_bytes());
    }
}

/// Whether the first `kept` bytes of a request's arguments are the same request by themselves.
///
/// `INIT` grew: the kernels of before 7.36 send 16 bytes, and what comes behind the second word of flags has no meaning yet.
fn is_whole(request: &Request<'_>, kept: usize) -> bool {
    match request {
        Request::Init(init) if init.flags.contains(InitFlags::INIT_EXT) => kept >= 20,
        Request::Init(_) => kept >= 16,
        _ => false,
    }
}

fn assert_cut(request: Request<'static>, kept: usize, incoming: &Incoming<'_>, negotiated: &Negotiated) {
    let decoded = Request::decode(negotiated, incoming);
    if is_whole(&request, kept) {
        assert_eq!(decoded.map(|(decoded, _)| decoded), Ok(requests::after_travel(request, negotiated)));
    } else {
        assert!(decoded.is_err(), "{kept} bytes are enough for {request:?}: {decoded:?}");
    }
}

#[test]
fn a_request_that_is_shorter_than_its_header_says_is_refused() {
    for opcode in OPCODES {
        check((requests::with_opcode(*opcode), values::header(), values::any_connection()), |(request, header, at)| {
            let bytes = request.encode_with(&header, &Extensions::default(), &at).unwrap();
            for found in 0..bytes.len() {
                let error = Incoming::parse(&bytes[..found]).unwrap_err();
                if found < HEADER {
                    assert!(matches!(error, DecodeError::Truncated { what: "fuse_in_header", .. }), "{error}");
                    assert_eq!(Incoming::identify(&bytes[..found]), None);
                } else {
                    assert_eq!(error, DecodeError::Length { header: bytes.len(), found });
                    assert_eq!(Incoming::identify(&bytes[..found]), Some((header.unique, *opcode)));
                }
            }
        });
    }
}

#[test]
fn a_request_without_its_last_bytes_is_refused() {
    for opcode in OPCODES {
        check((requests::with_opcode(*opcode), values::header(), values::any_connection()), |(request, header, at)| {
            let header = fitting(header, &request);
            let whole = request.encode_with(&header, &Extensions::default(), &at).unwrap();
            for kept in HEADER..whole.len() {
                let mut bytes = whole[..kept].to_vec();
                fix_length(&mut bytes);
                let incoming = Incoming::parse(&bytes).unwrap();
                assert_cut(request, kept - HEADER, &incoming, &at);
            }
        });
    }
}

#[test]
fn a_ring_entry_without_its_last_bytes_is_refused() {
    for opcode in OPCODES {
        check((requests::with_opcode(*opcode), values::header(), values::any_connection()), |(request, header, at)| {
            let header = fitting(header, &request);
            let joined = request.encode_with(&header, &Extensions::default(), &at).unwrap();
            let (entry, payload) = ring_entry(&request, &joined, &at);
            for kept in 0..entry.len() {
                assert!(uring::decode_entry(&entry[..kept], &payload).is_err());
            }
            for kept in 0..payload.len() {
                // The entry promises more than there is ...
                assert!(uring::decode_entry(&entry, &payload[..kept]).is_err());
                // ... or it does not, and the operation misses it.
                let mut short = entry;
                let size = u32::try_from(kept).unwrap().to_ne_bytes();
                short[uring::HEADER_SIZE - 16..uring::HEADER_SIZE - 12].copy_from_slice(&size);
                let (_, incoming) = uring::decode_entry(&short, &payload).unwrap();
                assert_cut(request, 0, &incoming, &at);
            }
        });
    }
}

#[test]
fn cut_extensions_are_refused_or_shorter_ones() {
    let makes_inode = ["mkdir", "mknod", "symlink", "create", "tmpfile"];
    for opcode in OPCODES.iter().filter(|opcode| opcode.name().is_some_and(|name| makes_inode.contains(&name))) {
        let strategy =
            (requests::with_opcode(*opcode), values::header(), values::extensions(), values::any_connection());
        check(strategy, |(request, header, extensions, at)| {
            let whole = request.encode_with(&header, &extensions, &at).unwrap();
            let args_end = HEADER + requests::length(&request, &at);
            let (contexts, _) = contents(&extensions);
            // The last record need not be filled up to eight bytes.
            let padding = contexts.last().map_or(0, |last| {
                let used = size_of::<abi::fuse_secctx>() + last.name.as_bytes().len() + 1 + last.value.len();
                used.next_multiple_of(8) - used
            });
            for kept in HEADER..whole.len() {
                let mut bytes = whole[..kept].to_vec();
                fix_length(&mut bytes);
                let decoded = Incoming::parse(&bytes).and_then(|incoming| Request::decode(&at, &incoming));
                // With a length of their own, what was cut from the extensions is taken from the arguments: it may look
                // like anything, and only must not panic.
                if values::has_bare_context(&at) {
                    match decoded {
                        Ok((decoded, with)) => {
                            assert_eq!(decoded, requests::after_travel(request, &at));
                            let (found, _) = contents(&with);
                            let all = kept >= whole.len() - padding;
                            assert!(if all { found == contexts } else { kept == args_end && found.is_empty() });
                        }
                        Err(_) => assert!(kept != args_end && kept < whole.len() - padding),
                    }
                }
            }
        });
    }
}

#[test]
fn a_reply_without_its_last_bytes_is_refused() {
    for opcode in OPCODES {
        let strategy = replies::limit().prop_flat_map(|limit| (Just(limit), replies::to_opcode(*opcode, limit)));
        check((strategy, values::any_connection()), |((limit, reply), at)| {
            let whole = body(&reply, &at);
            for kept in 0..whole.len() {
                let decoded = Reply::decode(&at, *opcode, limit, &whole[..kept]);
                assert_eq!(decoded.is_ok(), replies::is_whole(&reply, kept, &at), "{kept} bytes of {reply:?}");
            }
        });
    }
}

#[test]
fn a_reply_with_a_byte_too_many_is_refused() {
    for opcode in OPCODES {
        check((replies::to_opcode(*opcode, None), values::any_connection()), |(reply, at)| {
            let mut bytes = body(&reply, &at);
            bytes.push(0);
            let decoded = Reply::decode(&at, *opcode, None, &bytes);
            assert_eq!(decoded.is_ok(), replies::may_grow(&reply), "{reply:?}");
        });
    }
}

#[test]
fn a_reply_header_that_does_not_fit_its_bytes_is_refused() {
    let whole = ReplyHeader::new(fusewire_proto::Unique(2), None).encode(8);
    for found in 0..whole.len() {
        assert!(ReplyHeader::decode(&whole[..found]).is_err());
    }
    assert_eq!(ReplyHeader::decode(&whole), Err(DecodeError::Length { header: 24, found: 16 }));
}

#[test]
fn a_notification_of_another_length_is_refused() {
    for strategy in notifications::each() {
        check(strategy, |sent| {
            let whole = sent.encode().unwrap();
            for kept in 0..whole.len() {
                let mut bytes = whole[..kept].to_vec();
                assert!(Notification::decode(&bytes).is_err());
                fix_length(&mut bytes);
                assert!(Notification::decode(&bytes).is_err(), "{kept} bytes are enough for {sent:?}");
            }
            let mut bytes = whole;
            bytes.push(0);
            fix_length(&mut bytes);
            assert!(Notification::decode(&bytes).is_err(), "a byte too many passes for {sent:?}");
        });
    }
}

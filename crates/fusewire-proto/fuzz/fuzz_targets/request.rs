//! Any bytes as a request, on a connection of every minor: what is decoded is encoded and decoded to the same again.
//!
//! Bytes with the wrong length in the header, or an opcode that is not in the table, are tried as they are and once more
//! with both put right, so that the fuzzer gets past the header.
#![no_main]

use fusewire_proto::ext::Extensions;
use fusewire_proto::opcode::OPCODES;
use fusewire_proto::{Incoming, InitFlags, Negotiated, Opcode, Request, uring};
use libfuzzer_sys::fuzz_target;

/// Where the header has its length, its opcode and the length of its extensions; and where it ends.
const LENGTH: std::ops::Range<usize> = 0..4;
const OPCODE: std::ops::Range<usize> = 4..8;
const EXTENSIONS: std::ops::Range<usize> = 36..38;
const HEADER: usize = 40;

/// A connection of each minor, with each set of capabilities that changes the form of a request.
fn connections() -> impl Iterator<Item = Negotiated> {
    let sets = [
        InitFlags::empty(),
        InitFlags::SETXATTR_EXT,
        InitFlags::SECURITY_CTX,
        InitFlags::SETXATTR_EXT | InitFlags::SECURITY_CTX,
    ];
    (31..=45).flat_map(move |minor| {
        sets.into_iter().map(move |flags| {
            let mut negotiated = Negotiated::default();
            negotiated.minor = minor;
            negotiated.flags = flags;
            negotiated
        })
    })
}

fn assert_same_again(incoming: &Incoming<'_>, negotiated: &Negotiated) {
    let Ok((request, extensions)) = Request::decode(negotiated, incoming) else { return };
    let again = request.encode_with(&incoming.header, &extensions, negotiated).expect("it was short enough to arrive");
    let incoming_again = Incoming::parse(&again).expect("what was encoded is whole");
    assert_eq!(incoming_again.header, incoming.header);
    let (same, with) = Request::decode(negotiated, &incoming_again).expect("what was encoded can be decoded");
    assert_eq!(same, request);
    assert_same_extensions(&with, &extensions);
}

fn assert_same_extensions(left: &Extensions<'_>, right: &Extensions<'_>) {
    assert!(left.security_contexts().eq(right.security_contexts()));
    assert!(left.groups().eq(right.groups()));
}

/// Puts the length and the opcode right, and takes fewer extensions than there are bytes.
fn put_right(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let length = u32::try_from(bytes.len()).ok()?;
    bytes.get_mut(LENGTH)?.copy_from_slice(&length.to_ne_bytes());
    let opcode = u32::from_ne_bytes(bytes.get(OPCODE)?.try_into().ok()?);
    if Opcode(opcode).row().is_none() {
        let index = usize::try_from(opcode).ok()? % OPCODES.len();
        bytes.get_mut(OPCODE)?.copy_from_slice(&OPCODES.get(index)?.0.to_ne_bytes());
    }
    let units = u16::from_ne_bytes(bytes.get(EXTENSIONS)?.try_into().ok()?);
    let most = u16::try_from(bytes.len().checked_sub(HEADER)? / 8).unwrap_or(u16::MAX);
    bytes.get_mut(EXTENSIONS)?.copy_from_slice(&(units % (most + 1)).to_ne_bytes());
    Some(bytes)
}

fuzz_target!(|bytes: &[u8]| {
    let right = put_right(bytes);
    for bytes in [Some(bytes), right.as_deref()].into_iter().flatten() {
        let _ = Incoming::identify(bytes);
        if let Ok(incoming) = Incoming::parse(bytes) {
            connections().for_each(|negotiated| assert_same_again(&incoming, &negotiated));
        }
        let (entry, payload) = bytes.split_at(bytes.len().min(uring::HEADER_SIZE));
        if let Ok((_, incoming)) = uring::decode_entry(entry, payload) {
            connections().for_each(|negotiated| assert_same_again(&incoming, &negotiated));
        }
    }
});

//! Bytes that nobody encoded: whatever they are, decoding them ends without a panic, and what was decoded can be sent on.

use fusewire_proto::opcode::OPCODES;
use fusewire_proto::reply::Reply;
use fusewire_proto::uring::{self, HEADER_SIZE};
use fusewire_proto::{Incoming, Negotiated, Notification, ReplyHeader, Request};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::truncation::fix_length;
use crate::{HEADER, body, check, contents, replies, values};

/// Bytes of which many are small, as numbers and lengths in messages are.
fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![3 => Just(0u8), 1 => 0..40u8, 2 => any::<u8>()], 0..=longest)
}

fn assert_can_be_sent_on(incoming: &Incoming<'_>, negotiated: &Negotiated) {
    let Ok((request, extensions)) = Request::decode(negotiated, incoming) else { return };
    let again = request.encode_with(&incoming.header, &extensions, negotiated).expect("it was short enough to arrive");
    let incoming = Incoming::parse(&again).expect("what was encoded is whole");
    let (same, with) = Request::decode(negotiated, &incoming).expect("what was encoded can be decoded");
    assert_eq!(same, request);
    assert_eq!(contents(&with), contents(&extensions));
}

#[test]
fn random_arguments_of_every_request_do_not_panic() {
    for opcode in OPCODES {
        check((bytes(200), bytes(60), any::<bool>()), |(args, extensions, extended)| {
            let mut bytes = vec![0; HEADER];
            bytes[4..8].copy_from_slice(&opcode.0.to_ne_bytes());
            bytes[8..16].copy_from_slice(&3u64.to_ne_bytes());
            bytes.extend(args);
            if extended {
                let units = u16::try_from(extensions.len() / 8).unwrap();
                bytes[36..38].copy_from_slice(&units.to_ne_bytes());
                bytes.extend(&extensions[..usize::from(units) * 8]);
            }
            fix_length(&mut bytes);
            for negotiated in values::connections() {
                assert_can_be_sent_on(&Incoming::parse(&bytes).unwrap(), &negotiated);
            }
        });
    }
}

#[test]
fn random_requests_do_not_panic() {
    check((bytes(300), any::<bool>()), |(mut bytes, fixed)| {
        if fixed {
            fix_length(&mut bytes);
        }
        let _ = Incoming::identify(&bytes);
        if let Ok(incoming) = Incoming::parse(&bytes) {
            values::connections().for_each(|negotiated| assert_can_be_sent_on(&incoming, &negotiated));
        }
    });
}

#[test]
fn random_ring_entries_do_not_panic() {
    for opcode in OPCODES {
        check((bytes(100), bytes(128)), |(payload, op_in)| {
            let mut entry = [0; HEADER_SIZE];
            entry[4..8].copy_from_slice(&opcode.0.to_ne_bytes());
            entry[128..128 + op_in.len()].copy_from_slice(&op_in);
            let size = u32::try_from(payload.len()).unwrap().to_ne_bytes();
            entry[HEADER_SIZE - 16..HEADER_SIZE - 12].copy_from_slice(&size);
            let (_, incoming) = uring::decode_entry(&entry, &payload).unwrap();
            for negotiated in values::connections() {
                assert_can_be_sent_on(&incoming, &negotiated);
            }
        });
    }
    check((bytes(2 * HEADER_SIZE), bytes(100)), |(entry, payload)| {
        let _ = uring::decode_entry(&entry, &payload);
    });
}

#[test]
fn random_replies_do_not_panic() {
    for opcode in OPCODES {
        check((bytes(400), replies::limit(), values::any_connection()), |(bytes, limit, at)| {
            let _ = ReplyHeader::decode(&bytes);
            if let Ok(reply) = Reply::decode(&at, *opcode, limit, &bytes) {
                let again = body(&reply, &at);
                assert_eq!(Reply::decode(&at, *opcode, limit, &again), Ok(reply));
            }
        });
    }
}

#[test]
fn random_notifications_do_not_panic() {
    for code in -1..12i32 {
        check(bytes(120), |random| {
            let _ = Notification::decode(&random);
            let mut bytes = vec![0; ReplyHeader::LENGTH];
            bytes[4..8].copy_from_slice(&code.to_ne_bytes());
            bytes.extend(random);
            fix_length(&mut bytes);
            if let Ok(notification) = Notification::decode(&bytes) {
                let again = notification.encode().unwrap();
                assert_eq!(Notification::decode(&again), Ok(notification));
            }
        });
    }
}

//! What is encoded is decoded again, for every message on every kind of connection; and nothing else is.
//!
//! The layout of the bytes is checked against the header in `abi.rs`, and against a real kernel in `recorded.rs`.

use std::collections::BTreeSet;

use fusewire_proto::ext::{Extensions, ExtensionsBuilder, SecurityContext};
use fusewire_proto::opcode::{Answer, OPCODES};
use fusewire_proto::reply::{DirEntries, DirEntriesPlus, MAX_FIXED_BODY, Reply, ReplyBody, ReplyWriter};
use fusewire_proto::uring::{self, CommandArgs, EntryHeader};
use fusewire_proto::{
    Args, Errno, Gid, Incoming, InitFlags, Name, Negotiated, NodeId, Notification, NotifyUnique, ReplyHeader, Request,
    RequestHeader, RequestWriter, Unique, XattrName, abi, encode_request, op,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

mod notifications;
mod random;
mod replies;
mod requests;
mod truncation;
mod values;

/// Length of the header in front of a request, in bytes.
pub(crate) const HEADER: usize = size_of::<abi::fuse_in_header>();

/// Runs a test with many values of a strategy.
pub(crate) fn check<S: Strategy>(strategy: S, test: impl Fn(S::Value)) {
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&strategy, |value| {
        test(value);
        Ok(())
    });
    if let Err(error) = outcome {
        unreachable!("{error}");
    }
}

/// What extensions hold, whatever bytes they are made of.
pub(crate) fn contents<'a>(extensions: &Extensions<'a>) -> (Vec<SecurityContext<'a>>, Vec<Gid>) {
    (extensions.security_contexts().collect(), extensions.groups().collect())
}

/// The answer to a retrieve notification carries its number in the header.
pub(crate) fn fitting(header: RequestHeader, request: &Request<'_>) -> RequestHeader {
    let mut header = header;
    if let Request::NotifyReply(reply) = request {
        header.unique = Unique(reply.notify_unique.0);
    }
    header
}

/// A request as the two parts of a ring's entry: the header and the payload.
pub(crate) fn ring_entry(
    request: &Request<'_>,
    joined: &[u8],
    negotiated: &Negotiated,
) -> ([u8; uring::HEADER_SIZE], Vec<u8>) {
    let mut writer = RequestWriter::default();
    request.encode(negotiated, &mut writer).expect("it is short");
    let fixed = match writer.split() {
        Args::Split { op_in, .. } => op_in.len(),
        Args::Joined(_) => unreachable!("it was split"),
    };
    let (in_out, args) = joined.split_at(HEADER);
    let (op_in, payload) = args.split_at(fixed);
    let payload_size = u32::try_from(payload.len()).expect("it is short");
    let entry = EntryHeader { flags: 0, commit_id: 7, payload_size };
    let mut header = [0; uring::HEADER_SIZE];
    uring::encode_entry(&mut header, in_out, op_in, entry).expect("each part has its place");
    (header, payload.to_vec())
}

fn assert_arrives(
    request: Request<'static>,
    header: RequestHeader,
    extensions: &Extensions<'_>,
    negotiated: &Negotiated,
) {
    let bytes = request.encode_with(&header, extensions, negotiated).expect("it is short");
    let (ring_header, mut payload) = ring_entry(&request, &bytes, negotiated);
    payload.extend([0xa5; 64]);
    let (entry, split) = uring::decode_entry(&ring_header, &payload).expect("the entry is whole");
    assert_eq!(entry.commit_id, 7);
    let joined = Incoming::parse(&bytes).expect("the request is whole");
    for incoming in [joined, split] {
        assert_eq!(incoming.header, header);
        assert_eq!((incoming.opcode, incoming.node), (request.opcode(), request.node()));
        let (arrived, with) = Request::decode(negotiated, &incoming).expect("what was encoded can be decoded");
        assert_eq!(arrived, requests::after_travel(request, negotiated));
        let (contexts, mut groups) = contents(extensions);
        if values::has_bare_context(negotiated) && request.creates() {
            groups.clear();
        }
        assert_eq!(contents(&with), (contexts, groups));
    }
}

#[test]
fn every_request_arrives_on_every_connection() {
    for opcode in OPCODES {
        check((requests::with_opcode(*opcode), values::header()), |(request, header)| {
            assert_eq!(request.opcode(), *opcode);
            let header = fitting(header, &request);
            for negotiated in values::connections() {
                assert_arrives(request, header, &Extensions::default(), &negotiated);
            }
        });
    }
}

#[test]
fn extensions_arrive_with_every_request_that_makes_an_inode() {
    let makes = OPCODES
        .iter()
        .filter(|opcode| matches!(opcode.name(), Some("mknod" | "mkdir" | "symlink" | "create" | "tmpfile")));
    assert_eq!(makes.clone().count(), 5);
    for opcode in makes {
        let strategy = (requests::with_opcode(*opcode), values::header(), values::extensions());
        check(strategy, |(request, header, extensions)| {
            assert!(request.creates());
            for negotiated in values::connections() {
                assert_arrives(request, header, &extensions, &negotiated);
            }
        });
    }
}

#[test]
fn more_contexts_than_the_protocol_can_count_are_refused() {
    let mut builder = ExtensionsBuilder::default();
    let name = XattrName::new(b"security.x").unwrap();
    let request: Request<'_> = op::Mkdir::new(NodeId::ROOT, 0, Name::new(b"d").unwrap()).into();
    let header = RequestHeader::new(Unique(2));
    for count in 1..=32 {
        builder.security_context(SecurityContext { name, value: b"v" }).unwrap();
        for minor in [36, 45] {
            let negotiated = values::connection(minor, InitFlags::SECURITY_CTX);
            let encoded = request.encode_with(&header, &builder.build(), &negotiated);
            assert_eq!(encoded.is_ok(), count <= 31, "{count} contexts, 7.{minor}");
        }
    }
}

#[test]
fn regression_extensions_of_requests_that_make_nothing_have_a_length() {
    let mut builder = ExtensionsBuilder::default();
    let name = XattrName::new(b"security.x").unwrap();
    builder.security_context(SecurityContext { name, value: b"v" }).unwrap().group(Gid(7));
    let lookup = op::Lookup::new(NodeId::ROOT, Name::new(b"n").unwrap());
    for negotiated in values::connections() {
        let header = RequestHeader::new(Unique(2));
        let bytes = Request::from(lookup).encode_with(&header, &builder.build(), &negotiated).unwrap();
        let (request, extensions) = Request::decode(&negotiated, &Incoming::parse(&bytes).unwrap()).unwrap();
        assert_eq!(request, Request::Lookup(lookup));
        assert_eq!(contents(&extensions), contents(&builder.build()));
    }
}

#[test]
fn unknown_extensions_are_passed_over() {
    let mkdir = op::Mkdir::new(NodeId(5), 0o755, Name::new(b"d").unwrap());
    let negotiated = Negotiated::default();
    let mut bytes = encode_request(&RequestHeader::new(Unique(2)), &mkdir, &negotiated).unwrap();
    // A type that nothing has yet, then a group.
    for word in [16u32, 77, 1, 2, 16, 32, 1, 1000] {
        bytes.extend(word.to_ne_bytes());
    }
    let length = u32::try_from(bytes.len()).unwrap();
    bytes[0..4].copy_from_slice(&length.to_ne_bytes());
    bytes[36..38].copy_from_slice(&4u16.to_ne_bytes());
    let (request, extensions) = Request::decode(&negotiated, &Incoming::parse(&bytes).unwrap()).unwrap();
    assert_eq!(request, Request::Mkdir(mkdir));
    assert_eq!(contents(&extensions), (vec![], vec![Gid(1000)]));
}

/// The body of a reply, as bytes.
pub(crate) fn body(reply: &Reply<'_>, negotiated: &Negotiated) -> Vec<u8> {
    let mut room = [0; 8192];
    let mut out = ReplyWriter::new(&mut room);
    reply.encode(negotiated, &mut out).expect("there is room");
    out.written().to_vec()
}

#[test]
fn every_reply_arrives_on_every_connection() {
    for opcode in OPCODES {
        let strategy = replies::limit().prop_flat_map(|limit| (Just(limit), replies::to_opcode(*opcode, limit)));
        check(strategy, |(limit, reply)| {
            for negotiated in values::connections() {
                let bytes = body(&reply, &negotiated);
                let arrived = Reply::decode(&negotiated, *opcode, limit, &bytes).expect("it can be decoded");
                assert_eq!(arrived, replies::after_travel(reply, &negotiated));
            }
        });
    }
}

#[test]
fn a_reply_without_room_is_not_sent() {
    let negotiated = Negotiated::default();
    for opcode in OPCODES {
        check(replies::to_opcode(*opcode, None), |reply| {
            let whole = body(&reply, &negotiated).len();
            for room in 0..whole {
                let mut room = vec![0; room];
                reply.encode(&negotiated, &mut ReplyWriter::new(&mut room)).expect_err("there is no room");
            }
            let is_fixed = opcode.row().is_some_and(|row| row.answer == Answer::Value);
            assert!(!is_fixed || whole <= MAX_FIXED_BODY, "{opcode} takes {whole} bytes");
        });
    }
}

#[test]
fn directory_entries_are_listed_as_they_were_put() {
    check(vec((replies::dirent(), replies::entry()), 0..6), |entries| {
        let negotiated = Negotiated::default();
        let plain: Vec<_> = entries.iter().map(|(dirent, _)| *dirent).collect();
        let listed = DirEntries::new(replies::plain_list(&plain, None)).iter(&negotiated);
        assert_eq!(listed.collect::<Result<Vec<_>, _>>(), Ok(plain));

        let listed = DirEntriesPlus::new(replies::plus_list(&entries, None)).iter(&negotiated);
        let swapped: Vec<_> = entries.iter().map(|(dirent, entry)| (*entry, *dirent)).collect();
        assert_eq!(listed.collect::<Result<Vec<_>, _>>(), Ok(swapped));
    });
}

#[test]
fn a_reply_longer_than_the_caller_has_room_for_is_refused() {
    use fusewire_proto::reply::{Data, Ioctl, Xattr};
    let negotiated = Negotiated::default();
    assert!(Data::decode(&negotiated, Some(3), b"four").is_err());
    assert!(Data::decode(&negotiated, Some(4), b"four").is_ok());
    assert!(Xattr::decode(&negotiated, Some(3), b"four").is_err());
    let ioctl = body(&Ioctl { data: b"four", ..Ioctl::default() }.into(), &negotiated);
    assert!(Ioctl::decode(&negotiated, Some(3), &ioctl).is_err());
    assert!(Ioctl::decode(&negotiated, Some(4), &ioctl).is_ok());
}

#[test]
fn reply_headers_arrive() {
    check((any::<u64>(), 0..=511i32, values::data(30)), |(unique, error, body)| {
        let header = ReplyHeader::new(Unique(unique), Errno::from_raw(error));
        let mut bytes = header.encode(body.len()).to_vec();
        bytes.extend(body);
        assert_eq!(ReplyHeader::decode(&bytes), Ok((header, body)));
    });
}

#[test]
fn errors_that_the_kernel_refuses_are_refused() {
    for error in [1, 511, i32::MAX, -512, i32::MIN] {
        let mut bytes = ReplyHeader::new(Unique(2), None).encode(0);
        bytes[4..8].copy_from_slice(&error.to_ne_bytes());
        assert!(ReplyHeader::decode(&bytes).is_err(), "{error}");
    }
}

#[test]
fn every_notification_arrives() {
    let codes = std::cell::RefCell::new(BTreeSet::new());
    for strategy in notifications::each() {
        check(strategy, |sent| {
            codes.borrow_mut().insert(sent.code());
            let bytes = sent.encode().expect("it is short");
            assert_eq!(Notification::decode(&bytes), Ok(sent));
        });
    }
    let all = abi::CONSTANTS.iter().filter(|it| it.name.starts_with("FUSE_NOTIFY_") && it.name != "FUSE_NOTIFY_REPLY");
    let all: BTreeSet<u64> = all.map(|constant| constant.value).collect();
    assert_eq!(codes.into_inner().into_iter().map(u64::from).collect::<BTreeSet<_>>(), all);
}

#[test]
fn a_notification_for_a_request_is_refused() {
    let mut bytes = Notification::Resend.encode().unwrap();
    bytes[8] = 1;
    assert!(Notification::decode(&bytes).is_err());
}

#[test]
fn the_answer_to_a_retrieval_carries_its_number() {
    let sent = op::NotifyReply::new(NodeId(3), NotifyUnique(99), 4096, b"cached");
    let negotiated = Negotiated::default();
    let bytes = encode_request(&RequestHeader::new(Unique(99)), &sent, &negotiated).unwrap();
    let (arrived, _) = Request::decode(&negotiated, &Incoming::parse(&bytes).unwrap()).unwrap();
    assert_eq!(arrived, Request::NotifyReply(sent));
}

#[test]
fn ring_commands_arrive() {
    check((any::<u64>(), any::<u64>(), any::<u16>()), |(flags, commit_id, queue)| {
        let sent = CommandArgs { flags, commit_id, queue };
        let bytes = sent.encode();
        assert_eq!(CommandArgs::decode(&bytes), Ok(sent));
        for kept in 0..bytes.len() {
            assert!(CommandArgs::decode(&bytes[..kept]).is_err());
        }
    });
}

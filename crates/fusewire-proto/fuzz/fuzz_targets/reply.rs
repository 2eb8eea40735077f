//! Any bytes as a reply to each opcode of the table: what is decoded is encoded and decoded to the same again.
//!
//! The first eight bytes choose the opcode, the minor, and how much room the request had left for the reply.
#![no_main]

use fusewire_proto::opcode::OPCODES;
use fusewire_proto::reply::{Reply, ReplyWriter};
use fusewire_proto::{Negotiated, ReplyHeader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = ReplyHeader::decode(bytes);
    let Some((&[opcode, minor, has_limit, _, a, b, c, d], body)) = bytes.split_first_chunk() else { return };
    let Some(opcode) = OPCODES.get(usize::from(opcode) % OPCODES.len()) else { return };
    let mut negotiated = Negotiated::default();
    negotiated.minor = 31 + u32::from(minor) % 15;
    let limit = (has_limit % 2 == 1).then_some(u32::from_ne_bytes([a, b, c, d]));

    let Ok(reply) = Reply::decode(&negotiated, *opcode, limit, body) else { return };
    // An INIT reply may come cut short, and is never sent so.
    let mut room = vec![0; body.len() + 64];
    let mut out = ReplyWriter::new(&mut room);
    reply.encode(&negotiated, &mut out).expect("it is as long as what was decoded");
    assert_eq!(Reply::decode(&negotiated, *opcode, limit, out.written()), Ok(reply));
});

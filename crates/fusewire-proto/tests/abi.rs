//! The structs, constants and minors of this crate against the facts of `linux/fuse.h`, in both directions.
//!
//! The facts were taken from the compiled header, not from this crate; what messages mean is tested elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use bitflags::Flags;
use fusewire_proto::op::WireList;
use fusewire_proto::{
    InitFlags, Name, NodeId, Notification, NotifyUnique, OpenedFlags, PollHandle, SetattrValid, abi, opcode,
};
use serde_json::Value;

fn facts() -> Value {
    serde_json::from_str(include_str!("data/fuse-abi-7.45.json")).expect("the facts are JSON")
}

/// The members of a JSON object of the facts, found by its path.
fn members(facts: &Value, pointer: &str) -> BTreeMap<String, Value> {
    let object = facts.pointer(pointer).and_then(Value::as_object).expect("the facts have this object");
    object.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn numbers(facts: &Value, pointer: &str) -> BTreeMap<String, u64> {
    members(facts, pointer)
        .into_iter()
        .map(|(name, value)| (name, value.as_u64().expect("the value is a number")))
        .collect()
}

/// How this crate spells a C type; `None` for an array without a length, which no struct here has.
fn rust_type(c_type: &str) -> Option<String> {
    let (element, length) = match c_type.strip_suffix(']').and_then(|array| array.split_once('[')) {
        Some((_, "")) => return None,
        Some((element, length)) => (element, Some(length)),
        None => (c_type, None),
    };
    let element = match element {
        "char" | "uint8_t" => "u8",
        "uint16_t" => "u16",
        "uint32_t" => "u32",
        "uint64_t" => "u64",
        "int32_t" => "i32",
        "int64_t" => "i64",
        other => other.strip_prefix("structure ").expect("the type is known"),
    };
    Some(match length {
        Some(length) => format!("[{element}; {length}]"),
        None => element.to_owned(),
    })
}

/// Name, type and offset of a field.
type Field = (String, String, u64);

#[test]
fn structs_have_the_layout_of_the_header() {
    let mut expected: BTreeMap<String, (u64, Vec<Field>)> = BTreeMap::new();
    for (name, fact) in members(&facts(), "/structs") {
        let fields = fact["fields"].as_array().unwrap().iter().filter_map(|field| {
            let c_type = field["type"].as_str().unwrap();
            Some((field["name"].as_str().unwrap().to_owned(), rust_type(c_type)?, field["offset"].as_u64().unwrap()))
        });
        expected.insert(name, (fact["size"].as_u64().unwrap(), fields.collect()));
    }
    let compiled: BTreeMap<String, (u64, Vec<Field>)> = abi::STRUCTS
        .iter()
        .map(|compiled| {
            let fields = compiled.fields.iter().map(|field| {
                let name = field.name.strip_prefix("r#").unwrap_or(field.name);
                (name.to_owned(), field.type_name.to_owned(), u64::try_from(field.offset).unwrap())
            });
            (compiled.name.to_owned(), (u64::try_from(compiled.size).unwrap(), fields.collect()))
        })
        .collect();
    assert_eq!(compiled.len(), abi::STRUCTS.len(), "a struct is declared twice");
    for (name, layout) in &expected {
        assert_eq!(compiled.get(name), Some(layout), "{name}");
    }
    assert_eq!(compiled.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
}

#[test]
fn constants_and_enums_have_the_values_of_the_header() {
    let facts = facts();
    let mut expected = numbers(&facts, "/constants");
    for name in members(&facts, "/enums").keys() {
        expected.extend(numbers(&facts, &format!("/enums/{name}")));
    }
    // A shift of 64 bits, which whoever wrote the facts down did in fewer: it is 0 there, and `1ULL << 63` in the header.
    assert_eq!(expected.insert("FUSE_UNIQUE_RESEND".to_owned(), 1 << 63), Some(0));

    let compiled: BTreeMap<String, u64> =
        abi::CONSTANTS.iter().map(|constant| (constant.name.to_owned(), constant.value)).collect();
    assert_eq!(compiled.len(), abi::CONSTANTS.len(), "a constant is declared twice");
    for (name, value) in &expected {
        assert_eq!(compiled.get(name), Some(value), "{name}");
    }
    assert_eq!(compiled.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
}

#[test]
fn table_has_each_opcode_once_with_its_minor() {
    let facts = facts();
    let mut expected = numbers(&facts, "/enums/fuse_opcode");
    // Not operations: what INIT looks like to a kernel of the other byte order.
    for reserved in ["CUSE_INIT_BSWAP_RESERVED", "FUSE_INIT_BSWAP_RESERVED"] {
        assert!(expected.remove(reserved).is_some(), "{reserved}");
    }
    let rows: BTreeMap<String, u64> =
        opcode::rows().map(|row| (row.kernel_name.to_owned(), row.opcode.0.into())).collect();
    assert_eq!(rows, expected);
    assert_eq!(opcode::rows().count(), 51 + 1, "51 operations of FUSE, and CUSE_INIT");

    let mut since = numbers(&facts, "/since_minor/opcodes");
    // The facts count the minors of FUSE operations only; character devices came with 7.12 (Linux 2.6.31).
    assert_eq!(since.insert("CUSE_INIT".to_owned(), 12), None);
    for row in opcode::rows() {
        let expected = since.remove(row.kernel_name).unwrap_or(0);
        assert_eq!(u64::from(row.since), expected, "{}", row.kernel_name);
    }
    assert!(since.is_empty(), "not in the table: {since:?}");
}

#[test]
fn rows_are_found_by_number_and_name_their_method() {
    let mut methods = BTreeSet::new();
    for row in opcode::rows() {
        assert_eq!(row.opcode.row().map(|found| found.kernel_name), Some(row.kernel_name));
        assert_eq!(row.opcode.name(), Some(row.method));
        assert!(methods.insert(row.method), "{} is there twice", row.method);
        let unanswered = matches!(row.method, "forget" | "batch_forget" | "notify_reply" | "interrupt");
        assert_eq!(row.opcode.wants_reply(), !unanswered, "{}", row.method);
    }
    assert_eq!(fusewire_proto::Opcode(7).row().map(|row| row.method), None);
}

#[test]
fn notifications_came_with_the_minor_of_the_header() {
    let facts = facts();
    let (node, name) = (NodeId::ROOT, Name::new(b"n").unwrap());
    let all = [
        ("POLL", Notification::Poll { poll_handle: PollHandle(0) }),
        ("INVAL_INODE", Notification::InvalInode { node, offset: 0, length: 0 }),
        ("INVAL_ENTRY", Notification::InvalEntry { parent: node, name, flags: Default::default() }),
        ("STORE", Notification::Store { node, offset: 0, data: &[] }),
        ("RETRIEVE", Notification::Retrieve { notify_unique: NotifyUnique(0), node, offset: 0, size: 0 }),
        ("DELETE", Notification::Delete { parent: node, child: node, name }),
        ("RESEND", Notification::Resend),
        ("INC_EPOCH", Notification::IncEpoch),
        ("PRUNE", Notification::Prune { nodes: WireList::new(&[]) }),
    ];
    let named = all.map(|(name, message)| (format!("FUSE_NOTIFY_{name}"), message));
    let codes: BTreeMap<_, u64> = named.iter().map(|(name, message)| (name.clone(), message.code().into())).collect();
    let since: BTreeMap<_, u64> = named.iter().map(|(name, message)| (name.clone(), message.since().into())).collect();
    assert_eq!(codes, numbers(&facts, "/enums/fuse_notify_code"));
    assert_eq!(since, numbers(&facts, "/since_minor/notify"));
}

/// The flags of `F` that have a name, as the kernel names them.
fn named<F: Flags>(prefix: &str) -> BTreeMap<String, u64>
where
    F::Bits: Into<u64>,
{
    F::FLAGS
        .iter()
        .filter(|flag| flag.is_named())
        .map(|flag| (format!("{prefix}{}", flag.name()), flag.value().bits().into()))
        .collect()
}

#[test]
fn flag_words_name_each_bit_of_the_header() {
    let constants = numbers(&facts(), "/constants");
    let with_prefix = |prefix: &str| -> BTreeMap<String, u64> {
        let found = constants.iter().filter(|(name, _)| name.starts_with(prefix));
        found.map(|(name, value)| (name.clone(), *value)).collect()
    };
    assert_eq!(named::<OpenedFlags>("FOPEN_"), with_prefix("FOPEN_"));
    assert_eq!(named::<SetattrValid>("FATTR_"), with_prefix("FATTR_"));
}

#[test]
fn init_flags_name_each_capability() {
    let facts = facts();
    let constants = numbers(&facts, "/constants");
    let flags = named::<InitFlags>("FUSE_");
    let every_bit_once: u64 = (0..=42).map(|bit| 1 << bit).sum();
    assert_eq!(flags.values().sum::<u64>(), every_bit_once, "each of the bits 0 to 42 has one name");
    for (name, value) in &flags {
        assert_eq!(constants.get(name), Some(value), "{name}");
    }
    for name in members(&facts, "/since_minor/init_flags").keys() {
        assert!(flags.contains_key(name), "{name}");
    }
    // An older name of the same bit.
    assert_eq!(constants.get("FUSE_DIRECT_IO_RELAX"), flags.get("FUSE_DIRECT_IO_ALLOW_MMAP"));
}

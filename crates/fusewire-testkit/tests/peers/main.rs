//! Daemons that are not made with Fusewire, driven without a mount, and what each breaks.
//!
//! Without libfuse's example or a compiler there is nothing to examine of it: the test says so, and fails where the
//! environment variable `CI` is set.

mod flat;
mod hello;

use fusewire_testkit::kernel::Config;
use fusewire_testkit::report::{self, Report};
use fusewire_testkit::{Mount, Running};
use hello::Hello;

/// The chapters of a report that ended too early.
fn ended(report: &Report) -> Vec<&str> {
    report.ended().into_iter().map(|(chapter, _)| chapter).collect()
}

#[test]
fn a_filesystem_of_fuser_is_driven_without_a_mount() {
    let k = Mount::new(flat::start(), Config::default()).unwrap();
    assert_eq!(k.read("/hello.txt").unwrap(), b"Hello World!\n");
    k.write("/new", b"data").unwrap();
    assert_eq!(k.names("/").unwrap(), ["hello.txt", "new"]);
    k.unlink("/new").unwrap();
    assert!(k.unmount().violations().is_empty());
}

#[test]
fn the_report_on_fuser_names_what_it_breaks_with_the_exchange() {
    let report = report::examine("files in a directory, fuser 0.18", flat::start);
    println!("{report}");
    // A request that cannot be decoded is answered with ENOSYS, and a short one ends the session.
    assert_eq!(report.broken(), ["malformed-is-eio"]);
    assert_eq!(ended(&report), ["faults that only an enemy makes"]);
    let violation = report.laws.violations().first().unwrap();
    assert_eq!(violation.detail, "getattr: ENOSYS");
    assert!(violation.exchange.last().unwrap().ends_with("getattr: ENOSYS"), "{violation}");
    assert!(report.to_string().contains(&violation.to_string()));
    // INTERRUPT is refused: whoever waits for a lock waits until it is free.
    assert!(report.laws.unsupported().any(|opcode| opcode == fusewire_proto::Opcode::INTERRUPT));
}

/// The program, or a word that there is none.
fn hello() -> Option<Hello> {
    Hello::compile()
        .inspect_err(|reason| {
            assert!(std::env::var_os("CI").is_none(), "{reason}");
            println!("skipped: {reason}");
        })
        .ok()
}

#[test]
fn a_program_of_libfuse_is_driven_without_a_mount() {
    let Some(hello) = hello() else { return };
    let k = Mount::new(hello.start(), Config::default()).unwrap();
    assert_eq!(k.read("/hello").unwrap(), b"Hello World!\n");
    assert_eq!(k.names("/").unwrap(), ["hello"]);
    assert!(k.unmount().violations().is_empty());
}

#[test]
fn the_report_on_libfuse_names_what_it_breaks_with_the_exchange() {
    let Some(hello) = hello() else { return };
    let start = || -> Running { hello.start() };
    let report = report::examine("hello.c, libfuse 3", start);
    println!("{report}");
    // Requests are not checked at all, so that some that are cut off are answered with what an earlier one has left in the
    // buffer, and others end the program. A kernel does not send such.
    assert_eq!(report.broken(), ["malformed-is-eio"]);
    assert_eq!(ended(&report), ["malformed operations", "faults that only an enemy makes"]);
    let violation = report.laws.violations().first().unwrap();
    assert_eq!(violation.detail, "getattr: success");
    assert!(violation.exchange.last().unwrap().contains("getattr: Attributes"), "{violation}");
    assert!(report.to_string().contains(&violation.to_string()));
}

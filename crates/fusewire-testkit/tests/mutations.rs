//! Each way of being wrong is caught by the law that has its name; the same run without the fault breaks none.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::time::Duration;

use fusewire::op::LockKind;
use fusewire::{Errno, Opcode, XattrFlags};
use fusewire_testkit::kernel::{Config, Hostile};
use fusewire_testkit::laws::LawBook;
use fusewire_testkit::vfs::Range;
use fusewire_testkit::{Mount, Mutation, Running};
use support::spoiler::{Spoil, Spoiler};
use support::{Flaw, direct, mutant, threaded};

/// Notes what is broken, and does not wait long for what is lost.
fn config() -> Config {
    Config::default().lenient().with_patience(Duration::from_millis(300))
}

/// A little of everything. What goes wrong shows in the laws; the outcomes are of no interest.
fn life(daemon: Running) -> LawBook {
    let k = Mount::new(daemon, config()).unwrap();
    let _ = k.mkdir("/dir", 0o755);
    for name in ["/dir/a", "/dir/b", "/dir/c"] {
        let _ = k.write(name, b"contents");
    }
    let _ = k.symlink("a", "/dir/link");
    let _ = k.readlink("/dir/link");
    let _ = k.setxattr("/dir/a", "user.name", b"value", XattrFlags::empty());
    let _ = k.getxattr("/dir/a", "user.name");
    let _ = k.listxattr("/dir/a");
    let _ = k.readdir("/dir");
    let _ = k.readdir("/");
    let _ = k.read("/dir/a");
    // Looked up twice, and so forgotten in two steps.
    k.advance(Duration::from_secs(2));
    let _ = k.stat("/dir/a");
    let _ = k.rename("/dir/a", "/dir/d");
    let _ = k.unlink("/dir/b");
    if let (Ok(one), Ok(two)) =
        (k.open("/dir/c", libc::O_RDWR), k.process(Default::default()).open("/dir/c", libc::O_RDWR))
    {
        let _ = one.lock(Range::all(), LockKind::WRITE);
        let _ = two.test_lock(Range::all(), LockKind::WRITE);
        let waits = !k.kernel().is_direct();
        if let Some(Ok(blocked)) = waits.then(|| two.begin_lock(Range::all(), LockKind::WRITE)) {
            let _ = blocked.interrupt();
            let _ = blocked.wait();
        }
        let _ = one.lock(Range::all(), LockKind::UNLOCK);
    }
    k.unmount()
}

/// What a spoilt daemon breaks.
fn broken(daemon: Running, spoil: Spoil) -> Vec<&'static str> {
    life(daemon.through(|wire| Spoiler::around(wire, spoil))).broken()
}

#[test]
fn nothing_is_broken_without_a_fault() {
    assert_eq!(life(direct(Flaw::None)).broken(), Vec::<&str>::new());
    assert_eq!(life(threaded(Flaw::None)).broken(), Vec::<&str>::new());
    assert_eq!(broken(direct(Flaw::None), Spoil::Swallows(Opcode(9999))), Vec::<&str>::new());
}

#[test]
fn a_reply_lost_is_caught() {
    assert_eq!(broken(direct(Flaw::None), Spoil::LosesReply(Opcode::SYMLINK))[0], "answers-every-request");
    assert_eq!(broken(threaded(Flaw::None), Spoil::LosesReply(Opcode::READLINK)), ["answers-every-request"]);
}

#[test]
fn a_double_reply_is_caught() {
    assert_eq!(broken(direct(Flaw::None), Spoil::DoublesReply(Opcode::GETATTR)), ["one-reply"]);
    assert_eq!(broken(threaded(Flaw::None), Spoil::DoublesReply(Opcode::MKDIR)), ["one-reply"]);
}

#[test]
fn a_wrong_length_is_caught() {
    assert_eq!(broken(direct(Flaw::None), Spoil::WrongLength(Opcode::READ)), ["reply-length"]);
    assert_eq!(broken(direct(Flaw::None), Spoil::Lengthens(Opcode::WRITE)), ["reply-body"]);
    assert_eq!(broken(direct(Flaw::None), Spoil::Shortens(Opcode::GETATTR)), ["reply-body"]);
}

#[test]
fn a_lookup_count_off_by_one_is_caught() {
    assert_eq!(life(mutant(Mutation::ForgetsOneMore)).broken(), ["node-lives-until-forgotten"]);
    assert_eq!(life(mutant(Mutation::ForgetsOneLess)).broken(), ["lookups-balanced"]);
    assert_eq!(broken(threaded(Flaw::None), Spoil::Swallows(Opcode::FORGET)), ["lookups-balanced"]);
}

#[test]
fn a_leaked_handle_is_caught() {
    assert_eq!(life(mutant(Mutation::LeaksHandles)).broken(), ["handles-released"]);
    assert_eq!(broken(threaded(Flaw::None), Spoil::Swallows(Opcode::RELEASEDIR)), ["handles-released"]);
}

#[test]
fn a_dropped_interrupt_is_caught() {
    assert_eq!(broken(threaded(Flaw::None), Spoil::Swallows(Opcode::INTERRUPT)), ["interrupt-ends-wait"]);
    assert_eq!(life(threaded(Flaw::IgnoresInterrupts)).broken(), ["interrupt-ends-wait"]);
}

#[test]
fn errors_out_of_range_are_caught() {
    for error in [libc::ENOENT, -512] {
        assert_eq!(broken(direct(Flaw::None), Spoil::Error(Opcode::RENAME, error)), ["errno-range"]);
    }
    assert_eq!(broken(direct(Flaw::None), Spoil::Error(Opcode::READ, -libc::EIO)), ["reply-body"]);
}

#[test]
fn replies_that_nobody_wants_are_caught() {
    assert_eq!(broken(direct(Flaw::None), Spoil::Answers(Opcode::FORGET)), ["no-reply-wanted"]);
    assert_eq!(broken(direct(Flaw::None), Spoil::Invents(Opcode::MKDIR)), ["known-unique"]);
    assert_eq!(broken(direct(Flaw::None), Spoil::Notifies(Opcode::MKDIR, 77)), ["notification-known"]);
    assert_eq!(broken(direct(Flaw::None), Spoil::Notifies(Opcode::MKDIR, 2)), ["notification-known"]);
    assert_eq!(broken(threaded(Flaw::None), Spoil::Answers(Opcode::INTERRUPT)), ["interrupt-reply"]);
}

#[test]
fn a_bad_answer_to_init_is_caught() {
    assert_eq!(broken(direct(Flaw::None), Spoil::TakesMore), ["init-flags"]);
    assert_eq!(broken(direct(Flaw::None), Spoil::TalksFirst), ["silent-before-init"]);
    let other = direct(Flaw::None).through(|wire| Spoiler::around(wire, Spoil::OtherMajor));
    let connection = other.connect_without_init(config());
    assert_eq!(connection.kernel().init(), Err(Errno::EPROTO));
    assert_eq!(connection.kernel().laws().broken(), ["init-version"]);
}

#[test]
fn a_daemon_that_does_not_end_is_caught() {
    assert_eq!(broken(direct(Flaw::None), Spoil::HidesEnd), ["ends-when-unmounted"]);
}

#[test]
fn flaws_of_a_filesystem_are_caught() {
    for (flaw, law) in [
        (Flaw::ZeroOffset, "dirent-offsets"),
        (Flaw::SkipsOnResume, "dirent-resume"),
        (Flaw::ListsTwice, "dirent-names-unique"),
        (Flaw::WrongDirentType, "dirent-type"),
        (Flaw::MakesFiles, "file-type-as-made"),
        (Flaw::WritesMore, "written-no-more"),
        (Flaw::UnstableIno, "ino-stable"),
        (Flaw::LongNanoseconds, "nanoseconds"),
        (Flaw::ShortXattr, "xattr-size"),
        (Flaw::NodeZero, "node-id-valid"),
        (Flaw::UpsideDownLock, "lock-valid"),
    ] {
        let broken = life(direct(flaw)).broken();
        assert!(broken.contains(&law), "{flaw:?}: {broken:?}");
    }
}

#[test]
fn a_violation_prints_the_exchange() {
    let book = life(direct(Flaw::WritesMore));
    let text = book.violations()[0].to_string();
    assert!(text.contains("law written-no-more is broken: 9 of 8 bytes"), "{text}");
    assert!(text.contains("-> #"), "{text}");
    assert!(text.contains("write: Written(Written { size: 9 })"), "{text}");
}

#[test]
#[should_panic(expected = "law written-no-more is broken")]
fn a_broken_law_fails_the_test_where_it_shows() {
    let k = Mount::new(direct(Flaw::WritesMore), Config::default()).unwrap();
    let _ = k.write("/f", b"x");
}

#[test]
fn wrong_refusals_are_caught() {
    let daemon = Running::direct(|request, outbox| {
        let (unique, opcode) = fusewire::Incoming::identify(request).unwrap();
        let error = if opcode == Opcode::LOOKUP { libc::ENOSYS } else { libc::EIO };
        outbox.send(&fusewire::ReplyHeader::new(unique, Errno::from_raw(error)).encode(0));
    });
    let connection = daemon.connect_without_init(config());
    let kernel = connection.kernel();
    for (opcode, hostile) in [(Opcode::LOOKUP, Hostile::Malformed), (Opcode(9999), Hostile::UnknownOpcode)] {
        let ticket = kernel.deliver_request(opcode, b"", hostile).unwrap();
        let _ = kernel.wait(ticket);
    }
    assert!(kernel.laws().broken().contains(&"malformed-is-eio"));
    assert!(kernel.laws().broken().contains(&"unknown-is-enosys"));
}

//! Callers that give up: the interrupt that is sent for them, and the handler that learns of it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::sync::Arc;

use fusewire::{Opcode, Request};
use fusewire_tests::{BareMount, Config, Recorder, Tree};

use crate::raw;

#[test]
pub(crate) fn interrupted_caller_wakes_its_handler() {
    let fs = Arc::new(Recorder::new(Tree::new(Config::default())));
    let mount = BareMount::new("fuse", OsStr::new("interrupts"), Arc::clone(&fs));
    for opcode in [Opcode::MKDIR, Opcode::RMDIR] {
        fs.hold(opcode);
        let path = mount.root().join("new");
        let caller = std::thread::spawn(move || match opcode {
            Opcode::MKDIR => fs::create_dir(path),
            _ => fs::remove_dir(path),
        });
        let held = fs.log().wait_for(opcode, 1);
        let before = mount.log.count(Opcode::INTERRUPT);
        raw::interrupt(&caller);
        let error = caller.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        let interrupt = mount.log.wait_for(Opcode::INTERRUPT, before + 1);
        let Request::Interrupt(op) = interrupt.request() else { unreachable!() };
        assert_eq!(op.target, held.header.unique);
        assert!(!fs.holds(opcode));
        // The next one is served.
        if opcode == Opcode::MKDIR {
            fs::create_dir(mount.root().join("new")).unwrap();
        }
    }
}

#[test]
fn interrupt_reaches_the_request_it_is_for_and_no_other() {
    let fs = Arc::new(Recorder::new(Tree::new(Config::default())));
    let mount = BareMount::new("fuse", OsStr::new("interrupts"), Arc::clone(&fs));
    fs.hold(Opcode::STATFS);
    let root = mount.root().to_owned();
    let patient = std::thread::spawn(move || nix::sys::statfs::statfs(&root).map(drop));
    fs.log().wait_for(Opcode::STATFS, 1);
    fs.hold(Opcode::MKDIR);
    let path = mount.root().join("new");
    let caller = std::thread::spawn(move || fs::create_dir(path));
    fs.log().wait_for(Opcode::MKDIR, 1);
    raw::interrupt(&caller);
    assert_eq!(caller.join().unwrap().unwrap_err().kind(), io::ErrorKind::Interrupted);
    assert!(fs.holds(Opcode::STATFS), "the other one waits on");
    fs.let_go(Opcode::STATFS);
    patient.join().unwrap().unwrap();
}

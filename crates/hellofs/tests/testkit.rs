//! The program without a mount: it is given a socket as `/dev/fd/0`, and the testkit plays the kernel.
//!
//! What it does through a real mount is tested elsewhere.

use std::process::{Command, Stdio};

use fusewire_testkit::faults::{self, Faults};
use fusewire_testkit::kernel::Config;
use fusewire_testkit::model::{self, Features, Model};
use fusewire_testkit::{Mount, Running, report};

fn start() -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hellofs"));
    command.args(["-f", "/dev/fd/0"]).stderr(Stdio::null());
    Running::program(&mut command).expect("the program can be started")
}

#[test]
fn the_greeting_is_read() {
    let k = Mount::new(start(), Config::default()).expect("INIT is answered");
    assert_eq!(k.read("/hello.txt").expect("it is there"), b"Hello from Fusewire!\n");
    assert_eq!(k.names("/").expect("it can be listed"), ["hello.txt"]);
    k.unmount();
}

#[test]
fn it_does_what_the_model_does() {
    model::check(&Model::of(Features::empty()).cases(50), start);
}

#[test]
fn it_keeps_the_laws_under_faults() {
    faults::check(0..100, Faults::all(), start);
}

#[test]
fn the_report_has_nothing_to_name() {
    let report = report::examine("hellofs", start);
    assert!(report.broken().is_empty() && report.ended().is_empty(), "{report}");
}

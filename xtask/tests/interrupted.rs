//! What is left of `cargo xtask test` when somebody ends it, or when a case leaves something behind: nothing, and one line
//! says so. In the place of cargo stands a program that starts another and leaves it in the background.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starts `cargo xtask test` with a cargo that leaves a process behind and then does `last`. Gives the process, too.
fn start(machine: &Path, last: &str) -> (Child, BufReader<impl Read>, Pid) {
    let cargo = machine.join("bin/cargo");
    fs::create_dir_all(machine.join("bin")).unwrap();
    fs::create_dir_all(machine.join("tmp")).unwrap();
    let script = format!(
        "#!/bin/sh\n\
         if [ \"$1\" = metadata ]; then echo '{{\"target_directory\": \"/nonexistent\"}}'; exit 0; fi\n\
         case \"$*\" in *--doc*) exit 0;; esac\n\
         /usr/bin/setsid /bin/sleep 1000 >/dev/null 2>&1 &\n\
         until read -r name </proc/$!/comm && [ \"$name\" = sleep ]; do :; done\n\
         echo \"left $!\"\n\
         {last}\n"
    );
    fs::write(&cargo, script).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["test", "--suite", "unit"])
        .env_remove("CI")
        .env_remove("FUSEWIRE_XTASK_INSIDE")
        .env("PATH", machine.join("bin"))
        .env("TMPDIR", machine.join("tmp"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    let left = loop {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it started nothing");
        if let Some(left) = line.strip_prefix("left ") {
            break left.trim().parse().unwrap();
        }
    };
    (child, output, Pid::from_raw(left))
}

/// Its exit status and the last line that it says, once it has ended.
fn end(child: Child, mut output: BufReader<impl Read>) -> (Option<i32>, String) {
    output.read_to_string(&mut String::new()).unwrap();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    (ended.status.code(), said.lines().last().unwrap_or_default().to_owned())
}

fn nothing_is_left(machine: &Path, left: Pid) {
    assert!(kill(left, None).is_err(), "process {left} is there");
    let files: Vec<_> = fs::read_dir(machine.join("tmp")).unwrap().collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn ending_it_ends_all_that_it_started() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let machine = tempfile::tempdir().unwrap();
        let (child, output, left) = start(machine.path(), "exec /bin/sleep 1000");
        assert!(kill(left, None).is_ok());
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let (status, said) = end(child, output);
        assert_eq!(said, format!("error: interrupted by {signal}: what was started is ended"));
        assert_eq!(status, Some(1));
        nothing_is_left(machine.path(), left);
    }
}

#[test]
fn what_a_case_leaves_behind_is_told_and_ended() {
    let machine = tempfile::tempdir().unwrap();
    let (child, output, left) = start(machine.path(), "echo 'test a ... ok'");
    let (status, said) = end(child, output);
    assert_eq!(said, format!("warning: process {left} (sleep) was left behind, and ended"));
    assert_eq!(status, Some(0));
    nothing_is_left(machine.path(), left);
}

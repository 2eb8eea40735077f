//! Signals: each of them unmounts, at any time; a mount in use is waited for, but not by a second signal.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::stage::{Daemon, GREETING, Stage, greeting, hellofs, mount_line, signal, succeeds, told, wait_served};

/// How long a first signal waits for users of the mount.
const GRACE: Duration = Duration::from_secs(2);

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

#[test]
fn each_signal_ends_a_daemon_before_its_first_request() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        for signal in SIGNALS {
            succeeds(hellofs().arg(&mountpoint));
            let daemon = Daemon::of(&mountpoint);
            daemon.signal(signal);
            daemon.ends_well();
            assert_eq!(mount_line(&mountpoint), None, "{signal}");
        }
    });
}

#[test]
fn each_signal_ends_a_command_in_the_foreground() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        for number in SIGNALS {
            let child = hellofs().arg("-f").arg(&mountpoint).stderr(Stdio::piped()).spawn().unwrap();
            wait_served(&child);
            assert_eq!(greeting(&mountpoint), GREETING);
            signal(&child, number);
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{number}: {}", told(&output));
            assert_eq!(mount_line(&mountpoint), None, "{number}");
        }
    });
}

#[test]
fn signal_at_any_time_leaves_nothing_mounted() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        // How long it takes to be mounted here; the signals come from before that until after it.
        let start = Instant::now();
        let mut child = hellofs().arg("-f").arg(&mountpoint).spawn().unwrap();
        wait_served(&child);
        let whole = start.elapsed();
        signal(&child, Signal::SIGTERM);
        assert!(child.wait().unwrap().success());
        let mut ended_by_itself = 0;
        for round in 0..80_u32 {
            let mut child = hellofs().arg("-f").arg(&mountpoint).spawn().unwrap();
            let start = Instant::now();
            while start.elapsed() < whole * round / 60 {
                std::hint::spin_loop();
            }
            signal(&child, Signal::SIGTERM);
            let status = child.wait().unwrap();
            // Before the command is set up, the signal does what it does to every process.
            let killed = status.signal() == Some(libc::SIGTERM);
            assert!(status.success() || killed, "round {round}: {status}");
            ended_by_itself += u32::from(!killed);
            assert_eq!(mount_line(&mountpoint), None, "round {round}");
        }
        assert!(ended_by_itself > 0, "no signal came late enough to be noticed");
    });
}

#[test]
fn signals_end_a_command_that_hangs_while_mounting() {
    Stage::run(|stage| {
        let outer = stage.directory("m");
        // What rings have given to a stopped daemon is out of the reach of signals to its caller.
        succeeds(hellofs().arg(&outer).args(["-o", "transport=dev"]));
        let sleeper = Daemon::of(&outer);
        sleeper.signal(Signal::SIGSTOP);
        // Nobody answers whether this is there.
        let mountpoint = outer.join("inside");
        let command = hellofs().arg(&mountpoint).stderr(Stdio::piped()).spawn().unwrap();
        let daemon = Daemon::child_of(&command);
        daemon.wait_for_thread("mount");
        daemon.signal(Signal::SIGTERM);
        // The second one, if mounting has begun by then; else the first is enough.
        daemon.signal(Signal::SIGINT);
        let output = command.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", told(&output));
        assert!(said.starts_with("hellofs: ended by ") && said.lines().count() == 1, "{said}");
        sleeper.signal(Signal::SIGCONT);
        assert_eq!(mount_line(&mountpoint), None);
        sleeper.signal(Signal::SIGTERM);
        sleeper.ends_well();
    });
}

#[test]
fn ignored_hangup_stays_ignored() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP; exec \"$0\" -f \"$1\""]).arg(env!("CARGO_BIN_EXE_hellofs")).arg(&mountpoint);
        let mut child = command.spawn().unwrap();
        wait_served(&child);
        signal(&child, Signal::SIGHUP);
        assert_eq!(greeting(&mountpoint), GREETING);
        signal(&child, Signal::SIGTERM);
        assert!(child.wait().unwrap().success());
        assert_eq!(mount_line(&mountpoint), None);
    });
}

#[test]
fn signal_waits_for_users_of_the_mount() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        succeeds(hellofs().arg(&mountpoint));
        let daemon = Daemon::of(&mountpoint);
        let file = File::open(mountpoint.join("hello.txt")).unwrap();
        daemon.signal(Signal::SIGTERM);
        assert_eq!(io::read_to_string(&file).unwrap(), GREETING);
        assert!(mount_line(&mountpoint).is_some());
        drop(file);
        daemon.ends_well();
        assert_eq!(mount_line(&mountpoint), None);
    });
}

#[test]
fn signal_does_not_wait_for_ever() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        succeeds(hellofs().arg(&mountpoint));
        let daemon = Daemon::of(&mountpoint);
        let file = File::open(mountpoint.join("hello.txt")).unwrap();
        let start = Instant::now();
        daemon.signal(Signal::SIGTERM);
        daemon.ends_well();
        assert!(start.elapsed() >= GRACE);
        assert_eq!(mount_line(&mountpoint), None);
        assert!(io::read_to_string(&file).is_err(), "the connection is over");
    });
}

#[test]
fn second_signal_does_not_wait() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        succeeds(hellofs().arg(&mountpoint));
        let daemon = Daemon::of(&mountpoint);
        let _file = File::open(mountpoint.join("hello.txt")).unwrap();
        let start = Instant::now();
        daemon.signal(Signal::SIGTERM);
        // Another one: two of a kind may become one on the way.
        daemon.signal(Signal::SIGINT);
        daemon.ends_well();
        assert!(start.elapsed() < GRACE, "{:?}", start.elapsed());
        assert_eq!(mount_line(&mountpoint), None);
    });
}

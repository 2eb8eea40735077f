//! A mount that succeeds: when the command returns, what its options do, and what the daemon is like.

use std::fs::{self, File};
use std::io::BufRead;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Stdio;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::Signal;
use nix::unistd::getsid;

use crate::stage::{Daemon, GREETING, Stage, greeting, hellofs, mount_line, succeeds, told, wait_served};

#[test]
fn mount_is_there_when_the_command_returns() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        // Reading its output to the end shows, besides, that the daemon holds on to nothing of it.
        let output = hellofs().arg(&mountpoint).output().unwrap();
        assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{}", told(&output));
        assert_eq!(greeting(&mountpoint), GREETING);
        let names: Vec<_> = fs::read_dir(&mountpoint).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["hello.txt"]);
        let daemon = Daemon::of(&mountpoint);
        umount(&mountpoint).unwrap();
        daemon.ends_well();
    });
}

#[test]
fn daemon_leaves_the_terminal_the_directory_and_the_standard_streams() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        succeeds(hellofs().arg(&mountpoint).current_dir(stage.path("")));
        let daemon = Daemon::of(&mountpoint);
        assert_eq!(getsid(Some(daemon.0)), Ok(daemon.0));
        let link = |name: &str| fs::read_link(format!("/proc/{}/{name}", daemon.0)).unwrap();
        assert_eq!(link("cwd"), Path::new("/"));
        for stream in ["fd/0", "fd/1", "fd/2"] {
            assert_eq!(link(stream), Path::new("/dev/null"));
        }
        umount(&mountpoint).unwrap();
        daemon.ends_well();
    });
}

#[test]
fn relative_mountpoint_is_found() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        succeeds(hellofs().arg("m").current_dir(stage.path("")));
        assert_eq!(greeting(&mountpoint), GREETING);
        let daemon = Daemon::of(Path::new("m"));
        umount(&mountpoint).unwrap();
        daemon.ends_well();
    });
}

#[test]
fn options_reach_the_filesystem_and_the_mount() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        succeeds(hellofs().args(["none", "-o", r"ro,greeting=Hi\, you"]).arg(&mountpoint).args(["-onoexec"]));
        assert_eq!(greeting(&mountpoint), "Hi, you\n");
        let line = mount_line(&mountpoint).unwrap();
        assert!(line.starts_with("none ") && line.contains(" fuse.hellofs ro,"), "{line}");
        assert!(line.contains("noexec"), "{line}");
        let error = fs::write(mountpoint.join("new"), "").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EROFS));
        let daemon = Daemon::of(&mountpoint);
        umount(&mountpoint).unwrap();
        daemon.ends_well();
    });
}

#[test]
fn foreground_ends_when_somebody_unmounts() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        for words in [["-f"].as_slice(), &["-f", "-s"], &["-f", "-omax_threads=2"]] {
            let child = hellofs().args(words).arg(&mountpoint).stderr(Stdio::piped()).spawn().unwrap();
            wait_served(&child);
            assert_eq!(greeting(&mountpoint), GREETING);
            umount(&mountpoint).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{}", told(&output));
        }
    });
}

#[test]
fn debugging_shows_each_request() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        for words in ["-d", "-odebug"] {
            let child = hellofs().arg(words).arg(&mountpoint).stderr(Stdio::piped()).spawn().unwrap();
            wait_served(&child);
            assert_eq!(greeting(&mountpoint), GREETING);
            umount(&mountpoint).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = told(&output);
            assert!(output.status.success(), "{said}");
            assert!(said.contains("Lookup") && said.contains("hello.txt") && said.contains("Read"), "{said}");
        }
    });
}

#[test]
fn log_file_takes_what_the_environment_asks_for() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        let log = stage.path("log");
        let option = format!("log_file={}", log.display());
        succeeds(hellofs().args(["-o", &option]).arg(&mountpoint).env("RUST_LOG", "fusewire=debug"));
        assert_eq!(greeting(&mountpoint), GREETING);
        let daemon = Daemon::of(&mountpoint);
        umount(&mountpoint).unwrap();
        daemon.ends_well();
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains("hello.txt"), "{said}");
    });
}

#[test]
fn killed_daemon_leaves_no_mount_with_auto_unmount() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        succeeds(hellofs().args(["-o", "auto_unmount"]).arg(&mountpoint));
        let daemon = Daemon::of(&mountpoint);
        let watcher = Daemon::watcher_of(&mountpoint);
        daemon.signal(Signal::SIGKILL);
        daemon.end();
        watcher.ends_well();
        assert_eq!(mount_line(&mountpoint), None);

        // Without the option it stays.
        succeeds(hellofs().arg(&mountpoint));
        let daemon = Daemon::of(&mountpoint);
        daemon.signal(Signal::SIGKILL);
        daemon.end();
        assert!(mount_line(&mountpoint).is_some());
        umount(&mountpoint).unwrap();
    });
}

#[test]
fn given_descriptor_is_served_and_left_to_its_owner() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        for ending in [None, Some(Signal::SIGTERM)] {
            let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
            fcntl(&device, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
            let number = device.as_raw_fd();
            let data = format!("fd={number},rootmode=40000,user_id=0,group_id=0");
            mount(Some("x"), &mountpoint, Some("fuse"), MsFlags::empty(), Some(data.as_str())).unwrap();
            let given = format!("/dev/fd/{number}");
            succeeds(hellofs().arg(&given));
            drop(device);
            assert_eq!(greeting(&mountpoint), GREETING);
            let daemon = Daemon::of(Path::new(&given));
            match ending {
                Some(signal) => daemon.signal(signal),
                None => umount(&mountpoint).unwrap(),
            }
            daemon.ends_well();
            assert_eq!(mount_line(&mountpoint).is_some(), ending.is_some());
        }
        umount(&mountpoint).unwrap();
    });
}

#[test]
fn help_and_version_are_on_standard_output() {
    for word in ["-h", "--help"] {
        let output = hellofs().arg(word).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", told(&output));
        let lines: Vec<_> = output.stdout.lines().map(Result::unwrap).collect();
        for words in ["hellofs [OPTIONS] [SOURCE] <MOUNTPOINT>", "  greeting=TEXT", "  allow_other", "  max_threads=N"]
        {
            assert!(lines.iter().any(|line| line.contains(words)), "{words}: {}", told(&output));
        }
    }
    let output = hellofs().arg("--version").output().unwrap();
    assert_eq!(output.stdout, format!("hellofs {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}

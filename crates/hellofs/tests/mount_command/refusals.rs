//! What cannot be done: one line on standard error, exit status 1, nothing mounted; in the background as in the foreground.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::mount::umount;
use nix::sys::signal::Signal;
use nix::sys::wait::WaitStatus;

use crate::stage::{Daemon, Stage, hellofs, mount_line, signal, succeeds, told};

/// Runs a command that must fail, and returns its line.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {}", told(&output));
    assert!(said.ends_with('\n') && said.lines().count() == 1 && output.stdout.is_empty(), "{}", told(&output));
    said.trim_end().strip_prefix("hellofs: ").unwrap().to_owned()
}

/// The same, in the background and in the foreground, on `mountpoint`.
#[track_caller]
fn refused_both_ways(mountpoint: &Path, options: &str, expected: &str) {
    for words in [["-o", options].as_slice(), &["-f", "-o", options]] {
        assert_eq!(refused(hellofs().args(words).arg(mountpoint)), expected);
        assert_eq!(mount_line(mountpoint), None);
    }
}

#[test]
fn missing_mountpoint_is_named() {
    Stage::run(|stage| {
        let missing = stage.path("missing");
        let expected = format!(
            "mounting hellofs on {}: opening the mountpoint: No such file or directory (os error 2); \
             create it first, as with mkdir -p",
            missing.display()
        );
        refused_both_ways(&missing, "", &expected);
    });
}

#[test]
fn file_as_mountpoint_is_named() {
    Stage::run(|stage| {
        let file = stage.file("file", "");
        let expected = format!(
            "mounting hellofs on {}: checking the mountpoint: it is a regular file, and the filesystem's root is a \
             directory; give a directory as the mountpoint",
            file.display()
        );
        refused_both_ways(&file, "", &expected);
    });
}

#[test]
fn unknown_options_and_wrong_values_are_named() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        for (options, expected) in [
            ("ro,bogus", "reading option bogus: hellofs has no such option; see hellofs --help"),
            ("bogus=1,ro", "reading option bogus=1: hellofs has no such option; see hellofs --help"),
            ("greeting", "reading option greeting: it needs a value; write greeting=TEXT"),
            ("ro=1", "reading option ro: it takes no value; write ro alone"),
            ("debug=1", "reading option debug=1: it takes no value; write debug alone"),
            ("max_threads=0", "reading option max_threads=0: expected a number from 1 up"),
            ("max_read=4k", "reading option max_read=4k: expected a number of bytes from 0 to 4294967295"),
            ("fd=3", "reading option fd: it is set by the mount itself; leave it out"),
            ("log_file=/dev/null/log", "opening the log file /dev/null/log: Not a directory (os error 20)"),
        ] {
            refused_both_ways(&mountpoint, options, expected);
        }
    });
}

#[test]
fn newline_in_an_option_stays_in_one_line() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        let expected = r"reading option a\nb: hellofs has no such option; see hellofs --help";
        refused_both_ways(&mountpoint, "a\nb", expected);
        let said = refused(hellofs().args(["-o", "fsname=a\nb"]).arg(&mountpoint));
        assert!(said.contains("fsname"), "{said}");
        assert_eq!(mount_line(&mountpoint), None);
    });
}

#[test]
fn wrong_words_are_told() {
    for (words, expected) in [
        ([].as_slice(), "reading the command line: the mountpoint is missing; see hellofs --help"),
        (
            &["a", "b", "c"],
            r#"reading the command line: "c" is one word too many; options go behind -o; see hellofs --help"#,
        ),
        (&["-z", "/mnt"], "reading the command line: unexpected argument '-z' found; see hellofs --help"),
        (&["--bogus", "/mnt"], "reading the command line: unexpected argument '--bogus' found; see hellofs --help"),
        (&[""], "finding the absolute path of ``: cannot make an empty path absolute"),
    ] {
        assert_eq!(refused(hellofs().args(words)), expected);
    }
    let said = refused(hellofs().args(["/mnt", "-o"]));
    assert!(said.starts_with("reading the command line: a value is required for '-o"), "{said}");
}

#[test]
fn wrong_log_filter_is_told() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        let said = refused(hellofs().arg(&mountpoint).env("RUST_LOG", "fusewire=loudly"));
        assert!(said.starts_with("reading RUST_LOG=fusewire=loudly: "), "{said}");
        assert_eq!(mount_line(&mountpoint), None);
    });
}

#[test]
fn second_mount_on_the_same_mountpoint_is_refused() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        succeeds(hellofs().arg(&mountpoint));
        let daemon = Daemon::of(&mountpoint);
        let said = refused(hellofs().arg(&mountpoint));
        assert!(said.contains("hellofs (type fuse.hellofs) is mounted there already"), "{said}");
        umount(&mountpoint).unwrap();
        daemon.ends_well();
        assert_eq!(mount_line(&mountpoint), None);
    });
}

#[test]
fn daemon_that_dies_early_is_told() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        // It waits for a reader of this for ever.
        let log = stage.path("log");
        nix::unistd::mkfifo(&log, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let option = format!("log_file={}", log.display());
        let mut parent = hellofs();
        parent.args(["-o", &option]).arg(&mountpoint).stderr(Stdio::piped());
        let parent = parent.spawn().unwrap();
        let daemon = Daemon::child_of(&parent);
        daemon.signal(Signal::SIGKILL);
        let output = parent.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            String::from_utf8(output.stderr).unwrap(),
            "hellofs: the daemon ended before it was ready: killed by SIGKILL\n"
        );
        assert_eq!(mount_line(&mountpoint), None);
    });
}

#[test]
fn daemon_whose_parent_is_gone_unmounts() {
    Stage::run(|stage| {
        let mountpoint = stage.directory("m");
        let log = stage.path("log");
        nix::unistd::mkfifo(&log, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let option = format!("log_file={}", log.display());
        let mut parent = hellofs().args(["-o", &option]).arg(&mountpoint).spawn().unwrap();
        let daemon = Daemon::child_of(&parent);
        signal(&parent, Signal::SIGKILL);
        parent.wait().unwrap();
        // The daemon may go on now; it mounts, and finds that nobody waits.
        let log = std::fs::File::open(&log).unwrap();
        assert_eq!(daemon.end(), WaitStatus::Exited(daemon.0, 1));
        assert_eq!(mount_line(&mountpoint), None);
        assert!(std::io::read_to_string(log).unwrap().contains("nobody waits"));
    });
}

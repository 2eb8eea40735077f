//! `auto_unmount` holds however the daemon ends, and leaves no process behind.

use std::fs;
use std::path::Path;
use std::time::Instant;

use fusewire::mount::{MountMethod, MountOptions, Unmount};

use crate::stage::{PATIENCE, Stage, Who, argument, listed, mount, ready_and_wait, served, wait_until_unmounted};

pub(crate) const SCENARIOS: &[(&str, fn())] = &[
    ("serve_watched", || {
        serve_until_told(MountOptions::new().auto_unmount());
    }),
    ("serve_unwatched", || {
        serve_until_told(MountOptions::new());
    }),
    ("serve_watched_mount2", || {
        serve_until_told(MountOptions::new().auto_unmount().method(MountMethod::Mount2));
    }),
    ("serve_watched_helper", || {
        serve_until_told(MountOptions::new().auto_unmount().method(MountMethod::Fusermount));
    }),
];

fn serve_until_told(options: MountOptions) {
    let mut mounted = mount(&argument(0), &options).unwrap();
    ready_and_wait();
    mounted.guard.unmount(Unmount::Plain).unwrap();
}

/// Kills the daemon with SIGKILL and tells whether its mount goes away.
fn goes_with_its_killed_daemon(stage: &Stage, scenario: &str, who: Who, at: &Path) -> bool {
    let mut child = stage.start_child(scenario, who, &[at]);
    assert!(listed(at).is_some());
    child.kill().unwrap();
    child.wait().unwrap();
    if scenario == "serve_unwatched" {
        return listed(at).is_none();
    }
    wait_until_unmounted(at)
}

#[test]
fn a_killed_daemon_of_root_leaves_no_mount() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for scenario in ["serve_watched", "serve_watched_mount2", "serve_watched_helper"] {
            assert!(goes_with_its_killed_daemon(stage, scenario, Who::Root, &at), "{scenario}");
            assert!(no_watcher_is_left(), "{scenario}");
        }
    });
}

#[test]
fn a_killed_daemon_of_an_ordinary_user_leaves_no_mount() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        let at = stage.users_directory("mnt");
        assert!(goes_with_its_killed_daemon(stage, "serve_watched", Who::User, &at));
        assert!(no_watcher_is_left());
    });
}

#[test]
fn without_auto_unmount_a_killed_daemon_leaves_its_mount() {
    Stage::run(|stage| {
        stage.device_mode(0o666);
        let at = stage.users_directory("mnt");
        for who in [Who::Root, Who::User] {
            assert!(!goes_with_its_killed_daemon(stage, "serve_unwatched", who, &at));
            nix::mount::umount(&at).unwrap();
        }
    });
}

#[test]
fn a_plain_unmount_ends_the_watcher() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        for method in [MountMethod::NewApi, MountMethod::Mount2, MountMethod::Fusermount] {
            let options = MountOptions::new().auto_unmount().method(method);
            let mut mounted = mount(&at, &options).unwrap();
            the_watcher();
            assert!(served(&at));
            mounted.guard.unmount(Unmount::Plain).unwrap();
            assert!(no_watcher_is_left(), "{method:?}");
        }
    });
}

#[test]
fn the_watcher_holds_nothing_but_its_socket() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let _mounted = mount(&at, &MountOptions::new().auto_unmount()).unwrap();
        let process = Path::new("/proc").join(the_watcher());
        let end = Instant::now() + PATIENCE;
        loop {
            let mut held: Vec<String> = fs::read_dir(process.join("fd"))
                .unwrap()
                .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
                .map(|link| link.to_string_lossy().into_owned())
                .collect();
            held.sort();
            if matches!(held.as_slice(), [a, b, c, socket]
                if [a, b, c] == ["/dev/null"; 3] && socket.starts_with("socket:"))
            {
                break;
            }
            assert!(Instant::now() < end, "{held:?}");
            std::thread::yield_now();
        }
        assert_eq!(fs::read_link(process.join("cwd")).unwrap(), Path::new("/"));
    });
}

#[test]
fn the_watcher_leaves_a_foreign_mount_alone() {
    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let mut child = stage.start_child("serve_watched", Who::Root, &[&at]);
        the_watcher();
        nix::mount::umount(&at).unwrap();
        stage.mount_tmpfs(&at);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(no_watcher_is_left());
        assert_eq!(listed(&at).unwrap().2, "foreign");
    });
}

#[test]
fn an_unwanted_signal_does_not_end_the_watcher() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    Stage::run(|stage| {
        let at = stage.directory("mnt");
        let mut child = stage.start_child("serve_watched", Who::Root, &[&at]);
        let watcher = Pid::from_raw(the_watcher().parse().unwrap());
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            kill(watcher, signal).unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(wait_until_unmounted(&at));
    });
}

/// The watchers of this test: the processes of that name in its mount namespace.
fn watchers() -> Vec<String> {
    let own = fs::read_link("/proc/thread-self/ns/mnt").unwrap();
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| {
            let process = Path::new("/proc").join(pid);
            // The name is set early on, but not at once; the forks before have the name of this program.
            fs::read_link(process.join("ns/mnt")).is_ok_and(|space| space == own)
                && fs::read_to_string(process.join("comm")).is_ok_and(|name| name == "auto_unmount\n")
        })
        .collect()
}

/// Waits until the one watcher of this test has got its name.
fn the_watcher() -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let mut found = watchers();
        assert!(found.len() < 2 && Instant::now() < end, "{found:?}");
        if let Some(watcher) = found.pop() {
            return watcher;
        }
        std::thread::yield_now();
    }
}

fn no_watcher_is_left() -> bool {
    let end = Instant::now() + PATIENCE;
    while !watchers().is_empty() {
        if Instant::now() > end {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

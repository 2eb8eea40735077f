//! How sessions begin and end, through real mounts: a thousand times, while busy, killed, aborted, two at a time, and
//! with more blocked callers than a fixed number of threads could serve.
//!
//! What counts threads and descriptors, or dies, runs in a process of its own: this program, started again. The tests
//! need root and `/dev/fuse`, and fail without.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use fusewire::mount::MountOptions;
use fusewire::session::{Session, SessionError};
use fusewire::transport::Device;
use fusewire::{Channel, Filesystem, InitFlags, Opcode, SessionConfig};
use fusewire_tests::{Config, Stage, Tree, eventually};
use nix::fcntl::{FcntlArg, fcntl};
use nix::mount::{MntFlags, MsFlags};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Whence, lseek};

/// What runs in a process of its own.
const SCENARIOS: &[(&str, fn())] = &[
    ("a thousand rounds", mount_a_thousand_times),
    ("blocked callers", block_many_callers),
    ("daemon", || serve_until_told(MountOptions::new())),
    ("watched daemon", || serve_until_told(MountOptions::new().auto_unmount())),
];

const SCENARIO: &str = "FUSEWIRE_LIFECYCLE_SCENARIO";
const MOUNTPOINT: &str = "FUSEWIRE_LIFECYCLE_MOUNTPOINT";

fn child(scenario: &str, mountpoint: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "scenario_of_a_child", "--nocapture"]);
    command.env(SCENARIO, scenario).env(MOUNTPOINT, mountpoint);
    command
}

/// Where the processes of other tests start. By itself it does nothing.
#[test]
fn scenario_of_a_child() {
    let Some(wanted) = std::env::var_os(SCENARIO) else { return };
    let (_, run) = SCENARIOS.iter().find(|(name, _)| wanted == **name).expect("a known scenario");
    run();
}

fn run(scenario: &str) {
    let directory = tempfile::tempdir().unwrap();
    let output = child(scenario, directory.path()).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{scenario}: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("1 passed"), "{scenario} did not run: {said}");
}

fn mountpoint() -> std::path::PathBuf {
    std::env::var_os(MOUNTPOINT).expect("the scenario's mountpoint").into()
}

/// How many descriptors, threads and mounts there are.
fn belongings() -> [usize; 3] {
    let entries = |path| fs::read_dir(path).unwrap().count();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let fuse = mounts.lines().filter(|line| line.contains(mountpoint().to_str().unwrap())).count();
    [entries("/proc/self/fd"), entries("/proc/self/task"), fuse]
}

#[test]
fn thousand_rounds_leak_no_descriptor_no_thread_and_no_mount() {
    run("a thousand rounds");
}

fn mount_a_thousand_times() {
    let mountpoint = mountpoint();
    let options = MountOptions::new().subtype("rounds");
    let round = |number: u32| {
        let tree = Tree::new(Config::default());
        let mut mounted = fusewire::mount(tree, &mountpoint, &options, SessionConfig::default()).unwrap();
        assert_eq!(fs::read(mountpoint.join("file")).unwrap(), Tree::CONTENT);
        if number.is_multiple_of(2) {
            mounted.unmount().unwrap();
        }
    };
    let before = belongings();
    (0..1000).for_each(round);
    // A thread that was waited for is still listed for a moment.
    eventually("as many descriptors, threads and mounts as before", || belongings() == before);
}

#[test]
fn blocked_callers_hold_up_nobody_and_their_threads_go_again() {
    run("blocked callers");
}

/// Threads of the library in this process, the first of which has the program's name and is none.
fn workers() -> usize {
    let first = std::process::id().to_string();
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let tasks = tasks.filter(|task| *task.file_name() != *first);
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("fusewire-")).count()
}

fn block_many_callers() {
    const CALLERS: usize = 64;
    // Threads with rings stay, as the kernel does not give entries back.
    let config = Config { require: InitFlags::POSIX_LOCKS, ..Config::forgetful() };
    let stage = Stage::with(config, &MountOptions::new(), SessionConfig::default().channel(Channel::Device));
    let open = || File::options().read(true).write(true).open(stage.path("file")).unwrap();
    let lock = |file: &File, kind, wait: bool| {
        let kind = i16::try_from(kind).unwrap();
        let lock = libc::flock { l_type: kind, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
        fcntl(file, if wait { FcntlArg::F_OFD_SETLKW(&lock) } else { FcntlArg::F_OFD_SETLK(&lock) }).map(drop)
    };
    let holder = open();
    lock(&holder, libc::F_WRLCK, false).unwrap();
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let file = open();
                lock(&file, libc::F_WRLCK, true).unwrap();
                lock(&file, libc::F_UNLCK, false).unwrap();
            });
        }
        stage.log().wait_for(Opcode::SETLKW, CALLERS);
        for _ in 0..100 {
            fs::metadata(stage.path("dir/inner")).unwrap();
        }
        assert!(workers() > CALLERS, "{} threads", workers());
        lock(&holder, libc::F_UNLCK, false).unwrap();
    });
    // One caller at a time needs one who reads, and one who watches.
    // With each request one may go, and counting them takes longer than many requests.
    eventually("few threads are left", || {
        for _ in 0..20 {
            fs::metadata(stage.path("dir/inner")).unwrap();
        }
        workers() <= 4
    });
}

fn serve_until_told(options: MountOptions) {
    let mountpoint = mountpoint();
    let tree = Tree::new(Config::default());
    let mounted = fusewire::mount(tree, &mountpoint, &options.subtype("killed"), SessionConfig::default()).unwrap();
    println!("@ready");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    drop(mounted);
}

/// A daemon in another process that serves `mountpoint` by now.
fn start_daemon(scenario: &str, mountpoint: &Path) -> Child {
    let mut daemon = child(scenario, mountpoint).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(daemon.stdout.as_mut().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with("@ready")), "{scenario} ended early");
    daemon
}

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(4) == path.to_str())
}

mod fusermount {
    use super::*;

    #[test]
    fn killed_daemon_leaves_errors_and_a_mount_that_can_be_unmounted() {
        let directory = tempfile::tempdir().unwrap();
        let mut daemon = start_daemon("daemon", directory.path());
        let mut open = File::open(directory.path().join("file")).unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let ask = || fs::metadata(directory.path().join("file")).unwrap_err().raw_os_error();
        // Rings go a little later than the process, and whoever asks until then is sent away with another error
        // (fs/fuse/dev_uring.c fuse_uring_send_in_task(), for a thread that is gone).
        let told = ask();
        assert!(matches!(told, Some(libc::ENOTCONN | libc::ECONNABORTED | libc::ECANCELED)), "{told:?}");
        eventually("nobody is there any more", || ask() == Some(libc::ENOTCONN));
        // Nobody waits for ever, the page cache apart.
        assert!(open.read(&mut [0]).is_err());
        drop(open);
        assert!(Command::new("fusermount3").arg("-u").arg(directory.path()).status().unwrap().success());
        assert!(!is_mounted(directory.path()));
    }
}

#[test]
fn killed_daemon_is_unmounted_if_it_asked_for_that() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = start_daemon("watched daemon", directory.path());
    assert!(is_mounted(directory.path()));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    eventually("the mount is gone", || !is_mounted(directory.path()));
}

#[test]
fn two_sessions_in_one_process_know_nothing_of_each_other() {
    let (mut first, second) = (Stage::new(Config::default()), Stage::new(Config::default()));
    assert_ne!(first.root().metadata().unwrap().dev(), second.root().metadata().unwrap().dev());
    fs::copy(first.path("file"), second.path("copy")).unwrap();
    assert_eq!(fs::read(second.path("copy")).unwrap(), Tree::CONTENT);
    assert_eq!((first.log().count(Opcode::CREATE), second.log().count(Opcode::CREATE)), (0, 1));
    first.unmount();
    assert!(!first.path("file").exists());
    assert_eq!(fs::read(second.path("file")).unwrap(), Tree::CONTENT);
    assert_eq!((first.fs.destroyed(), second.fs.destroyed()), (1, 0));
}

#[test]
fn mount_that_is_dropped_before_any_request_ends_cleanly() {
    let stage = Stage::new(Config::default());
    let (tree, path) = (Arc::clone(&stage.fs), stage.root().to_owned());
    thread::spawn(move || drop(stage)).join().unwrap();
    assert_eq!(tree.destroyed(), 1);
    assert!(!is_mounted(&path));
}

#[test]
fn session_that_is_stopped_before_the_first_request_says_so() {
    let (here, _there) = sockets();
    let mut running = Session::new(Device::from(here), Idle, SessionConfig::default()).spawn().unwrap();
    running.stop();
    let ended = running.wait();
    assert!(matches!(ended, Err(SessionError::Closed)), "{ended:?}");
}

/// A filesystem that does nothing.
struct Idle;

impl Filesystem for Idle {}

fn sockets() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

#[test]
fn kernel_side_that_goes_away_before_the_first_request_is_an_end_too() {
    let (here, there) = sockets();
    let mut running = Session::new(Device::from(here), Idle, SessionConfig::default()).spawn().unwrap();
    drop(there);
    assert!(matches!(running.wait(), Err(SessionError::Closed)));
}

#[test]
fn dropping_waits_for_a_handler_that_is_busy() {
    let stage = Stage::new(Config::default());
    stage.fs.hold(Opcode::MKDIR);
    let (tree, log, path) = (Arc::clone(&stage.fs), stage.log().clone(), stage.path("new"));
    let root = stage.root().to_owned();
    let caller = thread::spawn(move || fs::create_dir(path));
    log.wait_for(Opcode::MKDIR, 1);
    let dropping = thread::spawn(move || drop(stage));
    eventually("it is taken out of the tree", || !is_mounted(&root));
    assert!(!dropping.is_finished());
    tree.let_go(Opcode::MKDIR);
    dropping.join().unwrap();
    assert_eq!(tree.destroyed(), 1);
    // Served before the end, or ended with the connection; not hung.
    let _: Result<(), _> = caller.join().unwrap();
}

#[test]
fn aborted_connection_is_a_clean_end() {
    let mut stage = Stage::new(Config::default());
    let file = File::open(stage.path("file")).unwrap();
    stage.fs.hold(Opcode::MKDIR);
    let (path, log) = (stage.path("new"), stage.log().clone());
    let caller = thread::spawn(move || fs::create_dir(path));
    log.wait_for(Opcode::MKDIR, 1);

    let control = tempfile::tempdir().unwrap();
    nix::mount::mount(None::<&str>, control.path(), Some("fusectl"), MsFlags::empty(), None::<&str>).unwrap();
    let number = nix::sys::stat::minor(nix::sys::stat::fstat(&file).unwrap().st_dev);
    let mut abort = File::options().write(true).open(control.path().join(format!("{number}/abort"))).unwrap();
    abort.write_all(b"1").unwrap();
    drop(abort);
    nix::mount::umount2(control.path(), MntFlags::MNT_DETACH).unwrap();

    // Whoever waits is let go at once, and the handler's answer comes too late.
    assert_eq!(caller.join().unwrap().unwrap_err().raw_os_error(), Some(libc::ECONNABORTED));
    stage.fs.let_go(Opcode::MKDIR);
    stage.mounted.wait().unwrap();
    assert_eq!(stage.fs.destroyed(), 1);
    assert!(lseek(&file, 0, Whence::SeekData).is_err());
    drop(file);
    stage.unmount();
    assert!(!is_mounted(stage.root()));
}

#[test]
fn busy_mount_is_served_on_after_a_refused_unmount() {
    let mut stage = Stage::new(Config::forgetful());
    let inside = File::open(stage.path("dir")).unwrap();
    let error = stage.mounted.unmount().unwrap_err().to_string();
    assert!(error.contains(stage.root().to_str().unwrap()) && !error.contains('\n'), "{error}");
    assert_eq!(fs::read(stage.path("file")).unwrap(), Tree::CONTENT);
    drop(inside);
    stage.unmount();
    assert_eq!(stage.fs.destroyed(), 1);
}

//! Sessions over real mounts: beginning, end, stopping while busy. What each operation does is tested elsewhere.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use fusewire::mount::MountOptions;
use fusewire::{Attr, Context, Errno, FileType, Filesystem, Mounted, NodeId, SessionConfig, Workers, op, reply, sink};

const HOUR: Duration = Duration::from_secs(3600);

/// A directory with one file, `greeting`.
struct Greeting;

fn attr(node: NodeId) -> Option<Attr> {
    match node {
        NodeId::ROOT => Some(Attr::new(1, FileType::DIRECTORY, 0o755)),
        NodeId(2) => {
            let mut attr = Attr::new(2, FileType::REGULAR, 0o644);
            attr.size = 6;
            Some(attr)
        }
        _ => None,
    }
}

impl Filesystem for Greeting {
    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        match op.name.as_bytes() {
            b"greeting" => Ok(reply::Entry::new(NodeId(2), attr(NodeId(2)).ok_or(Errno::EIO)?, HOUR)),
            #[expect(clippy::panic, reason = "what a filesystem should not do is the subject of a test")]
            b"panic" => panic!("as asked"),
            _ => Err(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(attr(op.node).ok_or(Errno::ENOENT)?, HOUR))
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let start = usize::try_from(op.offset).unwrap_or(usize::MAX);
        out.put(b"hello\n".get(start..).unwrap_or(&[]));
        Ok(())
    }
}

fn mount_at(path: &Path, config: SessionConfig) -> Mounted {
    fusewire::mount(Greeting, path, &MountOptions::new().subtype("greeting"), config).expect("mounting")
}

#[test]
fn reads_what_the_filesystem_says() {
    let dir = tempfile::tempdir().expect("a directory");
    for workers in [Workers::default(), Workers::single()] {
        let mut mounted = mount_at(dir.path(), SessionConfig::default().workers(workers));
        assert_eq!(fs::read_to_string(dir.path().join("greeting")).expect("reading"), "hello\n");
        assert_eq!(fs::metadata(dir.path().join("nothing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        mounted.unmount().expect("unmounting");
        assert!(!dir.path().join("greeting").exists());
    }
}

#[test]
fn panic_in_a_handler_is_an_error_for_its_caller_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut mounted = mount_at(dir.path(), SessionConfig::default());
    let error = fs::metadata(dir.path().join("panic")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    assert_eq!(fs::read(dir.path().join("greeting")).expect("reading"), b"hello\n");
    mounted.unmount().expect("unmounting");
}

#[test]
fn busy_mount_refuses_to_unmount_and_is_served_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut mounted = mount_at(dir.path(), SessionConfig::default());
    let file = fs::File::open(dir.path().join("greeting")).expect("opening");
    let error = mounted.unmount().unwrap_err().to_string();
    assert!(error.contains(dir.path().to_str().expect("a path of text")), "{error}");
    assert_eq!(io::read_to_string(&file).expect("reading"), "hello\n");
    drop(file);
    mounted.unmount().expect("unmounting");
}

#[test]
fn dropping_a_busy_mount_ends_the_session() {
    let dir = tempfile::tempdir().expect("a directory");
    let mounted = mount_at(dir.path(), SessionConfig::default());
    let file = fs::File::open(dir.path().join("greeting")).expect("opening");
    std::thread::spawn(move || drop(mounted)).join().expect("dropping in another thread");
    assert!(!dir.path().join("greeting").exists());
    assert!(io::read_to_string(&file).is_err(), "the connection is over");
}

#[test]
fn ending_a_busy_mount_waits_for_its_user() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut mounted = mount_at(dir.path(), SessionConfig::default());
    let file = fs::File::open(dir.path().join("greeting")).expect("opening");
    let (ending, told) = std::sync::mpsc::channel();
    let user = std::thread::spawn(move || {
        told.recv().expect("the word");
        io::read_to_string(&file)
    });
    ending.send(()).expect("the user");
    mounted.end(Duration::from_secs(60)).expect("ending");
    assert_eq!(user.join().expect("the user").expect("reading"), "hello\n");
}

mod fusermount {
    use super::*;

    #[test]
    fn unmounted_from_outside_is_a_clean_end() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mounted = mount_at(dir.path(), SessionConfig::default());
        let unmounting = std::process::Command::new("fusermount3").arg("-u").arg(dir.path()).status();
        assert!(unmounting.expect("running fusermount3").success());
        mounted.wait().expect("a clean end");
        assert!(mounted.is_finished());
        mounted.unmount().expect("nothing to do");
    }
}

#[test]
fn requiring_what_cannot_be_had_fails_before_mount_returns() {
    struct Demanding;
    impl Filesystem for Demanding {
        fn init(&self, _: &op::Init, wishes: &mut fusewire::Wishes) -> Result<(), Errno> {
            wishes.require(fusewire::InitFlags::HAS_INODE_DAX);
            Ok(())
        }
    }
    let dir = tempfile::tempdir().expect("a directory");
    let options = MountOptions::new().subtype("demanding");
    let error = fusewire::mount(Demanding, dir.path(), &options, SessionConfig::default()).unwrap_err().to_string();
    assert!(error.contains("HAS_INODE_DAX") && error.contains("demanding"), "{error}");
    assert!(!fs::read_to_string("/proc/self/mounts").expect("mounts").contains(dir.path().to_str().expect("text")));
}

mod as_root {
    use std::time::Instant;

    use fusewire::Channel;
    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const CAP_SYS_NICE: u32 = 23;

    /// The number behind `name` in a file like `/proc/PID/status`.
    fn field(status: &str, name: &str) -> Option<String> {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(|line| line.trim_start_matches(':').trim().to_owned())
    }

    /// Whether one of the threads that serve is tied to this CPU, and may have more of it than others.
    fn somebody_is_tied_to(cpu: usize) -> bool {
        let tasks = fs::read_dir("/proc/self/task").expect("threads").flatten();
        tasks.into_iter().any(|task| {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let status = read("status");
            let tied = field(&status, "Cpus_allowed_list").is_some_and(|list| list == cpu.to_string());
            let nice =
                read("stat").rsplit(')').next().and_then(|words| words.split_whitespace().nth(16).map(str::to_owned));
            tied && field(&status, "Name").is_some_and(|name| name.starts_with("fusewire"))
                && nice.is_some_and(|nice| nice == "-10")
        })
    }

    #[test]
    fn lone_reader_follows_its_caller_and_is_let_go() {
        let home = sched_getaffinity(Pid::from_raw(0)).expect("the CPUs");
        let cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| home.is_set(*cpu) == Ok(true)).collect();
        let status = fs::read_to_string("/proc/self/status").expect("the status");
        let capabilities =
            field(&status, "CapEff").and_then(|mask| u64::from_str_radix(&mask, 16).ok()).expect("a mask");
        let may = capabilities >> CAP_SYS_NICE & 1 == 1 && cpus.len() > 1;
        let dir = tempfile::tempdir().expect("a directory");
        let mut mounted = mount_at(dir.path(), SessionConfig::default().channel(Channel::Device));
        let until = |what: &str, patience: Duration, ask: bool, seen: &dyn Fn() -> bool| {
            let end = Instant::now() + patience;
            while !seen() {
                if Instant::now() > end {
                    return Err(what.to_owned());
                }
                if ask {
                    // Names that are not there are looked up each time.
                    (0..100).for_each(|_| assert!(fs::metadata(dir.path().join("nothing")).is_err()));
                } else {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            Ok(())
        };
        let ends = [cpus.first(), cpus.last()].map(|cpu| *cpu.expect("a CPU"));
        for cpu in ends {
            let mut only = CpuSet::new();
            only.set(cpu).and_then(|()| sched_setaffinity(Pid::from_raw(0), &only)).expect("going there");
            let patience = if may { PATIENCE } else { Duration::from_millis(200) };
            let followed = until(&format!("nobody follows to CPU {cpu}"), patience, true, &|| somebody_is_tied_to(cpu));
            assert_eq!(followed.is_ok(), may, "{followed:?}");
        }
        sched_setaffinity(Pid::from_raw(0), &home).expect("going anywhere");
        let nobody = || !ends.iter().any(|cpu| somebody_is_tied_to(*cpu));
        assert_eq!(until("a reader without callers is tied", PATIENCE, false, &nobody), Ok(()));
        mounted.unmount().expect("unmounting");
    }
}

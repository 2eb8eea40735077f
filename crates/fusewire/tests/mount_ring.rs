//! Sessions over io_uring, through real mounts: what is asked for and what is had, handlers that block, and the end.
//! What each operation does is tested elsewhere, over each transport.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, mpsc};
use std::time::Duration;

use fusewire::mount::MountOptions;
use fusewire::{
    Attr, Channel, Context, Errno, FileHandle, FileType, Filesystem, InitFlags, Mounted, Negotiated, NodeId, Notifier,
    NotifyUnique, OpenedFlags, SessionConfig, Workers, op, reply, sink,
};

const HOUR: Duration = Duration::from_secs(3600);
const SIZE: u64 = 8 << 20;

/// Where data were written, and which.
type Written = (u64, Vec<u8>);

/// The file that goes through the page cache.
const CACHED: NodeId = NodeId(3);

/// A directory with two files, `file` and `cached`, whose byte at offset N is N modulo 251, and which remembers what is written.
#[derive(Default)]
struct Pattern {
    negotiated: Arc<Mutex<Option<Negotiated>>>,
    written: Arc<Mutex<Vec<Written>>>,
    /// Whether all data of writes lay on a page.
    aligned: Arc<AtomicBool>,
    /// Where a lookup of `meet` waits for others.
    meeting: Option<Arc<Barrier>>,
    /// What a lookup of `stay` waits for, whatever becomes of its caller.
    leave: Option<Mutex<mpsc::Receiver<()>>>,
    /// Told when a lookup begins to wait.
    arrived: Option<mpsc::Sender<()>>,
}

fn attr(node: NodeId) -> Attr {
    if node == NodeId::ROOT {
        return Attr::new(1, FileType::DIRECTORY, 0o755);
    }
    let mut attr = Attr::new(node.0, FileType::REGULAR, 0o644);
    attr.size = SIZE;
    attr
}

fn pattern(offset: u64) -> u8 {
    u8::try_from(offset % 251).expect("below 251")
}

impl Filesystem for Pattern {
    fn ready(&self, negotiated: &Negotiated, _: &Notifier) {
        *self.negotiated.lock().expect("a lock") = Some(*negotiated);
    }

    fn lookup(&self, cx: &Context<'_>, op: op::Lookup<'_>) -> Result<reply::Entry, Errno> {
        match op.name.as_bytes() {
            b"file" => Ok(reply::Entry::new(NodeId(2), attr(NodeId(2)), HOUR)),
            b"cached" => Ok(reply::Entry::new(CACHED, attr(CACHED), HOUR)),
            name if name.starts_with(b"meet") => {
                self.meeting.as_ref().ok_or(Errno::ENOENT)?.wait();
                Err(Errno::ENOENT)
            }
            b"stay" => {
                self.tell_arrived();
                let leave = self.leave.as_ref().ok_or(Errno::ENOENT)?.lock().map_err(|_| Errno::EIO)?;
                let _ = leave.recv();
                Err(Errno::ENOENT)
            }
            b"wait" => {
                self.tell_arrived();
                let given_up = Arc::new((Mutex::new(false), Condvar::new()));
                let there = Arc::clone(&given_up);
                let wake = move || {
                    *there.0.lock().expect("a lock") = true;
                    there.1.notify_all();
                };
                cx.on_interrupt(Arc::new(wake), || {
                    let told = given_up.0.lock().expect("a lock");
                    drop(given_up.1.wait_while(told, |told| !*told).expect("a lock"));
                });
                Err(Errno::EINTR)
            }
            _ => Err(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        Ok(reply::Attributes::new(attr(op.node), Duration::ZERO))
    }

    fn open(&self, _: &Context<'_>, op: op::Open) -> Result<reply::Opened, Errno> {
        let flags = if op.node == CACHED { OpenedFlags::empty() } else { OpenedFlags::DIRECT_IO };
        Ok(reply::Opened::new(FileHandle(0)).with_flags(flags))
    }

    fn read(&self, _: &Context<'_>, op: op::Read, out: &mut sink::Data<'_>) -> Result<(), Errno> {
        let length = out.remaining();
        for (place, offset) in out.spare().iter_mut().zip(op.offset..) {
            *place = pattern(offset);
        }
        out.advance(length);
        Ok(())
    }

    fn write(&self, _: &Context<'_>, op: op::Write<'_>) -> Result<reply::Written, Errno> {
        self.aligned.fetch_and(op.data.as_ptr().align_offset(4096) == 0, Ordering::SeqCst);
        self.written.lock().expect("a lock").push((op.offset, op.data.to_vec()));
        Ok(reply::Written { size: u32::try_from(op.data.len()).map_err(|_| Errno::EFBIG)? })
    }

    fn getxattr(&self, _: &Context<'_>, op: op::Getxattr<'_>, out: &mut sink::Xattr<'_>) -> Result<(), Errno> {
        out.value(&op.name.as_bytes().repeat(100))
    }
}

impl Pattern {
    fn tell_arrived(&self) {
        if let Some(arrived) = &self.arrived {
            arrived.send(()).expect("the test");
        }
    }

    /// Something to wait with for a lookup that has arrived.
    fn arrivals(self) -> (Self, mpsc::Receiver<()>) {
        let (arrived, arrivals) = mpsc::channel();
        (Self { arrived: Some(arrived), ..self }, arrivals)
    }
}

fn mount_over(channel: Channel, filesystem: Pattern, dir: &tempfile::TempDir) -> Mounted {
    let options = MountOptions::new().subtype("pattern");
    let config = SessionConfig::default().channel(channel);
    fusewire::mount(filesystem, dir.path(), &options, config).expect("mounting")
}

/// Starts a thread that asks for the attributes of `name`, and gives the error it gets.
fn ask(dir: &Path, name: &str) -> std::thread::JoinHandle<io::Error> {
    let path = dir.join(name);
    std::thread::spawn(move || fs::metadata(path).expect_err("an error"))
}

#[test]
fn automatic_choice_serves_either_way() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut mounted = mount_over(Channel::Auto, Pattern::default(), &dir);
    assert_eq!(fs::metadata(dir.path().join("file")).expect("attributes").len(), SIZE);
    mounted.unmount().expect("unmounting");
}

#[test]
fn ring_that_cannot_be_had_is_an_error_and_leaves_no_mount() {
    let dir = tempfile::tempdir().expect("a directory");
    // One thread is not enough for the rings of all CPUs and the device.
    let config = SessionConfig::default().channel(Channel::Ring).workers(Workers::single());
    let options = MountOptions::new().subtype("pattern");
    let error = fusewire::mount(Pattern::default(), dir.path(), &options, config).unwrap_err().to_string();
    assert!(error.starts_with("serving pattern on /"), "{error}");
    assert!(error.contains("using io_uring: ") && !error.contains('\n'), "{error}");
    assert!(!fs::read_to_string("/proc/self/mounts").expect("mounts").contains(dir.path().to_str().expect("text")));
}

mod io_uring {
    use super::*;

    #[test]
    fn names_data_and_values_arrive_whole_in_both_directions() {
        let dir = tempfile::tempdir().expect("a directory");
        let filesystem = Pattern::default();
        let (negotiated, written) = (Arc::clone(&filesystem.negotiated), Arc::clone(&filesystem.written));
        let aligned = Arc::clone(&filesystem.aligned);
        let mut mounted = mount_over(Channel::Ring, filesystem, &dir);
        let agreed = negotiated.lock().expect("a lock").expect("negotiated");
        assert!(agreed.has(InitFlags::OVER_IO_URING), "the kernel offers no rings: is enable_uring Y?");

        let file = fs::OpenOptions::new().read(true).write(true).open(dir.path().join("file")).expect("opening");
        for (offset, length) in [(0, 1), (5, 4096), (100, 1 << 20), (4096, 3 << 20)] {
            let mut data = vec![0; length];
            file.read_exact_at(&mut data, offset).expect("reading");
            assert!(data.iter().zip(offset..).all(|(byte, at)| *byte == pattern(at)), "{offset}");
        }
        aligned.store(true, Ordering::SeqCst);
        for (offset, length) in [(0_u64, 1_usize), (512, 512), (7, 5000), (4096, 4096), (1 << 20, 1 << 20)] {
            let data: Vec<u8> = (offset..).take(length).map(pattern).collect();
            file.write_all_at(&data, offset).expect("writing");
            let written: Vec<_> = std::mem::take(&mut *written.lock().expect("a lock"));
            let arrived: Vec<u8> = written.iter().flat_map(|(_, data)| data.clone()).collect();
            assert_eq!((written[0].0, arrived == data), (offset, true));
        }
        assert!(aligned.load(Ordering::SeqCst), "data that could not be written past a page cache");
        let mut value = [0; 4096];
        let length = rustix::fs::fgetxattr(&file, "user.name", &mut value).expect("the attribute");
        assert_eq!(&value[..length], b"user.name".repeat(100));
        assert_eq!(fs::metadata(dir.path().join("missing")).unwrap_err().kind(), io::ErrorKind::NotFound);
        drop(file);
        mounted.unmount().expect("unmounting");
    }

    #[test]
    fn what_is_read_ahead_comes_whole_from_another_cpu() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mounted = mount_over(Channel::Ring, Pattern::default(), &dir);
        let file = fs::File::open(dir.path().join("cached")).expect("opening");
        let read = |round: u64| {
            let mut data = vec![0; 1 << 20];
            mounted.notifier().inval_inode(CACHED, ..).expect("dropping the pages");
            for offset in (0..SIZE).step_by(data.len()) {
                file.read_exact_at(&mut data, offset).expect("reading");
                assert!(data.iter().zip(offset..).all(|(byte, at)| *byte == pattern(at)), "{offset}");
                // Small requests in between bring the entries home, or do not.
                for _ in 0..round % 5 {
                    fs::metadata(dir.path()).expect("attributes");
                }
            }
        };
        (0..10).for_each(read);
        // With others at work meanwhile, more than a worker has entries for.
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        fs::metadata(dir.path()).expect("attributes");
                    }
                });
            }
            (0..5).for_each(read);
            done.store(true, Ordering::SeqCst);
        });
        let tasks = fs::read_dir("/proc/self/task").expect("threads").flatten();
        let mut names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        // There is nobody to help on a machine with one CPU.
        let alone = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() == 1);
        assert!(alone || names.any(|name| name.starts_with("fusewire-away")), "no worker is away");
        drop(file);
        mounted.unmount().expect("unmounting");
    }

    #[test]
    fn what_the_kernel_does_not_do_over_rings_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mounted = mount_over(Channel::Ring, Pattern::default(), &dir);
        let notifier = mounted.notifier();
        assert_eq!(notifier.resend(), Err(Errno::EOPNOTSUPP));
        assert_eq!(notifier.retrieve(NotifyUnique(1), NodeId(2), 0, 5), Err(Errno::EOPNOTSUPP));
        assert_eq!(notifier.inval_inode(NodeId::ROOT, ..), Ok(()));
        mounted.unmount().expect("unmounting");
    }

    #[test]
    fn handlers_that_block_stop_no_queue() {
        // More callers than there are workers to begin with wait for one another inside of the filesystem, wherever they run.
        const CALLERS: usize = 24;
        let dir = tempfile::tempdir().expect("a directory");
        let filesystem = Pattern { meeting: Some(Arc::new(Barrier::new(CALLERS))), ..Pattern::default() };
        let mut mounted = mount_over(Channel::Ring, filesystem, &dir);
        let callers: Vec<_> = (0..CALLERS).map(|number| ask(dir.path(), &format!("meet-{number}"))).collect();
        for caller in callers {
            assert_eq!(caller.join().expect("a caller").kind(), io::ErrorKind::NotFound);
        }
        mounted.unmount().expect("unmounting");
    }

    #[test]
    fn requests_and_replies_that_are_stuck_behind_a_handler_get_out() {
        // Callers of one CPU, many at a time, so that a worker has many entries; each then asks for what blocks until all
        // have, with its own attributes before that. What comes to a worker that is blocked is to be served all the same.
        const CALLERS: usize = 16;
        let dir = tempfile::tempdir().expect("a directory");
        let filesystem = Pattern { meeting: Some(Arc::new(Barrier::new(CALLERS))), ..Pattern::default() };
        let mut mounted = mount_over(Channel::Ring, filesystem, &dir);
        let mut one = nix::sched::CpuSet::new();
        let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).expect("the CPUs");
        let cpu = (0..nix::sched::CpuSet::count()).find(|cpu| allowed.is_set(*cpu).unwrap_or(false)).expect("a CPU");
        one.set(cpu).expect("a CPU");
        std::thread::scope(|scope| {
            for number in 0..CALLERS {
                let (root, one) = (dir.path(), &one);
                scope.spawn(move || {
                    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), one).expect("staying on a CPU");
                    for round in 0..50 {
                        for _ in 0..number {
                            fs::metadata(root).expect("attributes");
                        }
                        let error = fs::metadata(root.join(format!("meet-{number}-{round}"))).unwrap_err();
                        assert_eq!(error.kind(), io::ErrorKind::NotFound);
                    }
                });
            }
        });
        mounted.unmount().expect("unmounting");
    }

    #[test]
    fn interrupt_reaches_a_handler_that_waits() {
        let dir = tempfile::tempdir().expect("a directory");
        let (filesystem, arrivals) = Pattern::default().arrivals();
        let mut mounted = mount_over(Channel::Ring, filesystem, &dir);
        let mut caller = std::process::Command::new("stat").arg(dir.path().join("wait")).spawn().expect("a caller");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(caller.id()).expect("a process id"));
        arrivals.recv().expect("the lookup");
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signalling");
        caller.wait().expect("its end");
        mounted.unmount().expect("unmounting");
    }

    #[test]
    fn end_interrupts_handlers_that_wait() {
        let dir = tempfile::tempdir().expect("a directory");
        let (filesystem, arrivals) = Pattern::default().arrivals();
        let mut mounted = mount_over(Channel::Ring, filesystem, &dir);
        let caller = ask(dir.path(), "wait");
        arrivals.recv().expect("the lookup");
        mounted.end(Duration::ZERO).expect("ending");
        assert!(mounted.is_finished());
        let error = caller.join().expect("a caller");
        assert!(matches!(error.raw_os_error(), Some(libc::EINTR)), "{error}");
    }

    #[test]
    fn end_leaves_a_handler_behind_that_does_not_return() {
        let dir = tempfile::tempdir().expect("a directory");
        let (leave, told) = mpsc::channel();
        let (filesystem, arrivals) = Pattern { leave: Some(Mutex::new(told)), ..Pattern::default() }.arrivals();
        let mut mounted = mount_over(Channel::Ring, filesystem, &dir);
        let caller = ask(dir.path(), "stay");
        arrivals.recv().expect("the lookup");
        let error = mounted.end(Duration::ZERO).unwrap_err().to_string();
        assert!(error.ends_with("the filesystem is still at a request"), "{error}");
        // Its caller was let go all the same.
        let error = caller.join().expect("a caller");
        assert!(matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::ENOTCONN)), "{error}");
        leave.send(()).expect("the handler");
        mounted.wait().expect("the end, now");
    }

    #[test]
    fn connection_that_is_aborted_ends_the_session() {
        let dir = tempfile::tempdir().expect("a directory");
        let (filesystem, arrivals) = Pattern::default().arrivals();
        let mut mounted = mount_over(Channel::Ring, filesystem, &dir);
        let caller = ask(dir.path(), "wait");
        arrivals.recv().expect("the lookup");
        // It is aborted either way, and unmounted, too, if the caller is gone by then.
        let _ = nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_FORCE);
        let error = caller.join().expect("a caller");
        assert!(matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::ENOTCONN)), "{error}");
        mounted.end(Duration::ZERO).expect("ending");
    }

    #[test]
    fn unmounted_lazily_from_outside_it_ends_with_its_last_user() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mounted = mount_over(Channel::Ring, Pattern::default(), &dir);
        let file = fs::File::open(dir.path().join("file")).expect("opening");
        nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_DETACH).expect("unmounting");
        file.read_exact_at(&mut [0; 4096], 0).expect("it is served on");
        assert!(!mounted.is_finished());
        drop(file);
        mounted.wait().expect("a clean end");
    }

    /// How often: by default as often as takes a few seconds.
    fn rounds() -> usize {
        std::env::var("FUSEWIRE_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
    }

    #[test]
    fn sessions_end_with_requests_under_way() {
        for round in 0..rounds() {
            let dir = tempfile::tempdir().expect("a directory");
            let mounted = mount_over(Channel::Ring, Pattern::default(), &dir);
            // Open while it ends, so the mount is busy.
            let file = fs::File::open(dir.path().join("file")).expect("opening");
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let mut data = [0; 8192];
                        while file.read_at(&mut data, 0).is_ok() {}
                    });
                }
                // At another moment in each round.
                for _ in 0..round % 64 {
                    fs::metadata(dir.path()).expect("attributes");
                }
                match round % 3 {
                    0 => drop(mounted),
                    1 => std::thread::spawn(move || drop(mounted)).join().expect("dropping"),
                    _ => {
                        nix::mount::umount2(dir.path(), nix::mount::MntFlags::MNT_FORCE).expect_err("it is busy");
                        drop(mounted);
                    }
                }
            });
            assert!(!dir.path().join("file").exists());
        }
    }
}

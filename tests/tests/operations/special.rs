//! Ioctls and polls.

use std::fs::File;
use std::os::fd::AsFd;

use fusewire::{InitFlags, IoctlFlags, NodeId, Opcode, PollEvents, PollFlags, Request};
use fusewire_tests::{Config, Stage, Tree, is, saw};
use nix::poll::{PollFd, PollFlags as Native, PollTimeout, poll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};

/// The numbers of `FS_IOC_GETFLAGS` and `FS_IOC_SETFLAGS`: reading and writing a `long`, in name.
const GETFLAGS: u32 = 0x8008_6601;
const SETFLAGS: u32 = 0x4008_6602;

#[test]
pub(crate) fn ioctl_brings_command_and_data() {
    let stage = Stage::new(Config::require(InitFlags::HAS_IOCTL_DIR));
    for (node, path, flags) in [
        (Tree::FILE, stage.path("file"), IoctlFlags::empty()),
        (NodeId::ROOT, stage.root().to_owned(), IoctlFlags::DIR),
    ] {
        let file = File::open(path).unwrap();
        ioctl_setflags(&file, IFlags::NODUMP).unwrap();
        let op = saw!(stage.log(), Ioctl { node: node, command: SETFLAGS, flags: flags, out_size: 0 });
        let Request::Ioctl(op) = op.request() else { unreachable!() };
        assert_eq!(op.data[..4], IFlags::NODUMP.bits().to_ne_bytes(), "{op:?}");
        assert_eq!(ioctl_getflags(&file).unwrap(), IFlags::NODUMP);
        let op = saw!(stage.log(), Ioctl { node: node, command: GETFLAGS, flags: flags, data: b"" });
        let Request::Ioctl(op) = op.request() else { unreachable!() };
        assert!(op.out_size >= 4, "{op:?}");
    }
}

#[test]
fn question_for_a_terminal_is_an_ioctl_without_data() {
    // The capability to pass ioctls of directories on informs only.
    for capability in [InitFlags::empty(), InitFlags::HAS_IOCTL_DIR] {
        let stage = Stage::new(Config::require(capability));
        for (path, flags) in [(stage.path("file"), IoctlFlags::empty()), (stage.path("dir"), IoctlFlags::DIR)] {
            assert!(!std::io::IsTerminal::is_terminal(&File::open(path).unwrap()));
            let command = u32::try_from(libc::TCGETS).unwrap();
            saw!(stage.log(), Ioctl { command: command, flags: flags, data: b"", out_size: 0 });
        }
    }
}

#[test]
pub(crate) fn poll_notifies_who_waits() {
    let stage = Stage::new(Config::default());
    let file = File::open(stage.path("file")).unwrap();
    // Nobody waits, so nobody is to be told.
    let mut asked = [PollFd::new(file.as_fd(), Native::POLLIN)];
    assert_eq!(poll(&mut asked, PollTimeout::ZERO), Ok(0));
    saw!(stage.log(), Poll { node: Tree::FILE, flags: PollFlags::empty() });

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
    epoll.add(&file, EpollEvent::new(EpollFlags::EPOLLIN, 7)).unwrap();
    let op = stage.log().last("Poll");
    let Request::Poll(op) = op.request() else { unreachable!() };
    assert!(op.flags.contains(PollFlags::SCHEDULE_NOTIFY) && op.events.contains(PollEvents::IN), "{op:?}");
    stage.fs.inner().make_ready(PollEvents::IN).unwrap();
    let mut events = [EpollEvent::empty()];
    assert_eq!(epoll.wait(&mut events, EpollTimeout::from(20_000_u16)), Ok(1));
    assert_eq!((events[0].data(), events[0].events()), (7, EpollFlags::EPOLLIN));
}

#[test]
fn poll_that_blocks_is_woken_by_the_notification() {
    let stage = Stage::new(Config::default());
    let file = File::open(stage.path("file")).unwrap();
    let waiter = std::thread::spawn(move || {
        let mut asked = [PollFd::new(file.as_fd(), Native::POLLIN)];
        poll(&mut asked, PollTimeout::from(20_000_u16)).map(|ready| (ready, asked[0].revents()))
    });
    let op = stage.log().wait_for(Opcode::POLL, 1);
    is!(op, Poll { node: Tree::FILE, flags: PollFlags::SCHEDULE_NOTIFY });
    // The handler has noted who waits only when its answer is on the way.
    fusewire_tests::eventually("the one who waits is told", || {
        stage.fs.inner().make_ready(PollEvents::IN).unwrap();
        waiter.is_finished()
    });
    assert_eq!(waiter.join().unwrap(), Ok((1, Some(Native::POLLIN))));
}

//! The connection: notifications, resent requests, interrupts and ends, as the kernel's side sees them.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod support;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fusewire::reply::{self, Entry};
use fusewire::{
    Attr, Context, Errno, FileType, Filesystem, Incoming, InitFlags, Name, Negotiated, NodeId, Notification, Notifier,
    NotifyUnique, Opcode, ReplyHeader, op,
};
use fusewire_testkit::kernel::{Config, Heard, Hostile};
use fusewire_testkit::wire::{Received, Socket, Wire, memory};
use fusewire_testkit::{Mount, Running};
use support::{Flaw, direct, threaded};

/// A filesystem whose names mean what they are told to, and which tells the kernel.
#[derive(Default)]
struct Told {
    notifier: OnceLock<Notifier>,
    size: Mutex<u64>,
    retrieved: Mutex<Vec<u64>>,
}

impl Filesystem for Told {
    fn ready(&self, _: &Negotiated, notifier: &Notifier) {
        let _ = self.notifier.set(notifier.clone());
    }

    fn lookup(&self, _: &Context<'_>, op: op::Lookup<'_>) -> Result<Entry, Errno> {
        if op.name.as_bytes() != b"f" {
            return Ok(Entry::negative(Duration::MAX));
        }
        let mut attr = Attr::new(2, FileType::REGULAR, 0o644);
        attr.size = *self.size.lock().unwrap();
        Ok(Entry::new(NodeId(2), attr, Duration::MAX))
    }

    fn getattr(&self, _: &Context<'_>, op: op::Getattr) -> Result<reply::Attributes, Errno> {
        let kind = if op.node == NodeId::ROOT { FileType::DIRECTORY } else { FileType::REGULAR };
        let mut attr = Attr::new(op.node.0, kind, 0o755);
        attr.size = *self.size.lock().unwrap();
        Ok(reply::Attributes::new(attr, Duration::MAX))
    }

    fn notify_reply(&self, _: &Context<'_>, op: op::NotifyReply<'_>) {
        self.retrieved.lock().unwrap().push(op.notify_unique.0);
    }
}

#[test]
fn notifications_reach_the_cache() {
    let told = Arc::new(Told::default());
    let k = Mount::new(Running::session_direct(Arc::clone(&told)), Config::default()).unwrap();
    let notifier = told.notifier.get().unwrap();
    let name = Name::new(b"f").unwrap();
    let lookups = || k.kernel().sent(Opcode::LOOKUP);
    assert_eq!(k.stat("/f").unwrap().size, 0);
    *told.size.lock().unwrap() = 7;
    assert_eq!(k.stat("/f").unwrap().size, 0);
    notifier.inval_inode(NodeId(2), ..).unwrap();
    k.kernel().catch_up();
    assert_eq!((k.stat("/f").unwrap().size, lookups()), (7, 1));
    notifier.inval_entry(NodeId::ROOT, name).unwrap();
    k.kernel().catch_up();
    assert_eq!((k.stat("/f").unwrap().size, lookups()), (7, 2));
    notifier.inc_epoch().unwrap();
    k.kernel().catch_up();
    assert_eq!((k.stat("/f").unwrap().size, lookups()), (7, 3));
    notifier.delete(NodeId::ROOT, NodeId(2), name).unwrap();
    k.kernel().catch_up();
    assert_eq!((k.stat("/f").unwrap().size, lookups()), (7, 4));
    assert_eq!(k.kernel().lookups(NodeId(2)), 1);
    notifier.prune(&[NodeId(2)]).unwrap();
    k.kernel().catch_up();
    assert_eq!((k.stat("/f").unwrap().size, lookups()), (7, 5));
    k.unmount();
}

#[test]
fn what_is_asked_of_the_page_cache_is_answered() {
    let told = Arc::new(Told::default());
    let k = Mount::new(Running::session_direct(Arc::clone(&told)), Config::default()).unwrap();
    k.stat("/f").unwrap();
    let notifier = told.notifier.get().unwrap();
    notifier.retrieve(NotifyUnique(77), NodeId(2), 0, 4096).unwrap();
    notifier.store(NodeId(2), 5, b"data").unwrap();
    let heard = k.kernel().notifications();
    assert_eq!(heard, [Heard::Store { node: NodeId(2), offset: 5, data: b"data".to_vec() }]);
    assert_eq!(*told.retrieved.lock().unwrap(), [77]);
    k.unmount();
}

#[test]
fn negative_entries_are_believed() {
    let k = Mount::of(Told::default()).unwrap();
    for _ in 0..3 {
        assert_eq!(k.stat("/missing"), Err(Errno::ENOENT));
    }
    assert_eq!(k.kernel().sent(Opcode::LOOKUP), 1);
    k.unmount();
}

#[test]
fn a_daemon_that_asks_for_its_requests_again_gets_them_marked() {
    let daemon = Running::direct(|request, outbox| {
        let incoming = Incoming::parse(request).unwrap();
        let unique = incoming.header.unique;
        if incoming.opcode == Opcode::INIT {
            let mut body = [0; 256];
            let mut out = reply::ReplyWriter::new(&mut body);
            let init = reply::Init::new(&Negotiated::default());
            reply::ReplyBody::encode(&init, &Negotiated::default(), &mut out).unwrap();
            outbox.send(&[&ReplyHeader::new(unique, None).encode(out.length()), out.written()].concat());
        } else if unique.is_resend() {
            outbox.send(&ReplyHeader::new(unique, Some(Errno::EXDEV)).encode(0));
        } else {
            outbox.send(&Notification::Resend.encode().unwrap());
        }
    });
    let connection = daemon.connect(Config::default()).unwrap();
    assert_eq!(connection.kernel().call(op::Getattr::new(NodeId::ROOT)).unwrap_err(), Errno::EXDEV);
    assert!(connection.unmount().violations().is_empty());
}

#[test]
fn an_abort_ends_what_is_under_way() {
    let k = Mount::new(threaded(Flaw::None), Config::default()).unwrap();
    k.write("/f", b"").unwrap();
    let (one, two) = (k.open("/f", libc::O_RDWR).unwrap(), k.process(fusewire_testkit::kernel::Caller::new(1, 1)));
    let two = two.open("/f", libc::O_RDWR).unwrap();
    one.lock(fusewire_testkit::vfs::Range::all(), op::LockKind::WRITE).unwrap();
    let blocked = two.begin_lock(fusewire_testkit::vfs::Range::all(), op::LockKind::WRITE).unwrap();
    // A wait that nobody ends goes on after the end of the connection; the filesystem would wait for ever.
    blocked.interrupt().unwrap();
    k.abort();
    assert!(matches!(blocked.wait(), Err(Errno::EINTR | Errno::ECONNABORTED)));
    assert_eq!(one.pread(0, 1), Err(Errno::ENOTCONN));
    assert_eq!(k.stat("/f"), Err(Errno::ENOTCONN));
}

#[test]
fn a_refused_init_is_an_error() {
    struct Demanding;
    impl Filesystem for Demanding {
        fn init(&self, _: &op::Init, wishes: &mut fusewire::Wishes) -> Result<(), Errno> {
            wishes.require(InitFlags::WRITEBACK_CACHE);
            Ok(())
        }
    }
    let config = Config::default().without(InitFlags::WRITEBACK_CACHE);
    let why = "negotiating with the kernel: the kernel does not offer WRITEBACK_CACHE";
    for daemon in [Running::session_direct(Demanding), Running::session(Demanding, Default::default()).unwrap()] {
        let refused = Mount::new(daemon, config).unwrap_err();
        assert_eq!((refused.errno, refused.why.as_deref()), (Errno::EPROTO, Some(why)));
        assert_eq!(refused.to_string(), format!("connecting to the daemon: {why}"));
    }
    assert!(Mount::of(Demanding).is_ok());
}

#[test]
fn hostile_requests_are_judged() {
    for daemon in [direct(Flaw::None), threaded(Flaw::None)] {
        let connection = daemon.connect(Config::default()).unwrap();
        let kernel = connection.kernel();
        let ticket = kernel.deliver_request(Opcode(9999), b"anything", Hostile::UnknownOpcode).unwrap();
        assert_eq!(kernel.wait(ticket).unwrap_err(), Errno::ENOSYS);
        let ticket = kernel.deliver_request(Opcode::SETATTR, b"short", Hostile::Malformed).unwrap();
        assert_eq!(kernel.wait(ticket).unwrap_err(), Errno::EIO);
        kernel.deliver_bytes(vec![1, 2, 3], Hostile::Garbage).unwrap();
        assert!(kernel.call(op::Getattr::new(NodeId::ROOT)).is_ok());
        assert!(connection.unmount().violations().is_empty());
    }
}

#[test]
fn wires_carry_whole_messages_and_ends() {
    let (kernel, fd) = Socket::pair().unwrap();
    let (queue, end) = memory();
    let mut room = [0; 16];
    kernel.send(b"request").unwrap();
    queue.send(b"request").unwrap();
    assert_eq!(nix::unistd::read(&fd, &mut room).unwrap(), 7);
    assert_eq!(end.receive(&mut room).unwrap(), Some(7));
    nix::unistd::write(&fd, &[1; 32]).unwrap();
    end.send(&[1; 32]).unwrap();
    for wire in [&kernel as &dyn Wire, &queue] {
        assert_eq!(wire.receive(&mut room, Duration::from_secs(1)).unwrap(), Received::Message(32));
        assert_eq!(wire.receive(&mut room, Duration::ZERO).unwrap(), Received::Quiet);
        wire.close();
    }
    assert_eq!(nix::unistd::read(&fd, &mut room).unwrap(), 0);
    assert_eq!(end.receive(&mut room).unwrap(), None);
    drop((fd, end));
    for wire in [&kernel as &dyn Wire, &queue] {
        assert_eq!(wire.receive(&mut room, Duration::from_secs(1)).unwrap(), Received::End);
        assert!(wire.send(b"more").is_err());
    }
}

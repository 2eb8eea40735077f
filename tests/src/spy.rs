//! Requests that the session answers itself, and no filesystem sees: recorded on their way in. And mounts by hand, for
//! a transport of one's own and for kinds of mounts that the library does not make.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use fusewire::opcode::Answer;
use fusewire::session::Running;
use fusewire::transport::{Device, Received, RequestBuffer, Transport};
use fusewire::{Filesystem, Incoming, Negotiated, Notifier, Request, Session, SessionConfig};
use nix::mount::{MntFlags, MsFlags};
use tempfile::TempDir;

use crate::log::Log;

/// A transport that records what the session answers itself: INIT, INTERRUPT, DESTROY.
#[derive(Debug)]
pub struct Spy {
    device: Device,
    log: Log,
}

impl Spy {
    /// Watches what comes through `fd`.
    pub fn new(fd: OwnedFd, log: Log) -> Self {
        Self { device: Device::from(fd), log }
    }

    fn look(&self, bytes: &[u8]) {
        let negotiated = Negotiated::default();
        let Ok(incoming) = Incoming::parse(bytes) else { return };
        if incoming.opcode.row().is_none_or(|row| row.answer != Answer::Session) {
            return;
        }
        if let Ok((request, _)) = Request::decode(&negotiated, &incoming) {
            self.log.record_bare(incoming.header, &request, &negotiated);
        }
    }
}

impl Transport for Spy {
    fn name(&self) -> &'static str {
        "spied /dev/fuse"
    }

    fn receive<'b>(&self, buffer: &'b mut RequestBuffer) -> io::Result<Received<'b>> {
        let received = self.device.receive(buffer)?;
        if let Received::Request(bytes) = &received {
            self.look(bytes);
        }
        Ok(received)
    }

    fn has_pending(&self) -> bool {
        self.device.has_pending()
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        self.device.send(message)
    }

    fn close(&self) {
        self.device.close();
    }
}

/// A mount by mount(2), served through a [`Spy`]. Dropping it unmounts.
#[derive(Debug)]
pub struct BareMount {
    /// The session.
    pub running: Running,
    /// What tells the kernel things.
    pub notifier: Notifier,
    /// What came that the session answers itself.
    pub log: Log,
    directory: TempDir,
}

impl BareMount {
    /// Mounts `source` with the filesystem type `kind`, `fuse` or `fuseblk`.
    ///
    /// # Panics
    /// It cannot be mounted, which needs root.
    pub fn new(kind: &str, source: &OsStr, filesystem: impl Filesystem + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let device = File::options().read(true).write(true).open("/dev/fuse").expect("opening /dev/fuse");
        let mut data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        if kind == "fuseblk" {
            data += ",blksize=4096";
        }
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        nix::mount::mount(Some(source), directory.path(), Some(kind), flags, Some(data.as_str()))
            .expect("mounting by hand, which needs root");
        let log = Log::default();
        let spy = Spy::new(device.into(), log.clone());
        let session = Session::new(spy, filesystem, SessionConfig::default());
        let mut running = session.spawn().expect("starting the session");
        let notifier = running.wait_open().expect("opening the connection");
        Self { running, notifier, log, directory }
    }

    /// The root of the mount.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Unmounts.
    ///
    /// # Panics
    /// Something uses it.
    pub fn unmount(&self) {
        nix::mount::umount(self.root()).expect("unmounting");
    }
}

impl Drop for BareMount {
    fn drop(&mut self) {
        // EINVAL if a test has unmounted it.
        let _ = nix::mount::umount2(self.root(), MntFlags::MNT_DETACH);
    }
}

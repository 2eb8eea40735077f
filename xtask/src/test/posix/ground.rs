//! The filesystems that are tested, and those that they are measured by: what is mounted over what, as data.
//!
//! Which cases run on them is not decided here, except for what a filesystem cannot take.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Form;
use super::stage::{Stage, Who};
use crate::test::report::{Case, Outcome};

/// A filesystem, as a stack of mounts.
pub(super) struct Ground {
    pub(super) name: &'static str,
    /// What it is, for readers of the table.
    pub(super) kind: Kind,
    /// From the lowest on.
    layers: &'static [Layer],
    /// Who runs the tests on it.
    pub(super) users: &'static [Who],
    /// The least form that it takes part in.
    since: Form,
}

/// What a filesystem is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The kernel's own: what passes on it must pass on the others.
    Native,
    /// To be tested with everything.
    Tested,
    /// To be tested for what it may do differently: permissions and single operations.
    Variant,
}

/// One mount of a stack. Those that need a source take a directory of the layer below.
enum Layer {
    Tmpfs,
    /// ext4 in a file.
    Ext4,
    Daemon {
        program: &'static str,
        options: &'static str,
        who: Who,
    },
}

const MEMFS: Layer = memfs("");
const fn memfs(options: &'static str) -> Layer {
    Layer::Daemon { program: "memfs", options, who: Who::Root }
}
const fn mirrorfs(options: &'static str) -> Layer {
    Layer::Daemon { program: "mirrorfs", options, who: Who::Root }
}
const fn of_user(program: &'static str) -> Layer {
    Layer::Daemon { program, options: "", who: Who::User }
}

const fn native(name: &'static str, layers: &'static [Layer]) -> Ground {
    Ground { name, kind: Kind::Native, layers, users: BOTH, since: Form::Quick }
}
const fn tested(name: &'static str, layers: &'static [Layer], since: Form) -> Ground {
    Ground { name, kind: Kind::Tested, layers, users: BOTH, since }
}
const fn variant(name: &'static str, layers: &'static [Layer]) -> Ground {
    Ground { name, kind: Kind::Variant, layers, users: BOTH, since: Form::Quick }
}

const BOTH: &[Who] = &[Who::Root, Who::User];

/// All of them; the native ones first.
pub(super) const GROUNDS: &[Ground] = &[
    native("tmpfs", &[Layer::Tmpfs]),
    native("ext4", &[Layer::Ext4]),
    tested("memfs", &[MEMFS], Form::Quick),
    tested("mirrorfs-ext4", &[Layer::Ext4, mirrorfs("")], Form::Quick),
    tested("mirrorfs-ext4-writeback", &[Layer::Ext4, mirrorfs("cache=always,writeback")], Form::Quick),
    variant("mirrorfs-ext4-uncached", &[Layer::Ext4, mirrorfs("cache=none")]),
    variant("mirrorfs-ext4-cached", &[Layer::Ext4, mirrorfs("cache=always")]),
    variant("mirrorfs-ext4-passthrough", &[Layer::Ext4, mirrorfs("passthrough")]),
    // With owners or permissions of its own, the source is not asked: only the kernel checks, by what is shown.
    variant("mirrorfs-ext4-shown", &[Layer::Ext4, mirrorfs("perms=u+")]),
    tested("mirrorfs-tmpfs", &[Layer::Tmpfs, mirrorfs("")], Form::Full),
    variant("mirrorfs-tmpfs-writeback", &[Layer::Tmpfs, mirrorfs("cache=always,writeback")]),
    tested("mirrorfs-memfs", &[MEMFS, mirrorfs("")], Form::Full),
    variant("mirrorfs-memfs-writeback", &[MEMFS, mirrorfs("cache=always,writeback")]),
    Ground {
        name: "memfs-of-user",
        kind: Kind::Variant,
        layers: &[of_user("memfs")],
        users: &[Who::User],
        since: Form::Quick,
    },
    Ground {
        name: "mirrorfs-ext4-of-user",
        kind: Kind::Variant,
        layers: &[Layer::Ext4, of_user("mirrorfs")],
        users: &[Who::User],
        since: Form::Quick,
    },
];

/// Bytes that the file of an ext4 may take, if all of it is used.
const EXT4_SIZE: u64 = 16 << 30;
/// How long a daemon may take until it is mounted, or until it has ended.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

/// The name of the last case on each.
pub(super) const TO_THE_END: &str = "serves to the end";

impl Ground {
    /// Whether it is there in this form of the suite.
    pub(super) fn takes_part(&self, form: Form) -> bool {
        self.since == Form::Quick || form == Form::Full
    }

    /// Whether what was written is still there when the daemon is not.
    pub(super) fn outlives_its_daemon(&self) -> bool {
        matches!(self.layers, [_, Layer::Daemon { who: Who::Root, .. }])
    }

    fn needs_user(&self) -> bool {
        self.layers.iter().any(|layer| matches!(layer, Layer::Daemon { who: Who::User, .. }))
    }
}

/// A filesystem that is mounted. Dropping it takes it down.
pub(super) struct Standing {
    pub(super) ground: &'static Ground,
    layers: Vec<Mounted>,
}

struct Mounted {
    top: PathBuf,
    daemon: Option<Child>,
    log: PathBuf,
}

impl Standing {
    /// Mounts it, or tells why that cannot be done here.
    pub(super) fn mount(stage: &Stage<'_>, ground: &'static Ground) -> Result<Result<Self, String>> {
        if ground.needs_user()
            && let Some(reason) = stage.lacks(&["test-user", "dev-fuse-mode", "fusermount3"])?
        {
            return Ok(Err(reason));
        }
        let mut standing = Self { ground, layers: Vec::new() };
        for layer in ground.layers {
            let below = standing.layers.last().map(|mounted| mounted.top.clone());
            // The path of a socket, tests included, may have 108 bytes.
            let place = stage.work.join(stage.next_number().to_string());
            fs::create_dir_all(&place).with_context(|| format!("creating {}", place.display()))?;
            let mounted = Mounted::new(stage, layer, below.as_deref(), place)?;
            standing.layers.push(mounted);
        }
        Ok(Ok(standing))
    }

    /// Where the filesystem to be tested is mounted.
    pub(super) fn top(&self) -> &Path {
        self.layers.last().map_or(Path::new("/nonexistent"), |mounted| &mounted.top)
    }

    /// Makes a directory in it that everybody may use.
    pub(super) fn make_directory(&self, stage: &Stage<'_>, name: &str) -> Result<PathBuf> {
        let place = self.top().join(name);
        // Root may not enter what a user has mounted.
        let who = self.ground.users.first().copied().unwrap_or(Who::Root);
        let status = stage.command(who, Path::new("mkdir"))?.args(["-m", "777"]).arg(&place).status();
        ensure!(status.context("running mkdir")?.success(), "creating {}: see above", place.display());
        Ok(place)
    }

    /// Kills the topmost daemon, and takes its mount away.
    pub(super) fn kill_daemon(&mut self) -> Result<()> {
        let mounted = self.layers.last_mut().context("finding the topmost mount")?;
        let mut daemon = mounted.daemon.take().context("finding the topmost daemon")?;
        daemon.kill().context("killing a daemon")?;
        daemon.wait().context("waiting for a daemon that was killed")?;
        Ok(())
    }

    /// Mounts the topmost filesystem once more.
    pub(super) fn mount_again(&mut self, stage: &Stage<'_>) -> Result<()> {
        let mounted = self.layers.pop().context("finding the topmost mount")?;
        let top = mounted.top.clone();
        drop(mounted);
        let below = self.layers.last().map(|mounted| mounted.top.clone());
        let layer = self.ground.layers.last().context("finding the topmost layer")?;
        self.layers.push(Mounted::new(stage, layer, below.as_deref(), top)?);
        Ok(())
    }

    /// Takes it down; the daemons must have served to the end, whatever was asked of them.
    pub(super) fn end(&mut self) -> Case {
        let name = format!("{} {TO_THE_END}", self.ground.name);
        let mut faults = Vec::new();
        while let Some(mut mounted) = self.layers.pop() {
            if let Err(error) = mounted.end() {
                faults.push(format!("{error:#}"));
            }
        }
        let outcome = if faults.is_empty() { Outcome::Passed } else { Outcome::Failed(faults.join("; ")) };
        Case { name, outcome, time: None }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        // From the top on.
        while self.layers.pop().is_some() {}
    }
}

impl Mounted {
    fn new(stage: &Stage<'_>, layer: &Layer, below: Option<&Path>, top: PathBuf) -> Result<Self> {
        let log = top.with_extension("log");
        match layer {
            Layer::Tmpfs => {
                mount(Some("tmpfs"), &top, Some("tmpfs"), MsFlags::empty(), Some("mode=1777"))
                    .with_context(|| format!("mounting a tmpfs on {}", top.display()))?;
                Ok(Self { top, daemon: None, log })
            }
            Layer::Ext4 => {
                let image = top.with_extension("image");
                let file = File::create(&image).with_context(|| format!("creating {}", image.display()))?;
                file.set_len(EXT4_SIZE).with_context(|| format!("sizing {}", image.display()))?;
                // Tables that are written later would be so behind the back of the tests.
                let made =
                    Command::new("mkfs.ext4").args(["-q", "-F", "-E", "lazy_itable_init=1"]).arg(&image).status();
                ensure!(made.context("running mkfs.ext4")?.success(), "making an ext4 in {}", image.display());
                // What a loss of power would do to it is not tested.
                let options = ["-o", "loop,noinit_itable,nobarrier"];
                let mounted = Command::new("mount").args(options).arg(&image).arg(&top).status();
                ensure!(mounted.context("running mount")?.success(), "mounting {}", image.display());
                // It is gone when it is unmounted.
                fs::remove_file(&image).with_context(|| format!("removing {}", image.display()))?;
                open_to_all(&top)?;
                Ok(Self { top, daemon: None, log })
            }
            Layer::Daemon { program, options, who } => {
                let mut command = stage.command(*who, &stage.binary(program))?;
                if let Some(below) = below {
                    let source = below.join("source");
                    if !source.exists() {
                        fs::create_dir(&source).with_context(|| format!("creating {}", source.display()))?;
                        open_to_all(&source)?;
                    }
                    command.arg(source);
                }
                if *who == Who::User {
                    let (uid, gid) = stage.user()?;
                    chown(&top, Some(uid.as_raw()), Some(gid.as_raw())).context("giving a mountpoint away")?;
                }
                let shared = if *who == Who::Root { "allow_other,dev,suid" } else { "" };
                let options =
                    [shared, options].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",");
                command.arg("-f").arg(&top);
                if !options.is_empty() {
                    command.args(["-o", &options]);
                }
                let said = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
                command.stdout(Stdio::null()).stderr(said);
                let daemon = command.spawn().with_context(|| format!("starting {program}"))?;
                let mut mounted = Self { top, daemon: Some(daemon), log };
                mounted.wait_until_mounted()?;
                Ok(mounted)
            }
        }
    }

    fn wait_until_mounted(&mut self) -> Result<()> {
        let start = Instant::now();
        let place = format!(" {} ", self.top.display());
        loop {
            let table = fs::read_to_string("/proc/thread-self/mountinfo").context("reading the table of mounts")?;
            if table.contains(&place) {
                return Ok(());
            }
            let ended = self.daemon.as_mut().map(Child::try_wait).transpose().context("looking at a daemon")?.flatten();
            if let Some(status) = ended {
                bail!("the daemon ended with {status}: {}", self.said());
            }
            ensure!(start.elapsed() < PATIENCE, "mounting on {} takes too long: {}", self.top.display(), self.said());
            std::thread::sleep(PAUSE);
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default().trim().to_owned()
    }

    /// Unmounts it and waits for the daemon, which must end well and must not have said anything.
    fn end(&mut self) -> Result<()> {
        umount2(&self.top, MntFlags::empty()).with_context(|| format!("unmounting {}", self.top.display()))?;
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let start = Instant::now();
        let status = loop {
            if let Some(status) = daemon.try_wait().context("waiting for a daemon")? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                self.daemon = Some(daemon);
                bail!("the daemon does not end after unmounting");
            }
            std::thread::sleep(PAUSE);
        };
        let said = self.said();
        ensure!(status.success(), "the daemon ended with {status}: {said}");
        ensure!(said.is_empty(), "the daemon said: {said}");
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // After `end` there is nothing to unmount, and another filesystem is not below a directory of ours.
        let _ = umount2(&self.top, MntFlags::MNT_DETACH);
        if let Some(mut daemon) = self.daemon.take() {
            if let Ok(pid) = i32::try_from(daemon.id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            let _ = daemon.wait();
        }
    }
}

fn open_to_all(directory: &Path) -> Result<()> {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o1777))
        .with_context(|| format!("opening {} to all", directory.display()))
}

//! Who is compared: the table of peers, and how each becomes a process that serves the tree.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, umount2};

use crate::tree;

/// How long a server may take to mount, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody who serves the tree.
#[derive(Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it is called in tables and results.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    kind: Kind,
    serving: Serving,
    /// Whether it is in a quick run.
    pub quick: bool,
}

/// How a server is told to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Through `/dev/fuse`, with so many threads; 0: its default.
    Device(usize),
    /// Through io_uring.
    Ring,
}

impl Serving {
    /// How many threads serve, 0 for the default.
    ///
    /// # Errors
    /// It is to be done through io_uring, for a server that cannot.
    pub fn threads(self) -> Result<usize> {
        match self {
            Self::Device(threads) => Ok(threads),
            Self::Ring => bail!("this server has no io_uring"),
        }
    }
}

impl fmt::Display for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(threads) => threads.fmt(f),
            Self::Ring => f.write_str("ring"),
        }
    }
}

impl FromStr for Serving {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "ring" {
            return Ok(Self::Ring);
        }
        text.parse().map(Self::Device).context("reading the number of threads")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A binary of this package.
    Rust(&'static str),
    /// A source file below `c/`, compiled here, with the flags of these packages of pkg-config.
    C(&'static str, &'static [&'static str]),
    /// No server: the same tree in a directory.
    Native,
}

const fn peer(name: &'static str, about: &'static str, kind: Kind, serving: Serving, quick: bool) -> Peer {
    Peer { name, about, kind, serving, quick }
}

/// This library, in results.
pub const THIS: &str = "fusewire";
/// The library that Rust programs use today.
pub const FUSER: &str = "fuser";
/// The least work.
pub const FLOOR: &str = "floor";

/// This library over io_uring.
pub const THIS_RING: &str = "fusewire-ring";
/// The least work over io_uring.
pub const FLOOR_RING: &str = "floor-ring";

/// All peers, in the order of the tables.
pub const PEERS: &[Peer] = {
    use Kind::{C, Native, Rust};
    use Serving::{Device, Ring};
    &[
        peer(THIS, "this library, as by default", Rust("serve_fusewire"), Device(0), true),
        peer("fusewire-1", "this library, a single worker", Rust("serve_fusewire"), Device(1), false),
        peer(THIS_RING, "this library over io_uring", Rust("serve_fusewire"), Ring, true),
        peer(FUSER, "fuser 0.18, as by default: one thread", Rust("serve_fuser"), Device(0), true),
        peer("fuser-2", "fuser 0.18, two threads, a descriptor each", Rust("serve_fuser"), Device(2), true),
        peer("polyfuse", "polyfuse 0.5, one thread", Rust("serve_polyfuse"), Device(1), false),
        peer("fuse3", "fuse3 0.10 on tokio, a worker a CPU", Rust("serve_fuse3"), Device(0), false),
        peer(
            "libfuse",
            "libfuse3 from the system, low-level API, one thread",
            C("libfuse.c", &["fuse3"]),
            Device(1),
            false,
        ),
        peer("libfuse-mt", "the same with its loop of threads", C("libfuse.c", &["fuse3"]), Device(0), false),
        peer(FLOOR, "a C program without a library, one thread", C("floor.c", &[]), Device(1), true),
        peer(FLOOR_RING, "the same over io_uring, a thread pinned to each CPU", C("floor_ring.c", &[]), Ring, true),
        peer("native", "the same tree in tmpfs, without FUSE", Native, Device(0), false),
    ]
};

/// A peer that serves, until it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Who it is.
    pub peer: &'static Peer,
    /// Where its tree is.
    pub directory: PathBuf,
    child: Option<Child>,
}

impl Server {
    /// Starts the peer; when this returns, its tree is there.
    ///
    /// # Errors
    /// Why it cannot be measured: a compiler or library is missing, or it does not mount.
    pub fn start(peer: &'static Peer, scratch: &Path) -> Result<Self> {
        let directory = scratch.join(peer.name);
        fs::create_dir(&directory).with_context(|| format!("making {}", directory.display()))?;
        let program = match peer.kind {
            Kind::Rust(binary) => beside(binary)?,
            Kind::C(source, packages) => compile(source, packages, scratch)?,
            Kind::Native => {
                let mounted = mount_tmpfs(&directory);
                mounted.with_context(|| format!("mounting a tmpfs on {}", directory.display()))?;
                plant(&directory).with_context(|| format!("making the tree in {}", directory.display()))?;
                return Ok(Self { peer, directory, child: None });
            }
        };
        let log = scratch.join(format!("{}.log", peer.name));
        let output = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let before = fs::metadata(&directory)?.dev();
        let child = Command::new(&program)
            .arg(&directory)
            .arg(peer.serving.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut server = Self { peer, directory, child: Some(child) };
        let deadline = Instant::now() + PATIENCE;
        while fs::metadata(&server.directory).map_or(true, |found| found.dev() == before) {
            let ended = server.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || Instant::now() > deadline {
                let words = fs::read_to_string(&log).unwrap_or_default();
                bail!("it does not mount: {}", words.lines().next_back().unwrap_or("no reason given"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    /// Its process, if it has one whose threads may be put anywhere. Those of a ring belong where they are.
    #[must_use]
    pub fn movable(&self) -> Option<u32> {
        self.process().filter(|_| self.peer.serving != Serving::Ring)
    }

    /// Its process, if it has one.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let unmounted = umount2(&self.directory, MntFlags::MNT_DETACH);
        let Some(child) = &mut self.child else {
            return;
        };
        let deadline = Instant::now() + PATIENCE;
        while unmounted.is_ok() && Instant::now() < deadline {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        eprintln!("{} does not end: killed", self.peer.name);
        // It may have ended since.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A binary of this package.
///
/// # Errors
/// It is not there.
pub fn beside(binary: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("finding the binaries of this package")?;
    // A bench lies one directory deeper than a binary.
    let path = here.ancestors().skip(1).take(2).map(|directory| directory.join(binary)).find(|path| path.is_file());
    path.with_context(|| format!("finding {binary}: it is not beside {}; build the whole package", here.display()))
}

/// Compiles a server in C.
fn compile(source: &str, packages: &[&str], scratch: &Path) -> Result<PathBuf> {
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("c").join(source);
    let program = scratch.join(source.file_stem().context("compiling: no name")?).with_extension("server");
    if program.exists() {
        return Ok(program);
    }
    let mut flags = Vec::new();
    for package in packages {
        let found = Command::new("pkg-config").args(["--cflags", "--libs", package]).output();
        let found = found.context("asking pkg-config (Debian: apt install pkg-config)")?;
        ensure!(found.status.success(), "{package} is not installed (Debian: apt install lib{package}-dev)");
        flags.extend(String::from_utf8_lossy(&found.stdout).split_whitespace().map(str::to_owned));
    }
    let output = Command::new(&compiler)
        .args(["-O2", "-Wall", "-Wextra", "-pthread", "-o"])
        .arg(&program)
        .arg(&source)
        .args(flags)
        .output()
        .with_context(|| format!("running {} (Debian: apt install gcc)", compiler.display()))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "compiling {}: {words}", source.display());
    Ok(program)
}

fn mount_tmpfs(directory: &Path) -> nix::Result<()> {
    use nix::mount::{MsFlags, mount};
    mount(Some("native"), directory, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, None::<&str>)
}

/// Makes the tree in a directory.
fn plant(root: &Path) -> Result<()> {
    for directory in ["data", "names", "attrs", "many"] {
        fs::create_dir(root.join(directory))?;
    }
    let large = vec![0x5a; tree::BLOCK];
    let fill = |path: PathBuf| -> Result<()> {
        use std::io::Write;
        let mut file = File::create(path)?;
        (0..tree::FILE_SIZE).step_by(tree::BLOCK).try_for_each(|_| file.write_all(&large))?;
        Ok(())
    };
    fs::write(root.join("null"), b"x")?;
    for copy in 0..tree::COPIES {
        fs::create_dir(root.join(format!("w{copy}")))?;
        fs::write(root.join(format!("names/n{copy}")), b"")?;
        let attrs = root.join(format!("attrs/a{copy}"));
        fs::write(&attrs, b"")?;
        // Without extended attributes only that workload is not measured.
        let name = std::str::from_utf8(tree::XATTR)?;
        let _ = rustix::fs::setxattr(&attrs, name, tree::XATTR_VALUE, rustix::fs::XattrFlags::empty());
    }
    // As many as a workload has threads; the others would only cost memory.
    for copy in 0..4 {
        fill(root.join(format!("data/d{copy}")))?;
        fill(root.join(format!("data/c{copy}")))?;
    }
    for number in 0..tree::ENTRIES {
        fs::write(root.join(format!("many/file-{number:05}")), b"")?;
    }
    Ok(())
}

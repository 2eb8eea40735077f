//! How each server becomes a process that serves.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::compare::peers::{Kind, Peer, Program, Serving};
use crate::tree;

/// How long a server may take to mount, and to end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether it has mounted.
const PAUSE: Duration = Duration::from_micros(200);
/// For how many threads there are files where each takes memory.
const PLANTED: u8 = 4;

/// A peer that serves, until it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Who it is.
    pub peer: &'static Peer,
    /// Where its tree is.
    pub directory: PathBuf,
    /// How long it took until that was there.
    pub started_in: Duration,
    serving: Serving,
    child: Option<Child>,
    /// A tmpfs below its tree.
    source: Option<PathBuf>,
}

impl Server {
    /// Starts the peer; when this returns, its tree is there.
    ///
    /// # Errors
    /// Why it cannot be measured: a compiler or library is missing, or it does not mount.
    pub fn start(peer: &'static Peer, scratch: &Path) -> Result<Self> {
        Self::start_serving(peer, peer.serving, scratch)
    }

    /// The same, serving in another way than it does in the comparison.
    ///
    /// # Errors
    /// The same.
    pub fn start_serving(peer: &'static Peer, serving: Serving, scratch: &Path) -> Result<Self> {
        let directory = scratch.join(peer.name);
        fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let mut server = Self { peer, directory, started_in: Duration::ZERO, serving, child: None, source: None };
        let (program, words): (_, &[&str]) = match peer.kind {
            Kind::Table(program) => (program, &["MOUNTPOINT", "SERVING"]),
            Kind::Mirror(program, words) => {
                let source = scratch.join(format!("{}.source", peer.name));
                fs::create_dir_all(&source).with_context(|| format!("making {}", source.display()))?;
                plant(server.source.insert(source), 1)?;
                (program, words)
            }
            Kind::Empty(program, words) => (program, words),
            Kind::Native => {
                plant(&server.directory, PLANTED)?;
                return Ok(server);
            }
        };
        let program = find(program, scratch)?;
        let source = server.source.as_deref().unwrap_or(Path::new("")).to_string_lossy().into_owned();
        let mountpoint = server.directory.to_string_lossy().into_owned();
        let transport = if matches!(serving, Serving::Device(_)) { "dev" } else { "uring" };
        let serving = serving.to_string();
        let words = words.iter().map(|word| match *word {
            "MOUNTPOINT" => mountpoint.clone(),
            "SERVING" => serving.clone(),
            word => word.replace("SOURCE", &source).replace("TRANSPORT", transport),
        });
        let log = scratch.join(format!("{}.log", peer.name));
        let output = File::create(&log).with_context(|| format!("making {}", log.display()))?;
        let before = fs::metadata(&server.directory)?.dev();
        let start = Instant::now();
        let mut command = Command::new(&program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        server.child = Some(command.spawn().with_context(|| format!("starting {}", program.display()))?);
        while fs::metadata(&server.directory).map_or(true, |found| found.dev() == before) {
            let ended = server.child.as_mut().map(Child::try_wait).transpose()?.flatten();
            if ended.is_some() || start.elapsed() > PATIENCE {
                let words = fs::read_to_string(&log).unwrap_or_default();
                bail!("it does not mount: {}", words.lines().next_back().unwrap_or("no reason given"));
            }
            std::thread::sleep(PAUSE);
        }
        server.started_in = start.elapsed();
        Ok(server)
    }

    /// Its process, if it has one whose threads may be put anywhere. Those of a ring belong where they are.
    #[must_use]
    pub fn movable(&self) -> Option<u32> {
        self.process().filter(|_| matches!(self.serving, Serving::Device(_)))
    }

    /// Its process, if it has one.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
        if let Some(directory) = &self.source {
            // Nobody else has files there.
            let _ = umount2(directory, MntFlags::MNT_DETACH);
        }
    }
}

impl Server {
    fn end(&mut self) {
        let unmounted = umount2(&self.directory, MntFlags::MNT_DETACH);
        let Some(child) = &mut self.child else {
            return;
        };
        let start = Instant::now();
        while unmounted.is_ok() && start.elapsed() < PATIENCE {
            if !matches!(child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        eprintln!("{} does not end: killed", self.peer.name);
        // It may have ended since.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn find(program: Program, scratch: &Path) -> Result<PathBuf> {
    match program {
        Program::Rust(binary) => beside(binary),
        Program::C(source, packages) => compile(source, packages, scratch),
        Program::System(name, package) => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let found = std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file());
            found.with_context(|| format!("finding {name} (Debian: apt install {package})"))
        }
    }
}

/// A binary of this workspace.
///
/// # Errors
/// It is not there.
pub fn beside(binary: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("finding the binaries of this package")?;
    // A bench lies one directory deeper than a binary.
    let path = here.ancestors().skip(1).take(2).map(|directory| directory.join(binary)).find(|path| path.is_file());
    path.with_context(|| format!("finding {binary}: it is not beside {}; build it first", here.display()))
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

/// Makes the tree in a tmpfs on this directory, with files for so many threads.
fn plant(root: &Path, threads: u8) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mounted = mount(Some("native"), root, Some("tmpfs"), flags, None::<&str>);
    mounted.with_context(|| format!("mounting a tmpfs on {}", root.display()))?;
    fill(root, threads).with_context(|| format!("making the tree in {}", root.display()))
}

fn fill(root: &Path, threads: u8) -> Result<()> {
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
    for copy in 0..threads {
        fill(root.join(format!("data/d{copy}")))?;
        fill(root.join(format!("data/c{copy}")))?;
    }
    for number in 0..tree::ENTRIES {
        fs::write(root.join(format!("many/file-{number:05}")), b"")?;
    }
    Ok(())
}

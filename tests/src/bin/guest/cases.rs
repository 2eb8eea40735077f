//! The cases that only a guest can run: they unload modules, fill the memory, take devices away. As data: a name, what it
//! claims, the function. `guest cases` lists them for the host; each runs in a process of its own.

use std::error::Error;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use fusewire::mount::MountOptions;
use fusewire::{Mounted, SessionConfig, Workers};
use nix::errno::Errno;
use nix::sys::resource::{Resource, setrlimit};

use crate::greeting::{Greeting, LARGE, TEXT, byte_at};
use crate::{cuse, init, modules, plan::Plan};

/// The variable that tells a case what is to go wrong on purpose.
pub(crate) const BROKEN: &str = "FUSEWIRE_GUEST_BREAK";

/// A case, as data.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What passing means.
    pub(crate) claim: &'static str,
    pub(crate) run: fn() -> Result<()>,
}

/// Why a case cannot run on this kernel.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Skip {}

pub(crate) const ALL: &[Case] = &[
    Case { name: "mount_as_root", claim: "what root mounts is served and unmounts", run: mount_as_root },
    Case {
        name: "mount_as_user",
        claim: "an ordinary user mounts through a setuid fusermount3",
        run: || as_user("mount_as_root"),
    },
    Case { name: "missing_device", claim: "without /dev/fuse mounting fails and says what to do", run: missing_device },
    Case {
        name: "module_in_use",
        claim: "the module stays while something is mounted, goes afterwards, and comes back",
        run: module_in_use,
    },
    Case { name: "abort", claim: "an abort through fusectl ends calls and session", run: abort },
    Case { name: "thousand_mounts", claim: "1,000 filesystems are mounted and served at once", run: thousand_mounts },
    Case { name: "cuse_device", claim: "a character device is served by the same messages", run: cuse::serve_a_device },
    Case {
        name: "virtiofs",
        claim: "the kernel's virtio-fs is there, and refuses a tag that nobody serves",
        run: virtiofs,
    },
    Case { name: "memory_pressure", claim: "file data stay right while the memory is full", run: memory_pressure },
];

/// An ordinary user: the one that `/etc/passwd` of the guest has.
const USER: u32 = 1000;
const DEVICE: &str = "/dev/fuse";
const MANY: usize = 1000;

fn mountpoint(name: &str) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
    Ok(path)
}

fn mount(filesystem: Greeting, at: &Path) -> Result<Mounted> {
    let options = MountOptions::new().subtype("greeting");
    Ok(fusewire::mount(filesystem, at, &options, SessionConfig::default())?)
}

fn check_greeting(at: &Path) -> Result<()> {
    let file = at.join("greeting");
    let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
    ensure!(text == TEXT, "{} holds {:?}", file.display(), String::from_utf8_lossy(&text));
    Ok(())
}

fn mount_as_root() -> Result<()> {
    let at = mountpoint("mount")?;
    let mut mounted = mount(Greeting::new(), &at)?;
    check_greeting(&at)?;
    let missing = fs::metadata(at.join("nothing")).err().and_then(|error| error.raw_os_error());
    ensure!(missing == Some(libc::ENOENT), "a name that is not there gives {missing:?}");
    mounted.unmount()?;
    ensure!(!at.join("greeting").exists(), "it is still there after unmounting");
    Ok(fs::remove_dir(&at)?)
}

/// Runs another case of the table as an ordinary user.
fn as_user(name: &str) -> Result<()> {
    let directory = mountpoint("user")?;
    chown(&directory, Some(USER), Some(USER)).context("giving a directory to the user")?;
    let output = Command::new("/proc/self/exe")
        .args(["case", name])
        .env("TMPDIR", &directory)
        .uid(USER)
        .gid(USER)
        .output()
        .context("starting a child")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "as a user: {}: {}", output.status, said.trim_end());
    Ok(())
}

fn missing_device() -> Result<()> {
    let at = mountpoint("mount")?;
    let meta = fs::metadata(DEVICE).with_context(|| format!("looking at {DEVICE}"))?;
    let aside = "/dev/fuse-aside";
    fs::rename(DEVICE, aside).context("taking the device away")?;
    let failed = mount(Greeting::new(), &at);
    fs::rename(aside, DEVICE).context("putting the device back")?;
    ensure!(meta.permissions().mode() & 0o666 == 0o666, "the device is not open to everybody");
    let Err(error) = failed else { bail!("mounting without a device worked") };
    let error = format!("{error:#}");
    ensure!(error.contains("opening /dev/fuse: No such file or directory"), "unclear: {error}");
    ensure!(error.contains("modprobe fuse"), "it says not what to do: {error}");
    drop(mount(Greeting::new(), &at).context("mounting with the device back")?);
    Ok(())
}

fn module_in_use() -> Result<()> {
    let plan = Plan::read()?;
    let Some(file) = plan.modules.iter().find(|path| path.ends_with("/fuse.ko")) else {
        return Err(Skip("fuse is built into this kernel, not a module".to_owned()).into());
    };
    // Modules that stand on fuse hold it, too.
    unload_users_of_fuse();
    let control = "/sys/fs/fuse/connections";
    nix::mount::umount(control).with_context(|| format!("unmounting {control}"))?;
    let at = mountpoint("mount")?;
    let mut mounted = mount(Greeting::new(), &at)?;
    let refused = modules::unload("fuse");
    ensure!(refused == Err(Errno::EWOULDBLOCK), "unloading while mounted: {refused:?}");
    check_greeting(&at)?;
    mounted.unmount()?;
    drop(mounted);
    modules::unload("fuse").context("unloading with nothing mounted")?;
    let gone = mount(Greeting::new(), &at);
    modules::load(Path::new(file))?;
    init::prepare_fuse()?;
    let Err(error) = gone else { bail!("mounting without the module worked") };
    let error = format!("{error:#}");
    ensure!(error.contains("modprobe fuse"), "it says not what to do: {error}");
    let mut mounted = mount(Greeting::new(), &at).context("mounting with the module back")?;
    check_greeting(&at)?;
    mounted.unmount()?;
    plan.modules.iter().try_for_each(|module| modules::load(Path::new(module)))
}

fn unload_users_of_fuse() {
    for module in ["cuse", "virtiofs"] {
        // Some kernels have neither.
        let _ = modules::unload(module);
    }
}

fn virtiofs() -> Result<()> {
    let known = fs::read_to_string("/proc/filesystems").context("reading /proc/filesystems")?;
    if !known.lines().any(|line| line.ends_with("\tvirtiofs")) {
        return Err(Skip("this kernel has no virtio-fs".to_owned()).into());
    }
    let at = mountpoint("mount")?;
    let nothing = nix::mount::MsFlags::empty();
    let refused = nix::mount::mount(Some("no-such-tag"), &at, Some("virtiofs"), nothing, None::<&str>);
    ensure!(refused == Err(Errno::EINVAL), "mounting a tag that nobody serves: {refused:?}");
    Ok(fs::remove_dir(&at)?)
}

fn abort() -> Result<()> {
    let at = mountpoint("mount")?;
    let (filesystem, keeper) = Greeting::gated();
    let mut mounted = mount(filesystem, &at)?;
    check_greeting(&at)?;
    let caller = std::thread::spawn({
        let path = at.join("never");
        move || fs::metadata(path).err().and_then(|error| error.raw_os_error())
    });
    keeper.entered.recv().context("waiting for the lookup")?;
    let connections = fs::read_dir("/sys/fs/fuse/connections").context("listing connections")?;
    let [connection] = connections.collect::<Result<Vec<_>, _>>()?.try_into().map_err(|found| anyhow!("{found:?}"))?;
    fs::write(connection.path().join("abort"), "1").context("aborting")?;
    let seen = caller.join().map_err(|_| anyhow!("the caller panicked"))?;
    ensure!(seen == Some(libc::ECONNABORTED), "the waiting caller got {seen:?}");
    let seen = fs::metadata(at.join("greeting")).err().and_then(|error| error.raw_os_error());
    ensure!(seen == Some(libc::ENOTCONN), "a later caller got {seen:?}");
    drop(keeper);
    mounted.wait().context("the end of the session")?;
    Ok(())
}

fn thousand_mounts() -> Result<()> {
    let above = mountpoint("many")?;
    let options = MountOptions::new().subtype("greeting");
    let config = SessionConfig::default().workers(Workers::single());
    // Each mount has a few files open.
    setrlimit(Resource::RLIMIT_NOFILE, 16_384, 16_384).context("allowing many open files")?;
    let before = open_files()?;
    let mut mounts = Vec::new();
    for number in 0..MANY {
        let at = above.join(number.to_string());
        fs::create_dir(&at).with_context(|| format!("creating {}", at.display()))?;
        let mounted = fusewire::mount(Greeting::new(), &at, &options, config);
        mounts.push(mounted.with_context(|| format!("mount {number}"))?);
    }
    for number in 0..MANY {
        check_greeting(&above.join(number.to_string())).with_context(|| format!("mount {number}"))?;
    }
    for (number, mut mounted) in mounts.into_iter().enumerate() {
        mounted.unmount().with_context(|| format!("mount {number}"))?;
    }
    let after = open_files()?;
    ensure!(after == before, "{before} files were open before, {after} after");
    Ok(())
}

fn open_files() -> Result<usize> {
    Ok(fs::read_dir("/proc/self/fd").context("listing open files")?.count())
}

/// Holds so much memory that the file does not fit into what is left, and reads the file from both ends.
fn memory_pressure() -> Result<()> {
    let at = mountpoint("mount")?;
    let mounted = mount(Greeting::new(), &at)?;
    let available = meminfo("MemAvailable:")?;
    let leave = 64 << 20;
    ensure!(available > leave, "this guest has only {available} bytes to begin with");
    let hold = usize::try_from(available - leave).context("counting memory")?;
    let held = vec![1_u8; hold];
    let mut sum = 0_u64;
    let mut file = File::open(at.join("large")).context("opening the large file")?;
    let mut chunk = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < LARGE {
        file.read_exact(&mut chunk).with_context(|| format!("reading at {offset}"))?;
        check_bytes(&chunk, offset)?;
        // Backwards too, by random access, a page each.
        let back = LARGE - offset - 4096;
        let mut page = [0; 4096];
        file.read_exact_at(&mut page, back).with_context(|| format!("reading at {back}"))?;
        check_bytes(&page, back)?;
        offset += 1 << 20;
        sum += u64::from(held.get(usize::try_from(offset)? % hold).copied().unwrap_or_default());
    }
    ensure!(sum == LARGE >> 20, "the memory that was held has changed");
    drop((held, file, mounted));
    Ok(())
}

fn check_bytes(bytes: &[u8], from: u64) -> Result<()> {
    for (offset, byte) in (from..).zip(bytes) {
        ensure!(*byte == byte_at(offset), "the byte at {offset} is wrong");
    }
    Ok(())
}

/// A field of `/proc/meminfo`, in bytes.
fn meminfo(field: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()).context("looking into /proc/meminfo")?;
    Ok(kibibytes.parse::<u64>().context("reading /proc/meminfo")? << 10)
}

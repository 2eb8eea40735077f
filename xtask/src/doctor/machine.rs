//! What the checks look at: files below a root, the user's powers, and the answers of a few commands.
//! The root is `/`, or a made-up tree in the tests of the checks. It judges nothing.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use xshell::{Shell, cmd};

use super::probe::{self, Offer};
use crate::vm::qemu;
use crate::workspace::find_program;

/// Bit of CAP_SYS_ADMIN in `/proc/self/status`, `linux/capability.h`.
const CAP_SYS_ADMIN: u32 = 21;
/// Programs that suites run and that packages of the distribution have.
const PROGRAMS: &[&str] = &["fio", "git", "mkfs.ext4", "sqlite3", "stress-ng"];

/// The machine under examination.
pub(super) struct Machine {
    root: PathBuf,
    /// The effective user.
    pub(super) uid: u32,
    /// Where `fusermount3` is, as the PATH finds it.
    pub(super) fusermount: Option<PathBuf>,
    /// The answer of `fusermount3 --version`.
    pub(super) fusermount_version: Option<String>,
    /// Whether `unshare -Urm` works; else what it said.
    pub(super) namespace: Result<(), String>,
    /// What the kernel offers in INIT; else why it could not be asked.
    pub(super) offer: Result<Offer, String>,
    /// Whether the probe was mounted by this user directly, outside any namespace made for it.
    pub(super) mounts_directly: bool,
    /// Whether `cargo nextest` is installed.
    pub(super) nextest: bool,
    /// Where the emulator for guests is.
    pub(super) qemu: Option<PathBuf>,
    /// Where programs are that suites run.
    pub(super) programs: Vec<PathBuf>,
    /// Whether Debian's packages can be fetched and unpacked.
    pub(super) packages: bool,
}

/// A module of the kernel, as far as files tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Module {
    BuiltIn,
    Loaded,
    /// The file is below `/lib/modules` but the module is not loaded.
    Available,
    Absent,
}

impl Module {
    /// For people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::BuiltIn => "in the kernel",
            Self::Loaded => "a module, loaded",
            Self::Available => "a module, not loaded",
            Self::Absent => "absent",
        }
    }
}

impl Machine {
    /// This machine. Asks the kernel and a few commands, and changes nothing.
    pub(super) fn here() -> Self {
        let fusermount = find_program("fusermount3");
        let namespace = try_namespace();
        let direct = probe::ask().map_err(|error| format!("{error:#}"));
        let mounts_directly = direct.is_ok();
        let offer = match direct {
            Err(_) if namespace.is_ok() => probe_in_namespace(),
            direct => direct,
        };
        Self {
            root: PathBuf::from("/"),
            uid: nix::unistd::geteuid().as_raw(),
            fusermount_version: fusermount.as_deref().and_then(version_of),
            fusermount,
            namespace,
            offer,
            mounts_directly,
            nextest: find_program("cargo-nextest").is_some(),
            qemu: find_program(qemu::PROGRAM),
            programs: PROGRAMS.iter().filter_map(|name| find_program(name)).collect(),
            packages: find_program("apt-get").is_some() && find_program("dpkg-deb").is_some(),
        }
    }

    /// A made-up machine: an ordinary user, nothing installed, nothing allowed.
    #[cfg(test)]
    pub(super) fn bare(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            uid: 1000,
            fusermount: None,
            fusermount_version: None,
            namespace: Err("unshare failed: Operation not permitted".to_owned()),
            offer: Err("opening /dev/fuse: No such file or directory (os error 2)".to_owned()),
            mounts_directly: false,
            nextest: false,
            qemu: None,
            programs: Vec::new(),
            packages: false,
        }
    }

    /// A file below the root; empty when it cannot be read.
    pub(super) fn text(&self, path: &str) -> String {
        fs::read(self.path(path)).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The path below the root of an absolute path.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Whether `/proc/filesystems` lists it.
    pub(super) fn knows_filesystem(&self, name: &str) -> bool {
        self.text("/proc/filesystems").lines().any(|line| line.split_whitespace().last() == Some(name))
    }

    /// Looks for a module: loaded, built in, or a file below `/lib/modules`.
    pub(super) fn module(&self, name: &str) -> Module {
        let loaded = self.text("/proc/modules");
        if loaded.lines().any(|line| line.split_whitespace().next() == Some(name)) {
            return Module::Loaded;
        }
        // Without being a module it can only be there if it is built in.
        if self.knows_filesystem(name) || self.device_mode(&format!("/dev/{name}")).is_ok_and(|_| name == "cuse") {
            return Module::BuiltIn;
        }
        let release = self.text("/proc/sys/kernel/osrelease");
        let modules = format!("/lib/modules/{}", release.trim());
        let file = format!("/{name}.ko");
        let builtin = self.text(&format!("{modules}/modules.builtin"));
        if builtin.lines().any(|line| line.ends_with(&file)) {
            return Module::BuiltIn;
        }
        let listed = self.text(&format!("{modules}/modules.dep"));
        let here = |line: &str| {
            line.split_once(':').is_some_and(|(path, _)| path.trim_end_matches(is_packed).ends_with(&file))
        };
        if listed.lines().any(here) { Module::Available } else { Module::Absent }
    }

    /// Whether this user has CAP_SYS_ADMIN in the first user namespace, which passthrough asks for.
    pub(super) fn is_host_admin(&self) -> bool {
        let status = self.text("/proc/self/status");
        let effective = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
            .unwrap_or_default();
        let map = self.text("/proc/self/uid_map");
        let whole = map.split_whitespace().eq(["0", "0", "4294967295"]);
        whole && effective & (1 << CAP_SYS_ADMIN) != 0
    }

    /// Permission bits of a character device, or why there is none.
    pub(super) fn device_mode(&self, path: &str) -> Result<u32, String> {
        match fs::metadata(self.path(path)) {
            Ok(meta) if meta.file_type().is_char_device() => Ok(meta.mode() & 0o7777),
            Ok(_) => Err(format!("{path} is not a character device")),
            Err(error) => Err(format!("{path}: {error}")),
        }
    }
}

/// Strips what `.ko.xz`, `.ko.zst` and `.ko.gz` have after `.ko`.
fn is_packed(character: char) -> bool {
    matches!(character, '.' | 'x' | 'z' | 's' | 't' | 'g')
}

fn version_of(fusermount: &Path) -> Option<String> {
    let shell = Shell::new().ok()?;
    let answer = cmd!(shell, "{fusermount} --version").quiet().ignore_stderr().read().ok()?;
    answer.split_whitespace().last().map(str::to_owned)
}

fn try_namespace() -> Result<(), String> {
    let shell = Shell::new().map_err(|error| error.to_string())?;
    let output =
        cmd!(shell, "unshare -Urm true").quiet().ignore_status().output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Asks in a namespace of its own, in a child, because a process that is in one cannot leave it again.
fn probe_in_namespace() -> Result<Offer, String> {
    let shell = Shell::new().map_err(|error| error.to_string())?;
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = cmd!(shell, "unshare -Urm {this} doctor --probe")
        .quiet()
        .ignore_status()
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(said.trim().trim_start_matches("error: ").to_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

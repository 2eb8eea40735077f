//! What a guest finds on its root: busybox, the helper that users mount with, modules, test binaries, programs. The files
//! are gathered once; each boot appends its plan.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use super::build::{Built, TESTS};
use super::cpio::Archive;
use super::kernel::Kernel;
use super::module::{Module, Modules};
use super::package::Apt;
use super::plan::{self, Plan};
use crate::workspace::find_program;

/// Modules without which there is nothing to test.
const NEEDED: &[&str] = &["fuse"];
/// Modules for disks, loop devices and what else stands on fuse, which a kernel may lack.
const WANTED: &[&str] = &["ext4", "virtio_pci", "virtio_blk", "loop", "cuse", "virtiofs"];

const HELPER: &str = "fusermount3";
/// Programs that cases run and of which busybox's form cannot do enough: name, place in the guest, mode. Those that this
/// machine lacks are left to busybox.
const TOOLS: &[(&str, &str, u32)] = &[
    ("id", "/usr/bin/id", 0o755),
    ("losetup", "/usr/bin/losetup", 0o755),
    ("mount", "/usr/bin/mount", 0o4755),
    ("umount", "/usr/bin/umount", 0o4755),
    ("unshare", "/usr/bin/unshare", 0o755),
    ("mount.fuse3", "/sbin/mount.fuse3", 0o755),
];
const FILES: &[(&str, &str)] = &[
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nfusewire-test:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    ),
    ("/etc/group", "root:x:0:\nfusewire-test:x:1000:\nnogroup:x:65534:\n"),
    ("/etc/fuse.conf", "user_allow_other\n"),
];

/// The part that every boot of a run shares.
pub(super) struct Initramfs {
    bytes: Vec<u8>,
    modules: Vec<String>,
    links: Vec<(String, String)>,
}

impl Initramfs {
    /// Gathers everything, with the modules of a kernel in the order of loading.
    pub(super) fn gather(store: &Path, modules: &[Module], built: &Built) -> Result<Self> {
        let mut archive = Archive::default();
        for (path, text) in FILES {
            archive.file(path, 0o644, text.as_bytes());
        }
        for path in ["/proc", "/sys", "/dev", "/run", "/root", "/mnt", "/usr/sbin", "/sbin", "/usr/local/bin"] {
            archive.directory(path, 0o755);
        }
        archive.directory("/tmp", 0o1777);
        // Before devtmpfs is mounted, process 1 needs something to complain to.
        archive.device("/dev/console", 0o600, 5, 1);
        add_busybox(&mut archive, store)?;
        add_helper(&mut archive, store)?;
        for (name, place, mode) in TOOLS {
            if let Some(file) = find_program(name).or_else(|| find_in_sbin(name)) {
                add_program(&mut archive, &file, place, *mode)?;
            }
        }
        archive.symlink("/sbin/mount.fuse", "mount.fuse3");
        let mut paths = Vec::new();
        for Module { name, content } in modules {
            let path = format!("/modules/{name}.ko");
            archive.file(&path, 0o644, content);
            paths.push(path);
        }
        archive.file("/init", 0o755, &read(&built.guest)?);
        let mut links = Vec::new();
        for program in &built.programs {
            let place = format!("/usr/bin/{}", program.file_name().unwrap_or_default().to_string_lossy());
            archive.file(&place, 0o755, &read(program)?);
            links.push((program.display().to_string(), place));
        }
        for test in &built.tests {
            archive.file(&format!("{TESTS}/{}", test.name), 0o755, &read(&test.file)?);
        }
        Ok(Self { bytes: archive.finish(), modules: paths, links })
    }

    /// Writes the initramfs of one boot, with what it needs more than others.
    pub(super) fn write(&self, file: &Path, plan: &Plan, mut more: Archive) -> Result<()> {
        let plan = Plan { modules: self.modules.clone(), links: self.links.clone(), ..plan.clone() };
        more.file(plan::FILE, 0o644, plan.text().as_bytes());
        let mut bytes = self.bytes.clone();
        bytes.extend(more.finish());
        fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
    }
}

/// The static busybox, from this machine or from its package, with a link for each applet.
fn add_busybox(archive: &mut Archive, store: &Path) -> Result<()> {
    let shell = Shell::new().context("starting a shell")?;
    let installed = find_program("busybox").filter(|file| libraries(&shell, file).is_ok_and(|found| found.is_empty()));
    let file = match installed {
        Some(file) => file,
        None => {
            let package = Apt::of_machine().unpacked(store, "busybox-static")?;
            let places = ["bin/busybox", "usr/bin/busybox"].map(|place| package.join(place));
            places.into_iter().find(|place| place.is_file()).context("the package busybox-static has no busybox")?
        }
    };
    archive.file("/bin/busybox", 0o755, &read(&file)?);
    let applets = cmd!(shell, "{file} --list").quiet().read()?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        archive.symlink(&format!("/bin/{applet}"), "busybox");
    }
    Ok(())
}

/// The setuid helper with the libraries that it needs.
fn add_helper(archive: &mut Archive, store: &Path) -> Result<()> {
    let file = match find_program(HELPER) {
        Some(file) => file,
        None => {
            let package = Apt::of_machine().unpacked(store, "fuse3")?;
            let places = ["bin", "usr/bin"].map(|place| package.join(place).join(HELPER));
            places.into_iter().find(|place| place.is_file()).context("the package fuse3 has no fusermount3")?
        }
    };
    add_program(archive, &file, &format!("/usr/bin/{HELPER}"), 0o4755)
}

/// A program with the libraries that it needs.
pub(super) fn add_program(archive: &mut Archive, file: &Path, place: &str, mode: u32) -> Result<()> {
    archive.file(place, mode, &read(file)?);
    let shell = Shell::new().context("starting a shell")?;
    for library in libraries(&shell, file)? {
        archive.file(&library, 0o755, &read(Path::new(&library))?);
    }
    Ok(())
}

/// Ordinary users do not have these directories on their PATH.
fn find_in_sbin(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/sbin"].map(|directory| Path::new(directory).join(name)).into_iter().find(|file| file.is_file())
}

/// The absolute paths that `ldd` tells; none for a static program.
fn libraries(shell: &Shell, program: &Path) -> Result<Vec<String>> {
    let output = cmd!(shell, "ldd {program}").quiet().ignore_status().ignore_stderr().read()?;
    Ok(paths_of_ldd(&output))
}

/// `libc.so.6 => /lib/libc.so.6 (0x1)` and `/lib64/ld.so (0x2)`.
fn paths_of_ldd(output: &str) -> Vec<String> {
    output.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':')).map(str::to_owned).collect()
}

/// What a guest with this kernel loads.
pub(super) fn modules(kernel: &Kernel) -> Result<Vec<Module>> {
    let modules = Modules::find(&kernel.modules)?;
    let wanted = WANTED.iter().filter(|name| modules.has(name));
    let names: Vec<&str> = NEEDED.iter().chain(wanted).copied().collect();
    modules.with_needs(&names).with_context(|| format!("kernel {}", kernel.release))
}

fn read(file: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    ensure!(!bytes.is_empty(), "reading {}: it is empty", file.display());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_that_ldd_tells() {
        let output = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        assert_eq!(paths_of_ldd(output), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
        assert!(paths_of_ldd("\tnot a dynamic executable\n").is_empty());
    }

    #[test]
    fn full_disk_is_one_line_that_names_the_file() {
        let initramfs = Initramfs { bytes: vec![0; 4096], modules: Vec::new(), links: Vec::new() };
        let error =
            format!("{:#}", initramfs.write(Path::new("/dev/full"), &Plan::default(), Archive::default()).unwrap_err());
        assert_eq!(error, "writing /dev/full: No space left on device (os error 28)");
    }
}

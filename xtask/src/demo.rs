//! `cargo xtask demo`: installs what a mount needs, mounts the tutorial filesystem in a temporary directory, shows it
//! at work and unmounts it. It tests nothing; `cargo xtask test` does.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use crate::doctor;
use crate::workspace::{self, Metadata, find_program};

/// Flags of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// The filesystem that is shown.
const FILESYSTEM: &str = "hellofs";
const HELPER: &str = "fusermount3";

/// Unmounts on drop, so that an error on the way leaves nothing mounted.
struct Mounted<'a> {
    shell: &'a Shell,
    mountpoint: &'a Path,
}

/// Runs the command.
pub(crate) fn run(_: &Args) -> Result<ExitCode> {
    let shell = workspace::shell()?;
    install_helper(&shell)?;
    let findings = doctor::examine();
    let mount = findings.find("mount")?;
    ensure!(mount.met(), "this user cannot mount here: {}", mount.complaint());

    println!("building {FILESYSTEM}");
    cmd!(shell, "cargo build --package {FILESYSTEM}").run()?;
    let binary = Metadata::read(&shell)?.binaries().join(FILESYSTEM);

    let dir = tempfile::tempdir().context("creating a mountpoint")?;
    let mountpoint = dir.path();
    println!("\nmounting it on {}", mountpoint.display());
    cmd!(shell, "{binary} {mountpoint}").run()?;
    ensure!(is_mounted(mountpoint)?, "{FILESYSTEM} ended well, but nothing is mounted on {}", mountpoint.display());
    let mounted = Mounted { shell: &shell, mountpoint };
    show(&shell, mountpoint)?;
    println!("\nunmounting it");
    mounted.unmount()?;
    println!("\nA Rust daemon answered the kernel for each of these commands.");
    Ok(ExitCode::SUCCESS)
}

fn show(shell: &Shell, mountpoint: &Path) -> Result<()> {
    cmd!(shell, "ls -la {mountpoint}").run()?;
    let listed = fs::read_dir(mountpoint).with_context(|| format!("listing {}", mountpoint.display()))?;
    for entry in listed {
        let file = entry.with_context(|| format!("listing {}", mountpoint.display()))?.path();
        if file.is_file() {
            cmd!(shell, "cat {file}").run()?;
        }
    }
    Ok(())
}

/// Without root and in no user namespace, `fusermount3` is the way to mount.
fn install_helper(shell: &Shell) -> Result<()> {
    if find_program(HELPER).is_some() {
        return Ok(());
    }
    let install = "apt-get install --yes fuse3";
    if !nix::unistd::geteuid().is_root() {
        bail!("{HELPER} is missing; install it: sudo {install}");
    }
    ensure!(find_program("apt-get").is_some(), "{HELPER} is missing; install your distribution's fuse3 package");
    println!("{HELPER} is missing; installing Debian's package fuse3");
    let _quiet = shell.push_env("DEBIAN_FRONTEND", "noninteractive");
    cmd!(shell, "apt-get update").run()?;
    cmd!(shell, "apt-get install --yes fuse3").run()?;
    Ok(())
}

fn is_mounted(mountpoint: &Path) -> Result<bool> {
    let at = mountpoint.canonicalize().with_context(|| format!("resolving {}", mountpoint.display()))?;
    let mounts = fs::read_to_string("/proc/self/mounts").context("reading /proc/self/mounts")?;
    Ok(mounts.lines().any(|line| line.split(' ').nth(1).is_some_and(|field| Path::new(field) == at)))
}

impl Mounted<'_> {
    fn unmount(self) -> Result<()> {
        let mountpoint = self.mountpoint;
        let result = if nix::unistd::geteuid().is_root() {
            cmd!(self.shell, "umount {mountpoint}").run()
        } else {
            cmd!(self.shell, "fusermount3 -u {mountpoint}").run()
        };
        result?;
        ensure!(!is_mounted(mountpoint)?, "{} is still mounted", mountpoint.display());
        Ok(())
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let mountpoint = self.mountpoint;
        if !is_mounted(mountpoint).unwrap_or(true) {
            return;
        }
        let lazily = if nix::unistd::geteuid().is_root() {
            cmd!(self.shell, "umount -l {mountpoint}")
        } else {
            cmd!(self.shell, "fusermount3 -u -z {mountpoint}")
        };
        if let Err(error) = lazily.run() {
            eprintln!("warning: unmounting {}: {error}", mountpoint.display());
        }
    }
}

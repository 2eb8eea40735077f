//! Runs a guest in QEMU: its command line, whether KVM can be used, its end in every case. It knows nothing of tests.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::kernel::Kernel;
use super::work;
use crate::workspace::find_program;

/// The emulator for x86.
pub(crate) const PROGRAM: &str = "qemu-system-x86_64";
/// How long a kernel may take with KVM until it says something. Where KVM exists and hangs, it never does.
const PROBE: Duration = Duration::from_secs(4);
/// Ends a child when its parent is killed.
const GUARD: &str = "setpriv";

/// How the processor is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accelerator {
    Kvm,
    Emulation,
}

impl Accelerator {
    fn option(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Emulation => "tcg",
        }
    }
}

/// What a guest consists of.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) initramfs: &'a Path,
    pub(super) accelerator: Accelerator,
    /// In MiB.
    pub(super) memory: u32,
    /// A raw image, in the guest `/dev/vda`.
    pub(super) disk: Option<&'a Path>,
}

/// A running guest. It is killed on drop.
pub(super) struct Guest {
    child: Child,
}

impl Machine<'_> {
    /// Boots with the console in a file; the second serial port is what comes out.
    pub(super) fn boot(&self, console: &Path) -> Result<(Guest, ChildStdout)> {
        let mut command = self.command();
        command.arg("-serial").arg(format!("file:{}", console.display())).args(["-serial", "stdio"]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {PROGRAM}"))?;
        let output = child.stdout.take().with_context(|| format!("reading from {PROGRAM}: it has no output"))?;
        Ok((Guest { child }, output))
    }

    /// Boots with the console on this terminal, until the guest ends.
    pub(super) fn boot_here(&self) -> Result<ExitStatus> {
        let mut command = self.command();
        command.args(["-serial", "mon:stdio"]).status().with_context(|| format!("starting {PROGRAM}"))
    }

    fn command(&self) -> Command {
        let mut command = guarded();
        command.args(["-accel", self.accelerator.option()]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot", "-smp", "1"]);
        command.arg("-m").arg(self.memory.to_string());
        command.arg("-kernel").arg(&self.kernel.image).arg("-initrd").arg(self.initramfs);
        // Emulated on a busy machine, the timer is late for the kernel's check of it, which then panics.
        command.args(["-append", "console=ttyS0 panic=-1 no_timer_check"]);
        if let Some(disk) = self.disk {
            // A full disk of the host is an error in the guest, where it would stop the machine.
            let errors = "werror=report,rerror=report";
            command
                .arg("-drive")
                .arg(format!("file={},format=raw,if=none,id=disk,cache=writeback,{errors}", disk.display()));
            command.args(["-device", "virtio-blk-pci,drive=disk"]);
        }
        command
    }
}

impl Guest {
    /// Takes the power away.
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end, and tells what QEMU complained of.
    pub(super) fn end(&mut self) -> Result<Option<String>> {
        use std::io::Read;
        let status = self.child.wait().with_context(|| format!("waiting for {PROGRAM}"))?;
        let mut said = String::new();
        if let Some(errors) = &mut self.child.stderr {
            errors.read_to_string(&mut said).with_context(|| format!("reading from {PROGRAM}"))?;
        }
        if status.success() || status.signal().is_some() {
            return Ok(None);
        }
        Ok(Some(format!("{PROGRAM}: {status}: {}", said.trim().replace('\n', "; "))))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
    }
}

fn guarded() -> Command {
    if find_program(GUARD).is_none() {
        return Command::new(PROGRAM);
    }
    let mut command = Command::new(GUARD);
    command.args(["--pdeathsig", "KILL", PROGRAM]);
    command
}

/// Whether KVM works: the device is there, and a kernel says something within [`PROBE`]. The answer is kept in `store`
/// until this machine boots again.
pub(super) fn accelerator(store: &Path, kernel: &Kernel) -> Accelerator {
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Accelerator::Emulation;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let note = store.join("kvm-probe");
    let known = fs::read_to_string(&note).unwrap_or_default();
    let works = match known.strip_prefix(&boot).map(str::trim) {
        Some("works") => true,
        Some("hangs") => false,
        _ => {
            eprintln!("probing KVM, {} s at most", PROBE.as_secs());
            let works = speaks_with_kvm(store, kernel).unwrap_or(false);
            // Without the note the probe runs again next time.
            let _ = fs::write(&note, format!("{boot}{}\n", if works { "works" } else { "hangs" }));
            works
        }
    };
    if works { Accelerator::Kvm } else { Accelerator::Emulation }
}

/// Boots the kernel with nothing else, which lets it panic soon, and looks for a word of it.
fn speaks_with_kvm(store: &Path, kernel: &Kernel) -> Result<bool> {
    let work = work::directory(store)?;
    let console: PathBuf = work.path().join("console");
    let child = guarded()
        .args(["-accel", "kvm", "-nodefaults", "-display", "none", "-no-reboot", "-m", "256", "-serial"])
        .arg(format!("file:{}", console.display()))
        .arg("-kernel")
        .arg(&kernel.image)
        .args(["-append", "console=ttyS0 panic=-1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {PROGRAM}"))?;
    let mut guest = Guest { child };
    let end = Instant::now() + PROBE;
    while Instant::now() < end {
        let said = fs::read(&console).unwrap_or_default();
        if String::from_utf8_lossy(&said).contains("Kernel panic") {
            return Ok(true);
        }
        if guest.child.try_wait().context("waiting for a probe")?.is_some() {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}

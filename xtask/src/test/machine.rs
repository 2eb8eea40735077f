//! Makes a root's machine ready for cases that run as an ordinary user, or over io_uring. It does so only in CI or when asked.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace;

/// The ordinary user that root's tests mount as.
pub(crate) const TEST_USER: &str = "fusewire-test";

/// Whether FUSE may use io_uring.
const URING_SWITCH: &str = "/sys/module/fuse/parameters/enable_uring";

/// Creates the test user, opens `/dev/fuse` to users and lets FUSE use io_uring, if we are root and may.
pub(super) fn prepare(shell: &Shell, asked: bool) -> Result<()> {
    let root = nix::unistd::geteuid().is_root();
    ensure!(root || !asked, "--create-user: creating a user needs root");
    if !root || !(asked || workspace::in_ci()) {
        return Ok(());
    }
    let known = nix::unistd::User::from_name(TEST_USER).with_context(|| format!("looking up the user {TEST_USER}"))?;
    if known.is_none() {
        cmd!(shell, "useradd --system --create-home --shell /bin/sh {TEST_USER}").run()?;
    }
    let device = "/dev/fuse";
    // Without the device there is nothing to open; the suite's needs tell so.
    if let Ok(meta) = fs::metadata(device) {
        let mut permissions = meta.permissions();
        if permissions.mode() & 0o666 != 0o666 {
            permissions.set_mode(0o666);
            fs::set_permissions(device, permissions).with_context(|| format!("making {device} mode 0666"))?;
        }
    }
    // A kernel without rings for FUSE has no such switch; the needs of cases tell so.
    if let Ok(value) = fs::read_to_string(URING_SWITCH)
        && value.trim() != "Y"
    {
        fs::write(URING_SWITCH, "Y").with_context(|| format!("writing Y to {URING_SWITCH}"))?;
    }
    Ok(())
}

//! Asks the guest's kernel what it offers: mounts a FUSE filesystem that nobody can see and reads the INIT request.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::mount::{FsOpenFlags, fsconfig_create, fsconfig_set_string, fsopen};

use crate::init::DEVICE;

/// What the kernel puts into INIT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The protocol's minor version.
    pub(crate) minor: u32,
    /// The flags, both words of them.
    pub(crate) flags: u64,
}

/// Asks. Nothing is left mounted.
pub(crate) fn ask() -> Result<Offer> {
    let mut device =
        File::options().read(true).write(true).open(DEVICE).with_context(|| format!("opening {DEVICE}"))?;
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).context("fsopen of fuse")?;
    let fd = device.as_raw_fd().to_string();
    let options = [("fd", fd.as_str()), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")];
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), key, value).with_context(|| format!("setting {key} on a fuse mount"))?;
    }
    fsconfig_create(context.as_fd()).context("creating a fuse mount")?;
    let mut asked = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
    ensure!(poll(&mut asked, PollTimeout::from(5000_u16))? > 0, "the kernel sent no INIT within 5 s");
    let mut request = vec![0; 16 * 1024];
    let length = device.read(&mut request).context("reading INIT")?;
    parse(request.get(..length).unwrap_or_default())
}

/// After `fuse_in_header`: major, minor, max_readahead, flags, flags2.
fn parse(request: &[u8]) -> Result<Offer> {
    let word = |offset: usize| {
        let bytes = request.get(offset..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map(|bytes| u32::from_ne_bytes(*bytes)).context("INIT is cut short")
    };
    let high = word(56).unwrap_or_default();
    Ok(Offer { minor: word(44)?, flags: u64::from(word(52)?) | u64::from(high) << 32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn init_tells_minor_and_flags() {
        let mut request = vec![0; 40];
        request.extend([7_u32, 38, 0, 5, 2].into_iter().flat_map(u32::to_ne_bytes));
        assert_eq!(parse(&request).unwrap(), Offer { minor: 38, flags: 2 << 32 | 5 });
        assert!(parse(&request[..52]).is_err());
    }
}

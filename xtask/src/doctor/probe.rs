//! Asks the kernel what it offers: mounts a FUSE filesystem that nobody can see, reads the INIT request and lets go.
//! It answers nothing and attaches nothing to the tree of mounts, so that there is nothing to clean up.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::mount::{FsOpenFlags, fsconfig_create, fsconfig_set_string, fsopen};
use serde::{Deserialize, Serialize};

/// What the kernel puts into INIT.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Offer {
    /// The protocol's major version; 7 since 2005.
    pub(crate) major: u32,
    /// The protocol's minor version.
    pub(crate) minor: u32,
    /// The flags that it offers, both words of them.
    pub(crate) flags: u64,
}

/// INIT flag `FUSE_PASSTHROUGH`, `linux/fuse.h` 7.40.
const PASSTHROUGH: u64 = 1 << 37;
/// INIT flag `FUSE_OVER_IO_URING`, `linux/fuse.h` 7.42.
const OVER_IO_URING: u64 = 1 << 41;

const OPCODE_INIT: u32 = 26;
/// The kernel refuses a read with a buffer smaller than 8192 bytes (`FUSE_MIN_READ_BUFFER`).
const BUFFER: usize = 16 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);

impl Offer {
    /// Whether file data may bypass the daemon.
    pub(crate) fn passthrough(self) -> bool {
        self.flags & PASSTHROUGH != 0
    }

    /// Whether requests may come over io_uring.
    pub(crate) fn io_uring(self) -> bool {
        self.flags & OVER_IO_URING != 0
    }

    /// Reads the INIT request: `fuse_in_header`, then `fuse_init_in`, which has a second word of flags since 7.36.
    fn parse(request: &[u8]) -> Result<Self> {
        let opcode = word(request, 4)?;
        ensure!(opcode == OPCODE_INIT, "the first request is opcode {opcode} and not INIT");
        let high = word(request, 56).unwrap_or(0);
        Ok(Self {
            major: word(request, 40)?,
            minor: word(request, 44)?,
            flags: u64::from(word(request, 52)?) | (u64::from(high) << 32),
        })
    }
}

/// Mounts a probe, detached, and reads what the kernel offers. Needs CAP_SYS_ADMIN in the mount namespace's owner.
pub(crate) fn ask() -> Result<Offer> {
    let mut device = File::options().read(true).write(true).open("/dev/fuse").context("opening /dev/fuse")?;
    let fs = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).context("fsopen of fuse")?;
    let options = [
        ("source", "fusewire-doctor".to_owned()),
        ("fd", device.as_raw_fd().to_string()),
        ("rootmode", "40000".to_owned()),
        ("user_id", nix::unistd::getuid().to_string()),
        ("group_id", nix::unistd::getgid().to_string()),
    ];
    for (key, value) in options {
        fsconfig_set_string(fs.as_fd(), key, value.as_str())
            .with_context(|| format!("setting {key}={value} on a fuse mount"))?;
    }
    fsconfig_create(fs.as_fd()).context("creating a detached fuse mount")?;

    let timeout = PollTimeout::try_from(PATIENCE).context("converting a time limit")?;
    let mut waiting = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
    let ready = nix::poll::poll(&mut waiting, timeout).context("waiting for INIT on /dev/fuse")?;
    ensure!(ready > 0, "the kernel sent no INIT within {} s", PATIENCE.as_secs());
    let mut buffer = vec![0; BUFFER];
    let length = device.read(&mut buffer).context("reading INIT from /dev/fuse")?;
    // The device goes first: that ends the connection, so that taking the mount down asks nobody.
    drop(device);
    drop(fs);
    Offer::parse(buffer.get(..length).unwrap_or_default())
}

fn word(request: &[u8], offset: usize) -> Result<u32> {
    request
        .get(offset..)
        .and_then(|rest| rest.first_chunk::<4>())
        .map(|bytes| u32::from_ne_bytes(*bytes))
        .with_context(|| format!("INIT is cut short at byte {}", request.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(words_after_header: &[u32]) -> Vec<u8> {
        let mut request = vec![0_u8; 40];
        request[4..8].copy_from_slice(&OPCODE_INIT.to_ne_bytes());
        request.extend(words_after_header.iter().flat_map(|word| word.to_ne_bytes()));
        request
    }

    #[test]
    fn long_init_has_both_words_of_flags() {
        let offer = Offer::parse(&init(&[7, 45, 131_072, 1, 1 << 9, 0])).unwrap();
        assert_eq!(offer, Offer { major: 7, minor: 45, flags: 1 | (1 << 41) });
        assert!(offer.io_uring() && !offer.passthrough());
    }

    #[test]
    fn short_init_of_an_old_kernel_is_read() {
        let offer = Offer::parse(&init(&[7, 31, 131_072, 1 << 5])).unwrap();
        assert_eq!(offer, Offer { major: 7, minor: 31, flags: 1 << 5 });
        assert!(!offer.io_uring() && !offer.passthrough());
    }

    #[test]
    fn truncated_init_is_an_error() {
        for length in 0..56 {
            assert!(Offer::parse(&init(&[7, 31, 0, 0])[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn another_opcode_is_an_error() {
        let error = Offer::parse(&[0; 64]).unwrap_err();
        assert!(error.to_string().contains("opcode 0"), "{error}");
    }
}

//! How large a filesystem may become and what its root is: the options of tmpfs, and how they are written.
//!
//! Words that every mount has, such as `ro`, are not known here.

use fusewire::{Gid, Uid};
use nix::sys::sysinfo::sysinfo;
use nix::unistd::{getegid, geteuid};

use crate::space::BLOCK;

/// When reading changes the access time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AccessTimes {
    /// When it is not newer than the last change, or a day old: `relatime`.
    #[default]
    Relative,
    /// Always: `strictatime`.
    Always,
    /// Never: `noatime`.
    Never,
}

/// What a filesystem is to be. The default is that of tmpfs: half of the machine's memory, an inode for each two pages of it, and
/// a root that everybody may use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The most bytes of data, in whole blocks of 4096; 0: no limit.
    pub size: u64,
    /// The most inodes; 0: no limit.
    pub inodes: u64,
    /// The permission bits of the root.
    pub mode: u32,
    /// The owner of the root.
    pub uid: Uid,
    /// The group of the root.
    pub gid: Gid,
    /// When reading changes the access time.
    pub access_times: AccessTimes,
}

/// An option that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading option {option}={value}: {reason}")]
pub struct OptionError {
    option: &'static str,
    value: String,
    reason: &'static str,
}

/// Bytes of memory that the machine has; 0 if that cannot be found out.
fn memory() -> u64 {
    sysinfo().map_or(0, |info| info.ram_total())
}

impl Default for Options {
    fn default() -> Self {
        let memory = memory();
        let uid = Uid(geteuid().as_raw());
        let gid = Gid(getegid().as_raw());
        let access_times = AccessTimes::default();
        Self { size: memory / 2, inodes: memory / BLOCK / 2, mode: 0o1777, uid, gid, access_times }
    }
}

impl Options {
    /// The options that `Options::set` knows.
    pub const NAMES: [&'static str; 5] = ["size", "nr_inodes", "mode", "uid", "gid"];

    /// Sets an option from its name and value, as `-o name=value` has them: `size` (bytes; `k`, `m`, `g`, `t` or `%` of the
    /// memory behind the number), `nr_inodes` (a number, with `k`, `m` or `g`), `mode` (octal), `uid` and `gid` (numbers). Returns
    /// whether there is an option with that name.
    ///
    /// # Errors
    /// The value makes no sense.
    pub fn set(&mut self, name: &str, value: &str) -> Result<bool, OptionError> {
        match name {
            "size" => self.size = parse_size(value)?,
            "nr_inodes" => self.inodes = parse_inodes(value)?,
            "mode" => self.mode = parse_mode(value)?,
            "uid" => self.uid = Uid(parse_id("uid", value)?),
            "gid" => self.gid = Gid(parse_id("gid", value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads a size: bytes, or with `k`, `m`, `g`, `t` behind the number that many powers of 1024; or with `%` a share of the
/// machine's memory.
///
/// # Errors
/// It is none, or too large for 64 bits.
pub fn parse_size(value: &str) -> Result<u64, OptionError> {
    let reason = "expected a number of bytes, such as 512m, 2g or 50% (of the memory)";
    let error = || OptionError { option: "size", value: value.to_owned(), reason };
    if let Some(percent) = value.strip_suffix('%') {
        let percent: u64 = digits(percent).ok_or_else(error)?;
        return memory().checked_mul(percent).map(|bytes| bytes / 100).ok_or_else(error);
    }
    with_suffix(value).ok_or_else(error)
}

/// Reads a number of inodes: a number, or with `k`, `m`, `g` behind it that many powers of 1024.
///
/// # Errors
/// It is none, or too large for 64 bits.
pub fn parse_inodes(value: &str) -> Result<u64, OptionError> {
    let reason = "expected a number, such as 10000 or 100k";
    with_suffix(value).ok_or_else(|| OptionError { option: "nr_inodes", value: value.to_owned(), reason })
}

/// Reads permission bits in octal.
///
/// # Errors
/// They are none, or more than the twelve bits there are.
pub fn parse_mode(value: &str) -> Result<u32, OptionError> {
    let octal = value.bytes().all(|byte| byte.is_ascii_digit());
    let mode = if octal { u32::from_str_radix(value, 8).ok() } else { None };
    let reason = "expected permissions in octal, such as 700 or 1777";
    let error = || OptionError { option: "mode", value: value.to_owned(), reason };
    mode.filter(|mode| *mode <= 0o7777).ok_or_else(error)
}

fn parse_id(option: &'static str, value: &str) -> Result<u32, OptionError> {
    // All ones stands for "no id" in system calls.
    let id = digits(value).and_then(|id| u32::try_from(id).ok()).filter(|id| *id != u32::MAX);
    id.ok_or_else(|| OptionError { option, value: value.to_owned(), reason: "expected a number" })
}

/// A number without a sign.
fn digits(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn with_suffix(text: &str) -> Option<u64> {
    let suffixes = [('k', 10), ('m', 20), ('g', 30), ('t', 40)];
    let last = text.chars().last()?.to_ascii_lowercase();
    match suffixes.into_iter().find(|(suffix, _)| *suffix == last) {
        Some((_, shift)) => digits(text.get(..text.len() - 1)?)?.checked_mul(1 << shift),
        None => digits(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_tmpfs_reads_them() {
        for (text, size) in [("0", 0), ("4096", 4096), ("1k", 1024), ("3M", 3 << 20), ("2g", 2 << 30), ("1t", 1 << 40)]
        {
            assert_eq!(parse_size(text), Ok(size), "{text}");
        }
        let half = parse_size("50%").expect("a share");
        assert_eq!(half, Options::default().size);
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in
            ["", "banana", "-1", "+1", "1.5g", "k", "%", "1kk", "1 k", "99999999999g", "99999999999999999999", "5€"]
        {
            let error = parse_size(text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("reading option size={text}: ")), "{error}");
        }
    }

    #[test]
    fn what_is_no_mode_or_id_is_refused() {
        for mode in ["", "-1", "8", "10000", "rwx", "+7", "0o7"] {
            assert!(parse_mode(mode).is_err(), "{mode}");
        }
        assert_eq!(parse_mode("01777"), Ok(0o1777));
        let mut options = Options::default();
        assert!(options.set("uid", "-1").is_err() && options.set("gid", "4294967295").is_err());
        assert_eq!(options.set("uid", "1000"), Ok(true));
        assert_eq!((options.uid, options.set("size2", "1")), (Uid(1000), Ok(false)));
    }
}

//! The `-o` options that mounting knows: one row an option, so that every command line means the same by them.
//!
//! Options of a filesystem itself, and the order in which a command line is read, are not its matter.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use thiserror::Error;

use super::error::one_line;
use super::options::{FLAGS, MountFlag, MountOptions};

/// Why an `-o` option cannot be taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionError {
    /// The option came without its value.
    #[error("reading option {option}: it needs a value; write {option}=VALUE")]
    NeedsValue {
        /// The option's name.
        option: &'static str,
    },
    /// The option came with a value that it does not take.
    #[error("reading option {option}: it takes no value; write {option} alone")]
    TakesNoValue {
        /// The option's name.
        option: &'static str,
    },
    /// The value is not a number of bytes.
    #[error("reading option {option}={value}: expected a number of bytes from 0 to {}", u32::MAX)]
    BadNumber {
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: String,
    },
    /// The option is one that mounting sets by itself.
    #[error("reading option {option}: it is set by the mount itself; leave it out")]
    Reserved {
        /// The option's name.
        option: &'static str,
    },
}

/// What an option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Source,
    Subtype,
    AllowOther,
    DefaultPermissions,
    AutoUnmount,
    MaxRead,
    /// Means something to mount(8) or fstab only.
    Ignored,
    /// As `Ignored`; the name is the beginning of many.
    IgnoredPrefix,
    Reserved,
}

/// An option besides the generic flags.
struct OptionRow {
    name: &'static str,
    effect: Effect,
    /// For users: how it is written and what it does. `None` if they need not know.
    help: Option<OptionHelp>,
}

/// How an option is written, and what it does: a line of a help text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptionHelp {
    /// `name`, `name=VALUE`, or the two words of a flag: `ro, rw`.
    pub form: &'static str,
    /// What it does, in a few words.
    pub help: &'static str,
}

const fn told(name: &'static str, effect: Effect, form: &'static str, help: &'static str) -> OptionRow {
    OptionRow { name, effect, help: Some(OptionHelp { form, help }) }
}

const fn quiet(name: &'static str, effect: Effect) -> OptionRow {
    OptionRow { name, effect, help: None }
}

/// The options besides the generic flags, which are the rows of `FLAGS`.
#[rustfmt::skip]
const OPTIONS: &[OptionRow] = &[
    told("fsname", Effect::Source, "fsname=TEXT", "the name in df and /proc/mounts"),
    told("subtype", Effect::Subtype, "subtype=TEXT", "the type: shown as fuse.TEXT"),
    told("allow_other", Effect::AllowOther, "allow_other", "let other users in, if /etc/fuse.conf allows it"),
    told("default_permissions", Effect::DefaultPermissions, "default_permissions", "let the kernel check permissions by mode and owner"),
    told("auto_unmount", Effect::AutoUnmount, "auto_unmount", "unmount also when the daemon is killed"),
    told("max_read", Effect::MaxRead, "max_read=BYTES", "read at most this much at a time; 4096 or more"),
    quiet("defaults", Effect::Ignored),
    quiet("auto", Effect::Ignored),
    quiet("noauto", Effect::Ignored),
    quiet("user", Effect::Ignored),
    quiet("nouser", Effect::Ignored),
    quiet("users", Effect::Ignored),
    quiet("nousers", Effect::Ignored),
    quiet("owner", Effect::Ignored),
    quiet("noowner", Effect::Ignored),
    quiet("group", Effect::Ignored),
    quiet("nogroup", Effect::Ignored),
    quiet("_netdev", Effect::Ignored),
    quiet("nofail", Effect::Ignored),
    quiet("comment", Effect::Ignored),
    quiet("silent", Effect::Ignored),
    quiet("loud", Effect::Ignored),
    quiet("nonempty", Effect::Ignored),
    quiet("x-", Effect::IgnoredPrefix),
    quiet("X-", Effect::IgnoredPrefix),
    quiet("fd", Effect::Reserved),
    quiet("rootmode", Effect::Reserved),
    quiet("user_id", Effect::Reserved),
    quiet("group_id", Effect::Reserved),
];

/// The options that a user may want, for a help text: those of mounting itself first, then the flags that every filesystem
/// type has. Options that are taken and dropped are not among them.
pub fn option_help() -> impl Iterator<Item = OptionHelp> {
    let flags = FLAGS.iter().map(|row| {
        let (form, help) = flag_help(row.flag);
        OptionHelp { form, help }
    });
    OPTIONS.iter().filter_map(|row| row.help).chain(flags)
}

fn flag_help(flag: MountFlag) -> (&'static str, &'static str) {
    match flag {
        MountFlag::ReadOnly => ("ro, rw", "forbid all writing, or not"),
        MountFlag::NoSuid => ("nosuid, suid", "ignore set-user-ID bits (default), or not"),
        MountFlag::NoDev => ("nodev, dev", "ignore device nodes (default), or not"),
        MountFlag::NoExec => ("noexec, exec", "forbid running programs, or not"),
        MountFlag::Synchronous => ("sync, async", "write synchronously, or not"),
        MountFlag::DirSync => ("dirsync, nodirsync", "change directories synchronously, or not"),
        MountFlag::NoAtime => ("noatime, atime", "leave access times alone, or not"),
        MountFlag::NoDirAtime => ("nodiratime, diratime", "leave those of directories alone, or not"),
        MountFlag::RelAtime => ("relatime, norelatime", "update access times only when old, or not"),
        MountFlag::StrictAtime => ("strictatime, nostrictatime", "update access times always, or not"),
        MountFlag::LazyTime => ("lazytime, nolazytime", "write times late, or not"),
    }
}

impl MountOptions {
    /// Takes one `-o` option, `name` or `name=value`, with any escapes already undone
    /// (see [`split_options`]). Options that mean something to `mount(8)` and fstab only (`noauto`, `nofail`, `x-...`) are
    /// taken and dropped. Returns whether the option was known; an unknown one changes nothing.
    ///
    /// # Errors
    /// [`OptionError`] if the option is known and its value is missing, superfluous or malformed.
    pub fn parse_option(&mut self, option: impl AsRef<OsStr>) -> Result<bool, OptionError> {
        let bytes = option.as_ref().as_bytes();
        let mut parts = bytes.splitn(2, |byte| *byte == b'=');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().map(OsStr::from_bytes);

        for row in FLAGS {
            if name == row.on.as_bytes() {
                no_value(row.on, value)?;
                self.set_flag(row.flag);
                return Ok(true);
            }
            if name == row.off.as_bytes() {
                no_value(row.off, value)?;
                self.clear_flag(row.flag);
                return Ok(true);
            }
        }
        let Some(OptionRow { name, effect, .. }) = OPTIONS.iter().find(|row| match row.effect {
            Effect::IgnoredPrefix => name.starts_with(row.name.as_bytes()),
            _ => name == row.name.as_bytes(),
        }) else {
            return Ok(false);
        };
        match effect {
            Effect::Source => self.source = Some(need_value(name, value)?.to_owned()),
            Effect::Subtype => self.subtype = Some(need_value(name, value)?.to_owned()),
            Effect::AllowOther => {
                no_value(name, value)?;
                self.allow_other = true;
            }
            Effect::DefaultPermissions => {
                no_value(name, value)?;
                self.default_permissions = true;
            }
            Effect::AutoUnmount => {
                no_value(name, value)?;
                self.auto_unmount = true;
            }
            Effect::MaxRead => {
                let value = need_value(name, value)?;
                let bytes = value.to_str().and_then(|text| text.parse().ok());
                self.max_read =
                    Some(bytes.ok_or_else(|| OptionError::BadNumber { option: name, value: one_line(value) })?);
            }
            Effect::Ignored | Effect::IgnoredPrefix => {}
            Effect::Reserved => return Err(OptionError::Reserved { option: name }),
        }
        Ok(true)
    }
}

/// Splits what follows `-o` at its commas. A backslash keeps the next character as it is (`\,`, `\\`) or, before three
/// octal digits, stands for that byte (`\054`). Empty options are left out.
pub fn split_options(list: &OsStr) -> Vec<OsString> {
    let mut options = Vec::new();
    let mut option = Vec::new();
    let mut rest = list.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, rest) {
            (b',', _) => options.push(std::mem::take(&mut option)),
            (b'\\', [a, b, c, after @ ..]) if octal(*a, *b, *c).is_some() => {
                option.extend(octal(*a, *b, *c));
                rest = after;
            }
            (b'\\', [escaped, after @ ..]) => {
                option.push(*escaped);
                rest = after;
            }
            _ => option.push(byte),
        }
    }
    options.push(option);
    options.retain(|option| !option.is_empty());
    options.into_iter().map(OsString::from_vec).collect()
}

/// The byte that three octal digits stand for.
pub(super) fn octal(a: u8, b: u8, c: u8) -> Option<u8> {
    [a, b, c].into_iter().try_fold(0_u8, |sum, digit| {
        let value = digit.checked_sub(b'0').filter(|value| *value < 8)?;
        sum.checked_mul(8)?.checked_add(value)
    })
}

fn no_value(option: &'static str, value: Option<&OsStr>) -> Result<(), OptionError> {
    match value {
        None => Ok(()),
        Some(_) => Err(OptionError::TakesNoValue { option }),
    }
}

fn need_value<'v>(option: &'static str, value: Option<&'v OsStr>) -> Result<&'v OsStr, OptionError> {
    value.filter(|value| !value.is_empty()).ok_or(OptionError::NeedsValue { option })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> MountOptions {
        let mut options = MountOptions::new();
        for word in words {
            assert_eq!(options.parse_option(word), Ok(true), "{word}");
        }
        options
    }

    #[test]
    fn flags_set_and_clear_in_order() {
        let options = parsed(&["ro", "dev", "noexec", "rw", "suid", "nosuid"]);
        assert!(!options.has(MountFlag::ReadOnly));
        assert!(!options.has(MountFlag::NoDev));
        assert!(options.has(MountFlag::NoSuid));
        assert!(options.has(MountFlag::NoExec));
    }

    #[test]
    fn last_access_time_policy_wins() {
        let options = parsed(&["noatime", "relatime", "strictatime"]);
        assert!(options.has(MountFlag::StrictAtime));
        assert!(!options.has(MountFlag::NoAtime));
        assert!(!options.has(MountFlag::RelAtime));
    }

    #[test]
    fn values_keep_equals_signs_and_commas() {
        let options = parsed(&["fsname=a=b,c", "subtype=x", "max_read=65536"]);
        assert_eq!(options.source.as_deref(), Some(OsStr::new("a=b,c")));
        assert_eq!(options.name(), OsStr::new("x"));
        assert_eq!(options.max_read, Some(65536));
    }

    #[test]
    fn options_of_mount_and_fstab_are_taken_and_dropped() {
        parsed(&[
            "defaults",
            "_netdev",
            "nofail",
            "user",
            "user=joe",
            "users",
            "noauto",
            "x-systemd.automount",
            "X-mount.mkdir=0755",
            "comment=hello",
        ]);
    }

    #[test]
    fn unknown_option_is_left_to_the_caller() {
        assert_eq!(MountOptions::new().parse_option("bogus=1"), Ok(false));
        assert_eq!(MountOptions::new().parse_option(""), Ok(false));
    }

    #[test]
    fn wrong_values_name_the_option() {
        let fails = |word: &str| MountOptions::new().parse_option(word).unwrap_err().to_string();
        assert_eq!(fails("fsname"), "reading option fsname: it needs a value; write fsname=VALUE");
        assert_eq!(fails("ro=1"), "reading option ro: it takes no value; write ro alone");
        assert_eq!(fails("max_read=4k"), "reading option max_read=4k: expected a number of bytes from 0 to 4294967295");
        assert_eq!(
            fails("max_read=5000000000"),
            "reading option max_read=5000000000: expected a number of bytes from 0 to 4294967295"
        );
        assert_eq!(fails("fd=3"), "reading option fd: it is set by the mount itself; leave it out");
    }

    #[test]
    fn lists_split_at_unescaped_commas() {
        let split = |list: &str| split_options(OsStr::new(list));
        assert_eq!(split(r"ro,fsname=a\,b\\c\054d,,allow_other"), ["ro", r"fsname=a,b\c,d", "allow_other"]);
        assert!(split("").is_empty());
        assert_eq!(split(r"a\"), [r"a\"]);
        assert_eq!(split(r"a\999"), ["a999"]);
        assert_eq!(split(r"a\777"), ["a777"]);
    }

    #[test]
    fn words_of_the_help_are_options() {
        for OptionHelp { form, .. } in option_help() {
            for word in form.split(", ") {
                let name = word.split('=').next().unwrap();
                let option = if word.contains('=') { format!("{name}=4096") } else { name.to_owned() };
                assert_eq!(MountOptions::new().parse_option(option), Ok(true), "{form}");
            }
        }
    }

    #[test]
    fn every_option_has_one_row() {
        let mut names: Vec<&str> = OPTIONS.iter().map(|row| row.name).collect();
        names.extend(FLAGS.iter().flat_map(|row| [row.on, row.off]));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

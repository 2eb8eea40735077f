//! The command `memfs`: mounts a filesystem in memory and serves it until it is unmounted.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use fusewire::mount::{MountFlag, MountOptions};
use fusewire_launch::{Command, Invocation, give_memory_back, run};
use memfs::{AccessTimes, MemFs, OptionError, Options};

fn main() -> ExitCode {
    run(command(), |invocation| Ok(MemFs::new(options(invocation)?).with_relief(give_memory_back)))
}

fn command() -> Command {
    Command::new("memfs", env!("CARGO_PKG_VERSION"))
        .about("Mounts a RAM disk: an empty filesystem in memory, with a limit")
        .details(&[
            "Everything is gone when it is unmounted. What is stored takes memory as it comes, and gives it back when it goes; \
             beyond the limit, writing fails with \"No space left on device\".",
            "It does what tmpfs(5) does, and an ordinary user can mount it: hard links, sparse files, extended attributes, \
             access control lists and locks work. The kernel checks permissions.",
        ])
        .value("size", "BYTES", "room for data: 64m, 2g, 10% of RAM (default: 50%)")
        .value("nr_inodes", "N", "room for files (default: one for 8 KiB of RAM)")
        .value("mode", "OCTAL", "permissions of the root (default: 1777)")
        .value("uid", "N", "owner of the root (default: who mounts)")
        .value("gid", "N", "group of the root (default: who mounts)")
        .example("memfs -o size=1g mnt", "a RAM disk of 1 GiB")
        .example("memfs -o size=10%,mode=700 mnt", "a private one in a tenth of the memory")
        .mount_options(MountOptions::new().default_permissions())
}

/// What one command line wants.
fn options(invocation: &Invocation) -> Result<Options, OptionError> {
    let mut options = Options::default();
    for name in Options::NAMES {
        for value in invocation.values(name) {
            options.set(name, &value.to_string_lossy())?;
        }
    }
    let mount = invocation.mount_options();
    if mount.has(MountFlag::NoAtime) {
        options.access_times = AccessTimes::Never;
    } else if mount.has(MountFlag::StrictAtime) {
        options.access_times = AccessTimes::Always;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use fusewire::{Gid, Uid};

    use super::*;

    fn read(words: &str) -> Result<Options, String> {
        let invocation = command().parse(words.split(' ')).map_err(|error| error.to_string())?;
        options(&invocation).map_err(|error| error.to_string())
    }

    #[test]
    fn definition_is_sound_and_names_all_options() {
        let mut definition = command().clap_command();
        definition.clone().debug_assert();
        let help = definition.render_help().to_string();
        for name in Options::NAMES {
            assert!(help.contains(&format!("{name}=")), "{name} is not in\n{help}");
        }
        assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    }

    #[test]
    fn options_are_read() {
        let found = read("memfs none /mnt -o size=1m,nr_inodes=2k,mode=700,uid=1,gid=2,noatime").expect("options");
        assert_eq!((found.size, found.inodes, found.mode), (1 << 20, 2048, 0o700));
        assert_eq!((found.uid, found.gid, found.access_times), (Uid(1), Gid(2), AccessTimes::Never));
        assert_eq!(read("memfs /mnt -o strictatime").expect("options").access_times, AccessTimes::Always);
        assert_eq!(read("memfs /mnt -o size=1m -o size=2m").expect("options").size, 2 << 20);
        assert_eq!(read("memfs /mnt"), Ok(Options::default()));
    }

    #[test]
    fn what_makes_no_sense_is_told_in_a_line() {
        let error = read("memfs /mnt -o size=banana").expect_err("no size");
        assert!(error.starts_with("reading option size=banana: expected a number of bytes"), "{error}");
        assert!(read("memfs /mnt -o mode=-1").is_err() && read("memfs /mnt -o sise=1m").is_err());
    }
}

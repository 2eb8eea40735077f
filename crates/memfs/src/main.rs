//! The command `memfs`: mounts a filesystem in memory and serves it until it is unmounted.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

use fusewire::SessionConfig;
use fusewire::mount::MountOptions;
use memfs::{MemFs, Options};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("memfs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1);
    let mountpoint = words.next().ok_or("usage: memfs MOUNTPOINT [OPTION=VALUE,...]")?;
    let mut options = Options::default();
    let mut mount_options = MountOptions::new().subtype("memfs").source("memfs").default_permissions();
    for word in words.next().unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "allow_other" => mount_options = mount_options.allow_other(),
            "dev" => mount_options = mount_options.clear(fusewire::mount::MountFlag::NoDev),
            "suid" => mount_options = mount_options.clear(fusewire::mount::MountFlag::NoSuid),
            _ if options.set(name, value)? => {}
            _ => return Err(format!("unknown option {word}").into()),
        }
    }
    let mut mounted =
        fusewire::mount(MemFs::new(options), Path::new(&mountpoint), &mount_options, SessionConfig::default())?;
    mounted.wait()?;
    Ok(())
}

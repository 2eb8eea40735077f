//! The program `mirrorfs`: mounts a mirror of a directory and serves it.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use fusewire::mount::MountOptions;
use fusewire::{SessionConfig, Workers};
use mirrorfs::{Mirror, Options};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).filter(|argument| argument != "-f").collect();
    let [source, mountpoint] = &arguments[..] else {
        eprintln!("usage: mirrorfs SOURCE MOUNTPOINT");
        return ExitCode::FAILURE;
    };
    match run(PathBuf::from(source), PathBuf::from(mountpoint)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mirrorfs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(source: PathBuf, mountpoint: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
    mirrorfs::raise_descriptor_limit()?;
    let mirror = Mirror::new(&source, Options::default())?;
    let options = MountOptions::new().subtype("mirrorfs").source(source).default_permissions();
    let config = SessionConfig::default().workers(Workers::default());
    fusewire::mount(mirror, &mountpoint, &options, config)?.wait()?;
    Ok(())
}

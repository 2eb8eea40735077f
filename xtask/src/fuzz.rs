//! `cargo xtask fuzz`: runs the fuzz targets of the protocol crate with cargo-fuzz. The targets are what the fuzz
//! crate's manifest lists; nothing here names one.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use xshell::{Shell, cmd};

use crate::workspace::{self, find_program};

/// Where the fuzz crate lies, below the root of the workspace.
const FUZZ_CRATE: &str = "crates/fusewire-proto/fuzz";

/// Flags of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The target to run; without it, each in turn
    target: Option<String>,
    /// How long to run each target, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    time: u32,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    bin: Vec<Bin>,
}

#[derive(Deserialize)]
struct Bin {
    name: String,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let all = targets(&workspace::root()?)?;
    let chosen = match &args.target {
        None => all,
        Some(target) if all.contains(target) => vec![target.clone()],
        Some(target) => bail!("fuzzing {target}: no such target; there are: {}", all.join(", ")),
    };
    let shell = workspace::shell()?;
    install(&shell)?;
    for target in &chosen {
        fuzz(&shell, target, args.time)?;
    }
    println!("{} fuzz targets ran {} s each and found nothing", chosen.len(), args.time);
    Ok(ExitCode::SUCCESS)
}

/// Every target, for a time in seconds, as `ci` runs them.
pub(crate) fn run_all(time: u32) -> Result<ExitCode> {
    run(&Args { target: None, time })
}

fn install(shell: &Shell) -> Result<()> {
    if find_program("cargo-fuzz").is_none() {
        cmd!(shell, "cargo install cargo-fuzz --locked").run()?;
    }
    Ok(())
}

fn fuzz(shell: &Shell, target: &str, seconds: u32) -> Result<()> {
    let limit = format!("-max_total_time={seconds}");
    // `--fuzz-dir` is found from the crate that the fuzz crate belongs to.
    let _dir = shell.push_dir("crates/fusewire-proto");
    cmd!(shell, "cargo +nightly fuzz run {target} -- {limit}").run().with_context(|| format!("fuzzing {target}"))
}

fn targets(root: &Path) -> Result<Vec<String>> {
    let file = root.join(FUZZ_CRATE).join("Cargo.toml");
    let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let manifest: Manifest = toml::from_str(&text).with_context(|| format!("reading {}", file.display()))?;
    let names: Vec<_> = manifest.bin.into_iter().map(|bin| bin.name).collect();
    ensure!(!names.is_empty(), "listing fuzz targets: {} has no [[bin]]", file.display());
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(manifest: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let fuzz = dir.path().join(FUZZ_CRATE);
        fs::create_dir_all(&fuzz).unwrap();
        fs::write(fuzz.join("Cargo.toml"), manifest).unwrap();
        dir
    }

    #[test]
    fn targets_are_the_bins_of_the_fuzz_crate() {
        let dir = tree("[package]\nname = \"f\"\n[[bin]]\nname = \"request\"\n[[bin]]\nname = \"reply\"\n");
        assert_eq!(targets(dir.path()).unwrap(), ["request", "reply"]);
    }

    #[test]
    fn fuzz_crate_without_targets_is_an_error() {
        assert!(targets(tree("[package]\nname = \"f\"\n").path()).is_err());
    }

    #[test]
    fn missing_fuzz_crate_is_an_error_that_names_it() {
        let error = targets(Path::new("/nonexistent")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/crates/fusewire-proto/fuzz/Cargo.toml"));
    }
}

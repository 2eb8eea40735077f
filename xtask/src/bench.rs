//! `cargo xtask bench`: builds what is compared and runs the comparison. What is measured, and how, is in the package
//! `fusewire-benches`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context, Result};
use xshell::cmd;

use crate::workspace;

/// Flags of `cargo xtask bench`; they are the comparison's own.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// --quick, --gate, --only WORKLOAD, --out DIR, ...; --help tells all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<OsString>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let shell = workspace::shell()?;
    cmd!(shell, "cargo build --release --quiet --package fusewire-benches --bins").run()?;
    let program = workspace::Metadata::read(&shell)?.release_binaries().join("compare");
    // From where the user stands, so that --out means what it says.
    let status = std::process::Command::new(&program).args(&args.flags).status();
    let status = status.with_context(|| format!("running {}", program.display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

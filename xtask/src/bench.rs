//! `cargo xtask bench`: builds what is compared and runs the comparison. What is measured, and how, is in the package
//! `fusewire-benches`.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use xshell::cmd;

use crate::workspace;

/// Flags of `cargo xtask bench`; they are the comparison's own.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// --quick, --gate, --only WORKLOAD, --out DIR, ...; --help tells all. Or `memory`, for what memfs takes; or `requests`,
    /// for what the kernel asks
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<OsString>,
}

/// The first word when it is memory that is measured, and the program that does it.
const MEMORY: &str = "memory";
/// The same when requests are counted.
const REQUESTS: &str = "requests";
/// The program that does all else.
const COMPARE: &str = "compare";

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let shell = workspace::shell()?;
    let word = args.flags.first().and_then(|word| [MEMORY, REQUESTS].into_iter().find(|known| word == known));
    cmd!(shell, "cargo build --release --quiet --package fusewire-benches --package memfs --package mirrorfs --bins")
        .run()?;
    let binaries = workspace::Metadata::read(&shell)?.release_binaries();
    let mut command = Command::new(binaries.join(word.unwrap_or(COMPARE)));
    if word == Some(MEMORY) {
        command.arg("--memfs").arg(binaries.join("memfs"));
    }
    // From where the user stands, so that --out means what it says.
    command.args(args.flags.iter().skip(word.iter().count()));
    finish(command)
}

fn finish(mut command: Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("running {}", command.get_program().display()))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

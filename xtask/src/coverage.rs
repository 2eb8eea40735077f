//! `cargo xtask coverage`: which lines the tests reach, by cargo-llvm-cov. It fetches the tool where it is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use crate::doctor;
use crate::test::TEST_USER;
use crate::workspace::{self, Metadata, find_program};

/// Packages whose tests build other packages, or whose lines are no part of what is shipped.
const LEFT_OUT: &[&str] = &["guide-replay", "fusewire-benches", "xtask"];

/// Flags of `cargo xtask coverage`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run the tests of this package only; may be given several times
    #[arg(long, short, value_name = "PACKAGE")]
    package: Vec<String>,
    /// Write a page for each file, below target/llvm-cov/html
    #[arg(long)]
    html: bool,
    /// Write the lines to this file, in the form of lcov
    #[arg(long, value_name = "FILE")]
    lcov: Option<PathBuf>,
    /// Run only the cases whose name contains this
    filter: Option<String>,
}

/// Runs the command. Where this machine cannot mount, only cases that mount nothing are run, which it says.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let shell = workspace::shell()?;
    install(&shell)?;
    let findings = doctor::examine();
    let nextest = findings.find("nextest")?;
    ensure!(nextest.met(), "{}", nextest.complaint());
    let metadata = Metadata::read(&shell)?;
    let counts = metadata.target().join("llvm-cov-target");
    let _binaries = shell.push_env("FUSEWIRE_BIN_DIR", counts.join("debug"));
    let user = nix::unistd::geteuid().is_root() && findings.find("test-user")?.met();
    let _user = user.then(|| shell.push_env("FUSEWIRE_TEST_USER", TEST_USER));
    if user {
        open_to_all(&counts)?;
    }
    let mount = findings.find("mount")?;
    if !mount.met() {
        println!("cases that mount are left out: {}", mount.complaint());
    }

    let packages = packages(&args.package);
    let cases = cases(mount.met());
    let filter = &args.filter;
    cmd!(shell, "cargo llvm-cov nextest --no-report --no-fail-fast {packages...} -E {cases} -- {filter...}")
        .run()
        .context("running the tests with coverage")?;
    if args.html {
        cmd!(shell, "cargo llvm-cov report --html").run().context("writing the pages")?;
    }
    if let Some(file) = &args.lcov {
        cmd!(shell, "cargo llvm-cov report --lcov --output-path {file}").run().context("writing the lines")?;
    }
    cmd!(shell, "cargo llvm-cov report --summary-only").run().context("counting the lines")?;
    Ok(ExitCode::SUCCESS)
}

/// Programs that run as the test user leave their counts there, too.
fn open_to_all(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o1777))
        .with_context(|| format!("opening {} to all", directory.display()))
}

fn install(shell: &Shell) -> Result<()> {
    const MEND: &str = "to mend: cargo install cargo-llvm-cov --locked; rustup component add llvm-tools";
    if find_program("cargo-llvm-cov").is_none() {
        cmd!(shell, "cargo install cargo-llvm-cov --locked").run().context(MEND)?;
    }
    // It says nothing and does nothing when they are there.
    let tools = cmd!(shell, "rustup component add llvm-tools").quiet().ignore_stderr().ignore_status().output();
    let there = tools.is_ok_and(|output| output.status.success());
    if !there && find_program("llvm-cov").is_none() {
        bail!("measuring coverage: this toolchain has no llvm-tools; {MEND}");
    }
    Ok(())
}

/// The packages, as options of cargo.
fn packages(wanted: &[String]) -> Vec<String> {
    if wanted.is_empty() {
        let left_out = LEFT_OUT.iter().flat_map(|name| ["--exclude".to_owned(), (*name).to_owned()]);
        return ["--workspace".to_owned()].into_iter().chain(left_out).collect();
    }
    wanted.iter().flat_map(|name| ["--package".to_owned(), name.clone()]).collect()
}

/// The cases, in nextest's language: those that mount are told by their binary's name.
fn cases(mounting: bool) -> &'static str {
    if mounting { "all()" } else { "not (package(fusewire-tests) | (kind(test) & binary(/^mount/)))" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_workspace_is_measured_unless_packages_are_named() {
        assert_eq!(packages(&[]).first().map(String::as_str), Some("--workspace"));
        assert_eq!(packages(&["memfs".to_owned()]), ["--package", "memfs"]);
    }

    #[test]
    fn cases_that_mount_are_left_out_where_nothing_can_be_mounted() {
        assert!(cases(false).starts_with("not ("));
        assert_eq!(cases(true), "all()");
    }
}

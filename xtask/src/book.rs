//! `cargo xtask book`: builds the guide with mdBook, makes its generated pages, and looks at it in a browser. The guide's
//! programs and sessions are tests of the packages in `book/examples`.

mod api;
mod check;
mod generate;
mod links;
mod measured;
mod pages;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace::{self, find_program};
pub(crate) use generate::{OPERATIONS as SOURCES, faults};

/// Flags of `cargo xtask book`.
#[derive(Default, clap::Args)]
pub(crate) struct Args {
    /// Build it, show it on localhost, and build it again when a page changes; without the documentation of the libraries
    #[arg(long, conflicts_with = "check")]
    serve: bool,
    /// Write the generated pages anew, from the table of operations
    #[arg(long)]
    generate: bool,
    /// Look at the pages in a headless Chromium: nothing runs over, diagrams show in both themes, the search finds, words are spelt right
    #[arg(long)]
    check: bool,
    /// With --check: keep the screenshots in this directory
    #[arg(long, value_name = "DIRECTORY", requires = "check")]
    screenshots: Option<std::path::PathBuf>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let shell = workspace::shell()?;
    if args.generate {
        generate::write(&workspace::root()?)?;
    }
    install(&shell)?;
    if args.serve {
        cmd!(shell, "mdbook serve book").run()?;
        return Ok(ExitCode::SUCCESS);
    }
    cmd!(shell, "mdbook build book").run()?;
    let built = workspace::root()?.join("book/book");
    api::add(&shell, &built)?;
    println!("the book: {}", built.join("index.html").display());
    if args.check {
        spell(&shell)?;
        check::run(&built, args.screenshots.as_deref())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What `ci` runs: the book is built and looked at.
pub(crate) fn run_check() -> Result<()> {
    run(&Args { check: true, ..Args::default() }).map(|_| ())
}

/// Words that are often misspelt.
fn spell(shell: &Shell) -> Result<()> {
    if find_program("codespell").is_none() {
        ensure!(
            !workspace::in_ci(),
            "checking the spelling: there is no codespell (Debian: apt-get install codespell)"
        );
        println!("no codespell here: the spelling is not checked");
        return Ok(());
    }
    let readmes = readmes(shell)?;
    cmd!(
        shell,
        "codespell --ignore-words-list crate book/src README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md {readmes...}"
    )
    .run()?;
    Ok(())
}

/// Those of the crates.
fn readmes(shell: &Shell) -> Result<Vec<std::path::PathBuf>> {
    let crates = shell.read_dir("crates")?;
    Ok(crates.into_iter().map(|path| path.join("README.md")).filter(|file| file.is_file()).collect())
}

fn install(shell: &Shell) -> Result<()> {
    if find_program("mdbook").is_none() {
        println!("mdbook is missing; installing it with cargo");
        cmd!(shell, "cargo install mdbook --locked").run().context("installing mdbook")?;
    }
    Ok(())
}

//! Follows a chapter of the guide to the letter: writes the files that it shows, types the commands that it names, and
//! compares what they print.
//!
//! A chapter is read as its readers read it: as Markdown with the included files. It is not changed by this.
#![forbid(unsafe_code)]

mod chapter;
mod include;
mod pattern;
mod shell;

pub use chapter::{Chapter, Step};
pub use pattern::difference;
pub use shell::{Installed, Shell};

use anyhow::{Context, Result, bail, ensure};

/// Follows all steps of chapters of the book, such as `first.md`, one after the other, in an empty home directory. The
/// workspace's commands are on the `PATH`.
///
/// # Errors
/// A file cannot be written, a command does not print what the chapter says, or it fails where the chapter shows no output.
pub fn follow(chapters: &[&str]) -> Result<()> {
    follow_in(Shell::start(Installed::Workspace)?, chapters)
}

/// As [`follow`], for chapters that begin with nothing: of the workspace there are only the sources.
///
/// # Errors
/// As for [`follow`].
pub fn follow_from_nothing(chapters: &[&str]) -> Result<()> {
    follow_in(Shell::start(Installed::Nothing)?, chapters)
}

fn follow_in(mut shell: Shell, chapters: &[&str]) -> Result<()> {
    for name in chapters {
        for step in Chapter::read(name)?.steps {
            match step {
                Step::File { path, text } => shell.write(&path, &text)?,
                Step::Command { line, command, expected } => {
                    let at = format!("{name}:{line}: $ {command}");
                    println!("{at}");
                    let (printed, status) = shell.run(&command).with_context(|| at.clone())?;
                    compare(&expected, &printed, status).with_context(|| at)?;
                }
            }
        }
    }
    shell.finish()
}

/// A command that fails must at least say so in the chapter.
fn compare(expected: &str, printed: &str, status: i32) -> Result<()> {
    if let Some(difference) = difference(expected, printed) {
        bail!("{difference}\n---- expected\n{expected}---- printed (status {status})\n{printed}----");
    }
    ensure!(status == 0 || !expected.is_empty(), "exit status {status}");
    Ok(())
}

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
pub use shell::Shell;

use anyhow::{Context, Result, bail};

/// Follows all steps of a chapter of the book, such as `first.md`, in an empty home directory.
///
/// # Errors
/// A file cannot be written, a command does not print what the chapter says, or it fails where the chapter shows no output.
pub fn follow(chapter: &str) -> Result<()> {
    let chapter = Chapter::read(chapter)?;
    let mut shell = Shell::start()?;
    for step in &chapter.steps {
        match step {
            Step::File { path, text } => shell.write(path, text)?,
            Step::Command { line, command, expected } => {
                let at = format!("{}:{line}: $ {command}", chapter.name);
                println!("{at}");
                let (printed, status) = shell.run(command).with_context(|| at.clone())?;
                if let Some(difference) = difference(expected, &printed) {
                    bail!("{at}: {difference}\n---- expected\n{expected}---- printed (status {status})\n{printed}----");
                }
                if status != 0 && expected.is_empty() {
                    bail!("{at}: exit status {status}\n---- printed\n{printed}----");
                }
            }
        }
    }
    shell.finish()
}

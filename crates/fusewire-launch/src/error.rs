//! What can be wrong with a command line, each said in one line.
//!
//! What can go wrong in mounting and serving is said by `fusewire`.

use std::ffi::OsStr;
use std::fmt::Write as _;

use thiserror::Error;

/// Why a filesystem could not be built from its options and its source: anything that says so in one line.
pub type BuildError = Box<dyn std::error::Error + Send + Sync>;

/// An `-o` option that cannot be taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("reading option {option}: {problem}")]
pub struct OptionError {
    option: String,
    problem: String,
}

impl OptionError {
    /// `option` is what was given, `name` or `name=value`; `problem` is what is wrong with it, and what to do.
    pub fn new(option: impl AsRef<OsStr>, problem: impl Into<String>) -> Self {
        Self { option: one_line(&option.as_ref().to_string_lossy()), problem: problem.into() }
    }
}

/// Why a command line leads to nothing.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageError {
    /// It asks for the help, the version or a generated file, and this is it.
    #[error("{0}")]
    Shown(String),
    /// It is not of the form that the command has.
    #[error("reading the command line: {problem}; see {name} --help")]
    Form {
        /// What is wrong.
        problem: String,
        /// The command.
        name: &'static str,
    },
    /// An option of the filesystem or of the command is wrong.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// An option of mounting is wrong.
    #[error(transparent)]
    MountOption(#[from] fusewire::mount::OptionError),
    /// A path cannot be made absolute.
    #[error("finding the absolute path of {path}: {problem}")]
    Path {
        /// The path as it was given.
        path: String,
        /// Why.
        problem: String,
    },
}

/// Text from outside, fit for a one-line message: control characters are escaped.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.trim_end().chars() {
        if character.is_control() {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_with_a_newline_is_told_in_one_line() {
        let error = OptionError::new("size=1\n2", "not a size");
        assert_eq!(error.to_string(), "reading option size=1\\n2: not a size");
    }
}

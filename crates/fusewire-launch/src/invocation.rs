//! What one command line asks for: source, mountpoint, and the options with their values.
//!
//! The words were read before; what a value means is for the filesystem to say.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use fusewire::SessionConfig;
use fusewire::mount::MountOptions;

use crate::error::OptionError;

/// What one command line asks for. A filesystem is built from this.
#[derive(Clone, Debug)]
pub struct Invocation {
    pub(crate) source: Option<OsString>,
    pub(crate) mountpoint: PathBuf,
    /// The options of the filesystem itself, in order.
    pub(crate) options: Vec<(&'static str, Option<OsString>)>,
    pub(crate) mount: MountOptions,
    pub(crate) session: SessionConfig,
    pub(crate) mode: Mode,
    pub(crate) verbosity: Verbosity,
    pub(crate) log_file: Option<PathBuf>,
}

/// Where the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Background,
    Foreground,
}

/// What is logged unless `RUST_LOG` says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Only what went wrong.
    Quiet,
    /// Each request.
    Requests,
}

impl Invocation {
    /// What stands before the mountpoint: absolute, if it is a path. Always there, except with
    /// [`Source::None`](crate::Source::None).
    #[must_use]
    pub fn source(&self) -> Option<&OsStr> {
        self.source.as_deref()
    }

    /// Where to mount: absolute.
    #[must_use]
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// Whether the option `name` was given.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.options.iter().any(|(given, _)| *given == name)
    }

    /// The value of the option `name`, if it was given. The last one counts.
    ///
    /// # Errors
    /// The value is not what `T` takes; the message says so in the words of `T`'s error.
    pub fn value<T>(&self, name: &str) -> Result<Option<T>, OptionError>
    where
        T: FromStr<Err: Display>,
    {
        self.value_with(name, |value| {
            let text = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned())?;
            text.parse::<T>().map_err(|error| error.to_string())
        })
    }

    /// As [`value`](Self::value), with a function that reads it.
    ///
    /// # Errors
    /// That function's, with the option's name before it.
    pub fn value_with<T, E: Display>(
        &self,
        name: &str,
        read: impl FnOnce(&OsStr) -> Result<T, E>,
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.values(name).last() else { return Ok(None) };
        read(value).map(Some).map_err(|error| {
            let mut option = OsString::from(name);
            option.push("=");
            option.push(value);
            OptionError::new(option, error.to_string())
        })
    }

    /// The value of the option `name` as it was given, if it was. The last one counts.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&OsStr> {
        self.values(name).last()
    }

    /// The value of the option `name` as an absolute path, if it was given. The last one counts.
    ///
    /// # Errors
    /// It is empty, or there is no working directory.
    pub fn path(&self, name: &str) -> Result<Option<PathBuf>, OptionError> {
        self.value_with(name, |path| std::path::absolute(path))
    }

    /// All values of the option `name`, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &OsStr> {
        self.options.iter().filter(move |(given, _)| *given == name).filter_map(|(_, value)| value.as_deref())
    }

    /// How it is to be mounted.
    #[must_use]
    pub fn mount_options(&self) -> &MountOptions {
        &self.mount
    }

    /// Changes how it is to be mounted, after the command line was read.
    pub fn change_mount_options(&mut self, change: impl FnOnce(MountOptions) -> MountOptions) {
        self.mount = change(std::mem::take(&mut self.mount));
    }
}

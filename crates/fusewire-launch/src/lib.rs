//! Turns a filesystem into a command: `NAME [SOURCE] MOUNTPOINT -o options`, as `mount(8)` and its users expect it.
//!
//! You say what the command is called, whether it shows a source, which `-o` options it has, and how the filesystem is built
//! from them. The rest is the same for all: the command line and its help, going to the background, logging, signals and the
//! exit status. How a filesystem answers the kernel is the matter of `fusewire`.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use fusewire_launch::{Command, run};
//! # use fusewire::{Context, Errno, Filesystem, op, reply};
//! # struct Poem(String);
//! # impl Filesystem for Poem {}
//!
//! fn main() -> ExitCode {
//!     let command = Command::new("poemfs", env!("CARGO_PKG_VERSION"))
//!         .about("Shows a poem as a directory of verses")
//!         .value("verses", "N", "how many verses there are (default: 3)")
//!         .flag("rhymed", "make them rhyme");
//!     run(command, |invocation| {
//!         let verses = invocation.value::<usize>("verses")?.unwrap_or(3);
//!         let ending = if invocation.flag("rhymed") { "rose" } else { "flower" };
//!         Ok(Poem(format!("a {ending}\n").repeat(verses)))
//!     })
//! }
//! ```
//!
//! | item | what it is |
//! |---|---|
//! | [`Command`] | the definition: a name, a source, options, examples |
//! | [`run`] | what `main` calls: reads the command line, mounts, serves, and says how it went |
//! | [`Invocation`] | one command line, read: the values of options, for building the filesystem |
//! | [`BuildError`], [`OptionError`], [`UsageError`] | what can be wrong with it, in one line each |
//! | [`give_memory_back`] | for filesystems that free much memory at a time |
//!
//! # What such a command does
//! - It goes to the background, unless `-f` or `-d` is given, and its parent ends as soon as the mount is ready: a script
//!   that mounts can use the mount in its next line. If mounting fails, the parent says why in one line and ends with
//!   status 1, and nothing is mounted.
//! - `-d` shows each request and its answer. The environment variable `RUST_LOG` says otherwise what is logged. A command in
//!   the background keeps its standard error until it is ready; after that, its log goes where `-o log_file=PATH` says, else
//!   nowhere.
//! - SIGINT, SIGTERM and SIGHUP unmount; while somebody uses the mount they wait up to two seconds, then take it out of the
//!   tree all the same. A second signal does so at once. SIGHUP does nothing if it was ignored already, as under nohup(1).
//!   The signals are blocked in all threads and in programs that the filesystem starts.
//! - `--generate man` prints the man page, and `--generate bash`, `zsh` or `fish` the completions for that shell.
//! - The exit status is 0 after an orderly end, also when somebody else unmounts, and 1 after an error.
//! - In `/etc/fstab` its type is `fuse.NAME`; where there is nothing to show, the source is any word, by custom `none`. For
//!   `mount(8)` the program must lie in a directory of the system, such as `/usr/local/bin`.

mod command;
mod daemonize;
mod error;
mod gate;
mod generate;
mod invocation;
mod logging;
mod memory;
mod parse;
mod run;
mod serve;
mod signals;

pub use command::{Command, Source};
pub use error::{BuildError, OptionError, UsageError};
pub use invocation::Invocation;
pub use memory::give_memory_back;
pub use run::run;

/// The README's examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! The life of a command: read the words, go to the background, serve, say how it went.
//!
//! The only place that writes to standard output and standard error, the log apart.

use std::env;
use std::io::{self, Write};
use std::process::ExitCode;

use fusewire::Handler;

use crate::command::Command;
use crate::daemonize::go_to_background;
use crate::error::{BuildError, UsageError, one_line};
use crate::invocation::{Invocation, Mode};
use crate::logging;
use crate::serve::{End, serve};

/// Runs `command` with the words of this process's command line: builds the filesystem, mounts it and serves it until it
/// is unmounted or a signal ends it. To be called from `main`, before any thread is started.
///
/// `build` is called in the process that serves, in a thread of its own, before anything is mounted. Threads and runtimes
/// that the filesystem needs are started there. An error is printed in one line. Relative paths in options are best read
/// with [`Invocation::path`], as the working directory changes later.
///
/// In the background, the calling process does not return from here; a copy of it does.
pub fn run<H, B>(command: Command, build: B) -> ExitCode
where
    H: Handler + 'static,
    B: FnOnce(&mut Invocation) -> Result<H, BuildError> + Send + 'static,
{
    let name = command.name;
    let invocation = match command.parse(env::args_os()) {
        Ok(invocation) => invocation,
        Err(UsageError::Shown(text)) => {
            // Nobody reads it; that is as good.
            let _ = io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(name, &error.to_string()),
    };
    let mut herald = None;
    let mode = invocation.mode;
    if mode == Mode::Background {
        match go_to_background(name) {
            Ok(copy) => herald = Some(copy),
            Err(problem) => return fail(name, &problem),
        }
    }
    let ended = logging::start(name, &invocation).and_then(|()| serve(invocation, &mut herald, build));
    match (ended, herald) {
        (Ok(End::Orderly), _) => ExitCode::SUCCESS,
        (Ok(End::Early(signal)), Some(herald)) => {
            herald.failed(&format!("ended by {signal} before the mount was ready"));
            ExitCode::FAILURE
        }
        (Ok(End::Early(_)), None) => ExitCode::SUCCESS,
        (Err(problem), Some(herald)) => {
            herald.failed(&problem);
            ExitCode::FAILURE
        }
        (Err(problem), None) if mode == Mode::Background => {
            tracing::error!("{problem}");
            ExitCode::FAILURE
        }
        (Err(problem), None) => fail(name, &problem),
    }
}

fn fail(name: &str, problem: &str) -> ExitCode {
    complain(name, problem);
    ExitCode::FAILURE
}

/// Says what went wrong: `NAME: problem`, in one line.
pub(crate) fn complain(name: &str, problem: &str) {
    // There is nobody else to tell.
    let _ = writeln!(io::stderr(), "{name}: {}", one_line(problem));
}

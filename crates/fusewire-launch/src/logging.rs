//! Where the log goes, and how much of it there is.
//!
//! What is logged is the matter of those who log.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal};
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::error::one_line;
use crate::invocation::{Invocation, Verbosity};

/// The variable that says what is logged.
const VARIABLE: &str = "RUST_LOG";

/// Begins to log, unless the program does so already.
///
/// # Errors
/// `RUST_LOG` makes no sense, or the log file cannot be opened.
pub(crate) fn start(name: &str, invocation: &Invocation) -> Result<(), String> {
    let filter = filter(name, invocation.verbosity)?;
    let (writer, colour) = match &invocation.log_file {
        Some(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            let file = file.map_err(|error| format!("opening the log file {}: {error}", path.display()))?;
            (BoxMakeWriter::new(Mutex::new(file)), false)
        }
        None => (BoxMakeWriter::new(io::stderr), io::stderr().is_terminal()),
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(writer);
    // A program that has set up its own log keeps it.
    let _ = tracing::subscriber::set_global_default(subscriber.finish());
    Ok(())
}

fn filter(name: &str, verbosity: Verbosity) -> Result<EnvFilter, String> {
    let directives = match env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        Some(value) => {
            value.into_string().map_err(|value| format!("reading {VARIABLE}={}: it is not UTF-8", value.display()))?
        }
        None => match verbosity {
            Verbosity::Quiet => "warn".to_owned(),
            // A crate's modules are called by its name with underscores.
            Verbosity::Requests => format!("warn,fusewire=debug,{}=debug", name.replace('-', "_")),
        },
    };
    EnvFilter::try_new(&directives).map_err(|error| format!("reading {VARIABLE}={}: {error}", one_line(&directives)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debugging_shows_requests() {
        let quiet = filter("poem-fs", Verbosity::Quiet).unwrap().to_string();
        let requests = filter("poem-fs", Verbosity::Requests).unwrap().to_string();
        assert_eq!(quiet, "warn");
        assert!(requests.contains("fusewire=debug") && requests.contains("poem_fs=debug"), "{requests}");
    }
}

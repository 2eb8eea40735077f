//! The program `mirrorfs`: mounts a mirror of a directory and serves it.
#![forbid(unsafe_code)]

mod arguments;

use std::process::ExitCode;

fn main() -> ExitCode {
    fusewire_launch::run(arguments::command(), arguments::mirror)
}

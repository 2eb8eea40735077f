//! The conformance report on daemons that are not made with Fusewire: what a kernel may ask, what they answer, and which laws
//! that breaks.
//!
//! ```text
//! cargo run -p fusewire-testkit --example report                          # fuser, and libfuse if it is installed
//! cargo run -p fusewire-testkit --example report -- ./hello -f /dev/fd/0  # your own program
//! ```
//!
//! A program finds one end of a pair of sockets as its standard input: the mountpoint `/dev/fd/0` means that to those made
//! with libfuse 3 or Fusewire. It must stay in the foreground.

#[path = "../tests/peers/flat.rs"]
mod flat;
#[path = "../tests/peers/hello.rs"]
mod hello;

use std::error::Error;
use std::process::Command;

use fusewire_testkit::{Running, report};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    if let Some((program, arguments)) = words.split_first() {
        let start = || Running::program(Command::new(program).args(arguments));
        // Whether it can be started at all; the rest, the report says.
        drop(start().map_err(|error| format!("starting {}: {error}", program.display()))?);
        let start = || start().expect("it could be started a moment ago");
        println!("{}", report::examine(&program.to_string_lossy(), start));
        return Ok(());
    }
    println!("{}", report::examine("files in a directory, fuser 0.18", flat::start));
    match hello::Hello::compile() {
        Ok(hello) => println!("{}", report::examine("hello.c, libfuse 3", || hello.start())),
        Err(reason) => println!("no report on libfuse: {reason}"),
    }
    Ok(())
}

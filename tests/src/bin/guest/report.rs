//! What the guest tells the host: a line for each event on the second serial port, fields parted by tabs.
//! `xtask/src/vm/event.rs` reads them.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;

use anyhow::{Context, Result};
use nix::sys::termios::tcdrain;

const PORT: &str = "/dev/ttyS1";

/// The line to the host.
pub(crate) struct Report {
    port: File,
}

impl Report {
    /// Opens the port.
    pub(crate) fn open() -> Result<Self> {
        let port = File::options().write(true).open(PORT).with_context(|| format!("opening {PORT}"))?;
        Ok(Self { port })
    }

    /// Sends one event. A host that does not listen is no reason to stop.
    pub(crate) fn send(&mut self, event: &str, fields: &[&dyn Display]) {
        let _ = self.port.write_all(line(event, fields).as_bytes());
    }

    /// Waits until all of it is out: what waits in the port is lost with the machine.
    pub(crate) fn drain(&self) {
        let _ = tcdrain(&self.port);
    }

    /// Sends text as events of their own, a line each.
    pub(crate) fn say(&mut self, text: &str) {
        for said in text.lines() {
            self.send("out", &[&said]);
        }
    }
}

/// Control characters would break the lines, so they become blanks.
fn line(event: &str, fields: &[&dyn Display]) -> String {
    let mut line = format!("@{event}");
    for field in fields {
        line.push('\t');
        line.extend(field.to_string().chars().map(|character| if character.is_control() { ' ' } else { character }));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_its_fields_hold() {
        assert_eq!(line("ready", &[]), "@ready\n");
        assert_eq!(line("ok", &[&"a::b", &12]), "@ok\ta::b\t12\n");
        assert_eq!(line("out", &[&"one\ttwo\nthree\r"]), "@out\tone two three \n");
    }
}

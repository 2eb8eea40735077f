//! What a guest reports: a line for each event, fields parted by tabs. `tests/src/bin/guest/report.rs` writes them.

use std::time::Duration;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The guest is up: its kernel's release, seconds since its start, what the kernel offers in INIT.
    Ready { release: String, uptime: String, minor: u32, flags: u64 },
    /// A case begins.
    Started { name: String },
    /// A case passed.
    Passed { name: String, time: Duration },
    /// A case failed.
    Failed { name: String, time: Duration, reason: String },
    /// A case cannot run on this kernel.
    Skipped { name: String, reason: String },
    /// What a case, or the kernel, said.
    Said(String),
    /// A file of a power-cut round is on the disk, as fsync told.
    Synced { round: u32, number: u32 },
    /// Files of an earlier round were looked for: how many are lost, and what is wrong with the first.
    Checked { round: u32, lost: u32, first: String },
    /// The guest cannot go on.
    Broken(String),
    /// The guest switches itself off.
    Ended,
}

impl Event {
    /// Reads a line. What is no event, or not a whole one, is `None`.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim_end_matches(['\r', '\n']).strip_prefix('@')?.split('\t');
        let word = fields.next()?;
        let fields: Vec<&str> = fields.collect();
        let text = |field: &&str| (**field).to_owned();
        let millis = |field: &str| field.parse().ok().map(Duration::from_millis);
        Some(match (word, fields.as_slice()) {
            ("ready", [release, uptime, minor, flags]) => Self::Ready {
                release: text(release),
                uptime: text(uptime),
                minor: minor.parse().ok()?,
                flags: flags.parse().ok()?,
            },
            ("start", [name]) => Self::Started { name: text(name) },
            ("ok", [name, time]) => Self::Passed { name: text(name), time: millis(time)? },
            ("failed", [name, time, reason]) => {
                Self::Failed { name: text(name), time: millis(time)?, reason: text(reason) }
            }
            ("skipped", [name, reason]) => Self::Skipped { name: text(name), reason: text(reason) },
            ("out", [said]) => Self::Said(text(said)),
            ("synced", [round, number]) => Self::Synced { round: round.parse().ok()?, number: number.parse().ok()? },
            ("checked", [round, lost, first]) => {
                Self::Checked { round: round.parse().ok()?, lost: lost.parse().ok()?, first: text(first) }
            }
            ("error", [reason]) => Self::Broken(text(reason)),
            ("end", []) => Self::Ended,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_guest_are_events() {
        let name = || "a::b".to_owned();
        let ready = Event::Ready { release: "6.1.0".into(), uptime: "2.31".into(), minor: 38, flags: 1 << 32 };
        assert_eq!(Event::parse("@ready\t6.1.0\t2.31\t38\t4294967296\r\n"), Some(ready));
        assert_eq!(
            Event::parse("@ok\ta::b\t12"),
            Some(Event::Passed { name: name(), time: Duration::from_millis(12) })
        );
        let failed = Event::Failed { name: name(), time: Duration::from_secs(1), reason: "exit status 101".into() };
        assert_eq!(Event::parse("@failed\ta::b\t1000\texit status 101"), Some(failed));
        assert_eq!(Event::parse("@skipped\ta::b\tno"), Some(Event::Skipped { name: name(), reason: "no".into() }));
        assert_eq!(Event::parse("@out\tleft: 1"), Some(Event::Said("left: 1".into())));
        assert_eq!(Event::parse("@synced\t2\t40"), Some(Event::Synced { round: 2, number: 40 }));
        assert_eq!(Event::parse("@checked\t2\t0\t"), Some(Event::Checked { round: 2, lost: 0, first: String::new() }));
        assert_eq!(Event::parse("@end"), Some(Event::Ended));
    }

    #[test]
    fn what_is_cut_short_or_foreign_is_no_event() {
        for line in
            ["", "@", "@ok\ta::b", "@ok\ta::b\t1x", "@lunch", "[    1.0] Kernel panic", "@synced\t2\t-1", "@end\t1"]
        {
            assert_eq!(Event::parse(line), None, "{line:?}");
        }
    }
}

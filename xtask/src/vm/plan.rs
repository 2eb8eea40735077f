//! What one boot is for, written as a file of the initramfs. `tests/src/bin/guest/plan.rs` reads it.

use std::fmt::Write;
use std::time::Duration;

use super::needs::{self, Need};

/// Where the guest looks for it.
pub(super) const FILE: &str = "/etc/plan";

/// One thing that the guest runs and gives an outcome for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GuestCase {
    /// How people see it.
    pub(super) name: String,
    pub(super) what: What,
}

/// How a case is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A test of a libtest binary, which has this path in the guest.
    Libtest { program: String, test: String },
    /// A case of the guest's own program.
    Own(String),
    /// A program of which everything that it says is told.
    Program(Vec<String>),
}

/// A round of a power-cut test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PowerRound {
    /// The filesystem's program.
    pub(super) filesystem: String,
    /// Of each earlier round, how many files were synced.
    pub(super) synced: Vec<u32>,
    /// Whether the filesystem's fsync is to do nothing.
    pub(super) fsync_ignored: bool,
    /// Whether files are written after the earlier rounds were looked at.
    pub(super) write: bool,
}

/// Everything that one boot is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Paths of modules in the guest.
    pub(super) modules: Vec<String>,
    /// Symbolic links: path and target. Tests know their package's programs by where they were built.
    pub(super) links: Vec<(String, String)>,
    /// How long a case may take.
    pub(super) limit: Duration,
    /// What is to go wrong on purpose.
    pub(super) broken: Option<String>,
    pub(super) shell: bool,
    /// Whether the disk is for the files of the cases.
    pub(super) scratch: bool,
    pub(super) cases: Vec<GuestCase>,
    pub(super) power: Option<PowerRound>,
}

impl Plan {
    /// The file: a line a wish, fields parted by tabs.
    pub(super) fn text(&self) -> String {
        let mut text = format!("limit\t{}\n", self.limit.as_secs());
        let mut line = |fields: &[&str]| {
            writeln!(text, "{}", fields.join("\t")).expect("writing to a string cannot fail");
        };
        for module in &self.modules {
            line(&["module", module]);
        }
        for (path, target) in &self.links {
            line(&["link", path, target]);
        }
        if let Some(what) = &self.broken {
            line(&["break", what]);
        }
        if self.shell {
            line(&["shell"]);
        }
        if self.scratch {
            line(&["scratch"]);
        }
        for GuestCase { name, what } in &self.cases {
            match needs::of(name) {
                Some(Need::Minor(minor)) => line(&["minor", &minor.to_string()]),
                Some(Need::Flag(bit)) => line(&["flag", &bit.to_string()]),
                Some(Need::Host(_)) | None => {}
            }
            match what {
                What::Libtest { program, test } => line(&["libtest", name, program, test]),
                What::Own(own) => line(&["own", own]),
                What::Program(words) => {
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    line(&[&["program", name.as_str()], words.as_slice()].concat());
                }
            }
        }
        if let Some(PowerRound { filesystem, synced, fsync_ignored, write }) = &self.power {
            for (round, files) in synced.iter().enumerate() {
                line(&["synced", &round.to_string(), &files.to_string()]);
            }
            if *write {
                let fsync = if *fsync_ignored { "ignored" } else { "kept" };
                line(&["power", filesystem, &synced.len().to_string(), fsync]);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_is_a_line_for_each_wish() {
        let plan = Plan {
            modules: vec!["/modules/fuse.ko".into()],
            links: vec![("/b/hellofs".into(), "/usr/bin/hellofs".into())],
            limit: Duration::from_secs(7),
            broken: Some("daemon".into()),
            shell: false,
            scratch: true,
            cases: vec![
                GuestCase { name: "b t".into(), what: What::Libtest { program: "/tests/b".into(), test: "t".into() } },
                GuestCase { name: "x".into(), what: What::Own("x".into()) },
                GuestCase {
                    name: "attributes::statx_comes_when_the_birth_time_is_asked_for".into(),
                    what: What::Own("y".into()),
                },
                GuestCase { name: "p".into(), what: What::Program(vec!["/bin/p".into(), "-a".into()]) },
            ],
            power: Some(PowerRound {
                filesystem: "mirrorfs".into(),
                synced: vec![9],
                fsync_ignored: true,
                write: true,
            }),
        };
        assert_eq!(
            plan.text(),
            "limit\t7\nmodule\t/modules/fuse.ko\nlink\t/b/hellofs\t/usr/bin/hellofs\nbreak\tdaemon\nscratch\n\
             libtest\tb t\t/tests/b\tt\nown\tx\nminor\t39\nown\ty\nprogram\tp\t/bin/p\t-a\nsynced\t0\t9\npower\tmirrorfs\t1\tignored\n"
        );
    }
}

//! What the host wants of this boot, read from a file of the initramfs: a line a wish, fields parted by tabs.
//! `xtask/src/vm/plan.rs` writes it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Where the plan lies.
pub(crate) const FILE: &str = "/etc/plan";

/// Everything that one boot is for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Modules to load, in this order.
    pub(crate) modules: Vec<String>,
    /// Symbolic links to make: path and target.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// What to run, in this order.
    pub(crate) steps: Vec<Step>,
    /// How long a case may take.
    pub(crate) limit: Duration,
    /// What is to go wrong on purpose.
    pub(crate) broken: Option<String>,
    /// Whether somebody wants a shell instead of the steps.
    pub(crate) shell: bool,
    /// Whether the disk is for the files of the cases.
    pub(crate) scratch: bool,
}

/// One thing to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next case needs this protocol minor.
    Minor(u32),
    /// The next case needs this bit of the flags in INIT.
    Flag(u32),
    /// A case of a libtest binary.
    Libtest { name: String, program: String, test: String },
    /// A case of this program.
    Own { name: String },
    /// A program of which everything that it says is told.
    Program { name: String, words: Vec<String> },
    /// Rounds whose files must be there, then a round of writing that ends with the power.
    Power { mount: String, round: u32, fsync_ignored: bool },
    /// Of an earlier round this many files were reported as synced.
    Synced { round: u32, files: u32 },
}

impl Plan {
    /// Reads the plan of this boot.
    pub(crate) fn read() -> Result<Self> {
        let text = std::fs::read_to_string(FILE).with_context(|| format!("reading {FILE}"))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self> {
        let mut plan = Self { limit: Duration::from_secs(60), ..Self::default() };
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields.as_slice() {
                ["limit", seconds] => plan.limit = Duration::from_secs(number(seconds)?.into()),
                ["module", path] => plan.modules.push((*path).to_owned()),
                ["link", path, target] => plan.links.push((path.into(), target.into())),
                ["minor", minor] => plan.steps.push(Step::Minor(number(minor)?)),
                ["flag", bit] => plan.steps.push(Step::Flag(number(bit)?)),
                ["break", what] => plan.broken = Some((*what).to_owned()),
                ["shell"] => plan.shell = true,
                ["scratch"] => plan.scratch = true,
                ["libtest", name, program, test] => plan.steps.push(Step::Libtest {
                    name: (*name).to_owned(),
                    program: (*program).to_owned(),
                    test: (*test).to_owned(),
                }),
                ["program", name, words @ ..] => plan.steps.push(Step::Program {
                    name: (*name).to_owned(),
                    words: words.iter().map(|word| (*word).to_owned()).collect(),
                }),
                ["own", name] => plan.steps.push(Step::Own { name: (*name).to_owned() }),
                ["synced", round, files] => {
                    plan.steps.push(Step::Synced { round: number(round)?, files: number(files)? });
                }
                ["power", mount, round, fsync] => plan.steps.push(Step::Power {
                    mount: (*mount).to_owned(),
                    round: number(round)?,
                    fsync_ignored: *fsync == "ignored",
                }),
                _ => bail!("reading {FILE}: unknown line {line:?}"),
            }
        }
        Ok(plan)
    }
}

fn number(text: &str) -> Result<u32> {
    text.parse().with_context(|| format!("reading {FILE}: {text:?} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_plan_is_read() {
        let text = "limit\t7\nmodule\t/m/fuse.ko\nlink\t/b/a\t/a\nminor\t39\nflag\t34\nbreak\tdaemon\nlibtest\tb t\t/t/b\tt\nown\tx\n\
                    program\tp\t/p\t-a\nsynced\t1\t9\n\
                    power\tmirrorfs\t2\tignored\n";
        let plan = Plan::parse(text).unwrap();
        assert_eq!(plan.limit, Duration::from_secs(7));
        assert_eq!(plan.modules, ["/m/fuse.ko"]);
        assert_eq!(plan.broken.as_deref(), Some("daemon"));
        assert_eq!(plan.steps.len(), 7);
        assert_eq!(plan.links, [("/b/a".into(), "/a".into())]);
        assert!(Plan::parse("shell\n").unwrap().shell && Plan::parse("scratch\n").unwrap().scratch);
        assert!(Plan::parse("lunch\n").is_err());
    }
}

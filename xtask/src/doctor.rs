//! `cargo xtask doctor`: what this machine allows, and how to mend what is missing. It changes nothing.

mod checks;
mod facts;
mod machine;
mod probe;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::vm;
use facts::Facts;
use machine::Machine;

/// Flags of `cargo xtask doctor`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
    /// Boot a virtual machine, and tell what its kernel allows
    #[arg(long)]
    vm: bool,
    /// The kernel of the virtual machine: an image, or a package named linux-image-*
    #[arg(long, value_name = "IMAGE|PACKAGE", requires = "vm")]
    kernel: Option<String>,
    /// Leave out what a guest need not have
    #[arg(long, hide = true)]
    guest: bool,
    /// Only mount a probe in this namespace and print what the kernel offers, as JSON
    #[arg(long, hide = true)]
    probe: bool,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// It is there and works.
    Ok,
    /// It is there in part, or could not be found out.
    Warn,
    /// It is not there.
    Missing,
}

/// One thing to look at.
struct Check {
    name: &'static str,
    purpose: &'static str,
    look: fn(&Machine) -> Verdict,
}

/// What a check saw: how it is, and what to do about it.
struct Verdict {
    status: Status,
    detail: String,
    mend: Option<String>,
}

/// A check's name together with its verdict.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    /// The name by which test suites ask for it.
    pub(crate) name: &'static str,
    /// What it is needed for.
    pub(crate) purpose: &'static str,
    /// How it is.
    pub(crate) status: Status,
    /// What was seen.
    pub(crate) detail: String,
    /// What to do when it is not `Ok`.
    pub(crate) mend: Option<String>,
}

/// Everything that the doctor found.
#[derive(Debug)]
pub(crate) struct Findings(Vec<Finding>);

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    findings: &'a [Finding],
    #[serde(flatten)]
    facts: &'a Facts,
}

impl Verdict {
    fn ok(detail: impl Into<String>) -> Self {
        Self { status: Status::Ok, detail: detail.into(), mend: None }
    }

    fn warn(detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { status: Status::Warn, detail: detail.into(), mend: Some(mend.into()) }
    }

    fn missing(detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { status: Status::Missing, detail: detail.into(), mend: Some(mend.into()) }
    }
}

impl Findings {
    /// The finding of this name. The names are data in this crate, so an unknown one is an error of the caller's table.
    pub(crate) fn find(&self, name: &str) -> Result<&Finding> {
        self.0
            .iter()
            .find(|finding| finding.name == name)
            .with_context(|| format!("looking up the check `{name}`: doctor has none of this name"))
    }
}

impl Finding {
    /// Whether it can be relied on.
    pub(crate) fn met(&self) -> bool {
        self.status == Status::Ok
    }

    /// One line: what is wrong and how to mend it.
    pub(crate) fn complaint(&self) -> String {
        match &self.mend {
            Some(mend) => format!("{}: {}; to mend: {mend}", self.name, self.detail),
            None => format!("{}: {}", self.name, self.detail),
        }
    }
}

/// Whether there is a check of this name.
#[cfg(test)]
pub(crate) fn has_check(name: &str) -> bool {
    checks::ALL.iter().any(|check| check.name == name)
}

/// What is found on a machine without anything.
#[cfg(test)]
pub(crate) fn examine_nothing() -> Findings {
    examine_on(&Machine::bare(std::path::Path::new("/nonexistent")))
}

/// Looks at everything.
pub(crate) fn examine() -> Findings {
    examine_on(&Machine::here())
}

/// The protocol minor that this machine's kernel offers, if it can be asked.
pub(crate) fn protocol_minor() -> Option<u32> {
    Machine::here().offer.ok().map(|offer| offer.minor)
}

fn examine_on(machine: &Machine) -> Findings {
    let look = |check: &Check| {
        let Verdict { status, detail, mend } = (check.look)(machine);
        Finding { name: check.name, purpose: check.purpose, status, detail, mend }
    };
    Findings(checks::ALL.iter().map(look).collect())
}

/// Runs the command. The exit status is 1 when this user cannot mount at all.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut out = std::io::stdout();
    if args.probe {
        writeln!(out, "{}", serde_json::to_string(&probe::ask()?)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.vm {
        let words = ["--guest"].into_iter().chain(args.json.then_some("--json"));
        write!(out, "{}", vm::examine(args.kernel.as_deref(), &words.collect::<Vec<_>>())?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let machine = Machine::here();
    let mut findings = examine_on(&machine);
    if args.guest {
        findings.0.retain(|finding| !checks::OF_THE_WORKSPACE.contains(&finding.name));
    }
    let facts = Facts::of(&machine);
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&Report { findings: &findings.0, facts: &facts })?)?;
    } else {
        write!(out, "{}{}", table(&findings), facts.text())?;
    }
    let mount = findings.find(checks::MOUNT)?;
    if !mount.met() && !args.guest {
        eprintln!("error: mounting cannot work here for this user: {}", mount.detail);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn table(findings: &Findings) -> String {
    let width = findings.0.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
    let mut lines = String::new();
    for Finding { name, purpose, status, detail, mend } in &findings.0 {
        let word = match status {
            Status::Ok => "ok",
            Status::Warn => "warn",
            Status::Missing => "MISSING",
        };
        lines += &format!("{word:<8} {name:<width$}  {detail}\n");
        if let Some(mend) = mend {
            lines += &format!("{:<8} {:<width$}    for:  {purpose}\n", "", "");
            lines += &format!("{:<8} {:<width$}    mend: {mend}\n", "", "");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_checks_are_unique() {
        let mut names: Vec<_> = checks::ALL.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), checks::ALL.len());
    }

    #[test]
    fn table_tells_how_to_mend_what_is_missing() {
        let findings = Findings(vec![
            Finding { name: "a", purpose: "p", status: Status::Ok, detail: "fine".into(), mend: None },
            Finding {
                name: "long-name",
                purpose: "mounts",
                status: Status::Missing,
                detail: "gone".into(),
                mend: Some("bring it back".into()),
            },
        ]);
        let text = table(&findings);
        assert!(text.contains("ok       a          fine\n"), "{text}");
        assert!(text.contains("MISSING  long-name  gone\n"), "{text}");
        assert!(text.contains("mend: bring it back\n"), "{text}");
        assert!(!text.contains("for:  p\n"), "what is well needs no explanation: {text}");
    }
}

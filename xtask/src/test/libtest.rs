//! Runs doc tests, and unit tests where nextest is missing, with `cargo test`. The results are libtest's lines.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use xshell::Cmd;

use super::report::{Case, Outcome};

/// Runs `cargo test`, shows what it says, and reads the cases from libtest's lines.
pub(super) fn run(command: Cmd<'_>, what: &str) -> Result<Vec<Case>> {
    println!("\n$ {command}");
    let mut child = Command::from(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("running {what}"))?;
    let output = child.stdout.take().context("reading the output of cargo test: it has none")?;
    let mut cases = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line.with_context(|| format!("reading the output of {what}"))?;
        writeln!(std::io::stdout(), "{line}")?;
        cases.extend(case_of(&line));
    }
    let status = child.wait().with_context(|| format!("waiting for {what}"))?;
    let failures = cases.iter().any(|case| matches!(case.outcome, Outcome::Failed(_)));
    if status.success() == failures {
        let said = format!("cargo test ended with {status}: see above");
        cases.push(Case { name: what.to_owned(), outcome: Outcome::Failed(said), time: None });
    }
    Ok(cases)
}

/// A line such as `test mount::works ... ok`, `... FAILED`, `... ignored` or `... ok (compile)`.
fn case_of(line: &str) -> Option<Case> {
    let (name, result) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    let outcome = match result.split([' ', ',']).next()? {
        "ok" => Outcome::Passed,
        "FAILED" => Outcome::Failed("failed: see above".to_owned()),
        "ignored" => Outcome::Skipped("marked as ignored".to_owned()),
        _ => return None,
    };
    Some(Case { name: name.to_owned(), outcome, time: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_libtest_are_cases() {
        let outcome = |line| case_of(line).map(|case| (case.name, case.outcome));
        assert_eq!(outcome("test a::b ... ok"), Some(("a::b".into(), Outcome::Passed)));
        assert_eq!(
            outcome("test src/lib.rs - Name (line 3) - compile ... ok"),
            Some(("src/lib.rs - Name (line 3) - compile".into(), Outcome::Passed))
        );
        assert!(matches!(outcome("test a ... FAILED"), Some((_, Outcome::Failed(_)))));
        assert!(matches!(outcome("test a ... ignored, why"), Some((_, Outcome::Skipped(_)))));
        assert_eq!(outcome("test result: ok. 3 passed; 0 failed"), None);
        assert_eq!(outcome("running 3 tests"), None);
    }
}

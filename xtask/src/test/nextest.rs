//! Runs suites with cargo-nextest: asks it for the cases, leaves out those that cannot run here, and reads the results
//! that it writes for machines. Doc tests are none of its business; `libtest` runs them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use quick_junit::{Report, TestCaseStatus, XmlString};
use serde::Deserialize;
use xshell::cmd;

use super::report::{Case, Outcome};
use super::{Run, Suite, left_out, libtest};
use crate::workspace;

/// The package whose cases mount. Integration tests of any other crate mount if their name begins with `mount`.
const TESTS_PACKAGE: &str = "fusewire-tests";
/// The profile of `.config/nextest.toml`, and so the directory of its JUnit file.
const PROFILE: &str = "xtask";

/// Unit tests by nextest, then doc tests.
pub(super) fn run_unit(run: &Run<'_>, suite: &Suite) -> Result<Vec<Case>> {
    let (shell, filter) = (run.shell, run.filter);
    let nextest = run.findings.find("nextest")?;
    let mut cases = if nextest.met() {
        run_nextest(run, suite, mounts_nothing)?
    } else {
        let units = cmd!(shell, "cargo test --workspace --lib --bins --no-fail-fast -- {filter...}");
        let mut cases = libtest::run(units, "unit tests")?;
        cases.push(left_out("integration tests".to_owned(), nextest.complaint()));
        cases
    };
    let examples = cmd!(shell, "cargo test --workspace --doc --no-fail-fast -- {filter...}");
    cases.extend(libtest::run(examples, "doc tests")?);
    Ok(cases)
}

/// Builds the binaries that cases mount, then runs the cases that can run here.
pub(super) fn run_mount(run: &Run<'_>, suite: &Suite) -> Result<Vec<Case>> {
    if let Err(error) = cmd!(run.shell, "cargo build --workspace --bins").run() {
        return Ok(vec![build_failed(&error.into())]);
    }
    let _binaries = run.shell.push_env("FUSEWIRE_BIN_DIR", run.metadata.binaries());
    let _user = (nix::unistd::geteuid().is_root() && run.findings.find("test-user")?.met())
        .then(|| run.shell.push_env("FUSEWIRE_TEST_USER", super::TEST_USER));
    run_nextest(run, suite, mounts)
}

/// As [`run_mount`], for sessions that would choose io_uring by themselves.
pub(super) fn run_mount_device(run: &Run<'_>, suite: &Suite) -> Result<Vec<Case>> {
    let _transport = run.shell.push_env("FUSEWIRE_TRANSPORT", "dev");
    run_mount(run, suite)
}

/// The names of the cases that mount nothing, doc tests apart.
pub(super) fn list_unit(run: &Run<'_>) -> Result<Vec<Name>> {
    list(run, mounts_nothing)
}

/// The names of the cases that mount, whether they can run here or not.
pub(super) fn list_mount(run: &Run<'_>) -> Result<Vec<Name>> {
    list(run, mounts)
}

/// Whether the cases of a test binary mount.
fn mounts(binary: &ListedBinary) -> bool {
    binary.package_name == TESTS_PACKAGE || (binary.kind == "test" && binary.binary_name.starts_with("mount"))
}

fn mounts_nothing(binary: &ListedBinary) -> bool {
    !mounts(binary)
}

/// Builds every test, and asks each binary for its cases; those of the chosen binaries come back.
fn list(run: &Run<'_>, chosen: fn(&ListedBinary) -> bool) -> Result<Vec<Name>> {
    let filter = run.filter;
    let json = cmd!(run.shell, "cargo nextest list --workspace --message-format json -- {filter...}").read()?;
    let listing: Listing = serde_json::from_str(&json).context("reading the answer of nextest list")?;
    Ok(listing.cases(chosen))
}

fn run_nextest(run: &Run<'_>, suite: &Suite, chosen: fn(&ListedBinary) -> bool) -> Result<Vec<Case>> {
    let listed = match list(run, chosen) {
        Ok(listed) => listed,
        Err(error) => return Ok(vec![build_failed(&error)]),
    };
    if listed.is_empty() && run.filter.is_none() {
        return Ok(vec![left_out(
            format!("the whole suite {}", suite.name),
            "the workspace has no case of it".to_owned(),
        )]);
    }
    let mut lacking = Vec::new();
    for need in suite.case_needs {
        let finding = run.findings.find(need.check)?;
        if !finding.met() {
            lacking.extend(need.parts.iter().map(|part| (*part, finding.complaint())));
        }
    }
    let (cases, unable) = split(listed, &lacking);
    let mut results: Vec<_> = unable.into_iter().map(|(name, reason)| left_out(name.to_string(), reason)).collect();
    if cases.is_empty() {
        return Ok(results);
    }

    let expression = filterset(&cases, &lacking);
    let junit = workspace::root()?.join("target/nextest").join(PROFILE).join("junit.xml");
    if junit.exists() {
        fs::remove_file(&junit).with_context(|| format!("removing {}", junit.display()))?;
    }
    let filter = run.filter;
    let status = Command::from(cmd!(
        run.shell,
        "cargo nextest run --workspace --profile {PROFILE} --no-fail-fast -E {expression} -- {filter...}"
    ))
    .stdin(Stdio::null())
    .status()
    .context("running cargo nextest")?;
    if !junit.exists() {
        let said = format!("cargo nextest ended with {status} and left no results: see above");
        results.push(Case { name: "build and run".to_owned(), outcome: Outcome::Failed(said), time: None });
        return Ok(results);
    }
    let xml = fs::read_to_string(&junit).with_context(|| format!("reading {}", junit.display()))?;
    let report = Report::deserialize_from_str(&xml).with_context(|| format!("reading {}", junit.display()))?;
    let ran = cases_of(&report);
    let lost = cases.len().saturating_sub(ran.len());
    let failures = ran.iter().any(|case| matches!(case.outcome, Outcome::Failed(_)));
    results.extend(ran);
    if lost > 0 || status.success() == failures {
        let said = format!("cargo nextest ended with {status}; {lost} listed cases have no result");
        results.push(Case { name: "run".to_owned(), outcome: Outcome::Failed(said), time: None });
    }
    Ok(results)
}

/// The cases that can run, in nextest's language: all in their binaries, but for the parts that lack something.
fn filterset(cases: &[Name], lacking: &[(&str, String)]) -> String {
    let mut binaries: Vec<_> = cases.iter().map(|name| format!("binary_id(={})", name.binary)).collect();
    binaries.dedup();
    let mut expression = format!("({})", binaries.join(" | "));
    for (part, _) in lacking {
        expression += &format!(" & not test(/(^|::){part}(::|$)/)");
    }
    expression
}

/// Cases that can run, and those that cannot with the reason.
fn split(names: Vec<Name>, lacking: &[(&str, String)]) -> (Vec<Name>, Vec<(Name, String)>) {
    let (mut able, mut unable) = (Vec::new(), Vec::new());
    for name in names {
        let reasons: Vec<_> =
            lacking.iter().filter(|(part, _)| name.has(part)).map(|(_, reason)| reason.as_str()).collect();
        if reasons.is_empty() {
            able.push(name);
        } else {
            let reason = reasons.join("; ");
            unable.push((name, reason));
        }
    }
    (able, unable)
}

/// A case as nextest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) binary: String,
    pub(super) test: String,
}

impl Name {
    /// Whether the case is one of those that a need is for: by a part of its path, or as all of its binary.
    fn has(&self, part: &str) -> bool {
        self.binary == part || self.test.split("::").any(|piece| piece == part)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.binary, self.test)
    }
}

/// The part of `nextest list --message-format json` that matters here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Listing {
    rust_suites: BTreeMap<String, ListedBinary>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ListedBinary {
    package_name: String,
    binary_name: String,
    /// `lib`, `bin`, `test`, ...
    kind: String,
    testcases: BTreeMap<String, ListedCase>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct ListedCase {
    filter_match: FilterMatch,
}

#[derive(Deserialize)]
struct FilterMatch {
    status: String,
}

impl Listing {
    /// The cases of the chosen binaries that the filter lets pass, in the order of binaries.
    fn cases(&self, chosen: fn(&ListedBinary) -> bool) -> Vec<Name> {
        let mut names = Vec::new();
        for (binary, listed) in self.rust_suites.iter().filter(|(_, listed)| chosen(listed)) {
            for (test, case) in &listed.testcases {
                if case.filter_match.status == "matches" {
                    names.push(Name { binary: binary.clone(), test: test.clone() });
                }
            }
        }
        names
    }
}

/// What does not build fails its suite and leaves the others their turn.
pub(super) fn build_failed(error: &anyhow::Error) -> Case {
    let outcome = Outcome::Failed(format!("{error:#}: see above"));
    Case { name: "build".to_owned(), outcome, time: None }
}

fn said(message: &Option<XmlString>) -> String {
    message.as_ref().map_or_else(String::new, |message| message.as_str().to_owned())
}

fn cases_of(report: &Report) -> Vec<Case> {
    let mut cases = Vec::new();
    for suite in &report.test_suites {
        for case in &suite.test_cases {
            let outcome = match &case.status {
                TestCaseStatus::Success { .. } => Outcome::Passed,
                TestCaseStatus::Skipped { message, .. } => Outcome::Skipped(said(message)),
                TestCaseStatus::NonSuccess { message, .. } => Outcome::Failed(said(message)),
            };
            cases.push(Case {
                name: format!("{} {}", suite.name.as_str(), case.name.as_str()),
                outcome,
                time: case.time,
            });
        }
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(test: &str) -> Name {
        Name { binary: "fusewire-tests::basic".to_owned(), test: test.to_owned() }
    }

    #[test]
    fn case_that_needs_what_is_missing_is_left_out_with_the_reason() {
        let names = ["reads::as_user::stat", "reads::stat", "reads::as_user_too"].map(name).to_vec();
        let lacking = [("as_user", "no such user".to_owned())];
        let (able, unable) = split(names.clone(), &lacking);
        assert_eq!(able, names[1..]);
        assert_eq!(unable, [(names[0].clone(), "no such user".to_owned())]);
        assert_eq!(filterset(&able, &lacking), "(binary_id(=fusewire-tests::basic)) & not test(/(^|::)as_user(::|$)/)");
        assert_eq!(split(names.clone(), &[]).0, names);
        assert_eq!(split(names.clone(), &[("fusewire-tests::basic", "no root".to_owned())]).0, []);
    }

    #[test]
    fn listing_of_nextest_gives_the_matching_cases_of_the_chosen_binaries() {
        let json = r#"{"rust-suites": {
            "fusewire": {"package-name": "fusewire", "binary-name": "fusewire", "kind": "lib", "testcases": {
                "a": {"ignored": false, "filter-match": {"status": "matches"}},
                "b": {"ignored": false, "filter-match": {"status": "mismatch", "reason": "expression"}}}},
            "fusewire::mount_auto": {"package-name": "fusewire", "binary-name": "mount_auto", "kind": "test", "testcases": {
                "c": {"ignored": false, "filter-match": {"status": "matches"}}}}}}"#;
        let listing: Listing = serde_json::from_str(json).unwrap();
        let names = |chosen| listing.cases(chosen).iter().map(Name::to_string).collect::<Vec<_>>();
        assert_eq!(names(mounts_nothing), ["fusewire a"]);
        assert_eq!(names(mounts), ["fusewire::mount_auto c"]);
    }
}

//! Builds what runs in a guest, linked statically so that the guest needs no libraries, and asks the test binaries for
//! their cases. Everything has a target directory of its own, so that it does not disturb other builds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use xshell::{Shell, cmd};

use super::needs;
use super::plan::{GuestCase, What};

/// The package whose tests mount, and which has the guest's own program.
const TESTS_PACKAGE: &str = "fusewire-tests";
/// The guest's own program.
const GUEST: &str = "guest";
const TARGET: &str = "x86_64-unknown-linux-gnu";
const FLAGS: &str = "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS";

/// Where the test binaries are in the guest.
pub(super) const TESTS: &str = "/tests";

/// What was built.
#[derive(Debug, Default)]
pub(super) struct Built {
    /// The program that is process 1 of a guest.
    pub(super) guest: PathBuf,
    /// The filesystems' programs.
    pub(super) programs: Vec<PathBuf>,
    /// The test binaries.
    pub(super) tests: Vec<TestBinary>,
    /// Names of test binaries that have no place in a guest, with the reason.
    pub(super) elsewhere: Vec<(String, &'static str)>,
}

/// A libtest binary.
#[derive(Debug)]
pub(super) struct TestBinary {
    /// `package::target`.
    pub(super) name: String,
    pub(super) file: PathBuf,
}

/// A line of cargo's `--message-format json`, as far as it is needed.
#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    package_id: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Target {
    fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|known| known == kind)
    }
}

/// Part of `cargo metadata`.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

/// Builds everything below `store`. Without `tests`, only programs.
pub(super) fn build(shell: &Shell, store: &Path, tests: bool) -> Result<Built> {
    let _flags = shell.push_env(FLAGS, "-C target-feature=+crt-static");
    let _target = shell.push_env("CARGO_TARGET_DIR", store.join("build"));
    let metadata = cmd!(shell, "cargo metadata --no-deps --format-version 1").quiet().read()?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("reading the answer of cargo metadata")?;

    println!("building what runs in the guest");
    let programs: Vec<_> = programs(&metadata).into_iter().flat_map(|name| ["--bin".to_owned(), name]).collect();
    let json = cmd!(
        shell,
        "cargo build --quiet --workspace --profile vm --target {TARGET} --message-format json-render-diagnostics {programs...}"
    );
    let mut built = Built::default();
    for (_, name, file) in executables(&json.quiet().read()?, "bin") {
        if name == GUEST {
            built.guest = file;
        } else {
            built.programs.push(file);
        }
    }
    let (wanted, elsewhere) = mounting_tests(&metadata);
    built.elsewhere = elsewhere;
    let names: Vec<_> = wanted.into_iter().flat_map(|name| ["--test".to_owned(), name]).collect();
    if !tests || names.is_empty() {
        return Ok(built);
    }
    let json = cmd!(
        shell,
        "cargo test --quiet --workspace --profile vm --target {TARGET} --no-run --message-format json-render-diagnostics {names...}"
    );
    for (package, name, file) in executables(&json.quiet().read()?, "test") {
        built.tests.push(TestBinary { name: format!("{package}::{name}"), file });
    }
    built.tests.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(built)
}

/// The guest's program and every filesystem's.
fn programs(metadata: &Metadata) -> Vec<String> {
    let targets = metadata.packages.iter().flat_map(|package| &package.targets);
    let programs = targets.filter(|target| target.is("bin"));
    programs.map(|target| target.name.clone()).filter(|name| name == GUEST || name.ends_with("fs")).collect()
}

/// The integration tests that mount: all of one package, and those of others whose name says so. Then those that have no
/// place in a guest.
fn mounting_tests(metadata: &Metadata) -> (Vec<String>, Vec<(String, &'static str)>) {
    let (mut wanted, mut elsewhere) = (Vec::new(), Vec::new());
    for package in &metadata.packages {
        let tests = package.targets.iter().filter(|target| target.is("test"));
        for target in tests.filter(|target| package.name == TESTS_PACKAGE || target.name.starts_with("mount")) {
            let name = format!("{}::{}", package.name, target.name);
            match needs::of_binary(&name) {
                Some(reason) => elsewhere.push((name, reason)),
                None => wanted.push(target.name.clone()),
            }
        }
    }
    (wanted, elsewhere)
}

/// Package, target and file of every executable of a kind. Tests are built with the programs of their package.
fn executables(json: &str, kind: &str) -> Vec<(String, String, PathBuf)> {
    let messages = json.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    messages
        .filter_map(|message| {
            let (target, file) = (message.target.filter(|target| target.is(kind))?, message.executable?);
            Some((package_name(&message.package_id), target.name, file))
        })
        .collect()
}

/// `path+file:///w/crates/fusewire#0.1.0` is `fusewire`; so is `path+file:///w/x#fusewire@0.1.0`.
fn package_name(id: &str) -> String {
    let (path, version) = id.rsplit_once('#').unwrap_or((id, ""));
    match version.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => path.rsplit('/').next().unwrap_or_default().to_owned(),
    }
}

/// Asks each test binary for its cases; they run on the host as well as in the guest.
pub(super) fn list_tests(shell: &Shell, built: &Built) -> Result<Vec<GuestCase>> {
    let mut cases = Vec::new();
    for binary in &built.tests {
        let file = &binary.file;
        let list = cmd!(shell, "{file} --list --format terse").quiet().read()?;
        for test in list.lines().filter_map(|line| line.strip_suffix(": test")) {
            let program = format!("{TESTS}/{}", binary.name);
            let name = format!("{} {test}", binary.name);
            cases.push(GuestCase { name, what: What::Libtest { program, test: test.to_owned() } });
        }
    }
    Ok(cases)
}

/// The guest's own cases.
pub(super) fn list_own(shell: &Shell, built: &Built) -> Result<Vec<GuestCase>> {
    let guest = &built.guest;
    let list = cmd!(shell, "{guest} cases").quiet().read()?;
    let names = list.lines().filter_map(|line| line.split('\t').next());
    Ok(names.map(|name| GuestCase { name: name.to_owned(), what: What::Own(name.to_owned()) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_tests_are_chosen_by_their_names() {
        let json = r#"{"packages": [
            {"name": "fusewire", "targets": [{"name": "fusewire", "kind": ["lib"]}, {"name": "mount", "kind": ["test"]},
                {"name": "other", "kind": ["test"]}]},
            {"name": "guide-port", "targets": [{"name": "mount_port", "kind": ["test"]}]},
            {"name": "hellofs", "targets": [{"name": "hellofs", "kind": ["bin"]}]},
            {"name": "xtask", "targets": [{"name": "xtask", "kind": ["bin"]}]},
            {"name": "fusewire-tests", "targets": [{"name": "guest", "kind": ["bin"]}, {"name": "posix", "kind": ["test"]}]}]}"#;
        let metadata = serde_json::from_str(json).unwrap();
        assert_eq!(programs(&metadata), ["hellofs", "guest"]);
        let (wanted, elsewhere) = mounting_tests(&metadata);
        assert_eq!(wanted, ["mount", "posix"]);
        assert_eq!(elsewhere.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["guide-port::mount_port"]);
    }

    #[test]
    fn executables_are_read_from_cargos_messages() {
        let json = r#"{"reason":"compiler-artifact","package_id":"path+file:///w/crates/fusewire#0.1.0","target":{"name":"mount","kind":["test"]},"executable":"/b/mount-1"}
{"reason":"compiler-artifact","package_id":"path+file:///w/tests#fusewire-tests@0.1.0","target":{"name":"guest","kind":["bin"]},"executable":"/b/guest"}
{"reason":"build-finished","success":true}"#;
        let found = |kind| executables(json, kind);
        assert_eq!(found("test"), [("fusewire".to_owned(), "mount".to_owned(), PathBuf::from("/b/mount-1"))]);
        assert_eq!(found("bin"), [("fusewire-tests".to_owned(), "guest".to_owned(), PathBuf::from("/b/guest"))]);
        assert_eq!(package_name("path+file:///w/tests#fusewire-tests@0.1.0"), "fusewire-tests");
    }
}

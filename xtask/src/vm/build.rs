//! Builds what runs in a guest, linked statically so that the guest needs no libraries, and asks the test binaries for
//! their cases. Everything has a target directory of its own, so that it does not disturb other builds.

use std::fs;
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

/// Which tests are to be built.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tests<'a> {
    None,
    All,
    /// Those that may have a case with one of these in its name.
    With(&'a [&'a str]),
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
    #[serde(default)]
    src_path: PathBuf,
}

/// The integration tests that mount.
#[derive(Default)]
struct Mounting<'a> {
    /// Each with the name of its package.
    here: Vec<(&'a str, &'a Target)>,
    /// Names of those that have no place in a guest, with the reason.
    elsewhere: Vec<(String, &'static str)>,
}

impl Target {
    fn is(&self, kind: &str) -> bool {
        self.kind.iter().any(|known| known == kind)
    }

    /// What its cases are made of, as text: its file, and those of its modules.
    fn sources(&self) -> Result<String> {
        let mut text = read(&self.src_path)?;
        let beside = if self.src_path.ends_with("main.rs") { self.src_path.parent() } else { None };
        let modules = beside.map_or_else(|| self.src_path.with_extension(""), Path::to_path_buf);
        if modules.is_dir() {
            append_sources(&modules, &mut text)?;
        }
        Ok(text)
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

/// Builds the programs, and the tests that are wanted, below `store`.
pub(super) fn build(shell: &Shell, store: &Path, tests: Tests<'_>) -> Result<Built> {
    let _flags = shell.push_env(FLAGS, "-C target-feature=+crt-static");
    let _target = shell.push_env("CARGO_TARGET_DIR", store.join("build"));
    let metadata = cmd!(shell, "cargo metadata --no-deps --format-version 1").quiet().read()?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("reading the answer of cargo metadata")?;

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
    let Mounting { here, elsewhere } = mounting_tests(&metadata);
    built.elsewhere = elsewhere;
    let mut names = Vec::new();
    for (package, target) in here {
        if tests.want(package, target)? {
            names.extend(["--test", &target.name]);
        }
    }
    if names.is_empty() {
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

/// Which integration tests mount: all of one package, and those of others whose name says so.
fn mounting_tests(metadata: &Metadata) -> Mounting<'_> {
    let Mounting { mut here, mut elsewhere } = Mounting::default();
    for package in &metadata.packages {
        let tests = package.targets.iter().filter(|target| target.is("test"));
        for target in tests.filter(|target| package.name == TESTS_PACKAGE || target.name.starts_with("mount")) {
            let name = format!("{}::{}", package.name, target.name);
            match needs::of_binary(&name) {
                Some(reason) => elsewhere.push((name, reason)),
                None => here.push((package.name.as_str(), target)),
            }
        }
    }
    Mounting { here, elsewhere }
}

impl Tests<'_> {
    /// Whether a test binary may have a wanted case. Each part of such a case's name is the binary's or in its sources.
    fn want(self, package: &str, target: &Target) -> Result<bool> {
        let filters = match self {
            Self::None => return Ok(false),
            Self::All => return Ok(true),
            Self::With(filters) => filters,
        };
        let text = format!("{package}::{} {}", target.name, target.sources()?);
        Ok(filters.iter().any(|filter| filter.split([' ', ':']).all(|part| text.contains(part))))
    }
}

fn append_sources(directory: &Path, text: &mut String) -> Result<()> {
    let reading = || format!("reading the directory {}", directory.display());
    for entry in fs::read_dir(directory).with_context(reading)? {
        let path = entry.with_context(reading)?.path();
        if path.is_dir() {
            append_sources(&path, text)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            // A module's name is its file's.
            text.push_str(&path.to_string_lossy());
            text.push_str(&read(&path)?);
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
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
        let Mounting { here, elsewhere } = mounting_tests(&metadata);
        let wanted: Vec<_> = here.iter().map(|(_, target)| target.name.as_str()).collect();
        assert_eq!(wanted, ["mount", "posix"]);
        assert_eq!(elsewhere.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), ["guide-port::mount_port"]);
    }

    #[test]
    fn only_tests_that_may_have_a_wanted_case_are_built() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (name, text) in [("mount_a.rs", "mod deep;"), ("mount_a/deep.rs", "fn one_claim() {}"), ("mount_b.rs", "")]
        {
            fs::create_dir_all(at(name).parent().unwrap()).unwrap();
            fs::write(at(name), text).unwrap();
        }
        let built = |tests: Tests<'_>| {
            let wanted = |name: &&str| {
                let target = Target {
                    name: (*name).to_owned(),
                    kind: vec!["test".to_owned()],
                    src_path: at(name).with_extension("rs"),
                };
                tests.want("memfs", &target).unwrap()
            };
            ["mount_a", "mount_b"].into_iter().filter(wanted).collect::<Vec<_>>()
        };
        assert_eq!(built(Tests::All), ["mount_a", "mount_b"]);
        assert!(built(Tests::None).is_empty());
        for (filter, names) in [
            ("one_claim", &["mount_a"][..]),
            ("deep::one", &["mount_a"]),
            ("memfs::mount_b", &["mount_b"]),
            ("mount_a deep::one_claim", &["mount_a"]),
            ("memfs", &["mount_a", "mount_b"]),
            ("nowhere", &[]),
        ] {
            assert_eq!(built(Tests::With(&[filter])), names, "{filter}");
        }
        assert_eq!(built(Tests::With(&["nowhere", "mount_b"])), ["mount_b"]);
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

//! Rules about manifests: which crate may know which, where versions stand, licences. Cargo checks the rest.

use toml::{Table, Value};

use super::Fault;
use super::tree::{Manifest, Tree};

const LICENCE: &str = "MIT OR Apache-2.0";
const LICENCE_FILES: &[&str] = &["LICENSE-MIT", "LICENSE-APACHE"];

/// Tables of dependencies, at the top of a manifest and below `target.*`.
const TABLES: &[&str] = &["dependencies", "build-dependencies", "dev-dependencies"];

/// What a member may depend on within the workspace.
struct Edges {
    /// The package; or the end of its name after a `*`, or the beginning before one.
    package: &'static str,
    /// In `dependencies` and `build-dependencies`.
    uses: &'static [&'static str],
    /// In `dev-dependencies`, besides.
    tests_with: &'static [&'static str],
}

/// The whole workspace may be used.
const EVERYTHING: &[&str] = &["*"];

/// The arrows of the architecture. The first row that fits a package counts.
const EDGES: &[Edges] = &[
    Edges { package: "fusewire-proto", uses: &[], tests_with: &[] },
    Edges { package: "fusewire", uses: &["fusewire-proto"], tests_with: &["fusewire-testkit"] },
    Edges { package: "fusewire-testkit", uses: &["fusewire-proto", "fusewire"], tests_with: &[] },
    Edges { package: "fusewire-launch", uses: &["fusewire"], tests_with: &["fusewire-testkit"] },
    Edges { package: "*fs", uses: &["fusewire", "fusewire-launch"], tests_with: &["fusewire-testkit"] },
    Edges { package: "guide-replay", uses: &[], tests_with: EVERYTHING },
    Edges { package: "guide-*", uses: &["fusewire", "fusewire-launch"], tests_with: &["fusewire-testkit"] },
    Edges { package: "xtask", uses: &["fusewire-proto"], tests_with: &[] },
    Edges { package: "fusewire-tests", uses: EVERYTHING, tests_with: EVERYTHING },
    Edges { package: "fusewire-benches", uses: EVERYTHING, tests_with: EVERYTHING },
];

/// Dependencies between members point one way.
pub(super) fn crate_edges(tree: &Tree) -> Vec<Fault> {
    let names: Vec<_> = tree.members.iter().map(Manifest::package).collect();
    let mut faults = Vec::new();
    for member in &tree.members {
        let package = member.package();
        let Some(edges) = EDGES.iter().find(|edges| fits(edges.package, package)) else {
            let line = member.line_of("name", |header| header == "package");
            let message = format!("`{package}` is not in tidy's table of crates");
            faults.push(Fault::new(&member.path, line, message));
            continue;
        };
        for dependency in dependencies(member) {
            let test = dependency.table.ends_with("dev-dependencies");
            let allowed = edges.uses.iter().chain(edges.tests_with.iter().filter(|_| test));
            if names.contains(&dependency.package) && !allowed.into_iter().any(|name| fits(name, dependency.package)) {
                let message = format!("`{package}` must not depend on `{}`", dependency.package);
                faults.push(dependency.fault(member, message));
            }
        }
    }
    faults
}

/// Versions stand only in the workspace's table.
pub(super) fn dependency_keys(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for member in &tree.members {
        for dependency in dependencies(member) {
            let table = dependency.value.as_table();
            let inherits = table.and_then(|table| table.get("workspace")).and_then(Value::as_bool) == Some(true);
            if !inherits {
                let message = format!(
                    "`{0}` must be `{0}.workspace = true`; versions stand in the workspace's table",
                    dependency.key
                );
                faults.push(dependency.fault(member, message));
            }
        }
    }
    faults
}

/// Each group of entries of `[workspace.dependencies]` has a comment above it: why this crate.
pub(super) fn dependency_reasons(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut inside = false;
    let mut reason = false;
    for (index, line) in tree.workspace.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') && !line.starts_with("[[") {
            inside = line.starts_with("[workspace.dependencies");
            reason = false;
        } else if inside && line.starts_with('#') {
            reason = true;
        } else if line.is_empty() {
            reason = false;
        } else if inside && !reason {
            let key = line.split(['=', '.', ' ']).next().unwrap_or_default();
            let message = format!("`{key}` has no comment above its group: say why it is here");
            faults.push(Fault::new(&tree.workspace.path, index + 1, message));
        }
    }
    faults
}

/// Each member takes the workspace's lints.
pub(super) fn inherited_lints(tree: &Tree) -> Vec<Fault> {
    let inherits = |member: &&Manifest| member.value(&["lints", "workspace"]).and_then(Value::as_bool) == Some(true);
    let deaf = tree.members.iter().filter(|member| !inherits(member));
    deaf.map(|member| Fault::new(&member.path, 1, "needs `[lints] workspace = true`")).collect()
}

/// Each member has the workspace's licence, and its texts are there.
pub(super) fn licences(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    let whole = &tree.workspace;
    if whole.value(&["workspace", "package", "license"]).and_then(Value::as_str) != Some(LICENCE) {
        let line = whole.line_of("license", |header| header == "workspace.package");
        faults.push(Fault::new(&whole.path, line, format!("the workspace's licence must be `{LICENCE}`")));
    }
    for member in &tree.members {
        if member.value(&["package", "license", "workspace"]).and_then(Value::as_bool) != Some(true) {
            let line = member.line_of("license", |header| header == "package");
            faults.push(Fault::new(&member.path, line, "needs `license.workspace = true`"));
        }
    }
    let absent = LICENCE_FILES.iter().filter(|file| !tree.root.join(file).is_file());
    faults.extend(absent.map(|file| Fault::new(*file, 1, "the text of the licence is missing")));
    faults
}

/// An entry of a table of dependencies.
struct Dependency<'a> {
    /// Such as `dev-dependencies`, or `target.'cfg(unix)'.dependencies`.
    table: String,
    key: &'a str,
    /// The key, unless `package = "..."` renames it.
    package: &'a str,
    value: &'a Value,
}

impl Dependency<'_> {
    fn fault(&self, member: &Manifest, message: String) -> Fault {
        let line = member.line_of(self.key, |header| header.starts_with(&self.table));
        Fault::new(&member.path, line, message)
    }
}

fn dependencies(member: &Manifest) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    collect(&member.table, "", &mut found);
    let targets = member.table.get("target").and_then(Value::as_table);
    for (target, table) in targets.into_iter().flatten() {
        if let Some(table) = table.as_table() {
            collect(table, &format!("target.'{target}'."), &mut found);
        }
    }
    found
}

fn collect<'a>(above: &'a Table, prefix: &str, found: &mut Vec<Dependency<'a>>) {
    for name in TABLES {
        let entries = above.get(*name).and_then(Value::as_table);
        for (key, value) in entries.into_iter().flatten() {
            let package = value.get("package").and_then(Value::as_str).unwrap_or(key);
            found.push(Dependency { table: format!("{prefix}{name}"), key, package, value });
        }
    }
}

/// Whether a name of the table means this package: the same, ending like it after a `*`, or beginning like it before one.
fn fits(name: &str, package: &str) -> bool {
    if let Some(start) = name.strip_suffix('*').filter(|start| !start.is_empty()) {
        return package.starts_with(start);
    }
    name.strip_prefix('*').map_or(name == package, |end| package.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::super::tree::fixture::places;
    use super::*;

    const HELLOFS: &str = "crates/hellofs/Cargo.toml";
    const FUSEWIRE: &str = "crates/fusewire/Cargo.toml";

    fn manifest(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\nlicense.workspace = true\n{rest}[lints]\nworkspace = true\n")
    }

    #[test]
    fn crate_edges_fires_on_an_arrow_backwards() {
        let text = manifest("fusewire", "[dependencies]\nhellofs.workspace = true\n");
        assert_eq!(places(crate_edges, &[(FUSEWIRE, &text)]), [format!("{FUSEWIRE}:5")]);
        assert!(places(crate_edges, &[]).is_empty());
    }

    #[test]
    fn crate_edges_sees_through_a_new_name() {
        let text = manifest("fusewire", "[dev-dependencies]\nh = { workspace = true, package = \"hellofs\" }\n");
        assert_eq!(places(crate_edges, &[(FUSEWIRE, &text)]), [format!("{FUSEWIRE}:5")]);
    }

    #[test]
    fn crate_edges_fires_on_a_crate_that_is_not_in_the_table() {
        let text = manifest("stranger", "");
        assert_eq!(places(crate_edges, &[("xtask/Cargo.toml", &text)]), ["xtask/Cargo.toml:2"]);
    }

    #[test]
    fn testkit_is_for_tests_only() {
        let testkit = manifest("fusewire-testkit", "");
        let with = |table: &str| {
            let text = manifest("hellofs", &format!("[{table}]\nfusewire-testkit.workspace = true\n"));
            places(crate_edges, &[("crates/testkit/Cargo.toml", &testkit), (HELLOFS, &text)])
        };
        assert_eq!(with("dependencies"), [format!("{HELLOFS}:5")]);
        assert!(with("dev-dependencies").is_empty());
    }

    #[test]
    fn dependency_keys_fires_on_versions_in_members() {
        let rest = "[dependencies]\nlibc = \"0.2\"\n[target.'cfg(unix)'.dev-dependencies]\nnix = { version = \"1\" }\n\
                    [build-dependencies.fusewire]\npath = \"x\"\n";
        let found = places(dependency_keys, &[(HELLOFS, &manifest("hellofs", rest))]);
        assert_eq!(found, [5, 8, 7].map(|line| format!("{HELLOFS}:{line}")));
        assert!(places(dependency_keys, &[]).is_empty());
    }

    #[test]
    fn dependency_reasons_fires_on_a_group_without_a_comment() {
        let text = "[workspace]\nmembers = []\n[workspace.dependencies]\n# Numbers.\nlibc = \"0.2\"\n\nnix = \"1\"\n";
        assert_eq!(places(dependency_reasons, &[("Cargo.toml", text)]), ["Cargo.toml:7"]);
        assert!(places(dependency_reasons, &[]).is_empty());
    }

    #[test]
    fn inherited_lints_fires_without_them() {
        let text = "[package]\nname = \"hellofs\"\nlicense.workspace = true\n";
        assert_eq!(places(inherited_lints, &[(HELLOFS, text)]), [format!("{HELLOFS}:1")]);
        assert!(places(inherited_lints, &[]).is_empty());
    }

    #[test]
    fn licences_fires_on_another_licence_and_on_a_missing_text() {
        let text = "[package]\nname = \"hellofs\"\nlicense = \"MIT\"\n";
        assert_eq!(places(licences, &[(HELLOFS, text)]), [format!("{HELLOFS}:3")]);
        let tree = super::super::tree::fixture::tree(&[]);
        std::fs::remove_file(tree.root.join("LICENSE-MIT")).unwrap();
        let [fault] = &licences(&tree)[..] else { panic!("one fault") };
        assert_eq!(fault.path, "LICENSE-MIT");
        assert!(places(licences, &[]).is_empty());
    }
}

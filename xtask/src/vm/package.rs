//! Debian packages, unpacked without installing them: fetched with `apt-get download`, kept below `target/vm`.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use xshell::{Shell, cmd};

use super::work;
use crate::signals::Signals;
use crate::workspace::find_program;

/// Debian's archive, and the keys that it is signed with.
const ARCHIVE: &str = "http://deb.debian.org";
/// How the packages begin that bring a kernel.
pub(super) const KERNEL: &str = "linux-image-";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Parts of the archive that have kernels whose protocol Fusewire speaks.
const PARTS: &[(&str, &str)] = &[
    ("debian", "bullseye"),
    ("debian-security", "bullseye-security"),
    ("debian", "bookworm"),
    ("debian-security", "bookworm-security"),
    ("debian", "bookworm-backports"),
    ("debian", "trixie"),
    ("debian-security", "trixie-security"),
    ("debian", "trixie-backports"),
    ("debian", "sid"),
];
/// How old lists of packages may be.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// Where packages come from.
#[derive(Debug, Default)]
pub(super) struct Apt {
    /// Options of every apt command.
    options: Vec<String>,
}

impl Apt {
    /// What this machine is set up for.
    pub(super) fn of_machine() -> Self {
        Self::default()
    }

    /// The whole of Debian's archive, with lists of its own below `store`; the machine's stay as they are.
    pub(super) fn of_debian(store: &Path) -> Result<Self> {
        need_tools("asking for Debian's packages")?;
        ensure!(
            Path::new(KEYRING).is_file(),
            "asking for Debian's packages: there is no {KEYRING}; to mend: apt-get install debian-archive-keyring"
        );
        let top = store.join("apt");
        for directory in ["lists/partial", "cache/archives/partial"].map(|directory| top.join(directory)) {
            fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        }
        let apt = Self::at(&top);
        let sources = top.join("sources.list");
        fs::write(&sources, lines_of_sources()).with_context(|| format!("writing {}", sources.display()))?;
        let stamp = top.join("updated");
        let age = fs::metadata(&stamp).and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_none_or(|age| age > FRESH) {
            eprintln!("asking {ARCHIVE} for its lists of packages");
            match apt.update() {
                Ok(()) => fs::write(&stamp, "").with_context(|| format!("writing {}", stamp.display()))?,
                Err(error) if age.is_some() => eprintln!("{error:#}; the lists of before are used"),
                Err(error) => return Err(error),
            }
        }
        Ok(apt)
    }

    fn at(top: &Path) -> Self {
        let settings = [
            ("Dir::Etc::sourcelist", top.join("sources.list").display().to_string()),
            ("Dir::Etc::sourceparts", "-".to_owned()),
            ("Dir::State::lists", top.join("lists").display().to_string()),
            ("Dir::Cache", top.join("cache").display().to_string()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".to_owned()),
            // The directories belong to whoever runs this.
            ("APT::Sandbox::User", String::new()),
        ];
        Self {
            options: settings.into_iter().flat_map(|(key, value)| ["-o".into(), format!("{key}={value}")]).collect(),
        }
    }

    fn update(&self) -> Result<()> {
        let shell = Shell::new().context("starting a shell")?;
        let options = &self.options;
        let updated =
            cmd!(shell, "apt-get {options...} --quiet --error-on=any update").quiet().ignore_status().output()?;
        ensure!(updated.status.success(), "apt-get update: {}", complaint_of(&updated.stderr));
        Ok(())
    }

    /// The names of packages that match a regular expression; none where there is no apt.
    pub(super) fn search(&self, expression: &str) -> Vec<String> {
        let Ok(shell) = Shell::new() else { return Vec::new() };
        let options = &self.options;
        let found =
            cmd!(shell, "apt-cache {options...} search --names-only {expression}").quiet().ignore_stderr().read();
        let found = found.unwrap_or_default();
        found.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }

    /// The packages that a package depends on; none where there is no apt.
    pub(super) fn depends(&self, package: &str) -> Vec<String> {
        let Ok(shell) = Shell::new() else { return Vec::new() };
        let options = &self.options;
        let said = cmd!(shell, "apt-cache {options...} depends {package}").quiet().ignore_stderr().read();
        dependencies(&said.unwrap_or_default())
    }

    /// Fetches a package and its parts, unless that was done before, and unpacks them into one directory, which it gives.
    pub(super) fn unpacked(&self, store: &Path, package: &str) -> Result<PathBuf> {
        let directory = store.join("packages").join(package);
        if directory.is_dir() {
            return Ok(directory);
        }
        need_tools(&format!("getting the package {package}"))?;
        eprintln!("fetching the package {package}");
        let signals = Signals::hold()?;
        let work = work::directory(store)?;
        let shell = Shell::new().context("starting a shell")?;
        shell.change_dir(work.path());
        let options = &self.options;
        let parts = parts(package, &self.depends(package))?;
        let fetched =
            cmd!(shell, "apt-get {options...} download {package} {parts...}").quiet().ignore_status().output()?;
        if let Some(signal) = signals.heard()? {
            bail!("interrupted by {signal} while fetching the package {package}");
        }
        ensure!(
            fetched.status.success(),
            "fetching the package {package}: {}; to mend: apt-get update",
            complaint_of(&fetched.stderr)
        );
        let content = work.path().join("content");
        let files = shell.read_dir(".")?.into_iter();
        let archives: Vec<_> = files.filter(|file| file.extension().is_some_and(|kind| kind == "deb")).collect();
        ensure!(!archives.is_empty(), "fetching the package {package}: apt-get left no file");
        for archive in archives {
            let unpacked = cmd!(shell, "dpkg-deb -x {archive} {content}").quiet().ignore_status().output()?;
            ensure!(
                unpacked.status.success(),
                "unpacking the package {package} into {}: {}",
                content.display(),
                complaint_of(&unpacked.stderr)
            );
        }
        // Only a whole package gets its final name.
        fs::create_dir_all(store.join("packages")).context("creating the store of packages")?;
        fs::rename(&content, &directory).with_context(|| format!("creating {}", directory.display()))?;
        Ok(directory)
    }
}

/// What `apt-cache depends` names first in each line; the alternatives stand below.
fn dependencies(said: &str) -> Vec<String> {
    said.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).map(str::to_owned).collect()
}

/// The parts of a kernel's package that are in packages of their own, which have the release in their names, too: image and
/// modules since Linux 6.19, and some lists since 6.18, where the image's package has what matters of them all the same. The
/// archive may have lost some of an older kernel.
fn parts(package: &str, depends: &[String]) -> Result<Vec<String>> {
    const LISTS: &str = "linux-base-";
    let Some(release) = package.strip_prefix(KERNEL) else { return Ok(Vec::new()) };
    let end = format!("-{release}");
    // What no archive has stands in angle brackets.
    let mut lost = depends.iter().filter_map(|name| name.strip_prefix('<')?.strip_suffix('>'));
    if let Some(name) = lost.find(|name| name.ends_with(&end) && !name.starts_with(LISTS)) {
        bail!("fetching the package {package}: the archive does not have its part {name}");
    }
    Ok(depends.iter().filter(|name| name.ends_with(&end)).cloned().collect())
}

fn need_tools(purpose: &str) -> Result<()> {
    for tool in ["apt-get", "dpkg-deb"] {
        ensure!(find_program(tool).is_some(), "{purpose}: this machine has no {tool}");
    }
    Ok(())
}

fn lines_of_sources() -> String {
    let line = |(part, release): &(&str, &str)| format!("deb [signed-by={KEYRING}] {ARCHIVE}/{part} {release} main\n");
    PARTS.iter().map(line).collect()
}

/// The line that says what is wrong, of all that a tool of Debian's says.
fn complaint_of(stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr);
    let complaint = said.lines().find(|line| line.starts_with("E:") || line.contains("error:"));
    complaint.or_else(|| said.lines().last()).unwrap_or("it does not say why").trim().to_owned()
}

/// Orders version numbers as people read them: runs of digits by value, all else by its letters.
pub(super) fn by_version(left: &str, right: &str) -> Ordering {
    let parts = |text: &str| {
        let mut parts: Vec<(i64, char)> = Vec::new();
        for character in text.chars() {
            let digit = character.to_digit(10);
            match (parts.last_mut(), digit) {
                (Some((number, _)), Some(digit)) if *number >= 0 => {
                    *number = number.saturating_mul(10).saturating_add(i64::from(digit));
                }
                (_, Some(digit)) => parts.push((i64::from(digit), '\0')),
                (_, None) => parts.push((-1, character)),
            }
        }
        parts
    };
    parts(left).cmp(&parts(right))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_by_the_value_of_their_numbers() {
        let mut releases =
            ["6.12.9+deb12-cloud-amd64", "6.1.0-9-cloud-amd64", "6.12.117+deb12-cloud-amd64", "6.1.0-56-cloud-amd64"];
        releases.sort_by(|left, right| by_version(left, right));
        assert_eq!(
            releases,
            ["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "6.12.9+deb12-cloud-amd64", "6.12.117+deb12-cloud-amd64"]
        );
    }

    #[test]
    fn package_that_was_fetched_is_not_fetched_again() {
        let store = tempfile::tempdir().unwrap();
        let there = store.path().join("packages/no-such-package");
        fs::create_dir_all(&there).unwrap();
        assert_eq!(Apt::of_machine().unpacked(store.path(), "no-such-package").unwrap(), there);
    }

    #[test]
    fn kernel_comes_with_the_packages_of_its_release() {
        let said = "linux-image-6.19.1-cloud-amd64\n  PreDepends: linux-base\n |Depends: dracut\n  Depends: <linux-initramfs-tool>\n    \
                    dracut\n  Depends: kmod\n  Depends: linux-base-6.19.1-cloud-amd64\n  Depends: linux-binary-6.19.1-cloud-amd64\n  \
                    Depends: linux-modules-6.19.1-cloud-amd64\n  Suggests: linux-doc-6.19\n";
        let found = parts("linux-image-6.19.1-cloud-amd64", &dependencies(said)).unwrap();
        assert_eq!(
            found,
            ["base", "binary", "modules"].map(|part| format!("linux-{part}-6.19.1-cloud-amd64")).to_vec()
        );
        assert!(parts("fuse3", &dependencies("fuse3\n  Depends: libc6\n  Depends: <cdebconf>\n")).unwrap().is_empty());
        let lost = ["base", "modules"].map(|part| format!("<linux-{part}-6.19.1-cloud-amd64>"));
        assert!(parts("linux-image-6.19.1-cloud-amd64", &lost[..1]).unwrap().is_empty());
        let error = parts("linux-image-6.19.1-cloud-amd64", &lost).unwrap_err().to_string();
        assert!(error.ends_with("the archive does not have its part linux-modules-6.19.1-cloud-amd64"), "{error}");
    }

    #[test]
    fn complaint_is_the_line_that_tells_the_cause() {
        let said = b"W: something\nE: Unable to locate package x\nmore\n";
        assert_eq!(complaint_of(said), "E: Unable to locate package x");
        assert_eq!(complaint_of(b"dpkg-deb: error: no space\nlast\n"), "dpkg-deb: error: no space");
        assert_eq!(complaint_of(b""), "it does not say why");
    }
}

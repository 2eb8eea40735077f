//! Debian packages, unpacked without installing them: fetched with `apt-get download`, kept below `target/vm`.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace::find_program;

/// Fetches a package, unless it was fetched before, and unpacks it. Gives the directory that holds its files.
pub(super) fn unpacked(store: &Path, package: &str) -> Result<PathBuf> {
    let directory = store.join("packages").join(package);
    if directory.is_dir() {
        return Ok(directory);
    }
    ensure!(
        find_program("apt-get").is_some() && find_program("dpkg-deb").is_some(),
        "getting the package {package}: this machine has no apt-get and dpkg-deb"
    );
    println!("fetching the package {package}");
    fs::create_dir_all(store).with_context(|| format!("creating {}", store.display()))?;
    let work = tempfile::tempdir_in(store).with_context(|| format!("creating a directory in {}", store.display()))?;
    let shell = Shell::new().context("starting a shell")?;
    shell.change_dir(work.path());
    let fetched = cmd!(shell, "apt-get download {package}").quiet().ignore_status().output()?;
    let said = String::from_utf8_lossy(&fetched.stderr);
    let said = said.lines().find(|line| line.starts_with("E:")).unwrap_or("see apt-get download");
    ensure!(fetched.status.success(), "fetching the package {package}: {said}; to mend: apt-get update");
    let archive = shell
        .read_dir(".")?
        .into_iter()
        .find(|file| file.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("fetching the package {package}: apt-get left no file"))?;
    let content = work.path().join("content");
    cmd!(shell, "dpkg-deb -x {archive} {content}")
        .quiet()
        .run()
        .with_context(|| format!("unpacking the package {package} into {}", content.display()))?;
    // Only a whole package gets its final name.
    fs::create_dir_all(store.join("packages")).context("creating the store of packages")?;
    fs::rename(&content, &directory).with_context(|| format!("creating {}", directory.display()))?;
    Ok(directory)
}

/// The names of packages that match a regular expression, as `apt-cache` knows them; none where there is no apt.
pub(super) fn search(expression: &str) -> Vec<String> {
    let Ok(shell) = Shell::new() else { return Vec::new() };
    let found = cmd!(shell, "apt-cache search --names-only {expression}").quiet().ignore_stderr().read();
    let found = found.unwrap_or_default();
    found.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
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
        assert_eq!(unpacked(store.path(), "no-such-package").unwrap(), there);
    }
}

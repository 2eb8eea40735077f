//! Real life: what people do with a tree of source code, measured a step at a time, with empty caches before.
//!
//! The tree is the same each time, and what a step needs is made before it is measured.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::workload::Step;

/// Directories of the tree, and files in each of them.
const DIRECTORIES: u32 = 150;
const FILES: u32 = 20;
/// The shortest file and the longest, in bytes.
const SHORTEST: u64 = 200;
const LONGEST: u64 = 15_000;
/// What no file holds.
const ABSENT: &str = "zyzzyva";

/// The tree as an archive, and where steps find it.
#[derive(Debug)]
pub(super) struct Archive {
    file: PathBuf,
}

impl Archive {
    /// Makes it in a scratch directory.
    ///
    /// # Errors
    /// tar is missing, or there is no room.
    pub(super) fn make(scratch: &Path) -> Result<Self> {
        let root = scratch.join("archive");
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        for directory in 0..DIRECTORIES {
            let path = root.join(format!("part{:02}/module{directory:03}", directory % 12));
            fs::create_dir_all(&path).with_context(|| format!("making {}", path.display()))?;
            for file in 0..FILES {
                fs::write(path.join(format!("source_{file:02}.rs")), random.text()).context("writing the tree")?;
            }
        }
        let file = scratch.join("tree.tar");
        let mut command = Command::new("tar");
        command.args(["--sort=name", "--mtime=@1700000000", "--owner=0", "--group=0", "-cf"]).arg(&file);
        finish(command.arg("-C").arg(&root).arg("."))?;
        fs::remove_dir_all(&root).context("removing the tree")?;
        Ok(Self { file })
    }

    /// Does a step in a served directory; returns how long it took.
    ///
    /// # Errors
    /// A program is missing or fails.
    pub(super) fn time(&self, step: Step, directory: &Path) -> Result<Duration> {
        self.measure(step, directory, timed)
    }

    /// Does a step in a served directory, as `measure` has it done; returns what that returns.
    ///
    /// # Errors
    /// A program is missing or fails, or those of `measure`.
    pub(super) fn measure<T>(
        &self,
        step: Step,
        directory: &Path,
        mut measure: impl FnMut(&mut Command) -> Result<T>,
    ) -> Result<T> {
        let mut cold = |command: &mut Command| {
            empty_caches()?;
            measure(command)
        };
        let (new, work) = (directory.join("new"), directory.join("source"));
        match step {
            Step::Untar => {
                remove(&new)?;
                fs::create_dir(&new).context("making a directory")?;
                let measured = cold(&mut self.untar(&new))?;
                remove(&new)?;
                Ok(measured)
            }
            Step::Remove => {
                remove(&new)?;
                fs::create_dir(&new).context("making a directory")?;
                finish(&mut self.untar(&new))?;
                cold(Command::new("rm").arg("-rf").arg(&new))
            }
            Step::Build => {
                let crate_directory = directory.join("crate");
                plant_crate(&crate_directory)?;
                let target = crate_directory.join("target");
                remove(&target)?;
                let mut command = Command::new("cargo");
                command.args(["build", "--offline", "--quiet"]).current_dir(&crate_directory);
                command.env("CARGO_TARGET_DIR", &target).env_remove("RUSTFLAGS").env_remove("CARGO_INCREMENTAL");
                cold(&mut command)
            }
            Step::Find => {
                self.plant(&work)?;
                cold(Command::new("find").arg(&work))
            }
            Step::Grep => {
                self.plant(&work)?;
                // That nothing is found is grep's status 1.
                let script = format!("grep -r {ABSENT} \"$0\"; test $? = 1");
                cold(Command::new("sh").arg("-c").arg(script).arg(&work))
            }
            Step::GitStatus => {
                self.plant(&work)?;
                cold(&mut status(&work))
            }
            Step::GitStatusWarm => {
                self.plant(&work)?;
                finish(&mut status(&work))?;
                measure(&mut status(&work))
            }
        }
    }

    /// How many files the tree has that a step which was done goes through. For git, those that it keeps.
    ///
    /// # Errors
    /// Those of readdir(3).
    pub(super) fn files(step: Step, directory: &Path) -> Result<u64> {
        match step {
            Step::Find | Step::Grep => count(&directory.join("source")),
            _ => Ok(u64::from(DIRECTORIES * FILES)),
        }
    }

    fn untar(&self, directory: &Path) -> Command {
        let mut command = Command::new("tar");
        command.arg("-xf").arg(&self.file).arg("-C").arg(directory);
        command
    }

    /// The tree as a repository, if it is not there yet.
    fn plant(&self, work: &Path) -> Result<()> {
        if work.join(".git/index").exists() {
            return Ok(());
        }
        remove(work)?;
        fs::create_dir(work).context("making a directory")?;
        finish(&mut self.untar(work))?;
        finish(git(work).args(["init", "--quiet"]))?;
        finish(git(work).args(["add", "--all"]))?;
        finish(git(work).args([
            "-c",
            "user.name=bench",
            "-c",
            "user.email=bench@localhost",
            "commit",
            "--quiet",
            "-m",
            "all",
        ]))
    }
}

fn git(work: &Path) -> Command {
    let mut command = Command::new("git");
    // What is configured here or on the machine shall not matter.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_OPTIONAL_LOCKS", "0");
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").arg("-C").arg(work);
    command
}

fn status(work: &Path) -> Command {
    let mut command = git(work);
    command.args(["status", "--porcelain"]);
    command
}

/// A crate without dependencies, of a few modules.
fn plant_crate(directory: &Path) -> Result<()> {
    let source = directory.join("src");
    if source.join("main.rs").exists() {
        return Ok(());
    }
    fs::create_dir_all(&source).with_context(|| format!("making {}", source.display()))?;
    let manifest = "[package]\nname = \"small\"\nversion = \"0.0.0\"\nedition = \"2021\"\n\n[workspace]\n";
    fs::write(directory.join("Cargo.toml"), manifest).context("writing a crate")?;
    let mut main = fs::File::create(source.join("main.rs")).context("writing a crate")?;
    for module in 0..20 {
        let text = format!("pub fn value(x: u64) -> u64 {{ (0..x).map(|y| y ^ {module}).sum() }}\n");
        fs::write(source.join(format!("part{module}.rs")), text).context("writing a crate")?;
        writeln!(main, "mod part{module};").context("writing a crate")?;
    }
    let sum: Vec<_> = (0..20).map(|module| format!("part{module}::value({module})")).collect();
    writeln!(main, "fn main() {{ println!(\"{{}}\", {}); }}", sum.join(" + ")).context("writing a crate")
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The files in a directory and below.
fn count(directory: &Path) -> Result<u64> {
    let listing = || format!("listing {}", directory.display());
    let mut found = 0;
    for entry in fs::read_dir(directory).with_context(listing)? {
        let entry = entry.with_context(listing)?;
        found += if entry.file_type().with_context(listing)?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(found)
}

fn empty_caches() -> Result<()> {
    let file = "/proc/sys/vm/drop_caches";
    fs::write(file, "3").with_context(|| format!("writing {file}"))
}

fn timed(command: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    finish(command)?;
    Ok(start.elapsed())
}

/// Runs a program to its end.
///
/// # Errors
/// It is missing, or fails.
pub(super) fn finish(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("running {name}"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{name} failed: {}", words.lines().next_back().unwrap_or("it does not say why"));
    Ok(())
}

/// xorshift64: the same tree each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Lines of words.
    fn text(&mut self) -> String {
        let length = usize::try_from(SHORTEST + self.next() % (LONGEST - SHORTEST)).unwrap_or(0);
        let mut text = String::with_capacity(length + 80);
        while text.len() < length {
            let line = self.next();
            text.push_str(&format!("let name_{:04x} = function_{:03x}({line});\n", line % 0x1_0000, line % 0x1000));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_the_same_each_time() {
        let texts = || {
            let mut random = Random(7);
            [random.text(), random.text()]
        };
        assert_eq!(texts(), texts());
        assert!(texts().iter().all(|text| text.len() >= 200 && text.len() < 15_100 && !text.contains(ABSENT)));
    }

    #[test]
    fn steps_leave_what_the_next_one_needs() {
        let directory = tempfile::tempdir().unwrap();
        let archive = Archive::make(directory.path()).unwrap();
        let served = directory.path().join("served");
        fs::create_dir(&served).unwrap();
        fs::create_dir(served.join("new")).unwrap();
        finish(&mut archive.untar(&served.join("new"))).unwrap();
        assert_eq!(fs::read_dir(served.join("new/part00/module000")).unwrap().count(), 20);
        assert_eq!(count(&served.join("new")).unwrap(), Archive::files(Step::Untar, &served).unwrap());
        remove(&served.join("new")).unwrap();
        remove(&served.join("new")).unwrap();
        archive.plant(&served.join("source")).unwrap();
        finish(&mut status(&served.join("source"))).unwrap();
    }
}

//! What all cases of the suite stand on: a mount namespace, a directory, the programs, and who runs them.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, User};
use tempfile::TempDir;

use super::Form;
use crate::doctor::Findings;
use crate::test::TEST_USER;
use crate::test::report::Outcome;
use crate::workspace::{self, Metadata};

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Root,
    /// The ordinary user of the tests.
    User,
}

impl Who {
    /// As the names of cases have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Root => "as root",
            Self::User => "as user",
        }
    }
}

/// Gives this thread, and what it starts, a table of mounts of its own.
pub(super) fn enter_namespace() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_PRIVATE | MsFlags::MS_REC, none).context("making the table of mounts private")
}

/// What is to be done, and with what.
pub(super) struct Orders<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) findings: &'a Findings,
    pub(super) filter: Option<&'a str>,
    pub(super) form: Form,
}

/// The ground of a run.
pub(super) struct Stage<'a> {
    orders: &'a Orders<'a>,
    pub(super) workspace: PathBuf,
    pub(super) form: Form,
    /// A directory for everything, which everybody may enter.
    pub(super) work: PathBuf,
    numbers: Cell<u32>,
    _directory: TempDir,
}

impl<'a> Stage<'a> {
    pub(super) fn new(orders: &'a Orders<'a>) -> Result<Self> {
        let directory =
            tempfile::Builder::new().prefix("posix-").tempdir().context("creating a directory for the run")?;
        let work = directory.path().canonicalize().context("finding the directory of the run")?;
        fs::set_permissions(&work, fs::Permissions::from_mode(0o755)).context("opening the directory of the run")?;
        fs::create_dir(work.join("bin")).context("creating a directory for programs")?;
        let stage = Self {
            orders,
            workspace: workspace::root()?,
            form: orders.form,
            work,
            numbers: Cell::new(0),
            _directory: directory,
        };
        for program in ["memfs", "mirrorfs"] {
            stage.show(&orders.metadata.binaries().join(program), program)?;
        }
        Ok(stage)
    }

    /// Where cargo puts everything.
    pub(super) fn target(&self) -> &Path {
        self.orders.metadata.target()
    }

    /// Copies a program to where everybody can run it.
    pub(super) fn show(&self, from: &Path, name: &str) -> Result<PathBuf> {
        let place = self.binary(name);
        if !place.exists() {
            fs::copy(from, &place).with_context(|| format!("copying {}", from.display()))?;
        }
        Ok(place)
    }

    pub(super) fn binary(&self, name: &str) -> PathBuf {
        self.work.join("bin").join(name)
    }

    /// A directory that is not on the filesystem under test, where everybody may write.
    pub(super) fn aside(&self) -> Result<PathBuf> {
        let aside = self.work.join("aside");
        fs::create_dir_all(&aside).context("creating a directory aside")?;
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o777)).context("opening a directory to all")?;
        Ok(aside)
    }

    /// A number that was not given before.
    pub(super) fn next_number(&self) -> u32 {
        self.numbers.replace(self.numbers.get() + 1)
    }

    /// Whether a case of this name is asked for.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.orders.filter.is_none_or(|filter| name.contains(filter))
    }

    /// What is missing of these checks of the doctor.
    pub(super) fn lacks(&self, needs: &[&str]) -> Result<Option<String>> {
        let mut complaints = Vec::new();
        for need in needs {
            let finding = self.orders.findings.find(need)?;
            if !finding.met() {
                complaints.push(finding.complaint());
            }
        }
        Ok((!complaints.is_empty()).then(|| complaints.join("; ")))
    }

    pub(super) fn user(&self) -> Result<(Uid, Gid)> {
        let user = User::from_name(TEST_USER).with_context(|| format!("looking up the user {TEST_USER}"))?;
        let user = user.with_context(|| format!("there is no user {TEST_USER}"))?;
        Ok((user.uid, user.gid))
    }

    /// A command of this program, run by `who`, without input.
    pub(super) fn command(&self, who: Who, program: &Path) -> Result<Command> {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).current_dir("/").env("LC_ALL", "C").env("NO_COLOR", "1");
        if who == Who::User {
            let (uid, gid) = self.user()?;
            command.uid(uid.as_raw()).gid(gid.as_raw()).env("HOME", &self.work);
        }
        Ok(command)
    }
}

/// What a command that was run under a time limit has said, and how it ended.
pub(super) struct Ran {
    pub(super) status: std::process::ExitStatus,
    /// Its output, and then its errors.
    pub(super) said: String,
    pub(super) time: Duration,
}

/// The status with which timeout(1) tells that time was up.
const TIME_UP: i32 = 124;
/// Lines of a failure that are shown.
const SHOWN: usize = 30;

impl Ran {
    /// Runs `program` with `arguments` for at most `limit`, in `directory`.
    pub(super) fn new(
        stage: &Stage<'_>,
        who: Who,
        directory: &Path,
        limit: Duration,
        fill: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let mut command = stage.command(who, Path::new("timeout"))?;
        command.args(["--kill-after=10", &limit.as_secs().to_string()]).current_dir(directory);
        fill(&mut command);
        let start = Instant::now();
        let output = command.output().context("running timeout")?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok(Self { status: output.status, said, time: start.elapsed() })
    }

    /// Passed if it ended well; else what it said last is shown, and told.
    pub(super) fn outcome(&self, name: &str) -> Outcome {
        if !self.status.success() {
            let lines: Vec<_> = self.said.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(SHOWN)..).unwrap_or_default();
            println!("---- {name}: {}\n{}", self.status, tail.join("\n"));
        }
        self.quiet_outcome()
    }

    /// The same, and nothing is shown.
    pub(super) fn quiet_outcome(&self) -> Outcome {
        if self.status.success() {
            return Outcome::Passed;
        }
        let how = match self.status.code() {
            Some(TIME_UP) => format!("not done after {:.0} s", self.time.as_secs_f64()),
            _ => self.status.to_string(),
        };
        Outcome::Failed(format!("{how}: {}", self.said.lines().last().unwrap_or("it said nothing")))
    }
}

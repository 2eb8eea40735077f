//! stress-ng: several processes that do one kind of thing as fast as they can, and look at what came of it.

use std::time::Duration;

use anyhow::Result;

use super::Form;
use super::ground::{Ground, Kind, Standing};
use super::judge::{Judge, Named};
use super::programs::run_script;
use super::stage::Stage;
use crate::test::left_out;
use crate::test::report::{Case, Outcome};

/// One of its stressors.
pub(super) struct Stressor {
    /// As `--NAME 2` has it.
    name: &'static str,
    since: Form,
}

const fn quick(name: &'static str) -> Stressor {
    Stressor { name, since: Form::Quick }
}
const fn long(name: &'static str) -> Stressor {
    Stressor { name, since: Form::Full }
}

/// Those of its class `filesystem` that work in a directory, and those that map files.
const STRESSORS: &[Stressor] = &[
    long("access"),
    long("aio"),
    long("chattr"),
    long("chdir"),
    long("chmod"),
    long("chown"),
    long("copy-file"),
    quick("dentry"),
    long("dir"),
    long("dirdeep"),
    long("dirmany"),
    long("fallocate"),
    long("fcntl"),
    long("fiemap"),
    long("file-ioctl"),
    long("filename"),
    long("flock"),
    long("fpunch"),
    long("fstat"),
    long("getdent"),
    quick("hdd"),
    long("inotify"),
    long("iomix"),
    long("lease"),
    long("link"),
    long("locka"),
    long("lockf"),
    long("lockofd"),
    long("mknod"),
    long("msync"),
    long("open"),
    long("readahead"),
    quick("rename"),
    long("revio"),
    long("seek"),
    long("sendfile"),
    long("splice"),
    long("symlink"),
    long("sync-file"),
    long("touch"),
    long("utime"),
    long("verity"),
    quick("xattr"),
];

/// Exit statuses of stress-ng: it lacked something, or the kernel does.
const NO_RESOURCE: i32 = 3;
const NOT_IMPLEMENTED: i32 = 4;

impl Stressor {
    pub(super) fn name(&self) -> String {
        format!("stress-ng {}", self.name)
    }
}

/// Those that run on this filesystem.
pub(super) fn chosen(ground: &Ground, form: Form) -> impl Iterator<Item = &'static Stressor> {
    let all = ground.kind == Kind::Tested;
    STRESSORS.iter().filter(move |stressor| all && (stressor.since == Form::Quick || form == Form::Full))
}

/// Runs them, one after another.
pub(super) fn run(stage: &Stage<'_>, standing: &Standing, judge: &mut Judge) -> Result<Vec<Case>> {
    let ground = standing.ground;
    let seconds = if stage.form == Form::Full { "2" } else { "1" };
    let mut cases = Vec::new();
    for stressor in chosen(ground, stage.form) {
        let case = stressor.name();
        let name = format!("{} {case}", ground.name);
        if !stage.wants(&name) {
            continue;
        }
        if let Some(reason) = stage.lacks(&["stress-ng"])? {
            cases.push(left_out(name, reason));
            continue;
        }
        let directory = format!("stress-{}", stressor.name);
        let ran = run_script(stage, standing, &directory, Duration::from_secs(120), |command| {
            command.args(["stress-ng", "--verify", "--timeout", seconds, "--temp-path", "."]);
            command.args([&format!("--{}", stressor.name), "2"]);
        })?;
        let outcome = match ran.status.code() {
            Some(NO_RESOURCE | NOT_IMPLEMENTED) => Outcome::Skipped(
                ran.said.lines().find(|line| line.contains("skip")).unwrap_or("it cannot run here").to_owned(),
            ),
            _ => ran.outcome(&name),
        };
        let outcome = judge.judge(Named { ground: ground.name, case: &case }, outcome);
        cases.push(Case { name, outcome, time: Some(ran.time) });
    }
    Ok(cases)
}

//! pjdfstest: some four hundred claims of POSIX about single system calls, each a case.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::ground::{Ground, Kind, Standing};
use super::judge::{Judge, Named};
use super::stage::{Ran, Stage, Who};
use super::tools::{self, PJDFSTEST};
use crate::test::left_out;
use crate::test::report::{Case, Outcome};

/// It takes two seconds.
const LIMIT: Duration = Duration::from_secs(180);

/// Users that cases act as, who are there in every Debian; all that Linux has; and a pause that is longer than the kernel
/// goes without setting its clock for files.
const SETTINGS: &str = r#"
[features]
posix_fallocate = {}
rename_ctime = {}
stat_st_birthtime = {}
utime_now = {}
utimensat = {}
[dummy_auth]
entries = [["nobody", "nogroup"], ["games", "games"]]
[settings]
naptime = 0.02
"#;

/// Makes mount(8) remount by itself: for filesystems of type `fuse.*`, it would start a helper that mounts anew.
const MOUNT: &str = "#!/bin/sh\nexec /bin/mount -i \"$@\"\n";

/// Cases on filesystems that are made read-only, by a part of their names. They run by themselves: what another case has
/// left open would be in the way.
const READ_ONLY: &str = "erofs";
/// What a case says that is not for ordinary users.
const FOR_ROOT: &str = "requires root privileges";

/// How the names of its cases begin, as `who` runs them.
pub(super) fn prefix(who: Who) -> String {
    format!("pjdfstest {}", who.name())
}

/// Whether one of its cases is asked for. Their names are known from the kernel's own filesystems, where it ran before.
pub(super) fn concerns(stage: &Stage<'_>, ground: &Ground, who: Who, judge: &Judge) -> bool {
    let prefix = prefix(who);
    let mut known = judge.known_natively().filter(|case| case.starts_with(&prefix));
    ground.kind == Kind::Native || known.any(|case| stage.wants(&format!("{} {case}", ground.name)))
}

/// Runs all of it as `who`.
pub(super) fn run(stage: &Stage<'_>, standing: &Standing, who: Who, judge: &mut Judge) -> Result<Vec<Case>> {
    let ground = standing.ground;
    let prefix = prefix(who);
    let whole = format!("{} {prefix}", ground.name);
    let program = match tools::find(stage, &PJDFSTEST)? {
        Ok(program) => program,
        Err(reason) => return Ok(vec![left_out(whole, reason)]),
    };
    if who == Who::User
        && let Some(reason) = stage.lacks(&["test-user"])?
    {
        return Ok(vec![left_out(whole, reason)]);
    }
    let session = Session { stage, program, who, place: place(stage, standing, who)?, second: stage.aside()? };
    let mut results = session.run(&[], "allow_remount = false")?;
    results.retain(|name, _| !name.contains(READ_ONLY));
    if who == Who::Root {
        results.extend(session.run(&[READ_ONLY], "allow_remount = true")?);
    }
    let mut cases = Vec::new();
    for (name, outcome) in results {
        let case = format!("{prefix} {name}");
        if ground.kind == Kind::Native {
            judge.learn(&case, &outcome);
            continue;
        }
        let full = format!("{} {case}", ground.name);
        if !stage.wants(&full) {
            continue;
        }
        if let Some(outcome) = judge.judge_by_native(Named { ground: ground.name, case: &case }, outcome) {
            cases.push(Case { name: full, outcome, time: None });
        }
    }
    Ok(cases)
}

struct Session<'a> {
    stage: &'a Stage<'a>,
    program: PathBuf,
    who: Who,
    place: PathBuf,
    second: PathBuf,
}

impl Session<'_> {
    fn run(&self, patterns: &[&str], setting: &str) -> Result<BTreeMap<String, Outcome>> {
        let settings = self.stage.work.join("pjdfstest.toml");
        fs::write(&settings, format!("{SETTINGS}{setting}\n")).context("writing settings for pjdfstest")?;
        let bin = self.stage.work.join("mount-by-itself");
        fs::create_dir_all(&bin).context("creating a directory for mount")?;
        let mount = bin.join("mount");
        fs::write(&mount, MOUNT).context("writing a program mount")?;
        fs::set_permissions(&mount, fs::Permissions::from_mode(0o755)).context("making mount a program")?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path =
            std::env::join_paths([bin].into_iter().chain(std::env::split_paths(&path))).context("joining PATH")?;
        let ran = Ran::new(self.stage, self.who, Path::new("/"), LIMIT, |command| {
            command.env("PATH", path).env("RUST_BACKTRACE", "0").arg(&self.program).arg("-c").arg(&settings);
            command.arg("-p").arg(&self.place).arg("-s").arg(&self.second).args(patterns);
        })?;
        let mut results = parse(&ran.said);
        if !ran.said.contains("\nSummary: ") {
            let outcome = match ran.outcome("pjdfstest") {
                Outcome::Passed => Outcome::Failed("it said nothing of its results".to_owned()),
                outcome => outcome,
            };
            results.insert("(all of it)".to_owned(), outcome);
        }
        Ok(results)
    }
}

/// What pjdfstest prints: a line for each case, and below it, indented, what there is to say.
fn parse(said: &str) -> BTreeMap<String, Outcome> {
    let mut results = BTreeMap::new();
    let mut lines = said.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(word), None) = (words.next(), words.next(), words.next()) else { continue };
        if line.starts_with(char::is_whitespace) {
            continue;
        }
        let mut reason = || lines.peek().and_then(|line| line.strip_prefix('\t')).unwrap_or_default().to_owned();
        let outcome = match word {
            "ok" => Outcome::Passed,
            "FAILED" => Outcome::Failed(reason()),
            "skipped" => Outcome::Skipped(reason()),
            _ => continue,
        };
        if outcome != Outcome::Skipped(FOR_ROOT.to_owned()) {
            results.insert(name.to_owned(), outcome);
        }
    }
    results
}

/// A directory for it in the filesystem. Version 0.2.2 makes the longest path there can be from parts of 127 bytes, and panics
/// where the directory of a case, 22 bytes longer than this one, leaves a multiple of that.
fn place(stage: &Stage<'_>, standing: &Standing, who: Who) -> Result<PathBuf> {
    let mut name = format!("{who:?}");
    if (4095 - (standing.top().as_os_str().len() + 1 + name.len() + 22)).is_multiple_of(127) {
        name.push('-');
    }
    standing.make_directory(stage, &name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cases_and_what_is_below_them_is_the_reason() {
        let said = "link::max       skipped\n\tno limit\nopen::a   ok\nopen::b  FAILED\n\tleft: 1\n right: 2\nunlink::c skipped\n\t\
                    requires root privileges\n\nSummary: 1 failed, 1 skipped\n";
        let results = parse(said);
        assert_eq!(results.len(), 3, "{results:?}");
        assert_eq!(results["open::a"], Outcome::Passed);
        assert_eq!(results["open::b"], Outcome::Failed("left: 1".into()));
        assert_eq!(results["link::max"], Outcome::Skipped("no limit".into()));
    }
}

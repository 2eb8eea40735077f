//! A daemon that is killed: what a database had acknowledged must be there when the source is mounted anew.

use std::process::{Child, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::Form;
use super::ground::{Ground, Kind, Standing};
use super::judge::{Judge, Named};
use super::programs::{QUICK, run_script};
use super::stage::{Stage, Who};
use crate::test::left_out;
use crate::test::report::{Case, Outcome};

/// Makes a database, and then puts rows into it until it is stopped. `ACKNOWLEDGED` grows by the number of each row that was
/// committed.
const WRITE: &str = r#"
sqlite3 $MODE.db "PRAGMA journal_mode=$MODE; CREATE TABLE t (n INTEGER PRIMARY KEY, v BLOB);"
seq 1 1000000 | awk '{ print "INSERT INTO t VALUES (" $1 ", randomblob(3000)); SELECT " $1 ";" }' |
    stdbuf -oL sqlite3 -bail -cmd 'PRAGMA synchronous=FULL' -cmd 'PRAGMA wal_autocheckpoint=50' $MODE.db > $ACKNOWLEDGED
"#;

/// Looks for them.
const LOOK: &str = r#"
test "$(sqlite3 ../$MODE.db 'PRAGMA integrity_check')" = ok
acknowledged=$(tail -n 1 $ACKNOWLEDGED)
found=$(sqlite3 ../$MODE.db 'SELECT max(n) FROM t')
echo "acknowledged $acknowledged, found $found"
test $found -ge $acknowledged
test $found -eq $(sqlite3 ../$MODE.db 'SELECT count(*) FROM t WHERE length(v) = 3000')
"#;

/// Rows that must have been committed before the daemon is killed.
const ROWS: usize = 100;

/// The ways in which a database goes about its journal.
const MODES: [&str; 2] = ["wal", "delete"];

/// The modes in which it runs on this filesystem: all, if that has its data elsewhere.
pub(super) fn chosen(ground: &Ground, form: Form) -> impl Iterator<Item = &'static str> {
    let runs = ground.outlives_its_daemon() && (ground.kind == Kind::Tested || form == Form::Full);
    MODES.into_iter().filter(move |_| runs)
}

/// The case of a mode.
pub(super) fn name(mode: &str) -> String {
    format!("sqlite3 in mode {mode} keeps what it acknowledged when the daemon is killed")
}

/// Runs it.
pub(super) fn run(stage: &Stage<'_>, standing: &mut Standing, judge: &mut Judge) -> Result<Vec<Case>> {
    let ground = standing.ground;
    let mut cases = Vec::new();
    for mode in chosen(ground, stage.form) {
        let case = name(mode);
        let full = format!("{} {case}", ground.name);
        if !stage.wants(&full) {
            continue;
        }
        if let Some(reason) = stage.lacks(&["sqlite3"])? {
            cases.push(left_out(full, reason));
            continue;
        }
        let start = Instant::now();
        let outcome = kill_and_look(stage, standing, mode, &full)?;
        let outcome = judge.judge(Named { ground: ground.name, case: &case }, outcome);
        cases.push(Case { name: full, outcome, time: Some(start.elapsed()) });
    }
    Ok(cases)
}

fn kill_and_look(stage: &Stage<'_>, standing: &mut Standing, mode: &str, name: &str) -> Result<Outcome> {
    let acknowledged = stage.aside()?.join(format!("acknowledged-{}", stage.next_number()));
    let mut writer = stage.command(Who::Root, std::path::Path::new("sh"))?;
    writer.args(["-eu", "-c", WRITE]).env("MODE", mode).env("ACKNOWLEDGED", &acknowledged);
    writer.current_dir(standing.top()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut writer = Writer(writer.spawn().context("starting a writer")?);
    let start = Instant::now();
    while std::fs::read_to_string(&acknowledged).unwrap_or_default().lines().count() < ROWS {
        ensure!(start.elapsed() < QUICK, "the writer has not written {ROWS} rows after {} s", QUICK.as_secs());
        ensure!(writer.0.try_wait().context("looking at the writer")?.is_none(), "the writer has ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    standing.kill_daemon()?;
    // It finds its files gone, and says so.
    let status = writer.0.wait().context("waiting for the writer")?;
    standing.mount_again(stage)?;
    if status.success() {
        return Ok(Outcome::Failed("the writer did not see that the daemon was gone".to_owned()));
    }
    let looked = run_script(stage, standing, &format!("look-{mode}"), QUICK, |command| {
        command.env("MODE", mode).env("ACKNOWLEDGED", &acknowledged).args(["sh", "-eu", "-c", LOOK]);
    })?;
    Ok(looked.outcome(name))
}

/// Ends with the case.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

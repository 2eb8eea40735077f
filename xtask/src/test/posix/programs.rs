//! Programs that put data in files and look whether they are still there: each a script, run in a directory of its own.
//!
//! What the programs print is of no matter here, only how they end.

mod differences;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Form;
use super::ground::{Ground, Kind, Standing};
use super::judge::{Judge, Named};
use super::stage::{Ran, Stage, Who};
use crate::test::left_out;
use crate::test::report::Case;
use differences::{DIFFERENCES, Difference, PRELUDE};

/// A program, as a script for `sh -eu`. Variables: `WORKSPACE`; `ASIDE`, a directory elsewhere; `AMOUNT`, which is 1 in the quick
/// form and 10 in the full one.
pub(super) struct Program {
    pub(super) name: &'static str,
    /// Checks of the doctor.
    needs: &'static [&'static str],
    since: Form,
    script: &'static str,
    /// For an `AMOUNT` of 1.
    limit: Duration,
}

/// What a case may take in the quick form.
pub(super) const QUICK: Duration = Duration::from_secs(180);
const LONG: Duration = Duration::from_secs(3600);

const fn quick(name: &'static str, needs: &'static [&'static str], script: &'static str) -> Program {
    Program { name, needs, since: Form::Quick, script, limit: QUICK }
}
const fn long(name: &'static str, needs: &'static [&'static str], script: &'static str) -> Program {
    Program { name, needs, since: Form::Full, script, limit: LONG }
}

const FIO: &[&str] = &["fio"];
const PYTHON: &[&str] = &["python3"];

const PROGRAMS: &[Program] = &[
    quick(
        "fio verifies what several jobs wrote",
        FIO,
        r"fio --name=plain --directory=. --rw=randrw --bsrange=512-64k --size=$((8 * AMOUNT))m --numjobs=4 --ioengine=psync \
            --verify=crc32c --verify_fatal=1 --fsync=64 --output-format=terse --output=$ASIDE/fio",
    ),
    quick(
        "fio verifies what was written through maps",
        FIO,
        r"fio --name=mapped --directory=. --rw=randwrite --bs=4k --size=$((8 * AMOUNT))m --numjobs=4 --ioengine=mmap \
            --verify=crc32c --verify_fatal=1 --output-format=terse --output=$ASIDE/fio",
    ),
    quick(
        "fio verifies what was written past the cache, many requests at a time",
        FIO,
        r"fio --name=direct --directory=. --rw=randwrite --bs=4k --size=$((8 * AMOUNT))m --numjobs=2 --ioengine=libaio \
            --iodepth=16 --direct=1 --verify=crc32c --verify_fatal=1 --output-format=terse --output=$ASIDE/fio",
    ),
    quick(
        "fio verifies what is read while others write",
        FIO,
        r"fio --name=mixed --directory=. --rw=write --bs=16k --size=$((8 * AMOUNT))m --numjobs=2 --ioengine=psync \
            --verify=crc32c --verify_fatal=1 --verify_backlog=64 --fallocate=keep --output-format=terse --output=$ASIDE/fio",
    ),
    quick(
        "git clones the workspace, and finds nothing wrong",
        &["git"],
        r"
            git clone --quiet --no-local $WORKSPACE clone
            cd clone
            git fsck --full --strict
            test -z $(git status --porcelain)
            git gc --quiet --prune=now
            git fsck --full --strict
            git diff --exit-code HEAD
        ",
    ),
    quick(
        "sqlite3 keeps what it acknowledged when it is killed",
        &["sqlite3"],
        r#"
            for mode in wal delete truncate persist; do
                sqlite3 $mode.db "PRAGMA journal_mode=$mode; CREATE TABLE t (n INTEGER PRIMARY KEY, v BLOB);"
                first=1
                for round in $(seq $AMOUNT); do
                    seq $first 1000000 |
                        awk '{ print "INSERT INTO t VALUES (" $1 ", randomblob(3000)); SELECT " $1 ";" }' > $ASIDE/work.sql
                    stdbuf -oL sqlite3 -cmd 'PRAGMA synchronous=FULL' -cmd 'PRAGMA wal_autocheckpoint=50' $mode.db \
                        < $ASIDE/work.sql > $ASIDE/acknowledged 2> $ASIDE/errors &
                    sleep 0.5
                    kill -9 $!
                    wait $! 2> /dev/null || true
                    test ! -s $ASIDE/errors
                    test "$(sqlite3 $mode.db 'PRAGMA integrity_check')" = ok
                    acknowledged=$(tail -n 1 $ASIDE/acknowledged)
                    found=$(sqlite3 $mode.db 'SELECT max(n) FROM t')
                    echo "$mode, round $round: acknowledged $acknowledged, found $found"
                    test $found -ge ${acknowledged:-0}
                    test $found -eq $(sqlite3 $mode.db 'SELECT count(*) FROM t WHERE length(v) = 3000')
                    first=$((found + 1))
                done
            done
        "#,
    ),
    quick(
        "cargo builds a crate, and again only what changed",
        &[],
        r#"
            cargo init --quiet --vcs none --name small .
            export CARGO_TARGET_DIR=$PWD/target
            cargo run --quiet --offline | grep -q Hello
            cargo build --offline 2>&1 | grep -q Finished
            echo 'fn main() { println!("Bye"); }' > src/main.rs
            cargo run --quiet --offline | grep -q Bye
        "#,
    ),
    quick(
        "an overlayfs has its upper and its lower directory there",
        &[],
        r"
            mkdir lower upper work merged
            echo text > lower/changed; echo text > lower/removed
            mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work overlay merged
            trap 'umount merged' EXIT
            echo more >> merged/changed; rm merged/removed; mkdir merged/new; mv merged/changed merged/new/
            test $(wc -l < merged/new/changed) = 2
            test ! -e merged/removed -a ! -e merged/changed
            test $(stat -c '%F:%t:%T' upper/removed | tr -d ' ') = characterspecialfile:0:0
            test $(wc -l < lower/changed) = 1
        ",
    ),
    quick(
        "an ext4 in a file of it is mounted, and nothing is wrong with it",
        &["loop-devices"],
        r"
            truncate -s 64M image
            mkfs.ext4 -q -F image
            mkdir inside
            mount -o loop image inside
            cp -a /etc inside/
            diff -r --no-dereference /etc inside/etc
            rm -r inside/etc
            umount inside
            e2fsck -fn image
        ",
    ),
    quick(
        "tar and cp keep owners, modes, times, holes and links",
        &[],
        r"
            mkdir -p from/directory
            echo text > from/file; ln from/file from/other; ln -s file from/link; mkfifo from/fifo; mknod from/null c 1 3
            truncate -s 5M from/hole; echo end >> from/hole
            chown 12:34 from/file from/directory; chown -h 5:6 from/link; chmod 4751 from/file; chmod 2770 from/directory
            touch -d '1999-01-01 01:02:03.123456789' from/directory from/hole
            cp -a --reflink=auto from copied
            mkdir unpacked; tar -C from --sparse --format=posix -cf - . | tar -C unpacked -xpf -
            show() { (cd $1; find . -mindepth 1 -printf '%P %y %m %U %G %s %n %T@ %l\n' | sort; cat file hole | cksum); }
            show from > $ASIDE/from
            show copied | diff $ASIDE/from -
            show unpacked | diff $ASIDE/from -
            test $(stat -c %b copied/hole) -lt 100 -a $(stat -c %b unpacked/hole) -lt 100
        ",
    ),
    long(
        "the tests that Python has for files pass",
        &["python3", "python3-tests"],
        r"
            export TMPDIR=$PWD HOME=$PWD PYTHONDONTWRITEBYTECODE=1
            /usr/bin/python3 -m test --tempdir $PWD --use largefile test_os test_shutil test_posix test_mmap test_fcntl \
                test_tempfile test_pathlib test_zipfile test_mailbox test_glob test_fileio test_posixpath test_genericpath \
                test_tarfile test_dbm test_dbm_dumb test_shelve test_filecmp test_fileinput test_largefile test_stat test_gzip \
                test_file test_bufio test_unicode_file test_unicode_file_functions
        ",
    ),
    long(
        "postgresql is killed, and its tables agree with one another",
        &["postgresql"],
        r#"
            export PATH=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1):$PATH PGHOST=$PWD/db PGUSER=nobody HOME=$PWD/db
            mkdir db; chown nobody: db; chmod 700 db; chmod 755 .
            as() { setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"; }
            as initdb -D db/data -A trust > $ASIDE/initdb
            start() { as postgres -D db/data -k $PWD/db -h '' 2>> $ASIDE/postgres & server=$!; }
            ready() { for try in $(seq 300); do as pg_isready -q && return; sleep 0.1; done; tail $ASIDE/postgres; return 1; }
            start; ready
            as pgbench -q -i -s 2 postgres 2> $ASIDE/pgbench
            as pgbench -n -c 4 -T 20 postgres > $ASIDE/pgbench 2>&1 & load=$!
            sleep 5
            first=$(head -n 1 db/data/postmaster.pid)
            # One of its processes may just have ended.
            kill -9 $first $(ps -o pid= --ppid $first) || true; wait $server || true; wait $load || true
            start; ready
            test "$(as psql -Atc 'SELECT count(*) > 100 FROM pgbench_history' postgres)" = t
            for table in branches tellers accounts; do
                as psql -Atc "SELECT sum($(echo $table | cut -c1)balance) FROM pgbench_$table" postgres
            done > $ASIDE/sums
            as psql -Atc 'SELECT sum(delta) FROM pgbench_history' postgres >> $ASIDE/sums
            test $(sort -u $ASIDE/sums | wc -l) = 1
            kill $(head -n 1 db/data/postmaster.pid); wait $server
        "#,
    ),
    long(
        "cargo builds the workspace",
        &["git"],
        r"
            git clone --quiet $WORKSPACE clone
            cd clone
            CARGO_TARGET_DIR=$PWD/target cargo build --quiet --offline --workspace --bins
            ./target/debug/hellofs --version
        ",
    ),
];

/// The names of those that run on this filesystem.
pub(super) fn names(ground: &Ground, form: Form) -> impl Iterator<Item = &'static str> {
    chosen(ground, form).map(|program| program.name).chain(differences(ground, form).map(|difference| difference.name))
}

fn chosen(ground: &Ground, form: Form) -> impl Iterator<Item = &'static Program> {
    let all = ground.kind == Kind::Tested;
    PROGRAMS.iter().filter(move |program| all && (program.since == Form::Quick || form == Form::Full))
}

fn differences(ground: &Ground, form: Form) -> impl Iterator<Item = &'static Difference> {
    let all = ground.kind == Kind::Tested && form == Form::Full;
    DIFFERENCES.iter().filter(move |_| all)
}

/// Finds out which of the claims hold on a filesystem of the kernel: what holds on none says nothing.
pub(super) fn learn(stage: &Stage<'_>, standing: &Standing, judge: &mut Judge) -> Result<()> {
    if stage.form != Form::Full || stage.lacks(PYTHON)?.is_some() {
        return Ok(());
    }
    for difference in DIFFERENCES {
        let ran = run_claim(stage, standing, difference)?;
        judge.learn(difference.name, &ran.quiet_outcome());
    }
    Ok(())
}

/// Runs them.
pub(super) fn run(stage: &Stage<'_>, standing: &Standing, judge: &mut Judge) -> Result<Vec<Case>> {
    let (ground, form) = (standing.ground, stage.form);
    let amount = if form == Form::Full { 10 } else { 1 };
    let mut cases = Vec::new();
    for program in chosen(ground, form) {
        let named = Named { ground: ground.name, case: program.name };
        let name = format!("{} {}", ground.name, program.name);
        if !stage.wants(&name) {
            continue;
        }
        if let Some(reason) = stage.lacks(program.needs)? {
            cases.push(left_out(name, reason));
            continue;
        }
        let place = format!("program-{}", stage.next_number());
        let ran = run_script(stage, standing, &place, program.limit * amount, |command| {
            command.env("AMOUNT", amount.to_string()).args(["sh", "-eu", "-c", program.script]);
        })?;
        let outcome = judge.judge(named, ran.outcome(&name));
        cases.push(Case { name, outcome, time: Some(ran.time) });
    }
    for difference in differences(ground, form) {
        let named = Named { ground: ground.name, case: difference.name };
        let name = format!("{} {}", ground.name, difference.name);
        if !stage.wants(&name) {
            continue;
        }
        if let Some(reason) = stage.lacks(PYTHON)? {
            let Case { name, outcome, time } = left_out(name, reason);
            cases.push(Case { name, outcome: judge.judge(named, outcome), time });
            continue;
        }
        let ran = run_claim(stage, standing, difference)?;
        if let Some(outcome) = judge.judge_by_native(named, ran.quiet_outcome()) {
            cases.push(Case { name, outcome, time: Some(ran.time) });
        }
    }
    Ok(cases)
}

fn run_claim(stage: &Stage<'_>, standing: &Standing, difference: &Difference) -> Result<Ran> {
    let place = format!("claim-{}", stage.next_number());
    run_script(stage, standing, &place, QUICK, |command| {
        command.args(["/usr/bin/python3", "-c", &format!("{PRELUDE}\n{}", difference.script)]);
    })
}

/// Runs a command as root in a new directory of this name, and removes that if all is well.
pub(super) fn run_script(
    stage: &Stage<'_>,
    standing: &Standing,
    name: &str,
    limit: Duration,
    fill: impl FnOnce(&mut std::process::Command),
) -> Result<Ran> {
    let place = standing.make_directory(stage, name)?;
    let aside = stage.aside()?;
    let ran = Ran::new(stage, Who::Root, &place, limit, |command| {
        command.env("WORKSPACE", &stage.workspace).env("ASIDE", &aside);
        // A checkout may belong to somebody else than root.
        let git = [("KEY", "safe.directory"), ("VALUE", "*")];
        command.env("GIT_CONFIG_COUNT", "1").envs(git.map(|(what, value)| (format!("GIT_CONFIG_{what}_0"), value)));
        fill(command);
    })?;
    if ran.status.success() {
        remove(&place)?;
    }
    Ok(ran)
}

fn remove(place: &Path) -> Result<()> {
    fs::remove_dir_all(place).with_context(|| format!("removing {}", place.display()))
}

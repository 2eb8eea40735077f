//! fsx: one file, changed and read at random in every way there is, and compared with what should be in it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Form;
use super::ground::{Ground, Kind, Standing};
use super::judge::{Judge, Named};
use super::stage::{Ran, Stage, Who};
use super::tools::{self, FSX};
use crate::test::left_out;
use crate::test::report::{Case, Outcome};

/// A way to run it.
pub(super) struct Way {
    pub(super) name: &'static str,
    settings: &'static str,
    /// So that a failure can be had again.
    seed: u32,
}

const WAYS: &[Way] = &[
    Way { name: "fsx of large pieces", settings: "flen = 300000\n[opsize]\nmax = 65536\nmin = 1\n", seed: 7 },
    Way {
        name: "fsx of small pieces, mapped pages written late",
        settings: "flen = 40000\nnomsyncafterwrite = true\n[opsize]\nmax = 5000\nmin = 1\n",
        seed: 11,
    },
];

const WEIGHTS: &str = "
[weights]
close_open = 1
read = 10
write = 10
mapread = 10
mapwrite = 10
truncate = 5
invalidate = 1
fsync = 1
fdatasync = 1
posix_fallocate = 3
punch_hole = 3
posix_fadvise = 1
copy_file_range = 5
sendfile = 2
";

/// Operations of one process: version 0.3.2 leaves some of its maps behind, and each makes the next change of the file slower.
const AT_A_TIME: u64 = 5_000;

/// Operations in all ways together, and the time that each may take.
fn amount(form: Form, kind: Kind) -> (u64, Duration) {
    match (form, kind) {
        (Form::Quick, Kind::Variant) => (4_000, Duration::from_secs(120)),
        (Form::Quick, _) => (20_000, Duration::from_secs(120)),
        (Form::Full, Kind::Variant) => (200_000, Duration::from_secs(600)),
        (Form::Full, _) => (1_000_000, Duration::from_secs(1800)),
    }
}

/// The ways in which it runs on this filesystem.
pub(super) fn chosen(ground: &Ground) -> impl Iterator<Item = &'static Way> {
    let tested = ground.kind != Kind::Native;
    WAYS.iter().filter(move |_| tested)
}

/// Runs it in each way.
pub(super) fn run(stage: &Stage<'_>, standing: &Standing, judge: &mut Judge) -> Result<Vec<Case>> {
    let ground = standing.ground;
    let (operations, limit) = amount(stage.form, ground.kind);
    let operations = operations.div_ceil(WAYS.len() as u64);
    let mut cases = Vec::new();
    for way in chosen(ground) {
        let name = format!("{} {}", ground.name, way.name);
        if !stage.wants(&name) {
            continue;
        }
        let program = match tools::find(stage, &FSX)? {
            Ok(program) => program,
            Err(reason) => {
                cases.push(left_out(name, reason));
                continue;
            }
        };
        // What the filesystem's own user may do; root's anyway.
        let who = ground.users.first().copied().unwrap_or(Who::Root);
        let settings = stage.work.join("fsx.toml");
        fs::write(&settings, format!("{}{WEIGHTS}", way.settings)).context("writing settings for fsx")?;
        let artifacts = stage.aside()?;
        let file = standing.top().join(format!("fsx-{}", way.seed));
        let start = Instant::now();
        let mut outcome = Outcome::Passed;
        for part in 0..operations.div_ceil(AT_A_TIME) {
            let seed = u64::from(way.seed) + 1000 * part;
            let number = AT_A_TIME.min(operations - part * AT_A_TIME);
            let left = limit.saturating_sub(start.elapsed()).max(Duration::from_secs(1));
            let ran = Ran::new(stage, who, standing.top(), left, |command| {
                command.arg(&program).arg("-q").arg("-f").arg(&settings).arg("-P").arg(&artifacts);
                command.args(["-S", &seed.to_string(), "-N", &number.to_string()]).arg(&file);
            })?;
            outcome = ran.outcome(&format!("{name}, seed {seed}"));
            if outcome != Outcome::Passed {
                break;
            }
        }
        let outcome = judge.judge(Named { ground: ground.name, case: way.name }, outcome);
        cases.push(Case { name, outcome, time: Some(start.elapsed()) });
    }
    Ok(cases)
}

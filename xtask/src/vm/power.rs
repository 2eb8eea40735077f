//! Power cuts: a guest writes files through a filesystem over ext4 and tells each that fsync reported as safe, until its
//! power is taken away; the next boot must find all of them. Without a real fsync it must find some missing.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::event::Event;
use super::plan::{Plan, PowerRound};
use super::watch::Heard;
use super::{Bench, Boot};
use super::{disk, session};
use crate::test::{Case, Outcome};

/// A test of power cuts, as data.
pub(super) struct PowerCase {
    pub(super) name: &'static str,
    filesystem: &'static str,
    fsync_ignored: bool,
    rounds: u32,
}

pub(super) const ALL: &[PowerCase] = &[
    PowerCase { name: "power_cut_loses_nothing_synced", filesystem: "mirrorfs", fsync_ignored: false, rounds: 20 },
    PowerCase { name: "power_cut_without_fsync_is_seen", filesystem: "mirrorfs", fsync_ignored: true, rounds: 1 },
];

const DISK_SIZE: u64 = 512 << 20;
/// How long a guest may be silent while it checks or writes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a case: as many boots as it has rounds, and one more.
pub(super) fn run(bench: &Bench<'_>, case: &PowerCase) -> Result<Case> {
    let start = Instant::now();
    let disk = bench.work.join("disk");
    disk::make(&disk, DISK_SIZE)?;
    let mut round = PowerRound {
        filesystem: case.filesystem.to_owned(),
        synced: Vec::new(),
        fsync_ignored: case.fsync_ignored,
        write: true,
    };
    let mut outcome = Ok(0);
    for number in 0..=case.rounds {
        round.write = number < case.rounds;
        outcome = one_boot(bench, &disk, &mut round, number);
        if !matches!(outcome, Ok(0)) {
            break;
        }
    }
    let files: u32 = round.synced.iter().sum();
    let outcome = match (outcome, case.fsync_ignored) {
        (Err(Trouble::Guest(reason)), _) => Outcome::Failed(reason),
        (Err(Trouble::Host(error)), _) => return Err(error),
        (Ok(0), false) => {
            println!("{files} files synced in {} rounds, none lost", case.rounds);
            Outcome::Passed
        }
        (Ok(lost), false) => Outcome::Failed(format!("{lost} of {files} synced files are lost")),
        (Ok(0), true) => {
            Outcome::Failed("fsync was ignored, and yet nothing is lost: the test sees no loss".to_owned())
        }
        (Ok(lost), true) => {
            println!("with fsync ignored, {lost} of {files} files that were told as synced are lost, as they must be");
            Outcome::Passed
        }
    };
    let case = Case { name: case.name.to_owned(), outcome, time: Some(start.elapsed()) };
    session::show(&case, "");
    Ok(case)
}

enum Trouble {
    /// The guest could not do it: the case has failed.
    Guest(String),
    /// Nothing can be said about the case.
    Host(anyhow::Error),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::Host(error)
    }
}

/// Looks for the files of earlier rounds, writes those of this round, and takes the power away. Gives how many are lost.
fn one_boot(bench: &Bench<'_>, disk: &Path, round: &mut PowerRound, number: u32) -> Result<u32, Trouble> {
    let plan = Plan { limit: PATIENCE, power: Some(round.clone()), ..Plan::default() };
    let mut boot = bench.boot(&plan, Boot { disk: Some(disk), ..Boot::default() })?;
    let mut lost = 0;
    let mut synced = 0;
    // Where in a file's writing the power goes differs from round to round.
    let enough = 5 + number * 7 % 29;
    let moment = Duration::from_millis(u64::from(number * 13 % 40));
    loop {
        match boot.next(PATIENCE)? {
            Heard::Event(Event::Checked { round, lost: found, first }) => {
                if found > 0 {
                    println!("round {round}: {found} files lost; {first}");
                }
                lost += found;
            }
            Heard::Event(Event::Synced { .. }) => {
                synced += 1;
                if synced == enough {
                    break;
                }
            }
            Heard::Event(Event::Ended) => return Ok(lost),
            Heard::Event(Event::Broken(reason)) => return Err(Trouble::Guest(reason)),
            Heard::Event(_) => {}
            heard => return Err(Trouble::Guest(boot.trouble(&heard)?.0)),
        }
    }
    std::thread::sleep(moment);
    let last = boot.cut_power()?;
    synced +=
        u32::try_from(last.iter().filter(|event| matches!(event, Event::Synced { .. })).count()).unwrap_or(u32::MAX);
    round.synced.push(synced);
    Ok(lost)
}

//! What is measured: a workload, how many clients, and where they run.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::load::Workload;

/// Where client and server run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Where the scheduler puts them.
    Free,
    /// Both on one CPU: what is left is code. Rings have a thread on each CPU, so that only the client is put there.
    Pinned,
}

/// Which session the client is in. With `kernel.sched_autogroup_enabled` the scheduler treats each session as a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Session {
    /// The server's.
    Same,
    /// One of its own, as with most daemons.
    Other,
}

/// One row of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// What the clients do.
    pub workload: Workload,
    /// How many of them do it at the same time.
    pub threads: u8,
    /// Where all run.
    pub placement: Placement,
    /// Which session the clients are in.
    pub session: Session,
}

impl Cell {
    /// One client, wherever the scheduler puts it, in the server's session.
    #[must_use]
    pub fn new(workload: Workload) -> Self {
        Self { workload, threads: 1, placement: Placement::Free, session: Session::Same }
    }

    /// The same with this many clients.
    #[must_use]
    pub fn threads(self, threads: u8) -> Self {
        Self { threads, ..self }
    }

    /// The same with all on one CPU.
    #[must_use]
    pub fn pinned(self) -> Self {
        Self { placement: Placement::Pinned, ..self }
    }

    /// The same with the clients in another session.
    #[must_use]
    pub fn from_another_session(self) -> Self {
        Self { session: Session::Other, ..self }
    }

    /// Where it runs, in words.
    #[must_use]
    pub fn place(&self) -> &'static str {
        match (self.placement, self.session) {
            (Placement::Free, Session::Same) => "free",
            (Placement::Free, Session::Other) => "free, other session",
            (Placement::Pinned, Session::Same) => "one CPU",
            (Placement::Pinned, Session::Other) => "one CPU, other session",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        write!(f, "{}, {} {threads}, {}", self.workload.title(), self.threads, self.place())
    }
}

const SMALL: &[Workload] = &[
    Workload::NullRead,
    Workload::Getattr,
    Workload::Lookup,
    Workload::LookupAbsent,
    Workload::OpenClose,
    Workload::CreateUnlink,
    Workload::MkdirRmdir,
    Workload::Getxattr,
    Workload::Read4k,
    Workload::Write4k,
];

const LARGE: &[Workload] = &[
    Workload::Readdir,
    Workload::Read1mDirect,
    Workload::Write1mDirect,
    Workload::Read1mBuffered,
    Workload::Write1mBuffered,
];

/// A subset that takes some two minutes: every workload once, the rows with two clients, the code on one CPU.
#[must_use]
pub fn quick() -> Vec<Cell> {
    let promised = [Workload::NullRead, Workload::Getattr, Workload::Lookup, Workload::CreateUnlink];
    let promised = promised.into_iter().chain([Workload::Readdir, Workload::Read1mDirect, Workload::Write1mDirect]);
    let one_cpu = promised.flat_map(|workload| [1, 2].map(|threads| Cell::new(workload).threads(threads).pinned()));
    let two = [Workload::NullRead, Workload::Getattr, Workload::Lookup, Workload::CreateUnlink, Workload::Read4k];
    let two = two.into_iter().chain([Workload::Readdir, Workload::Read1mDirect, Workload::Write1mDirect]);
    let mut cells: Vec<Cell> = one_cpu.collect();
    cells.extend(SMALL.iter().chain(LARGE).map(|workload| Cell::new(*workload)));
    cells.extend(two.map(|workload| Cell::new(workload).threads(2)));
    cells
        .extend([Workload::Getattr, Workload::CreateUnlink].map(|workload| Cell::new(workload).from_another_session()));
    cells.extend([Workload::Getattr, Workload::Read4k].map(|workload| Cell::new(workload).threads(4)));
    cells
}

/// Every workload, with 1, 2 and 4 clients, free and on one CPU, from the server's session and from another.
#[must_use]
pub fn full() -> Vec<Cell> {
    let mut cells = Vec::new();
    for workload in SMALL.iter().chain(LARGE) {
        for threads in [1, 2, 4] {
            let cell = Cell::new(*workload).threads(threads);
            cells.extend([cell.pinned(), cell, cell.from_another_session()]);
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_measured_twice() {
        for cells in [quick(), full()] {
            let mut seen = std::collections::HashSet::new();
            assert!(cells.iter().all(|cell| seen.insert(*cell)));
        }
    }

    #[test]
    fn quick_is_a_part_of_full() {
        let full = full();
        assert!(quick().iter().all(|cell| full.contains(cell)));
    }
}

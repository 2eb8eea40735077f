//! What is measured: a workload, how many clients, and where they run.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::compare::peers::Ground;
use crate::workload::{Work, Workload};

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
    /// What is served.
    pub ground: Ground,
}

impl Cell {
    /// One client, wherever the scheduler puts it, in the server's session.
    #[must_use]
    pub fn new(workload: Workload) -> Self {
        let ground = match workload.work() {
            Work::Calls | Work::Fio(_) => Ground::Table,
            Work::Step(_) => Ground::Mirror,
            Work::Start => Ground::Idle,
        };
        Self { workload, threads: 1, placement: Placement::Free, session: Session::Same, ground }
    }

    /// The same in another directory that is served.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self { ground: Ground::Mirror, ..self }
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
        match (self.ground, self.workload.work()) {
            (Ground::Table, _) => {}
            (_, Work::Step(_) | Work::Start) => return f.write_str(self.workload.title()),
            _ => return write!(f, "{}, in a directory mirrored", self.workload.title()),
        }
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

const DEEP: &[Workload] = &[
    Workload::FioRead,
    Workload::FioWrite,
    Workload::FioReadAio,
    Workload::FioWriteAio,
    Workload::FioReadDeep,
    Workload::FioWriteDeep,
    Workload::FioReadMapped,
];

const MIRRORED: &[Workload] = &[
    Workload::Read1mBuffered,
    Workload::Read1mDirect,
    Workload::Write1mBuffered,
    Workload::Write1mDirect,
    Workload::Write1mFsync,
    Workload::Write4kBuffered,
    Workload::Untar,
    Workload::Find,
    Workload::Grep,
    Workload::GitStatus,
    Workload::GitStatusWarm,
    Workload::CargoBuild,
    Workload::RemoveTree,
];

/// A subset that takes less than two minutes: every call once, two clients and another session for some, and the code on
/// one CPU.
#[must_use]
pub fn quick() -> Vec<Cell> {
    let code = [Workload::NullRead, Workload::Getattr, Workload::Lookup, Workload::CreateUnlink, Workload::Readdir];
    let two = [Workload::Getattr, Workload::CreateUnlink, Workload::Read4k];
    let mut cells: Vec<Cell> = code.map(|workload| Cell::new(workload).pinned()).into();
    cells.extend(SMALL.iter().chain(LARGE).map(|workload| Cell::new(*workload)));
    cells.extend(two.map(|workload| Cell::new(workload).threads(2)));
    cells.extend([Cell::new(Workload::Getattr).from_another_session(), Cell::new(Workload::Getattr).threads(4)]);
    cells.push(Cell::new(Workload::StartUp));
    cells
}

/// Every small call with 1, 2 and 4 clients, large ones with 1 and 2, from the server's session and from another, and on
/// one CPU unless there are 4; fio with a deep queue from both sessions; all else once.
#[must_use]
pub fn full() -> Vec<Cell> {
    let mut cells = Vec::new();
    for workload in SMALL.iter().chain(LARGE) {
        let cell = Cell::new(*workload);
        cells.extend([cell.pinned(), cell, cell.from_another_session()]);
        cells.extend([cell.threads(2).pinned(), cell.threads(2)]);
    }
    for workload in SMALL {
        let cell = Cell::new(*workload);
        cells.extend([cell.threads(2).from_another_session(), cell.threads(4), cell.threads(4).from_another_session()]);
    }
    cells.extend(DEEP.iter().map(|workload| Cell::new(*workload)));
    cells.extend(
        [Workload::FioReadDeep, Workload::FioWriteDeep].map(|workload| Cell::new(workload).from_another_session()),
    );
    cells.extend(MIRRORED.iter().map(|workload| Cell::new(*workload).mirrored()));
    cells.push(Cell::new(Workload::StartUp));
    cells
}

/// The rows whose system calls are counted as well.
#[must_use]
pub fn counted() -> [Cell; 4] {
    [Workload::Getattr, Workload::CreateUnlink, Workload::Read4k, Workload::Write4k].map(Cell::new)
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

//! Comparisons of Fusewire with other FUSE libraries, through real mounts, in one run.
//!
//! `cargo xtask bench` builds this package and runs its binary `compare`; `cargo bench -p fusewire-benches` runs the
//! criterion benches. Each server (`serve_*`, and those in C) serves the same [`tree`] in a process of its own, and is
//! measured from outside; `load` is the client. Nothing here is shipped to users.

#![forbid(unsafe_code)]

pub mod compare;
pub mod fuser_table;
pub mod fusewire_table;
pub mod load;
pub mod tree;
pub mod workload;

//! memfs through real mounts: compared with tmpfs, call by call, and held to what POSIX and the manual pages say.
//!
//! All of it needs root, for mount namespaces and for users to act as.
#![forbid(unsafe_code)]
#![expect(clippy::indexing_slicing, clippy::panic, clippy::cast_possible_truncation, reason = "tests may fail")]

mod calls;
mod differential;
mod directories;
mod holes;
mod privileges;
mod room;
mod stage;

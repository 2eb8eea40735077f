//! The command `hellofs`, run as its users run it, over real mounts: from its words to its exit status. What holds here holds
//! for every command that `fusewire-launch` makes.
//!
//! How mounting is done, and each operation, is tested elsewhere. As root only: each test has a mount namespace of its own.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod as_user;
mod fusermount;
mod ready;
mod refusals;
mod signals;
mod stage;

//! Mounts for real, by every method, as root and as an ordinary user, and checks what the kernel then has mounted.
//!
//! The tests need root, hence the module that they are in, and `/dev/fuse`. Each runs in a mount namespace of its own, so that nothing
//! is left mounted whatever happens. Sessions are not their matter: a few requests are answered by hand.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod as_root;
mod stage;

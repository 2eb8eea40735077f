//! Mounts for real, by every method, as root and as an ordinary user, and checks what the kernel then has mounted.
//!
//! The tests need root and `/dev/fuse`, and fail without. Each runs in a mount namespace of its own, so that nothing
//! is left mounted whatever happens. Sessions are not their matter: a few requests are answered by hand.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod errors;
mod methods;
mod stage;
mod unmounting;
mod users;
mod watching;

//! Every operation that this kernel can be made to send, through real mounts: a system call is made, and what the daemon
//! received is checked.
//!
//! That nothing is left out is checked in `as_root`, as some operations come only of what root does. Security contexts come
//! only where a security module labels new inodes, and are tested without a kernel.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod as_root;
mod attributes;
mod copying;
mod directories;
mod enosys;
mod files;
mod locks;
mod names;
mod notifications;
mod opening;
mod raw;
mod special;
mod xattrs;

use fusewire::Name;

fn name(text: &str) -> &Name {
    Name::new(text.as_bytes()).unwrap()
}

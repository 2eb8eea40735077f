//! Memory that the allocator holds free: back to the system.
//!
//! When that is worth its time is for the filesystem to know.

#![expect(unsafe_code, reason = "malloc_trim has no safe wrapper")]

/// Has the C library give the system all whole pages that nothing is allocated in: by itself, it keeps them for what comes next, all but
/// those at the end of its heap. Call it when much was freed; it looks at all memory that is free, some milliseconds for a
/// gigabyte. Without the GNU C library it does nothing.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the contract of malloc_trim(3) is that the argument is a number of bytes to keep, and that is all: it is MT-safe, takes the
    // locks of the heap itself, and touches nothing that is allocated.
    let _ = unsafe { nix::libc::malloc_trim(0) };
}

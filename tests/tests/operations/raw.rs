//! System calls that have no safe wrapper: mapped memory, an ioctl that gives a number, a signal handler. Each is made
//! safe to call here.
#![expect(unsafe_code, reason = "the calls of this file have no safe form in the crates of the field")]

use std::fs::File;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;

use nix::sys::mman::{MapFlags, MsFlags, ProtFlags, mmap, msync, munmap};
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

const PAGE: usize = 4096;

/// Writes one byte at the start of the file through a shared mapping, and brings it to the filesystem.
pub(crate) fn write_mapped(file: &File, byte: u8) {
    let length = NonZeroUsize::new(PAGE).unwrap();
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel chooses the address, so the mapping overlaps nothing of this program.
    let memory = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, 0) }.unwrap();
    // SAFETY: the mapping is writable, a page long, and known to nobody else until it is unmapped below.
    unsafe { memory.cast::<u8>().write_volatile(byte) };
    // SAFETY: the range is the mapping that was made above.
    unsafe { msync(memory, PAGE, MsFlags::MS_SYNC) }.unwrap();
    // SAFETY: the range is the mapping that was made above, and no pointer into it is used any more.
    unsafe { munmap(memory, PAGE) }.unwrap();
}

/// `FIBMAP`: to which block of the device block `block` of the file is mapped.
pub(crate) fn fibmap(file: &File, block: i32) -> nix::Result<i32> {
    nix::ioctl_readwrite_bad!(call, 1, i32);
    let mut block = block;
    // SAFETY: FIBMAP reads and writes one int, and `block` is one that lives through the call.
    unsafe { call(file.as_raw_fd(), &raw mut block) }?;
    Ok(block)
}

/// Gives up, for this thread, the right to keep suid and sgid bits on files that it changes.
pub(crate) fn give_up_suid() {
    let sets = capabilities(None).unwrap();
    let effective = sets.effective - CapabilitySet::FSETID;
    set_capabilities(None, CapabilitySets { effective, ..sets }).unwrap();
}

/// Interrupts the system call that the thread is in, and does nothing else.
pub(crate) fn interrupt<T>(thread: &JoinHandle<T>) {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing at all, which is safe in a signal; nobody else of this program uses SIGUSR1.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    pthread_kill(thread.as_pthread_t(), Signal::SIGUSR1).unwrap();
}

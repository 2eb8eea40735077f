//! What only root can make the kernel do: mounting by hand and block devices, and that every operation comes.
//!
//! What a kernel does not send to a daemon on `/dev/fuse` is in [`UNREACHABLE`], with the reason; the test checks that the others
//! leave nothing else out.

mod interrupts;
mod loop_device;
mod making;

use std::collections::BTreeSet;

use fusewire::{Opcode, opcode};
use fusewire_tests::seen_by_this_process;

use crate::{attributes, copying, directories, files, locks, names, notifications, opening, special, xattrs};

/// What cannot be made to come, and why.
pub(crate) const UNREACHABLE: &[(Opcode, &str)] = &[
    (Opcode::SETUPMAPPING, "only virtio-fs has a window to map files into"),
    (Opcode::REMOVEMAPPING, "only virtio-fs has a window to map files into"),
    (Opcode::SYNCFS, "only virtio-fs turns it on (fs/fuse/virtio_fs.c virtio_fs_get_tree())"),
    (Opcode::CUSE_INIT, "it comes on /dev/cuse, and this is about filesystems"),
];

/// One test for each operation that can be made to come, all together.
const ONE_EACH: &[fn()] = &[
    attributes::access_brings_its_mask_unless_the_kernel_checks,
    attributes::getattr_brings_the_handle_where_the_kernel_has_one,
    attributes::setattr_brings_just_what_changes,
    attributes::statfs_shows_what_the_filesystem_says,
    attributes::statx_comes_when_the_birth_time_is_asked_for,
    copying::copies_go_by_the_newest_operation_that_is_served,
    copying::fallocate_brings_range_and_mode,
    copying::lseek_comes_for_data_and_holes_only,
    directories::fsyncdir_says_whether_data_are_enough,
    directories::readdir_goes_on_behind_the_last_offset,
    directories::readdirplus_counts_a_lookup_for_each_entry,
    files::fsync_says_whether_data_are_enough,
    files::direct_reads_and_writes_come_as_they_are,
    files::flush_comes_for_each_close_and_release_once,
    interrupts::interrupted_caller_wakes_its_handler,
    locks::posix_locks_bring_range_owner_and_kind,
    locks::blocking_lock_waits_for_the_holder,
    loop_device::bmap_and_destroy_come_for_fuseblk,
    names::forget_gives_back_every_lookup,
    names::forgets_that_pile_up_come_in_a_batch,
    names::links_bring_both_nodes,
    names::lookup_brings_parent_and_name,
    names::mkdir_brings_mode_and_umask,
    names::mknod_brings_the_type,
    names::rename_brings_both_places_and_flags,
    names::symlink_is_made_and_read,
    names::tmpfile_has_no_name_until_it_is_linked,
    names::unlink_and_rmdir_bring_the_name,
    notifications::retrieve_brings_cached_data_back,
    opening::create_brings_mode_flags_and_umask,
    opening::open_brings_its_flags,
    special::ioctl_brings_command_and_data,
    special::poll_notifies_who_waits,
    xattrs::attributes_are_set_read_listed_and_removed,
];

#[test]
fn every_operation_that_can_come_is_seen_to_come() {
    for test in ONE_EACH {
        test();
    }
    let unreachable: BTreeSet<u32> = UNREACHABLE.iter().map(|(opcode, _)| opcode.0).collect();
    let seen = seen_by_this_process();
    let missing: Vec<_> = opcode::rows().filter(|row| !seen.contains(&row.opcode.0)).map(|row| row.opcode).collect();
    let expected: Vec<_> = opcode::rows().map(|row| row.opcode).filter(|code| unreachable.contains(&code.0)).collect();
    assert_eq!(missing, expected, "operations that no test has seen");
}

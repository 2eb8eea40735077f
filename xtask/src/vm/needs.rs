//! What cases ask of a guest's kernel, by name, and which cases have no place in a guest. A case that is not here runs
//! everywhere. The guest compares the needs with what its kernel offers, and tells what it skips.

/// What a case needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// This protocol minor.
    Minor(u32),
    /// This bit of the flags that the kernel offers in INIT.
    Flag(u32),
    /// More than a guest has; with the reason.
    Host(&'static str),
}

/// `FUSE_HANDLE_KILLPRIV_V2`, `linux/fuse.h` 7.33: without it the kernel takes privileges away itself, and not for every call.
const HANDLE_KILLPRIV_V2: u32 = 28;

/// `FUSE_SETXATTR_EXT`, `linux/fuse.h` 7.33.
const SETXATTR_EXT: u32 = 29;

/// `FUSE_HAS_EXPIRE_ONLY`, `linux/fuse.h` 7.38.
const HAS_EXPIRE_ONLY: u32 = 35;

/// `FUSE_CREATE_SUPP_GROUP`, `linux/fuse.h` 7.38; stable kernels raised the minor without it.
const CREATE_SUPP_GROUP: u32 = 34;

/// `FUSE_PASSTHROUGH`, `linux/fuse.h` 7.40.
const PASSTHROUGH: u32 = 37;

/// `FUSE_OVER_IO_URING`, `linux/fuse.h` 7.42; offered where `enable_uring` is set, which the guest does.
const OVER_IO_URING: u32 = 41;

const SYSTEM: &str = "it runs compilers and other programs of a whole system";
const SLOW: &str = "it takes minutes on an emulated processor, and asks nothing of the kernel";

/// Whole test binaries that have no place in a guest, with the reason. They are not built for it.
const ELSEWHERE: &[(&str, &str)] = &[
    ("mirrorfs::mount_programs", SYSTEM),
    ("guide-replay::mount_chapters", SYSTEM),
    ("guide-port::mount_port", SYSTEM),
];

/// Why a test binary has no place in a guest, if it has none.
pub(super) fn of_binary(name: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(known, _)| *known == name).map(|(_, reason)| *reason)
}

/// Parts of names, with what cases of such a name need.
const NEEDS: &[(&str, Need)] = &[
    ("directories::hundred_thousand_files_in_one_directory", Need::Host(SLOW)),
    ("calls_come_out_the_same_when_the_kernel_reads_and_writes_itself", Need::Flag(PASSTHROUGH)),
    ("writing_takes_suid_away_whoever_writes_in_the_end", Need::Flag(PASSTHROUGH)),
    // Older kernels cannot be asked to forget (`NOTIFY_PRUNE`), so that each name takes a descriptor for good.
    ("mount_limits as_user::large_tree_is_reached_with_few_descriptors", Need::Minor(45)),
    // The birth time, of which they speak too, is asked for since Linux 6.6.
    ("privileges::times_are_kept_to_the_nanosecond", Need::Minor(39)),
    (" io_uring::", Need::Flag(OVER_IO_URING)),
    ("groups_come_along_if_the_directory_has_one", Need::Flag(CREATE_SUPP_GROUP)),
    // User attributes on tmpfs, with which it compares, came with Linux 6.6 as did this minor.
    ("differential::random_calls_do_what_they_do_on_tmpfs", Need::Minor(39)),
    ("attributes::statx_comes_when_the_birth_time_is_asked_for", Need::Minor(39)),
    // On Linux 6.12 (7.41) the caller of a resent request is not woken by the answer.
    ("notifications::resend_brings_requests_under_way_again", Need::Minor(45)),
    // Linux 6.1 serves attributes from its cache after the end of the connection, 6.12 does not.
    ("killed_daemon_leaves_errors_and_a_mount_that_can_be_unmounted", Need::Minor(41)),
    ("takes_privileges_away_as_", Need::Flag(HANDLE_KILLPRIV_V2)),
    ("to_clear_suid_where_the_filesystem_says_that_it_will", Need::Flag(HANDLE_KILLPRIV_V2)),
    ("writer_clears_suid_only_where_the_filesystem_says_that_it_will", Need::Flag(HANDLE_KILLPRIV_V2)),
    ("xattrs::attributes_are_set_read_listed_and_removed", Need::Flag(SETXATTR_EXT)),
    ("inval_entry_and_expire_entry_make_the_kernel_look_again", Need::Flag(HAS_EXPIRE_ONLY)),
    // Ranges are filled with zeros since Linux 5.14.
    ("copying::fallocate_brings_range_and_mode", Need::Minor(34)),
    ("holes::zeroing_keeps_room_and_loses_data", Need::Minor(34)),
    // `FOPEN_NOFLUSH`.
    ("opening::closing_flushes_unless_the_answer_says_not_to", Need::Minor(35)),
    // Files without a name (`FUSE_TMPFILE`).
    ("names::tmpfile_has_no_name_until_it_is_linked", Need::Minor(37)),
    ("directories::nameless_file_gets_a_name", Need::Minor(37)),
    ("privileges::default_acls_are_inherited_and_the_umask_is_not_applied", Need::Minor(37)),
    ("mirrorfs::mount_differential calls_", Need::Minor(37)),
    ("notifications::new_epoch_makes_every_name_be_looked_up_once_more", Need::Minor(44)),
    ("notifications::notifying_after_the_end_is_enodev", Need::Minor(45)),
    ("notifications::pruned_nodes_are_forgotten_unless_they_are_used", Need::Minor(45)),
    ("copying::copies_go_by_the_newest_operation_that_is_served", Need::Minor(45)),
    ("copying::only_the_wide_copy_is_asked_for_more_than_32_bits_hold", Need::Minor(45)),
    // They ask for every operation of the newest minor.
    ("every_operation_that_can_come_is_seen_to_come", Need::Minor(45)),
    ("enosys::kernel_does_with_enosys_what_the_table_says", Need::Minor(45)),
];

/// What a case of this name needs, if anything.
pub(super) fn of(name: &str) -> Option<Need> {
    NEEDS.iter().find(|(part, _)| name.contains(part)).map(|(_, need)| *need)
}

/// The first part of a name that none of these has, so that a case that is renamed does not lose its need unseen.
pub(super) fn without_a_case<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Option<&'static str> {
    NEEDS.iter().map(|(part, _)| *part).find(|part| !names.clone().any(|name| name.contains(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_found_by_a_part_of_the_name() {
        assert_eq!(
            of("fusewire-tests::operations copying::copies_go_by_the_newest_operation_that_is_served"),
            Some(Need::Minor(45))
        );
        assert!(matches!(
            of("memfs::mount_posix directories::hundred_thousand_files_in_one_directory"),
            Some(Need::Host(_))
        ));
        assert_eq!(of_binary("mirrorfs::mount_programs"), Some(SYSTEM));
        assert_eq!(of_binary("mirrorfs::mount_options"), None);
        assert_eq!(of("mount_as_root"), None);
        assert_eq!(without_a_case(NEEDS.iter().map(|(part, _)| *part)), None);
        assert_eq!(without_a_case(std::iter::once("a")), NEEDS.first().map(|(part, _)| *part));
    }
}

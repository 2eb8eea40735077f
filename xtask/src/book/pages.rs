//! What the table of operations does not say and the pages of the protocol need: the structs in a request and in a reply,
//! and the test that shows it. Every row has an entry; a test holds that.

/// The wire form of an operation.
pub(super) struct Wire {
    /// The struct in the module `op`.
    pub(super) op: &'static str,
    /// The struct behind the header, if there is one.
    pub(super) fixed: Option<&'static str>,
    /// What follows it, in order.
    pub(super) then: &'static [&'static str],
    /// A test of a real mount that shows it; a property test of the wire form where no mount can.
    pub(super) test: &'static str,
}

/// The wire form of a reply.
pub(super) struct ReplyForm {
    /// The type in the module `reply`.
    pub(super) reply: &'static str,
    /// The structs, in order.
    pub(super) structs: &'static [&'static str],
    /// In words.
    pub(super) words: &'static str,
}

const NAME: &str = "the name, ended by a NUL byte";
const NOTHING: &[&str] = &[];

macro_rules! wires {
    ($($op:ident $fixed:expr, $then:expr, $test:ident;)*) => {
        &[$(Wire { op: stringify!($op), fixed: $fixed, then: $then, test: stringify!($test) },)*]
    };
}

pub(super) const WIRES: &[Wire] = wires! {
    Lookup None, &[NAME], lookup_brings_parent_and_name;
    Forget Some("fuse_forget_in"), NOTHING, forget_gives_back_every_lookup;
    Getattr Some("fuse_getattr_in"), NOTHING, getattr_brings_the_handle_where_the_kernel_has_one;
    Setattr Some("fuse_setattr_in"), NOTHING, setattr_brings_just_what_changes;
    Readlink None, NOTHING, symlink_is_made_and_read;
    Symlink None, &[NAME, "what it points to, ended by a NUL byte"], symlink_is_made_and_read;
    Mknod Some("fuse_mknod_in"), &[NAME], mknod_brings_the_type;
    Mkdir Some("fuse_mkdir_in"), &[NAME], mkdir_brings_mode_and_umask;
    Unlink None, &[NAME], unlink_and_rmdir_bring_the_name;
    Rmdir None, &[NAME], unlink_and_rmdir_bring_the_name;
    Rename Some("fuse_rename_in"), &["the old name, ended by a NUL byte", "the new name, ended by a NUL byte"],
        rename_brings_both_places_and_flags;
    Link Some("fuse_link_in"), &["the new name, ended by a NUL byte"], links_bring_both_nodes;
    Open Some("fuse_open_in"), NOTHING, open_brings_its_flags;
    Read Some("fuse_read_in"), NOTHING, direct_reads_and_writes_come_as_they_are;
    Write Some("fuse_write_in"), &["the data, `size` bytes"], direct_reads_and_writes_come_as_they_are;
    Statfs None, NOTHING, statfs_shows_what_the_filesystem_says;
    Release Some("fuse_release_in"), NOTHING, flush_comes_for_each_close_and_release_once;
    Fsync Some("fuse_fsync_in"), NOTHING, fsync_says_whether_data_are_enough;
    Setxattr Some("fuse_setxattr_in"), &[NAME, "the value, `size` bytes"], attributes_are_set_read_listed_and_removed;
    Getxattr Some("fuse_getxattr_in"), &[NAME], attributes_are_set_read_listed_and_removed;
    Listxattr Some("fuse_getxattr_in"), NOTHING, attributes_are_set_read_listed_and_removed;
    Removexattr None, &[NAME], attributes_are_set_read_listed_and_removed;
    Flush Some("fuse_flush_in"), NOTHING, flush_comes_for_each_close_and_release_once;
    Init Some("fuse_init_in"), NOTHING, every_operation_that_can_come_is_seen_to_come;
    Opendir Some("fuse_open_in"), NOTHING, entries_are_asked_for_once_if_they_may_be_cached;
    Readdir Some("fuse_read_in"), NOTHING, readdir_goes_on_behind_the_last_offset;
    Releasedir Some("fuse_release_in"), NOTHING, readdir_goes_on_behind_the_last_offset;
    Fsyncdir Some("fuse_fsync_in"), NOTHING, fsyncdir_says_whether_data_are_enough;
    Getlk Some("fuse_lk_in"), NOTHING, posix_locks_bring_range_owner_and_kind;
    Setlk Some("fuse_lk_in"), NOTHING, posix_locks_bring_range_owner_and_kind;
    Setlkw Some("fuse_lk_in"), NOTHING, blocking_lock_waits_for_the_holder;
    Access Some("fuse_access_in"), NOTHING, access_brings_its_mask_unless_the_kernel_checks;
    Create Some("fuse_create_in"), &[NAME], create_brings_mode_flags_and_umask;
    Interrupt Some("fuse_interrupt_in"), NOTHING, interrupt_reaches_the_request_it_is_for_and_no_other;
    Bmap Some("fuse_bmap_in"), NOTHING, bmap_and_destroy_come_for_fuseblk;
    Destroy None, NOTHING, bmap_and_destroy_come_for_fuseblk;
    Ioctl Some("fuse_ioctl_in"), &["the caller's data, `in_size` bytes"], ioctl_brings_command_and_data;
    Poll Some("fuse_poll_in"), NOTHING, poll_notifies_who_waits;
    NotifyReply Some("fuse_notify_retrieve_in"), &["the data, `size` bytes"], retrieve_brings_cached_data_back;
    BatchForget Some("fuse_batch_forget_in"), &["`count` times `fuse_forget_one`: node id and number of lookups"],
        forgets_that_pile_up_come_in_a_batch;
    Fallocate Some("fuse_fallocate_in"), NOTHING, fallocate_brings_range_and_mode;
    Readdirplus Some("fuse_read_in"), NOTHING, readdirplus_counts_a_lookup_for_each_entry;
    Rename2 Some("fuse_rename2_in"), &["the old name, ended by a NUL byte", "the new name, ended by a NUL byte"],
        rename_brings_both_places_and_flags;
    Lseek Some("fuse_lseek_in"), NOTHING, lseek_comes_for_data_and_holes_only;
    CopyFileRange Some("fuse_copy_file_range_in"), NOTHING, copies_go_by_the_newest_operation_that_is_served;
    Setupmapping Some("fuse_setupmapping_in"), NOTHING, requests;
    Removemapping Some("fuse_removemapping_in"), &["`count` times `fuse_removemapping_one`: offset and length"], requests;
    Syncfs Some("fuse_syncfs_in"), NOTHING, requests;
    Tmpfile Some("fuse_create_in"), &["a placeholder for the name, `/`, ended by a NUL byte"],
        tmpfile_has_no_name_until_it_is_linked;
    Statx Some("fuse_statx_in"), NOTHING, statx_comes_when_the_birth_time_is_asked_for;
    CopyFileRange64 Some("fuse_copy_file_range_in"), NOTHING, copies_go_by_the_newest_operation_that_is_served;
    CuseInit Some("cuse_init_in"), NOTHING, requests;
};

macro_rules! replies {
    ($($reply:ident [$($name:literal),*], $words:literal;)*) => {
        &[$(ReplyForm { reply: stringify!($reply), structs: &[$($name),*], words: $words },)*]
    };
}

pub(super) const REPLIES: &[ReplyForm] = replies! {
    Attributes ["fuse_attr_out", "fuse_attr"], "The attributes, and for how long the kernel may believe them.";
    Block ["fuse_bmap_out"], "The number of the block.";
    Copied ["fuse_copy_file_range_out"], "How many bytes were copied.";
    Created ["fuse_entry_out", "fuse_open_out", "fuse_attr"], "The new node as `LOOKUP` answers it, then the open file as `OPEN` does.";
    CuseInit ["cuse_init_out"], "What was agreed, and the name of the device.";
    Data [], "The bytes, no more than were asked for.";
    DirEntries ["fuse_dirent"], "Any number of entries. Each is the struct, the name, and zeros up to a multiple of eight bytes.";
    DirEntriesPlus ["fuse_direntplus", "fuse_dirent", "fuse_entry_out", "fuse_attr"],
        "Any number of entries. Each is the struct, the name, and zeros up to a multiple of eight bytes.";
    Done [], "An empty answer, which means: done.";
    Entry ["fuse_entry_out", "fuse_attr"], "The node, its attributes, and for how long the kernel may believe each.";
    Init ["fuse_init_out"], "What was agreed.";
    Ioctl ["fuse_ioctl_out"], "What ioctl(2) returns, then the data for the caller.";
    Lock ["fuse_lk_out", "fuse_file_lock"], "The lock that is in the way.";
    Nothing [], "There is no answer.";
    Offset ["fuse_lseek_out"], "The offset that was found.";
    Opened ["fuse_open_out"], "The file handle, and flags for the kernel.";
    Polled ["fuse_poll_out"], "The events that have happened.";
    Statfs ["fuse_statfs_out", "fuse_kstatfs"], "The numbers of the filesystem.";
    StatxReply ["fuse_statx_out", "fuse_statx"], "The attributes, and for how long the kernel may believe them.";
    Written ["fuse_write_out"], "How many bytes were written.";
    Xattr ["fuse_getxattr_out"], "The bytes; or the struct, if the request asked for the length with a `size` of 0.";
};

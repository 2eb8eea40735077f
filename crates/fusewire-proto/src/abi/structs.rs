//! The structs of `linux/fuse.h`, FUSE protocol 7.45, spelled as the kernel spells them.
//!
//! Nothing here interprets a field: that is the business of the operations and replies. Integers are in the byte order of
//! the machine, as the protocol has them. A trailing array of unknown length (`fuse_dirent.name`) is left out of its struct.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::layout::{Field, Struct};

abi_structs! {
    cuse_init_in {
        major: u32,
        minor: u32,
        unused: u32,
        flags: u32,
    }
    cuse_init_out {
        major: u32,
        minor: u32,
        unused: u32,
        flags: u32,
        max_read: u32,
        max_write: u32,
        dev_major: u32,
        dev_minor: u32,
        spare: [u32; 10],
    }
    fuse_access_in {
        mask: u32,
        padding: u32,
    }
    fuse_attr {
        ino: u64,
        size: u64,
        blocks: u64,
        atime: u64,
        mtime: u64,
        ctime: u64,
        atimensec: u32,
        mtimensec: u32,
        ctimensec: u32,
        mode: u32,
        nlink: u32,
        uid: u32,
        gid: u32,
        rdev: u32,
        blksize: u32,
        flags: u32,
    }
    fuse_attr_out {
        attr_valid: u64,
        attr_valid_nsec: u32,
        dummy: u32,
        attr: fuse_attr,
    }
    fuse_backing_map {
        fd: i32,
        flags: u32,
        padding: u64,
    }
    fuse_batch_forget_in {
        count: u32,
        dummy: u32,
    }
    fuse_bmap_in {
        block: u64,
        blocksize: u32,
        padding: u32,
    }
    fuse_bmap_out {
        block: u64,
    }
    fuse_copy_file_range_in {
        fh_in: u64,
        off_in: u64,
        nodeid_out: u64,
        fh_out: u64,
        off_out: u64,
        len: u64,
        flags: u64,
    }
    fuse_copy_file_range_out {
        bytes_copied: u64,
    }
    fuse_create_in {
        flags: u32,
        mode: u32,
        umask: u32,
        open_flags: u32,
    }
    fuse_dirent {
        ino: u64,
        off: u64,
        namelen: u32,
        r#type: u32,
    }
    fuse_direntplus {
        entry_out: fuse_entry_out,
        dirent: fuse_dirent,
    }
    fuse_entry_out {
        nodeid: u64,
        generation: u64,
        entry_valid: u64,
        attr_valid: u64,
        entry_valid_nsec: u32,
        attr_valid_nsec: u32,
        attr: fuse_attr,
    }
    fuse_ext_header {
        size: u32,
        r#type: u32,
    }
    fuse_fallocate_in {
        fh: u64,
        offset: u64,
        length: u64,
        mode: u32,
        padding: u32,
    }
    fuse_file_lock {
        start: u64,
        end: u64,
        r#type: u32,
        pid: u32,
    }
    fuse_flush_in {
        fh: u64,
        unused: u32,
        padding: u32,
        lock_owner: u64,
    }
    fuse_forget_in {
        nlookup: u64,
    }
    fuse_forget_one {
        nodeid: u64,
        nlookup: u64,
    }
    fuse_fsync_in {
        fh: u64,
        fsync_flags: u32,
        padding: u32,
    }
    fuse_getattr_in {
        getattr_flags: u32,
        dummy: u32,
        fh: u64,
    }
    fuse_getxattr_in {
        size: u32,
        padding: u32,
    }
    fuse_getxattr_out {
        size: u32,
        padding: u32,
    }
    fuse_in_header {
        len: u32,
        opcode: u32,
        unique: u64,
        nodeid: u64,
        uid: u32,
        gid: u32,
        pid: u32,
        total_extlen: u16,
        padding: u16,
    }
    fuse_init_in {
        major: u32,
        minor: u32,
        max_readahead: u32,
        flags: u32,
        flags2: u32,
        unused: [u32; 11],
    }
    fuse_init_out {
        major: u32,
        minor: u32,
        max_readahead: u32,
        flags: u32,
        max_background: u16,
        congestion_threshold: u16,
        max_write: u32,
        time_gran: u32,
        max_pages: u16,
        map_alignment: u16,
        flags2: u32,
        max_stack_depth: u32,
        request_timeout: u16,
        unused: [u16; 11],
    }
    fuse_interrupt_in {
        unique: u64,
    }
    fuse_ioctl_in {
        fh: u64,
        flags: u32,
        cmd: u32,
        arg: u64,
        in_size: u32,
        out_size: u32,
    }
    fuse_ioctl_iovec {
        base: u64,
        len: u64,
    }
    fuse_ioctl_out {
        result: i32,
        flags: u32,
        in_iovs: u32,
        out_iovs: u32,
    }
    fuse_kstatfs {
        blocks: u64,
        bfree: u64,
        bavail: u64,
        files: u64,
        ffree: u64,
        bsize: u32,
        namelen: u32,
        frsize: u32,
        padding: u32,
        spare: [u32; 6],
    }
    fuse_link_in {
        oldnodeid: u64,
    }
    fuse_lk_in {
        fh: u64,
        owner: u64,
        lk: fuse_file_lock,
        lk_flags: u32,
        padding: u32,
    }
    fuse_lk_out {
        lk: fuse_file_lock,
    }
    fuse_lseek_in {
        fh: u64,
        offset: u64,
        whence: u32,
        padding: u32,
    }
    fuse_lseek_out {
        offset: u64,
    }
    fuse_mkdir_in {
        mode: u32,
        umask: u32,
    }
    fuse_mknod_in {
        mode: u32,
        rdev: u32,
        umask: u32,
        padding: u32,
    }
    fuse_notify_delete_out {
        parent: u64,
        child: u64,
        namelen: u32,
        padding: u32,
    }
    fuse_notify_inval_entry_out {
        parent: u64,
        namelen: u32,
        flags: u32,
    }
    fuse_notify_inval_inode_out {
        ino: u64,
        off: i64,
        len: i64,
    }
    fuse_notify_poll_wakeup_out {
        kh: u64,
    }
    fuse_notify_prune_out {
        count: u32,
        padding: u32,
        spare: u64,
    }
    fuse_notify_retrieve_in {
        dummy1: u64,
        offset: u64,
        size: u32,
        dummy2: u32,
        dummy3: u64,
        dummy4: u64,
    }
    fuse_notify_retrieve_out {
        notify_unique: u64,
        nodeid: u64,
        offset: u64,
        size: u32,
        padding: u32,
    }
    fuse_notify_store_out {
        nodeid: u64,
        offset: u64,
        size: u32,
        padding: u32,
    }
    fuse_open_in {
        flags: u32,
        open_flags: u32,
    }
    fuse_open_out {
        fh: u64,
        open_flags: u32,
        backing_id: i32,
    }
    fuse_out_header {
        len: u32,
        error: i32,
        unique: u64,
    }
    fuse_poll_in {
        fh: u64,
        kh: u64,
        flags: u32,
        events: u32,
    }
    fuse_poll_out {
        revents: u32,
        padding: u32,
    }
    fuse_read_in {
        fh: u64,
        offset: u64,
        size: u32,
        read_flags: u32,
        lock_owner: u64,
        flags: u32,
        padding: u32,
    }
    fuse_release_in {
        fh: u64,
        flags: u32,
        release_flags: u32,
        lock_owner: u64,
    }
    fuse_removemapping_in {
        count: u32,
    }
    fuse_removemapping_one {
        moffset: u64,
        len: u64,
    }
    fuse_rename2_in {
        newdir: u64,
        flags: u32,
        padding: u32,
    }
    fuse_rename_in {
        newdir: u64,
    }
    fuse_secctx {
        size: u32,
        padding: u32,
    }
    fuse_secctx_header {
        size: u32,
        nr_secctx: u32,
    }
    fuse_setattr_in {
        valid: u32,
        padding: u32,
        fh: u64,
        size: u64,
        lock_owner: u64,
        atime: u64,
        mtime: u64,
        ctime: u64,
        atimensec: u32,
        mtimensec: u32,
        ctimensec: u32,
        mode: u32,
        unused4: u32,
        uid: u32,
        gid: u32,
        unused5: u32,
    }
    fuse_setupmapping_in {
        fh: u64,
        foffset: u64,
        len: u64,
        flags: u64,
        moffset: u64,
    }
    fuse_setxattr_in {
        size: u32,
        flags: u32,
        setxattr_flags: u32,
        padding: u32,
    }
    fuse_statfs_out {
        st: fuse_kstatfs,
    }
    fuse_statx {
        mask: u32,
        blksize: u32,
        attributes: u64,
        nlink: u32,
        uid: u32,
        gid: u32,
        mode: u16,
        __spare0: [u16; 1],
        ino: u64,
        size: u64,
        blocks: u64,
        attributes_mask: u64,
        atime: fuse_sx_time,
        btime: fuse_sx_time,
        ctime: fuse_sx_time,
        mtime: fuse_sx_time,
        rdev_major: u32,
        rdev_minor: u32,
        dev_major: u32,
        dev_minor: u32,
        __spare2: [u64; 14],
    }
    fuse_statx_in {
        getattr_flags: u32,
        reserved: u32,
        fh: u64,
        sx_flags: u32,
        sx_mask: u32,
    }
    fuse_statx_out {
        attr_valid: u64,
        attr_valid_nsec: u32,
        flags: u32,
        spare: [u64; 2],
        stat: fuse_statx,
    }
    fuse_supp_groups {
        nr_groups: u32,
    }
    fuse_sx_time {
        tv_sec: i64,
        tv_nsec: u32,
        __reserved: i32,
    }
    fuse_syncfs_in {
        padding: u64,
    }
    fuse_uring_cmd_req {
        flags: u64,
        commit_id: u64,
        qid: u16,
        padding: [u8; 6],
    }
    fuse_uring_ent_in_out {
        flags: u64,
        commit_id: u64,
        payload_sz: u32,
        padding: u32,
        reserved: u64,
    }
    fuse_uring_req_header {
        in_out: [u8; 128],
        op_in: [u8; 128],
        ring_ent_in_out: fuse_uring_ent_in_out,
    }
    fuse_write_in {
        fh: u64,
        offset: u64,
        size: u32,
        write_flags: u32,
        lock_owner: u64,
        flags: u32,
        padding: u32,
    }
    fuse_write_out {
        size: u32,
        padding: u32,
    }
}

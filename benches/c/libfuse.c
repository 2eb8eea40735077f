// The tree of tree.h, served with libfuse's low-level API.
//
// usage: libfuse MOUNTPOINT THREADS (0: libfuse's own loop of threads; 1: its single-threaded loop).

#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdlib.h>

#include "tree.h"

static void fill_stat(struct stat *stat, const struct node *node) {
    *stat = (struct stat){
        .st_ino = node->id, .st_size = (off_t)node->size, .st_blocks = (blkcnt_t)((node->size + 511) / 512),
        .st_mode = mode_of(node), .st_nlink = 1, .st_blksize = 4096,
    };
}

static void fill_entry(struct fuse_entry_param *entry, const struct node *node) {
    *entry = (struct fuse_entry_param){
        .ino = node->id, .entry_timeout = node->entry_seconds, .attr_timeout = node->attr_seconds,
    };
    fill_stat(&entry->attr, node);
}

static void reply_entry(fuse_req_t request, bool found, const struct node *node, int error) {
    struct fuse_entry_param entry;
    if (!found) {
        fuse_reply_err(request, error);
        return;
    }
    fill_entry(&entry, node);
    fuse_reply_entry(request, &entry);
}

static void on_init(void *unused, struct fuse_conn_info *connection) {
    (void)unused;
    connection->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE
        | FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_ASYNC_DIO
        | FUSE_CAP_HANDLE_KILLPRIV);
    connection->max_write = MAX_WRITE;
    connection->max_background = MAX_BACKGROUND;
    connection->congestion_threshold = CONGESTION;
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name) {
    struct node node;
    reply_entry(request, tree_lookup(parent, name, &node), &node, ENOENT);
}

static void on_getattr(fuse_req_t request, fuse_ino_t id, struct fuse_file_info *file) {
    struct node node;
    struct stat stat;
    (void)file;
    if (!tree_node(id, &node)) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    fill_stat(&stat, &node);
    fuse_reply_attr(request, &stat, node.attr_seconds);
}

static void on_setattr(fuse_req_t request, fuse_ino_t id, struct stat *stat, int set, struct fuse_file_info *file) {
    (void)stat, (void)set;
    on_getattr(request, id, file);
}

static void on_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode) {
    struct node node;
    (void)mode;
    reply_entry(request, tree_make(parent, name, &node), &node, EPERM);
}

static void on_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *file) {
    struct node node;
    struct fuse_entry_param entry;
    (void)mode;
    if (!tree_make(parent, name, &node)) {
        fuse_reply_err(request, EPERM);
        return;
    }
    fill_entry(&entry, &node);
    fuse_reply_create(request, &entry, file);
}

static void on_remove(fuse_req_t request, fuse_ino_t parent, const char *name) {
    fuse_reply_err(request, tree_remove(parent, name) ? 0 : ENOENT);
}

static void on_open(fuse_req_t request, fuse_ino_t id, struct fuse_file_info *file) {
    file->direct_io = is_direct(id);
    fuse_reply_open(request, file);
}

static void on_read(fuse_req_t request, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *file) {
    const char *data;
    (void)file;
    size_t length = tree_read(id, (uint64_t)offset, size, &data);
    fuse_reply_buf(request, data, length);
}

static void on_write(fuse_req_t request, fuse_ino_t id, const char *data, size_t size, off_t offset,
                     struct fuse_file_info *file) {
    (void)id, (void)data, (void)offset, (void)file;
    fuse_reply_write(request, size);
}

static void on_readdir(fuse_req_t request, fuse_ino_t id, size_t size, off_t offset, struct fuse_file_info *file) {
    char *buffer = malloc(size);
    size_t used = 0;
    (void)file;
    for (uint64_t i = (uint64_t)offset; id == MANY && i < ENTRIES; i++) {
        struct stat stat = {.st_ino = ENTRY + i, .st_mode = S_IFREG};
        size_t length = fuse_add_direntry(request, buffer + used, size - used, tree_names[i], &stat, (off_t)i + 1);
        if (length > size - used)
            break;
        used += length;
    }
    fuse_reply_buf(request, buffer, used);
    free(buffer);
}

static void on_getxattr(fuse_req_t request, fuse_ino_t id, const char *name, size_t size) {
    (void)id;
    if (strcmp(name, XATTR)) fuse_reply_err(request, ENODATA);
    else if (size == 0) fuse_reply_xattr(request, XATTR_LENGTH);
    else fuse_reply_buf(request, XATTR_VALUE, XATTR_LENGTH);
}

static const struct fuse_lowlevel_ops operations = {
    .init = on_init, .lookup = on_lookup, .getattr = on_getattr, .setattr = on_setattr, .mkdir = on_mkdir,
    .create = on_create, .unlink = on_remove, .rmdir = on_remove, .open = on_open, .read = on_read, .write = on_write,
    .opendir = on_open, .readdir = on_readdir, .getxattr = on_getxattr,
};

int main(int argc, char **argv) {
    struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
    if (argc < 3) {
        fprintf(stderr, "usage: libfuse MOUNTPOINT THREADS\n");
        return 1;
    }
    tree_start();
    fuse_opt_add_arg(&arguments, argv[0]);
    struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
    if (!session || fuse_session_mount(session, argv[1]) != 0)
        return 1;
    if (atoi(argv[2]) == 1) {
        fuse_session_loop(session);
    } else {
        struct fuse_loop_config *config = fuse_loop_cfg_create();
        fuse_session_loop_mt(session, config);
        fuse_loop_cfg_destroy(config);
    }
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return 0;
}

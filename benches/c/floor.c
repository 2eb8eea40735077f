// The floor: the least work that answers FUSE requests over /dev/fuse, to measure libraries against.
//
// No library, one thread, a read and a write a request, answers from the table in tree.h. It has no error handling worth
// the name, and is nothing to build a filesystem on. usage: floor MOUNTPOINT [THREADS] (more threads: a reader each).

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tree.h"

#define ROOM (MAX_WRITE + 8192)

static int device;

static void answer(uint64_t unique, int error, const void *body, size_t length) {
    struct fuse_out_header header = {.len = (uint32_t)(sizeof header + length), .error = -error, .unique = unique};
    struct iovec parts[2] = {{&header, sizeof header}, {(void *)body, length}};
    // ENOENT: the caller is gone. ENODEV: so is the mount, and the next read says so.
    if (writev(device, parts, length ? 2 : 1) < 0 && errno != ENOENT && errno != ENODEV)
        perror("floor: writing a reply");
}

static void fill_attr(struct fuse_attr *attr, const struct node *node) {
    *attr = (struct fuse_attr){
        .ino = node->id, .size = node->size, .blocks = (node->size + 511) / 512,
        .mode = mode_of(node), .nlink = 1, .blksize = 4096,
    };
}

static void fill_entry(struct fuse_entry_out *entry, const struct node *node) {
    *entry = (struct fuse_entry_out){
        .nodeid = node->id, .entry_valid = node->entry_seconds, .attr_valid = node->attr_seconds,
    };
    fill_attr(&entry->attr, node);
}

static void answer_init(uint64_t unique, const struct fuse_init_in *in) {
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_readahead = in->max_readahead,
        .flags = in->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_ATOMIC_O_TRUNC | FUSE_PARALLEL_DIROPS),
        .max_background = MAX_BACKGROUND, .congestion_threshold = CONGESTION,
        .max_write = MAX_WRITE, .time_gran = 1, .max_pages = MAX_WRITE / 4096,
    };
    if (out.minor > in->minor) out.minor = in->minor;
    answer(unique, 0, &out, sizeof out);
}

static void answer_readdir(uint64_t unique, uint64_t node, const struct fuse_read_in *in, char *reply) {
    size_t used = 0;
    for (uint64_t i = in->offset; node == MANY && i < ENTRIES; i++) {
        struct fuse_dirent *entry = (struct fuse_dirent *)(reply + used);
        size_t size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + NAME_LENGTH);
        if (used + size > in->size) break;
        *entry = (struct fuse_dirent){.ino = ENTRY + i, .off = i + 1, .namelen = NAME_LENGTH, .type = S_IFREG >> 12};
        memcpy(entry->name, tree_names[i], NAME_LENGTH);
        memset(entry->name + NAME_LENGTH, 0, size - FUSE_NAME_OFFSET - NAME_LENGTH);
        used += size;
    }
    answer(unique, 0, reply, used);
}

static void answer_getxattr(uint64_t unique, const struct fuse_getxattr_in *in) {
    struct fuse_getxattr_out size = {.size = XATTR_LENGTH};
    if (strcmp((const char *)(in + 1), XATTR)) answer(unique, ENODATA, NULL, 0);
    else if (in->size == 0) answer(unique, 0, &size, sizeof size);
    else answer(unique, 0, XATTR_VALUE, XATTR_LENGTH);
}

static void serve(const struct fuse_in_header *header, char *reply) {
    const void *in = header + 1;
    uint64_t unique = header->unique, id = header->nodeid;
    struct node node;
    switch (header->opcode) {
    case FUSE_INIT: answer_init(unique, in); break;
    case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT: break;
    case FUSE_LOOKUP: case FUSE_MKDIR: {
        struct fuse_entry_out out;
        bool make = header->opcode == FUSE_MKDIR;
        const char *name = (const char *)in + (make ? sizeof(struct fuse_mkdir_in) : 0);
        if (make ? tree_make(id, name, &node) : tree_lookup(id, name, &node)) {
            fill_entry(&out, &node);
            answer(unique, 0, &out, sizeof out);
        } else {
            answer(unique, make ? EPERM : ENOENT, NULL, 0);
        }
        break;
    }
    case FUSE_CREATE: {
        struct { struct fuse_entry_out entry; struct fuse_open_out open; } out = {0};
        if (!tree_make(id, (const char *)in + sizeof(struct fuse_create_in), &node)) {
            answer(unique, EPERM, NULL, 0);
            break;
        }
        fill_entry(&out.entry, &node);
        answer(unique, 0, &out, sizeof out);
        break;
    }
    case FUSE_UNLINK: case FUSE_RMDIR: answer(unique, tree_remove(id, in) ? 0 : ENOENT, NULL, 0); break;
    case FUSE_GETATTR: case FUSE_SETATTR: {
        struct fuse_attr_out out = {0};
        if (!tree_node(id, &node)) {
            answer(unique, ENOENT, NULL, 0);
            break;
        }
        out.attr_valid = node.attr_seconds;
        fill_attr(&out.attr, &node);
        answer(unique, 0, &out, sizeof out);
        break;
    }
    case FUSE_OPEN: case FUSE_OPENDIR: {
        struct fuse_open_out out = {.open_flags = is_direct(id) ? FOPEN_DIRECT_IO : 0};
        answer(unique, 0, &out, sizeof out);
        break;
    }
    case FUSE_RELEASE: case FUSE_RELEASEDIR: case FUSE_DESTROY: answer(unique, 0, NULL, 0); break;
    case FUSE_READ: {
        const struct fuse_read_in *read_in = in;
        const char *data;
        size_t length = tree_read(id, read_in->offset, read_in->size, &data);
        answer(unique, 0, data, length);
        break;
    }
    case FUSE_WRITE: {
        struct fuse_write_out out = {.size = ((const struct fuse_write_in *)in)->size};
        answer(unique, 0, &out, sizeof out);
        break;
    }
    case FUSE_READDIR: answer_readdir(unique, id, in, reply); break;
    case FUSE_GETXATTR: answer_getxattr(unique, in); break;
    case FUSE_STATFS: {
        struct fuse_statfs_out out = {.st = {.bsize = 4096, .frsize = 4096, .namelen = 255}};
        answer(unique, 0, &out, sizeof out);
        break;
    }
    default: answer(unique, ENOSYS, NULL, 0);
    }
}

static void *work(void *unused) {
    char *request = aligned_alloc(4096, ROOM), *reply = aligned_alloc(4096, ROOM);
    (void)unused;
    for (;;) {
        if (read(device, request, ROOM) < 0) {
            if (errno == EINTR || errno == ENOENT || errno == EAGAIN) continue;
            return NULL;
        }
        serve((const struct fuse_in_header *)request, reply);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: floor MOUNTPOINT [THREADS]\n");
        return 1;
    }
    tree_start();
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        perror("floor: opening /dev/fuse");
        return 1;
    }
    char options[128];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u", device, getuid(), getgid());
    if (mount("floor", argv[1], "fuse.floor", MS_NOSUID | MS_NODEV, options) < 0) {
        perror("floor: mounting (needs root)");
        return 1;
    }
    for (int i = argc > 2 ? atoi(argv[2]) : 1; i > 1; i--) {
        pthread_t thread;
        pthread_create(&thread, NULL, work, NULL);
    }
    work(NULL);
    return 0;
}

// What both floors share: the answers to FUSE requests, from the table in tree.h, with the least work.
//
// Nothing here reads or writes a device. Included once by each floor.

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tree.h"

#define ROOM (MAX_WRITE + 8192)

static int device;

// An answer: an error, or so many bytes, in the room for them or elsewhere.
struct reply {
    int error;
    size_t length;
    const void *data;
};

static struct reply failed(int error) { return (struct reply){.error = error}; }

static struct reply in_room(size_t length, const char *room) { return (struct reply){.length = length, .data = room}; }

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

static struct reply answer_init(const struct fuse_init_in *in, uint64_t wanted, char *room) {
    struct fuse_init_out *out = (void *)room;
    *out = (struct fuse_init_out){
        .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_readahead = in->max_readahead,
        .flags = in->flags & (uint32_t)wanted, .flags2 = in->flags2 & (uint32_t)(wanted >> 32),
        .max_background = MAX_BACKGROUND, .congestion_threshold = CONGESTION,
        .max_write = MAX_WRITE, .time_gran = 1, .max_pages = MAX_WRITE / 4096,
    };
    if (out->minor > in->minor) out->minor = in->minor;
    return in_room(sizeof *out, room);
}

static struct reply answer_readdir(uint64_t node, const struct fuse_read_in *in, char *room) {
    size_t used = 0, limit = in->size;
    for (uint64_t i = in->offset; node == MANY && i < ENTRIES; i++) {
        struct fuse_dirent *entry = (struct fuse_dirent *)(room + used);
        size_t size = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + NAME_LENGTH);
        if (used + size > limit) break;
        *entry = (struct fuse_dirent){.ino = ENTRY + i, .off = i + 1, .namelen = NAME_LENGTH, .type = S_IFREG >> 12};
        memcpy(entry->name, tree_names[i], NAME_LENGTH);
        memset(entry->name + NAME_LENGTH, 0, size - FUSE_NAME_OFFSET - NAME_LENGTH);
        used += size;
    }
    return in_room(used, room);
}

static struct reply answer_getxattr(const struct fuse_getxattr_in *in, const char *name, char *room) {
    if (strcmp(name, XATTR)) return failed(ENODATA);
    if (in->size) return (struct reply){.length = XATTR_LENGTH, .data = XATTR_VALUE};
    *(struct fuse_getxattr_out *)room = (struct fuse_getxattr_out){.size = XATTR_LENGTH};
    return in_room(sizeof(struct fuse_getxattr_out), room);
}

// `in` is the fixed part of the request, `tail` what follows it, if that is not where it would be in a message.
static inline struct reply serve(const struct fuse_in_header *header, const void *in, const char *tail, char *room) {
#define TAIL(type) (tail ? tail : (const char *)in + sizeof(type))
    uint64_t id = header->nodeid;
    struct node node;
    switch (header->opcode) {
    case FUSE_LOOKUP:
        if (!tree_lookup(id, tail ? tail : in, &node)) return failed(ENOENT);
        fill_entry((void *)room, &node);
        return in_room(sizeof(struct fuse_entry_out), room);
    case FUSE_MKDIR:
        if (!tree_make(id, TAIL(struct fuse_mkdir_in), &node)) return failed(EPERM);
        fill_entry((void *)room, &node);
        return in_room(sizeof(struct fuse_entry_out), room);
    case FUSE_CREATE: {
        struct { struct fuse_entry_out entry; struct fuse_open_out open; } *out = (void *)room;
        if (!tree_make(id, TAIL(struct fuse_create_in), &node)) return failed(EPERM);
        fill_entry(&out->entry, &node);
        out->open = (struct fuse_open_out){0};
        return in_room(sizeof *out, room);
    }
    case FUSE_UNLINK: case FUSE_RMDIR: return failed(tree_remove(id, tail ? tail : in) ? 0 : ENOENT);
    case FUSE_GETATTR: case FUSE_SETATTR: {
        struct fuse_attr_out *out = (void *)room;
        if (!tree_node(id, &node)) return failed(ENOENT);
        *out = (struct fuse_attr_out){.attr_valid = node.attr_seconds};
        fill_attr(&out->attr, &node);
        return in_room(sizeof *out, room);
    }
    case FUSE_OPEN: case FUSE_OPENDIR:
        *(struct fuse_open_out *)room = (struct fuse_open_out){.open_flags = is_direct(id) ? FOPEN_DIRECT_IO : 0};
        return in_room(sizeof(struct fuse_open_out), room);
    case FUSE_RELEASE: case FUSE_RELEASEDIR: case FUSE_DESTROY: return failed(0);
    case FUSE_READ: {
        const struct fuse_read_in *read_in = in;
        const char *data;
        size_t length = tree_read(id, read_in->offset, read_in->size, &data);
        return (struct reply){.length = length, .data = data};
    }
    case FUSE_WRITE:
        *(struct fuse_write_out *)room = (struct fuse_write_out){.size = ((const struct fuse_write_in *)in)->size};
        return in_room(sizeof(struct fuse_write_out), room);
    case FUSE_READDIR: return answer_readdir(id, in, room);
    case FUSE_GETXATTR: return answer_getxattr(in, TAIL(struct fuse_getxattr_in), room);
    case FUSE_STATFS:
        *(struct fuse_statfs_out *)room = (struct fuse_statfs_out){.st = {.bsize = 4096, .frsize = 4096, .namelen = 255}};
        return in_room(sizeof(struct fuse_statfs_out), room);
    default: return failed(ENOSYS);
    }
#undef TAIL
}

static void answer(uint64_t unique, struct reply reply) {
    struct fuse_out_header header = {
        .len = (uint32_t)(sizeof header + reply.length), .error = -reply.error, .unique = unique,
    };
    struct iovec parts[2] = {{&header, sizeof header}, {(void *)reply.data, reply.length}};
    // ENOENT: the caller is gone. ENODEV: so is the mount, and the next read says so.
    if (writev(device, parts, reply.length ? 2 : 1) < 0 && errno != ENOENT && errno != ENODEV)
        perror("floor: writing a reply");
}

// Serves requests that come through the device, until there is no mount any more, or `once` one that is answered.
static void serve_device(uint64_t wanted, bool once) {
    char *request = aligned_alloc(4096, ROOM), *room = aligned_alloc(4096, ROOM);
    for (;;) {
        if (read(device, request, ROOM) < 0) {
            if (errno == EINTR || errno == ENOENT || errno == EAGAIN) continue;
            break;
        }
        const struct fuse_in_header *header = (const void *)request;
        switch (header->opcode) {
        case FUSE_FORGET: case FUSE_BATCH_FORGET: case FUSE_INTERRUPT: continue;
        case FUSE_INIT: answer(header->unique, answer_init((const void *)(header + 1), wanted, room)); break;
        default: answer(header->unique, serve(header, header + 1, NULL, room));
        }
        if (once) break;
    }
    free(request), free(room);
}

// What every server asks of the kernel.
#define WANTED ((uint64_t)(FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_ATOMIC_O_TRUNC | FUSE_PARALLEL_DIROPS))

static bool start(const char *name, const char *mountpoint) {
    tree_start();
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device < 0) {
        perror("floor: opening /dev/fuse");
        return false;
    }
    char options[128];
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=%u,group_id=%u", device, getuid(), getgid());
    if (mount(name, mountpoint, "fuse.floor", MS_NOSUID | MS_NODEV, options) < 0) {
        perror("floor: mounting (needs root)");
        return false;
    }
    return true;
}

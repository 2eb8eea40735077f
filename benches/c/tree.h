// The tree that every server of a comparison serves, for the servers in C: the same table as src/tree.rs.
//
// It allocates nothing and knows nothing of FUSE. Included once by each server.

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    ROOT = 1, DATA, NAMES, ATTRS, MANY, NULL_FILE,
    DIRECT = 0x100, CACHED = 0x200, NAME = 0x300, ATTR = 0x400, WORK = 0x500, ENTRY = 0x10000,
    COPIES = 8, ENTRIES = 10000, NAME_LENGTH = 10, LONG = 3600,
};
#define MADE (UINT64_C(1) << 32)
#define FILE_SIZE (UINT64_C(64) << 20)
#define BLOCK (1u << 20)
#define MAX_WRITE (1u << 20)
#define MAX_BACKGROUND 64
#define CONGESTION 48
#define XATTR "user.bench"
#define XATTR_VALUE "sixteen bytes .."
#define XATTR_LENGTH (sizeof(XATTR_VALUE) - 1)

struct node {
    uint64_t id, size;
    bool directory;
    unsigned entry_seconds, attr_seconds;
};

static char tree_names[ENTRIES][NAME_LENGTH + 1];
// On a page, as a filesystem would have it.
static char tree_block[BLOCK] __attribute__((aligned(4096)));
static _Atomic uint64_t tree_made[2 * COPIES];
static _Atomic uint64_t tree_counter = MADE;

static inline void tree_start(void) {
    for (unsigned i = 0; i < ENTRIES; i++)
        snprintf(tree_names[i], sizeof tree_names[i], "file-%05u", i);
    for (unsigned i = 0; i < BLOCK; i++)
        tree_block[i] = (char)(i % 251);
}

static inline uint64_t class_of(uint64_t id) { return id & ~UINT64_C(0xff); }

static inline bool is_direct(uint64_t id) { return id == NULL_FILE || class_of(id) == DIRECT; }

static inline uint32_t mode_of(const struct node *node) {
    return node->directory ? S_IFDIR | 0755 : S_IFREG | 0644;
}

static inline bool tree_node(uint64_t id, struct node *node) {
    *node = (struct node){.id = id, .entry_seconds = LONG, .attr_seconds = LONG};
    if (id >= MADE) {
        node->directory = id % 2;
    } else if (id >= ENTRY) {
        node->directory = false;
    } else if (id >= DIRECT) {
        switch (class_of(id)) {
        case DIRECT: case CACHED: node->size = FILE_SIZE; break;
        case NAME: node->entry_seconds = 0; break;
        case ATTR: node->attr_seconds = 0; break;
        case WORK: node->directory = true; break;
        default: return false;
        }
    } else if (id == NULL_FILE) {
        node->size = FILE_SIZE;
    } else if (id >= ROOT && id < NULL_FILE) {
        node->directory = true;
    } else {
        return false;
    }
    return true;
}

static inline int copy_number(const char *name) {
    return name[0] >= '0' && name[0] < '0' + COPIES && !name[1] ? name[0] - '0' : -1;
}

// Where it is kept what has this name.
static inline _Atomic uint64_t *tree_slot(uint64_t parent, const char *name) {
    if (parent < WORK || parent >= WORK + COPIES || (name[0] != 'c' && name[0] != 'm') || name[1])
        return NULL;
    return &tree_made[2 * (parent - WORK) + (name[0] == 'm')];
}

static inline bool tree_lookup(uint64_t parent, const char *name, struct node *node) {
    uint64_t id = 0;
    int copy = name[0] ? copy_number(name + 1) : -1;
    switch (parent) {
    case ROOT:
        if (!strcmp(name, "data")) id = DATA;
        else if (!strcmp(name, "names")) id = NAMES;
        else if (!strcmp(name, "attrs")) id = ATTRS;
        else if (!strcmp(name, "many")) id = MANY;
        else if (!strcmp(name, "null")) id = NULL_FILE;
        else if (name[0] == 'w' && copy >= 0) id = WORK + (unsigned)copy;
        break;
    case DATA:
        if (copy >= 0 && name[0] == 'd') id = DIRECT + (unsigned)copy;
        if (copy >= 0 && name[0] == 'c') id = CACHED + (unsigned)copy;
        break;
    case NAMES: if (copy >= 0 && name[0] == 'n') id = NAME + (unsigned)copy; break;
    case ATTRS: if (copy >= 0 && name[0] == 'a') id = ATTR + (unsigned)copy; break;
    case MANY: {
        unsigned number;
        if (strlen(name) == NAME_LENGTH && sscanf(name, "file-%5u", &number) == 1) id = ENTRY + number;
        break;
    }
    default: {
        _Atomic uint64_t *slot = tree_slot(parent, name);
        if (slot) id = atomic_load_explicit(slot, memory_order_relaxed);
    }
    }
    return id && tree_node(id, node);
}

static inline bool tree_make(uint64_t parent, const char *name, struct node *node) {
    _Atomic uint64_t *slot = tree_slot(parent, name);
    if (!slot) return false;
    uint64_t id = atomic_fetch_add_explicit(&tree_counter, 2, memory_order_relaxed) + (name[0] == 'm');
    atomic_store_explicit(slot, id, memory_order_relaxed);
    return tree_node(id, node);
}

static inline bool tree_remove(uint64_t parent, const char *name) {
    _Atomic uint64_t *slot = tree_slot(parent, name);
    return slot && atomic_exchange_explicit(slot, 0, memory_order_relaxed);
}

// What is in a file from `offset` on: up to `size` bytes, none at its end.
static inline size_t tree_read(uint64_t id, uint64_t offset, size_t size, const char **data) {
    struct node node;
    uint64_t length = tree_node(id, &node) && node.size > offset ? node.size - offset : 0;
    size_t from = offset % BLOCK;
    if (length > size) length = size;
    if (length > BLOCK - from) length = BLOCK - from;
    *data = tree_block + from;
    return length;
}

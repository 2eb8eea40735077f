// The floor of the ring: the least work that answers FUSE requests over io_uring, to measure libraries against.
//
// No library, one thread pinned to each possible CPU with a ring of its own, one system call for all requests that are
// there, answers from the table in tree.h. The first thread serves what comes through /dev/fuse. It has no error
// handling worth the name, and is nothing to build a filesystem on. usage: floor_ring MOUNTPOINT

#define _GNU_SOURCE
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "floor.h"

// Entries of a queue: so many requests of a CPU are served at a time.
#define DEPTH 32u
// Linux 6.14; headers of older kernels do not have these.
#define OVER_IO_URING (UINT64_C(1) << 41)
#define INIT_EXT (UINT64_C(1) << 30)
enum { COMMAND_REGISTER = 1, COMMAND_COMMIT_AND_FETCH = 2 };

struct command {
    uint64_t flags, commit_id;
    uint16_t queue;
    uint8_t padding[6];
};

struct ring_header {
    char in_out[128], op_in[128];
    struct { uint64_t flags, commit_id; uint32_t payload_size, padding; uint64_t reserved; } entry;
};

struct entry {
    struct ring_header header;
    struct iovec parts[2];
    char *payload;
};

struct queue {
    uint16_t number;
    int ring;
    char *submissions;
    unsigned *tail, mask, *completion_head, *completion_tail, completion_mask, queued;
    struct io_uring_cqe *completions;
    struct entry entries[DEPTH];
};

static bool open_ring(struct queue *queue) {
    struct io_uring_params params = {
        .flags = IORING_SETUP_SQE128 | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
    };
    queue->ring = (int)syscall(SYS_io_uring_setup, DEPTH, &params);
    if (queue->ring < 0) return false;
    size_t room = params.sq_off.array + params.sq_entries * sizeof(unsigned);
    size_t other = params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe);
    int protection = PROT_READ | PROT_WRITE, flags = MAP_SHARED | MAP_POPULATE;
    char *rings = mmap(NULL, room > other ? room : other, protection, flags, queue->ring, IORING_OFF_SQ_RING);
    queue->submissions = mmap(NULL, (size_t)params.sq_entries * 128, protection, flags, queue->ring, IORING_OFF_SQES);
    if (rings == MAP_FAILED || queue->submissions == MAP_FAILED) return false;
    unsigned *array = (void *)(rings + params.sq_off.array);
    for (unsigned i = 0; i < params.sq_entries; i++) array[i] = i;
    queue->tail = (void *)(rings + params.sq_off.tail);
    queue->mask = params.sq_entries - 1;
    queue->completion_head = (void *)(rings + params.cq_off.head);
    queue->completion_tail = (void *)(rings + params.cq_off.tail);
    queue->completion_mask = params.cq_entries - 1;
    queue->completions = (void *)(rings + params.cq_off.cqes);
    return true;
}

static void push(struct queue *queue, unsigned operation, struct entry *entry) {
    unsigned tail = *queue->tail;
    struct io_uring_sqe *sqe = (void *)(queue->submissions + (size_t)(tail & queue->mask) * 128);
    struct command *command = (void *)((char *)sqe + 48);
    memset(sqe, 0, 128);
    sqe->opcode = IORING_OP_URING_CMD;
    sqe->fd = device;
    sqe->cmd_op = operation;
    sqe->user_data = (uintptr_t)entry;
    if (operation == COMMAND_REGISTER) {
        sqe->addr = (uintptr_t)entry->parts;
        sqe->len = 2;
    }
    *command = (struct command){.commit_id = entry->header.entry.commit_id, .queue = queue->number};
    __atomic_store_n(queue->tail, tail + 1, __ATOMIC_RELEASE);
    queue->queued++;
}

static void serve_entry(struct entry *entry) {
    const struct fuse_in_header *in = (const void *)entry->header.in_out;
    struct fuse_out_header *out = (void *)entry->header.in_out;
    uint64_t unique = in->unique;
    struct reply reply = serve(in, entry->header.op_in, entry->payload, entry->payload);
    if (reply.data != entry->payload) memcpy(entry->payload, reply.data, reply.length);
    *out = (struct fuse_out_header){
        .len = (uint32_t)(sizeof *out + reply.length), .error = -reply.error, .unique = unique,
    };
    entry->header.entry.payload_size = (uint32_t)reply.length;
}

static void *work(void *argument) {
    struct queue *queue = argument;
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(queue->number, &cpus);
    // A CPU that is possible and not there has no caller either.
    sched_setaffinity(0, sizeof cpus, &cpus);
    if (!open_ring(queue)) {
        perror("floor_ring: making a ring");
        exit(1);
    }
    for (unsigned i = 0; i < DEPTH; i++) {
        struct entry *entry = &queue->entries[i];
        entry->payload = mmap(NULL, MAX_WRITE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        entry->parts[0] = (struct iovec){&entry->header, sizeof entry->header};
        entry->parts[1] = (struct iovec){entry->payload, MAX_WRITE};
        push(queue, COMMAND_REGISTER, entry);
    }
    for (;;) {
        long done = syscall(SYS_io_uring_enter, queue->ring, queue->queued, 1, IORING_ENTER_GETEVENTS, NULL, 0);
        if (done < 0 && errno != EINTR) return NULL;
        if (done > 0) queue->queued -= (unsigned)done;
        unsigned head = *queue->completion_head, tail = __atomic_load_n(queue->completion_tail, __ATOMIC_ACQUIRE);
        for (; head != tail; head++) {
            const struct io_uring_cqe *completion = &queue->completions[head & queue->completion_mask];
            struct entry *entry = (void *)(uintptr_t)completion->user_data;
            // The mount is gone, and the first thread hears of it.
            if (completion->res < 0) return NULL;
            serve_entry(entry);
            push(queue, COMMAND_COMMIT_AND_FETCH, entry);
        }
        __atomic_store_n(queue->completion_head, head, __ATOMIC_RELEASE);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: floor_ring MOUNTPOINT\n");
        return 1;
    }
    if (!start("floor-ring", argv[1]))
        return 1;
    // An entry can be registered when INIT is answered.
    serve_device(WANTED | INIT_EXT | OVER_IO_URING, true);
    long possible = sysconf(_SC_NPROCESSORS_CONF);
    struct queue *queues = aligned_alloc(64, (size_t)possible * ((sizeof *queues + 63) / 64 * 64));
    memset(queues, 0, (size_t)possible * sizeof *queues);
    for (long i = 0; i < possible; i++) {
        pthread_t thread;
        queues[i].number = (uint16_t)i;
        pthread_create(&thread, NULL, work, &queues[i]);
    }
    serve_device(WANTED, false);
    return 0;
}

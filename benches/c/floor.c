// The floor: the least work that answers FUSE requests over /dev/fuse, to measure libraries against.
//
// No library, one thread, a read and a write a request, answers from the table in tree.h. It has no error handling worth
// the name, and is nothing to build a filesystem on. usage: floor MOUNTPOINT [THREADS] (more threads: a reader each).

#define _GNU_SOURCE
#include <pthread.h>

#include "floor.h"

static void *work(void *unused) {
    serve_device(WANTED, false);
    return unused;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: floor MOUNTPOINT [THREADS]\n");
        return 1;
    }
    if (!start("floor", argv[1]))
        return 1;
    for (int i = argc > 2 ? atoi(argv[2]) : 1; i > 1; i--) {
        pthread_t thread;
        pthread_create(&thread, NULL, work, NULL);
    }
    work(NULL);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A read of a file that may wait: by a helper thread, which is what STIOL does, and by io_uring,
 * both until epoll reports that it is done. Prints microseconds and CPU microseconds of one read,
 * with the file in memory and not, the minimum of several runs. Run by `make bench-files`.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    SIZE = 1024 * 1024, /* bytes of the file */
    READ = 8192,        /* bytes of a read */
    RUNS = 7,
};

static char buffer[READ];
static int file, done, epoll; /* descriptors; `done` is an eventfd */

static double clock_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void await(void)
{
    struct epoll_event event;
    uint64_t count;

    while (epoll_wait(epoll, &event, 1, -1) != 1)
        continue;
    if (read(done, &count, sizeof(count)) < 0 && errno != EAGAIN)
        abort();
}

static void plainly(void)
{
    if (pread(file, buffer, READ, 0) != READ)
        abort();
}

/* --- a helper --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static bool wanted;

static void *helper(void *arg)
{
    uint64_t one = 1;

    for (;;) {
        pthread_mutex_lock(&lock);
        while (!wanted)
            pthread_cond_wait(&work, &lock);
        wanted = false;
        pthread_mutex_unlock(&lock);
        plainly();
        if (write(done, &one, sizeof(one)) < 0)
            abort();
    }
    return arg;
}

static void by_helper(void)
{
    pthread_mutex_lock(&lock);
    wanted = true;
    pthread_cond_signal(&work);
    pthread_mutex_unlock(&lock);
    await();
}

/* --- io_uring --- */

static struct {
    int fd;
    struct io_uring_params params;
    unsigned *tail, *array, *completed, *completions;
    struct io_uring_sqe *entries;
} ring;

static void *map_ring(size_t size, long offset)
{
    void *map =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, offset);

    return map != MAP_FAILED ? map : NULL;
}

static bool open_ring(void)
{
    const struct io_uring_params *p = &ring.params;
    char *submissions, *completions;

    ring.fd = (int)syscall(SYS_io_uring_setup, 8, &ring.params);
    if (ring.fd < 0)
        return false;
    submissions = map_ring(p->sq_off.array + p->sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    completions =
        map_ring(p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    ring.entries = map_ring(p->sq_entries * sizeof(*ring.entries), IORING_OFF_SQES);
    if (!submissions || !completions || !ring.entries)
        return false;
    ring.tail = (unsigned *)(void *)(submissions + p->sq_off.tail);
    ring.array = (unsigned *)(void *)(submissions + p->sq_off.array);
    ring.completed = (unsigned *)(void *)(completions + p->cq_off.head);
    ring.completions = (unsigned *)(void *)(completions + p->cq_off.tail);
    return syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_EVENTFD, &done, 1) == 0;
}

static void submit(unsigned char flags)
{
    unsigned tail = *ring.tail, at = tail & (ring.params.sq_entries - 1);

    ring.entries[at] = (struct io_uring_sqe){.opcode = IORING_OP_READ,
                                             .fd = file,
                                             .addr = (uintptr_t)buffer,
                                             .len = READ,
                                             .flags = flags};
    ring.array[at] = at;
    __atomic_store_n(ring.tail, tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0) != 1)
        abort();
    await();
    __atomic_store_n(ring.completed, *ring.completions, __ATOMIC_RELEASE);
}

static void by_ring(void)
{
    submit(0);
}

static void by_worker(void)
{
    submit(IOSQE_ASYNC);
}

/* --- measuring --- */

static void measure(const char *what, void (*how)(void), bool cold)
{
    int count = cold ? 200 : 2000;
    double least = 1e18, cpu = 0;

    for (int run = 0; run < RUNS; run++) {
        double took = 0, used = 0;

        for (int i = 0; i < count; i++) {
            double begun, used_before;

            if (cold)
                (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
            used_before = clock_us(CLOCK_PROCESS_CPUTIME_ID);
            begun = clock_us(CLOCK_MONOTONIC);
            how();
            took += clock_us(CLOCK_MONOTONIC) - begun;
            used += clock_us(CLOCK_PROCESS_CPUTIME_ID) - used_before;
        }
        if (took / count < least) {
            least = took / count;
            cpu = used / count;
        }
    }
    printf("%-24s %-14s %8.1f us  %6.1f us of CPU\n", what, cold ? "not in memory" : "in memory",
           least, cpu);
}

static void make_file(void)
{
    char name[] = "/var/tmp/stiol-bench-XXXXXX";
    static char content[SIZE];

    file = mkstemp(name);
    if (file < 0 || unlink(name) != 0 || write(file, content, SIZE) != SIZE || fsync(file) != 0) {
        perror("/var/tmp");
        exit(1);
    }
}

int main(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    pthread_t thread;
    bool rings;

    make_file();
    done = eventfd(0, EFD_NONBLOCK);
    epoll = epoll_create1(0);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, done, &event) != 0 ||
        pthread_create(&thread, NULL, helper, NULL) != 0)
        return 1;
    rings = open_ring();
    if (!rings)
        printf("io_uring is not to be had here\n");
    for (int cold = 0; cold < 2; cold++) {
        measure("pread()", plainly, cold != 0);
        measure("helper", by_helper, cold != 0);
        if (rings) {
            measure("io_uring", by_ring, cold != 0);
            measure("io_uring, its worker", by_worker, cold != 0);
        }
    }
    return 0;
}

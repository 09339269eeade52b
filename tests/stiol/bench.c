/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds of the hot calls, real and rebound, in one run: `make bench-stiol`. And of a yield,
 * depending on what the threads have in thread-local variables.
 */
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "tests/stiol/objects/locals.h"
#include "tests/stiol/objects/table.h"

static const table_t *call = &table_any;
static pthread_mutex_t normal = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_key_t key;
static uint32_t word;
static int fds[2];

static void lock_normal(void)
{
    call->pthread_mutex_lock(&normal);
    call->pthread_mutex_unlock(&normal);
}

static void lock_recursive(void)
{
    call->pthread_mutex_lock(&recursive);
    call->pthread_mutex_unlock(&recursive);
}

static void lock_rwlock(void)
{
    call->pthread_rwlock_rdlock(&rwlock);
    call->pthread_rwlock_unlock(&rwlock);
}

static void write_rwlock(void)
{
    call->pthread_rwlock_wrlock(&rwlock);
    call->pthread_rwlock_unlock(&rwlock);
}

static void wake_futex(void)
{
    call->syscall(SYS_futex, &word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

static void call_by_number(void)
{
    call->syscall(SYS_getppid);
}

static void signal_cond(void)
{
    call->pthread_cond_signal(&cond);
}

static void get_specific(void)
{
    call->pthread_getspecific(key);
}

static void get_self(void)
{
    (void)call->pthread_self();
}

static void get_number(void)
{
    (void)call->gettid();
}

static void read_nonblocking(void)
{
    char c;

    (void)!call->read(fds[0], &c, 1);
}

static void poll_now(void)
{
    struct pollfd one = {.fd = fds[0], .events = POLLIN};

    call->poll(&one, 1, 0);
}

static void poll_ready(void)
{
    struct pollfd one = {.fd = fds[0], .events = POLLOUT};

    call->poll(&one, 1, 1000);
}

static const struct {
    const char *name;
    void (*once)(void);
    int rounds;
} rows[] = {
    {"mutex, lock and unlock", lock_normal, 2000000},
    {"recursive mutex, lock and unlock", lock_recursive, 2000000},
    {"read-write lock, read and unlock", lock_rwlock, 2000000},
    {"read-write lock, write and unlock", write_rwlock, 2000000},
    {"futex wake, nobody waits", wake_futex, 500000},
    {"getppid by syscall()", call_by_number, 500000},
    {"signal, nobody waits", signal_cond, 2000000},
    {"pthread_getspecific", get_specific, 2000000},
    {"pthread_self", get_self, 2000000},
    {"gettid", get_number, 2000000},
    {"read, nonblocking, EAGAIN", read_nonblocking, 300000},
    {"poll, timeout 0", poll_now, 200000},
    {"poll, ready, timeout 1 s", poll_ready, 200000},
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void measure(double *ns)
{
    struct timespec start, end;

    for (size_t i = 0; i < ROWS; i++) {
        clock_gettime(CLOCK_MONOTONIC, &start);
        for (int n = 0; n < rows[i].rounds; n++)
            rows[i].once();
        clock_gettime(CLOCK_MONOTONIC, &end);
        ns[i] =
            ((double)(end.tv_sec - start.tv_sec) * 1e9 + (double)(end.tv_nsec - start.tv_nsec)) /
            rows[i].rounds;
    }
}

static void *measure_rebound(void *ns)
{
    measure(ns);
    return NULL;
}

/* --- yields --- */

enum {
    THREADS = 10,
    YIELDS = 300000,
};

static void *nothing_of_its_own(void *arg)
{
    (void)arg;
    for (int i = 0; i < YIELDS; i++)
        st_thread_yield();
    return NULL;
}

/* As httpd's current thread: a pointer. */
static void *eight_bytes(void *arg)
{
    *pointer_local() = arg;
    return nothing_of_its_own(arg);
}

static void *hundreds_of_bytes(void *arg)
{
    linked_locals()->number = (long)(intptr_t)arg;
    return eight_bytes(arg);
}

/* CPU time: the least of some runs. */
static void measure_yield(const char *name, void *(*start)(void *))
{
    st_thread_t threads[THREADS];
    struct timespec begin, end;
    double least = 1e9, ns;

    for (int run = 0; run < 5; run++) {
        for (intptr_t i = 0; i < THREADS; i++)
            threads[i] = st_thread_create(start, (void *)(i + 1), 1, 0);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
        for (int i = 0; i < THREADS; i++)
            if (!threads[i] || st_thread_join(threads[i], NULL) != 0)
                exit(1);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
        ns = (double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec);
        least = ns < least ? ns : least;
    }
    printf("%-47s %10.1f\n", name, least / ((double)THREADS * YIELDS));
}

static void measure_yields(void)
{
    measure_yield("yield, nothing of their own", nothing_of_its_own);
    measure_yield("yield, 8 bytes of their own", eight_bytes);
    measure_yield("yield, 8 + 256 bytes of their own", hundreds_of_bytes);
}

int main(void)
{
    double real[ROWS], rebound[ROWS];
    st_thread_t thread;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) != 0 ||
        pthread_key_create(&key, NULL) != 0)
        return 1;
    measure(real);
    if (st_init() != 0)
        return 1;
    measure_yield("yield, libst alone", nothing_of_its_own);
    if (stiol_start(NULL) != 0) {
        fprintf(stderr, "%s\n", stiol_error());
        return 1;
    }
    thread = st_thread_create(measure_rebound, rebound, 1, 0);
    if (!thread || st_thread_join(thread, NULL) != 0)
        return 1;
    printf("%-36s %10s %10s\n", "ns a call", "real", "rebound");
    for (size_t i = 0; i < ROWS; i++)
        printf("%-36s %10.1f %10.1f\n", rows[i].name, real[i], rebound[i]);
    measure_yields();
    stiol_stop();
    return 0;
}

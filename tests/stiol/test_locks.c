/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Locks of other makes: barriers, stdio's streams, robust mutexes of state threads that end, named
 * semaphores, and locks on files for which two processes wait crosswise.
 */
#include <sys/mman.h>
#include <sys/syscall.h>

#include "stiol/lot.h"
#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

/* --- barriers --- */

static pthread_barrier_t barrier;
static _Atomic int arrived, serial;

static void *meet(void *arg)
{
    int rounds = *(int *)arg;

    for (int i = 0; i < rounds; i++) {
        int rc;

        arrived++;
        rc = call->pthread_barrier_wait(&barrier);
        CHECK(rc == 0 || rc == PTHREAD_BARRIER_SERIAL_THREAD);
        serial += rc == PTHREAD_BARRIER_SERIAL_THREAD;
    }
    return NULL;
}

static void state_and_kernel_threads_meet_at_a_barrier(void)
{
    enum { HERE = 5, AFAR = 2, ROUNDS = 10 };
    int rounds = ROUNDS, ticks = 0;
    pthread_t ids[AFAR];

    CHECK(pthread_barrier_init(&barrier, NULL, HERE + AFAR + 1) == 0);
    for (int i = 0; i < AFAR; i++)
        ids[i] = kernel_thread(meet, &rounds);
    for (int i = 0; i < HERE; i++)
        spawn(meet, &rounds);
    while (arrived < HERE + AFAR)
        st_thread_yield();
    spawn(ticker, &ticks);
    settle();
    CHECK(arrived == HERE + AFAR && ticks > 0); /* nobody passes without us */
    meet(&rounds);
    stop_ticking = true;
    reap();
    for (int i = 0; i < AFAR; i++)
        join_kernel_thread(ids[i]);
    CHECK(serial == ROUNDS && arrived == ROUNDS * (HERE + AFAR + 1));
    CHECK(pthread_barrier_destroy(&barrier) == 0);
}

/* --- streams --- */

static FILE *stream;

static void *write_a_line(void *arg)
{
    char name = *(char *)arg;

    for (int i = 0; i < 10; i++) {
        call->flockfile(stream);
        call->flockfile(stream); /* it may be locked again */
        CHECK(fputc(name, stream) == name);
        CHECK(call->usleep(i % 2 == 0) == 0);
        CHECK(fputc(name, stream) == name);
        call->funlockfile(stream);
        CHECK(call->usleep(i % 2 == 1) == 0);
        CHECK(fputc('\n', stream) == '\n');
        call->funlockfile(stream);
    }
    return NULL;
}

static void a_stream_is_locked_for_a_state_thread(void)
{
    char *text = NULL, names[] = "abcd";
    size_t size = 0, lines = 0;

    stream = open_memstream(&text, &size);
    CHECK(stream);
    for (int i = 0; i < 4; i++)
        spawn(write_a_line, &names[i]);
    reap();
    CHECK(fclose(stream) == 0 && size == 120);
    for (const char *at = text; *at != '\0'; at += 3, lines++)
        CHECK(at[0] == at[1] && at[2] == '\n');
    CHECK(lines == 40 && stiol__vp->owners_used == 0 && stiol__lot_waiters() == 0);
    free(text);
}

static _Atomic bool tried;

static void *try_stream(void *arg)
{
    CHECK((call->ftrylockfile(stream) == 0) == *(bool *)arg);
    if (*(bool *)arg)
        call->funlockfile(stream);
    tried = true;
    return NULL;
}

static void a_locked_stream_is_busy_for_all_others(void)
{
    bool yes = true, no = false;

    stream = tmpfile();
    CHECK(stream && call->ftrylockfile(stream) == 0 && call->ftrylockfile(stream) == 0);
    spawn(try_stream, &no);
    reap();
    call->funlockfile(stream);
    join_kernel_thread(kernel_thread(try_stream, &no));
    call->funlockfile(stream);
    spawn(try_stream, &yes);
    reap();
    join_kernel_thread(kernel_thread(try_stream, &yes));
    CHECK(fclose(stream) == 0);
}

/* --- robust mutexes --- */

static pthread_mutex_t *new_robust_of(int type, int protocol)
{
    pthread_mutex_t *mutex =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attr;
    size_t size;
    void *list;

    if (syscall(SYS_get_robust_list, 0, &list, &size) != 0)
        skip_test("no robust mutexes here (an emulator)");
    CHECK(mutex != MAP_FAILED && pthread_mutexattr_init(&attr) == 0);
    pthread_mutexattr_settype(&attr, type);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutexattr_setprotocol(&attr, protocol);
    pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    CHECK(call->pthread_mutex_init(mutex, &attr) == 0);
    return mutex;
}

static pthread_mutex_t *new_robust(int type)
{
    return new_robust_of(type, PTHREAD_PRIO_NONE);
}

static void *end_with_it(void *arg)
{
    CHECK(call->pthread_mutex_lock(arg) == 0);
    CHECK(call->usleep(1000) == 0);
    return NULL;
}

static void *expect_a_dead_owner(void *arg)
{
    CHECK(call->pthread_mutex_lock(arg) == EOWNERDEAD);
    note('d');
    CHECK(call->usleep(1000) == 0); /* not consistent yet, and nobody else's */
    CHECK(pthread_mutex_consistent(arg) == 0);
    CHECK(call->pthread_mutex_unlock(arg) == 0);
    note('u');
    return NULL;
}

static void *expect_to_wait(void *arg)
{
    CHECK(call->pthread_mutex_lock(arg) == 0);
    note('w');
    CHECK(call->pthread_mutex_unlock(arg) == 0);
    return NULL;
}

static void who_waits_hears_that_its_owner_ended(int type, int protocol)
{
    pthread_mutex_t *mutex = new_robust_of(type, protocol);

    forget_notes();
    spawn(end_with_it, mutex);
    st_thread_yield();
    spawn(expect_a_dead_owner, mutex);
    spawn(expect_to_wait, mutex);
    reap();
    CHECK(strcmp(noted(), "duw") == 0);
    CHECK(stiol__vp->owners_used == 0 && stiol__lot_waiters() == 0);
}

static void the_end_of_a_state_thread_is_told(void)
{
    who_waits_hears_that_its_owner_ended(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE);
    who_waits_hears_that_its_owner_ended(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
    who_waits_hears_that_its_owner_ended(PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
    /* As APR makes its mutexes for several processes. */
    who_waits_hears_that_its_owner_ended(PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_INHERIT);
    who_waits_hears_that_its_owner_ended(PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_INHERIT);
}

static void *expect_from_afar(void *arg)
{
    CHECK(call->pthread_mutex_lock(arg) == EOWNERDEAD);
    CHECK(call->pthread_mutex_unlock(arg) == 0); /* as it is: nobody can use it any more */
    return NULL;
}

static void kernel_threads_hear_of_it(int protocol)
{
    pthread_mutex_t *mutex = new_robust_of(PTHREAD_MUTEX_NORMAL, protocol);

    spawn(end_with_it, mutex);
    reap();
    join_kernel_thread(kernel_thread(expect_from_afar, mutex));
    for (int i = 0; i < 3; i++)
        CHECK(call->pthread_mutex_lock(mutex) == ENOTRECOVERABLE);
    CHECK(call->pthread_mutex_trylock(mutex) == ENOTRECOVERABLE);
    CHECK(call->pthread_mutex_unlock(mutex) == EPERM);
}

static void kernel_threads_hear_of_it_too(void)
{
    kernel_threads_hear_of_it(PTHREAD_PRIO_NONE);
    kernel_threads_hear_of_it(PTHREAD_PRIO_INHERIT);
}

static void *end_with_it_again(void *arg)
{
    CHECK(call->pthread_mutex_lock(arg) == EOWNERDEAD);
    return NULL;
}

static void it_is_told_as_often_as_it_happens(void)
{
    pthread_mutex_t *mutex = new_robust(PTHREAD_MUTEX_RECURSIVE);

    spawn(end_with_it, mutex);
    reap();
    for (int i = 0; i < 3; i++) {
        spawn(end_with_it_again, mutex);
        reap();
    }
    spawn(expect_a_dead_owner, mutex);
    reap();
    CHECK(call->pthread_mutex_lock(mutex) == 0 && call->pthread_mutex_unlock(mutex) == 0);
}

static void *unlock_others(void *arg)
{
    CHECK(call->pthread_mutex_trylock(arg) == EBUSY);
    CHECK(call->pthread_mutex_unlock(arg) == EPERM);
    return NULL;
}

static void a_robust_mutex_is_its_owners_alone(void)
{
    pthread_mutex_t *mutex = new_robust(PTHREAD_MUTEX_NORMAL);

    CHECK(call->pthread_mutex_lock(mutex) == 0);
    spawn(unlock_others, mutex);
    reap();
    CHECK(call->pthread_mutex_unlock(mutex) == 0);
}

/* --- named semaphores --- */

static void *wait_on_sem(void *arg)
{
    CHECK(call->sem_wait(arg) == 0);
    note('w');
    return NULL;
}

static void named_semaphores_give_way(void)
{
    char name[64];
    int ticks = 0, status;
    sem_t *sem;
    pid_t pid;

    snprintf(name, sizeof(name), "/stiol-test-%d", getpid());
    sem = sem_open(name, O_CREAT | O_EXCL, 0600, 0);
    if (sem == SEM_FAILED)
        skip_test("no named semaphores here");
    spawn(wait_on_sem, sem);
    spawn(ticker, &ticks);
    settle();
    CHECK(noted()[0] == '\0' && ticks > 0);
    pid = fork();
    if (pid == 0) {
        sem_t *same = sem_open(name, 0);

        _exit(same != SEM_FAILED && sem_post(same) == 0 ? 0 : 1);
    }
    while (noted()[0] == '\0')
        CHECK(call->usleep(1000) == 0);
    stop_ticking = true;
    CHECK(call->waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(sem_close(sem) == 0 && sem_unlink(name) == 0);
}

/* --- locks on files, crosswise --- */

static char path[] = "/tmp/stiol-cross-XXXXXX";
static int fd;

static int lock_byte(int (*caller)(int, int, ...), off_t at, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

    return caller(fd, F_SETLKW, &lock);
}

/* The other process: has byte 1 and wants byte 0. It gets it when we give way. */
static int other_process(int told, int tell_back)
{
    char c;

    if (lock_byte(fcntl, 1, F_WRLCK) != 0 || write(tell_back, "1", 1) != 1 ||
        read(told, &c, 1) != 1)
        return 1;
    return lock_byte(fcntl, 0, F_WRLCK) == 0 ? 0 : 2;
}

/* The kernel shows who waits for a lock, with an arrow. */
static bool waits_for_a_lock(pid_t pid)
{
    FILE *locks = fopen("/proc/locks", "r");
    char line[256];
    bool found = false;
    int who;

    CHECK(locks);
    while (!found && fgets(line, sizeof(line), locks))
        found = sscanf(line, "%*d: -> POSIX %*s %*s %d", &who) == 1 && who == pid;
    (void)fclose(locks);
    return found;
}

static void a_deadlock_of_processes_is_seen(void)
{
    int there[2], back[2], status, ticks = 0;
    pid_t pid;
    char c;

    fd = mkstemp(path);
    CHECK(fd >= 0 && unlink(path) == 0 && pipe(there) == 0 && pipe(back) == 0);
    pid = fork();
    if (pid == 0)
        _exit(other_process(there[0], back[1]));
    CHECK(call->read(back[0], &c, 1) == 1);
    CHECK(lock_byte(call->fcntl, 0, F_WRLCK) == 0);
    CHECK(call->write(there[1], "x", 1) == 1);
    while (!waits_for_a_lock(pid)) /* who comes last closes the circle and is told */
        CHECK(call->usleep(1000) == 0);
    spawn(ticker, &ticks);
    while (ticks == 0) { /* as vp.h says of waits */
        errno = 0;
        CHECK(lock_byte(call->fcntl, 1, F_WRLCK) == -1 && errno == EDEADLK);
    }
    stop_ticking = true;
    CHECK(lock_byte(call->fcntl, 0, F_UNLCK) == 0);
    CHECK(call->waitpid(pid, &status, 0) == pid && status == 0);
}

/* The wait in earnest ends when the lock is free. */
static void a_long_wait_for_a_file_ends(void)
{
    int back[2], status;
    char c;
    pid_t pid;

    fd = mkstemp(path);
    CHECK(fd >= 0 && unlink(path) == 0 && pipe(back) == 0);
    pid = fork();
    if (pid == 0) {
        if (lock_byte(fcntl, 0, F_WRLCK) != 0 || write(back[1], "1", 1) != 1)
            _exit(1);
        usleep(200000);
        _exit(0);
    }
    CHECK(call->read(back[0], &c, 1) == 1);
    CHECK(lock_byte(call->fcntl64, 0, F_RDLCK) == 0);
    CHECK(call->waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(counters().filelock.parked == 1);
}

/* The next one has the same memory, and is nobody's. */
static void *lock_the_next(void *arg)
{
    FILE *next = call->fopen("/dev/null", "r");

    CHECK(next);
    if ((uintptr_t)next != *(uintptr_t *)arg)
        skip_test("the memory was not used again");
    CHECK(call->ftrylockfile(next) == 0);
    call->funlockfile(next);
    CHECK(call->fclose(next) == 0);
    return NULL;
}

static void a_closed_streams_lock_is_gone(void)
{
    FILE *closed = call->fopen("/dev/null", "r");
    uintptr_t place = (uintptr_t)closed;

    CHECK(closed);
    call->flockfile(closed);
    CHECK(call->fclose(closed) == 0);
    spawn(lock_the_next, &place);
    reap();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(state_and_kernel_threads_meet_at_a_barrier),
        VP_TEST(a_stream_is_locked_for_a_state_thread),
        VP_TEST(a_locked_stream_is_busy_for_all_others),
        VP_TEST(the_end_of_a_state_thread_is_told),
        VP_TEST(kernel_threads_hear_of_it_too),
        VP_TEST(it_is_told_as_often_as_it_happens),
        VP_TEST(a_robust_mutex_is_its_owners_alone),
        VP_TEST(named_semaphores_give_way),
        VP_TEST(a_deadlock_of_processes_is_seen),
        VP_TEST(a_long_wait_for_a_file_ends),
        VP_TEST(a_closed_streams_lock_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

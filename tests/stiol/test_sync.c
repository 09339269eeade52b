/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Condition variables, read-write locks, semaphores and locks on files: among state threads, kernel
 * threads and processes.
 */
#include <sys/ipc.h>
#include <sys/mman.h>

#include "stiol/lot.h"
#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

static struct timespec from_now(clockid_t clock, long ms)
{
    struct timespec at;

    clock_gettime(clock, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += ms % 1000 * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* --- condition variables --- */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static _Atomic int tokens, waiting_here, woken;

static void *wait_for_token(void *arg)
{
    CHECK(call->pthread_mutex_lock(&mutex) == 0);
    waiting_here++;
    while (tokens == 0)
        CHECK(call->pthread_cond_wait(&cond, &mutex) == 0);
    tokens--;
    woken++;
    if (arg)
        note(*(char *)arg);
    CHECK(call->pthread_mutex_unlock(&mutex) == 0);
    return NULL;
}

static void give_token(int count)
{
    CHECK(call->pthread_mutex_lock(&mutex) == 0);
    tokens += count;
    CHECK((count == 1 ? call->pthread_cond_signal(&cond) : call->pthread_cond_broadcast(&cond)) ==
          0);
    CHECK(call->pthread_mutex_unlock(&mutex) == 0);
}

static void a_signal_wakes_the_first_in_line(void)
{
    char names[] = "123";

    for (int i = 0; i < 3; i++)
        spawn(wait_for_token, &names[i]);
    settle();
    for (int i = 0; i < 3; i++) {
        give_token(1);
        settle();
        CHECK(strlen(noted()) == (size_t)i + 1);
    }
    CHECK(strcmp(noted(), "123") == 0);
    CHECK(call->pthread_cond_signal(&cond) == 0 && call->pthread_cond_broadcast(&cond) == 0);
}

static void *give_from_afar(void *arg)
{
    give_token(*(int *)arg);
    return NULL;
}

/* Trap 4: the signal comes from a kernel thread that is no VP. */
static void signalled_from_afar(void)
{
    struct timespec at = from_now(CLOCK_REALTIME, 1000);
    int one = 1, rc = 0;
    pthread_t id;

    CHECK(call->pthread_mutex_lock(&mutex) == 0);
    id = kernel_thread(give_from_afar, &one);
    while (tokens == 0 && rc == 0)
        rc = call->pthread_cond_timedwait(&cond, &mutex, &at);
    CHECK(call->pthread_mutex_unlock(&mutex) == 0);
    join_kernel_thread(id);
    _exit(rc == 0 ? 10 : 20);
}

static void trap_4_wakeups_come_from_kernel_threads(void)
{
    CHECK(without(0, signalled_from_afar) == 10);
    CHECK(without(STIOL_NO_POST, signalled_from_afar) == 20);
}

static void a_broadcast_wakes_state_and_kernel_threads(void)
{
    enum { HERE = 20, AFAR = 4, ROUNDS = 20 };
    pthread_t ids[AFAR];
    int all = HERE + AFAR;

    for (int round = 0; round < ROUNDS; round++) {
        waiting_here = woken = 0;
        for (int i = 0; i < AFAR; i++)
            ids[i] = kernel_thread(wait_for_token, NULL);
        for (int i = 0; i < HERE; i++)
            spawn(wait_for_token, NULL);
        while (waiting_here < all)
            st_thread_yield();
        if (round % 2 == 0) {
            give_token(all);
        } else {
            pthread_t giver = kernel_thread(give_from_afar, &all);

            reap();
            join_kernel_thread(giver);
        }
        reap();
        for (int i = 0; i < AFAR; i++)
            join_kernel_thread(ids[i]);
        CHECK(woken == all && tokens == 0);
    }
}

static void kernel_threads_are_signalled_too(void)
{
    pthread_t id = kernel_thread(wait_for_token, NULL);

    while (waiting_here == 0)
        st_thread_yield();
    give_token(1);
    join_kernel_thread(id);
    CHECK(woken == 1);
}

/* Producers and consumers on both sides. */
static void *produce(void *arg)
{
    for (int i = 0; i < *(int *)arg; i++)
        give_token(1);
    return NULL;
}

static void *consume(void *arg)
{
    for (int i = 0; i < *(int *)arg; i++)
        wait_for_token(NULL);
    return NULL;
}

static void producers_and_consumers_of_both_kinds(void)
{
    int each = 500;
    pthread_t ids[4];

    for (int i = 0; i < 4; i++)
        ids[i] = kernel_thread(i % 2 == 0 ? produce : consume, &each);
    for (int i = 0; i < 8; i++)
        spawn(i % 2 == 0 ? produce : consume, &each);
    reap();
    for (int i = 0; i < 4; i++)
        join_kernel_thread(ids[i]);
    CHECK(woken == 6 * each && tokens == 0);
}

static void cond_waits_end_in_time(void)
{
    struct timespec at, wrong = {0, 1000000000};
    pthread_condattr_t attr;
    pthread_cond_t monotonic;
    int ticks = 0;

    spawn(ticker, &ticks);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    CHECK(pthread_cond_init(&monotonic, &attr) == 0);
    CHECK(call->pthread_mutex_lock(&mutex) == 0);
    at = from_now(CLOCK_REALTIME, 2);
    CHECK(call->pthread_cond_timedwait(&cond, &mutex, &at) == ETIMEDOUT);
    for (ticks = 0; ticks == 0;) {         /* as vp.h says of waits */
        at = from_now(CLOCK_MONOTONIC, 2); /* on the other clock that is decades ago */
        CHECK(call->pthread_cond_timedwait(&monotonic, &mutex, &at) == ETIMEDOUT);
    }
    at = from_now(CLOCK_REALTIME, 2); /* and this one decades to come */
    CHECK(call->pthread_cond_clockwait(&monotonic, &mutex, CLOCK_REALTIME, &at) == ETIMEDOUT);
    CHECK(call->pthread_cond_timedwait(&cond, &mutex, &wrong) == EINVAL);
    CHECK(call->pthread_mutex_trylock(&mutex) == EBUSY);
    CHECK(call->pthread_mutex_unlock(&mutex) == 0);
    stop_ticking = true;
}

static void *wait_no_longer(void *arg)
{
    struct timespec at = from_now(CLOCK_REALTIME, 0);

    pthread_mutex_lock(&mutex);
    waiting_here++;
    *(int *)arg = call->pthread_cond_timedwait(&cond, &mutex, &at);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

/* Until a thread whose time is up has the mutex again, it is one that waits. */
static void a_signal_is_not_lost_on_a_thread_whose_time_is_up(void)
{
    enum { NOT_BACK = -1 };
    int rc;

    do { /* until we lock the mutex before the thread has it again */
        rc = NOT_BACK;
        waiting_here = 0;
        spawn(wait_no_longer, &rc);
        while (waiting_here == 0)
            st_thread_yield();
        CHECK(call->pthread_mutex_lock(&mutex) == 0);
        if (rc == NOT_BACK)
            break;
        CHECK(call->pthread_mutex_unlock(&mutex) == 0);
    } while (true);
    settle();
    CHECK(rc == NOT_BACK && call->pthread_cond_signal(&cond) == 0);
    CHECK(call->pthread_mutex_unlock(&mutex) == 0);
    reap();
    CHECK(rc == 0);
}

static void *end_when_signalled(void *arg)
{
    int here = waiting_here;

    pthread_mutex_lock(&mutex);
    waiting_here++;
    while (waiting_here > here)
        call->pthread_cond_wait(&cond, &mutex);
    pthread_mutex_unlock(&mutex);
    return arg;
}

/* In the child: the signal is for its own thread, not for a copy of the parent's waiter. */
static void signal_in_child(void)
{
    int here = waiting_here;
    pthread_t id;

    end_if_hung();
    if (pthread_create(&id, NULL, end_when_signalled, NULL) != 0)
        _exit(1);
    pthread_mutex_lock(&mutex);
    while (waiting_here == here) {
        pthread_mutex_unlock(&mutex);
        (void)usleep(100);
        pthread_mutex_lock(&mutex);
    }
    waiting_here--;
    pthread_mutex_unlock(&mutex);
    call->pthread_cond_signal(&cond);
    _exit(pthread_join(id, NULL));
}

static void *fork_and_wait(void *arg)
{
    pid_t pid = fork();
    int status;

    if (pid == 0)
        signal_in_child();
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
    return arg;
}

static void a_child_has_nobody_in_line(void)
{
    spawn(wait_for_token, NULL);
    settle();
    CHECK(waiting_here == 1);
    join_kernel_thread(kernel_thread(fork_and_wait, NULL));
    (void)fork_and_wait(NULL);
    tokens = 1;
    CHECK(call->pthread_cond_signal(&cond) == 0);
    reap();
}

static void a_cond_needs_its_mutex(void)
{
    pthread_mutexattr_t attr;
    pthread_mutex_t checking;

    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
    CHECK(call->pthread_mutex_init(&checking, &attr) == 0);
    CHECK(call->pthread_cond_wait(&cond, &checking) == EPERM);
    CHECK(stiol__lot_waiters() == 0);
}

static void a_shared_cond_is_looked_at(void)
{
    pthread_condattr_t attr;
    pthread_cond_t shared;
    int ticks = 0;

    spawn(ticker, &ticks);
    pthread_condattr_init(&attr);
    pthread_condattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
    CHECK(pthread_cond_init(&shared, &attr) == 0);
    CHECK(call->pthread_mutex_lock(&mutex) == 0);
    CHECK(call->pthread_cond_wait(&shared, &mutex) == 0); /* spurious, as it may be */
    for (ticks = 0; ticks == 0;) {                        /* as vp.h says of waits */
        struct timespec at = from_now(CLOCK_REALTIME, 5);
        int rc;

        while ((rc = call->pthread_cond_timedwait(&shared, &mutex, &at)) == 0)
            continue;
        CHECK(rc == ETIMEDOUT);
    }
    CHECK(call->pthread_mutex_unlock(&mutex) == 0);
    stop_ticking = true;
}

/* --- read-write locks --- */

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static int readers, writers;

static void *read_it(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        CHECK(call->pthread_rwlock_rdlock(&rwlock) == 0);
        readers++;
        CHECK(writers == 0);
        call->usleep(i % 3 == 0);
        readers--;
        CHECK(call->pthread_rwlock_unlock(&rwlock) == 0);
    }
    return NULL;
}

static void *write_it(void *arg)
{
    (void)arg;
    for (int i = 0; i < 20; i++) {
        CHECK(call->pthread_rwlock_wrlock(&rwlock) == 0);
        CHECK(readers == 0 && writers++ == 0);
        call->usleep(i % 3 == 0);
        writers--;
        CHECK(call->pthread_rwlock_unlock(&rwlock) == 0);
    }
    return NULL;
}

static void readers_and_writers_keep_apart(void)
{
    for (int i = 0; i < 10; i++) {
        spawn(read_it, NULL);
        spawn(write_it, NULL);
    }
    reap();
    CHECK(stiol__lot_waiters() == 0 && counters().rwlock.parked > 0);
}

static void *note_reading(void *arg)
{
    CHECK(call->pthread_rwlock_rdlock(&rwlock) == 0);
    note(*(char *)arg);
    CHECK(call->pthread_rwlock_unlock(&rwlock) == 0);
    return NULL;
}

static void *note_writing(void *arg)
{
    CHECK(call->pthread_rwlock_wrlock(&rwlock) == 0);
    note(*(char *)arg);
    CHECK(call->pthread_rwlock_unlock(&rwlock) == 0);
    return NULL;
}

static void writers_stand_in_line_and_readers_may_recurse(void)
{
    char names[] = "wrW";

    CHECK(call->pthread_rwlock_rdlock(&rwlock) == 0);
    spawn(note_writing, &names[0]);
    settle();
    CHECK(call->pthread_rwlock_rdlock(&rwlock) == 0); /* again, past the writer */
    CHECK(call->pthread_rwlock_unlock(&rwlock) == 0);
    CHECK(call->pthread_rwlock_trywrlock(&rwlock) == EBUSY);
    CHECK(call->pthread_rwlock_unlock(&rwlock) == 0);
    CHECK(call->pthread_rwlock_trywrlock(&rwlock) == EBUSY); /* free, but the writer was first */
    CHECK(call->pthread_rwlock_wrlock(&rwlock) == 0);
    CHECK(strcmp(noted(), "w") == 0);
    spawn(note_reading, &names[1]);
    spawn(note_writing, &names[2]);
    settle();
    CHECK(strcmp(noted(), "w") == 0);
    CHECK(call->pthread_rwlock_unlock(&rwlock) == 0);
    reap();
    CHECK(strcmp(noted(), "wrW") == 0);
}

static void *hold_for_writing(void *arg)
{
    CHECK(call->pthread_rwlock_wrlock(&rwlock) == 0);
    while (!*(bool *)arg)
        st_thread_yield();
    CHECK(call->pthread_rwlock_unlock(&rwlock) == 0);
    return NULL;
}

static void rwlock_waits_end_in_time(void)
{
    struct timespec at = from_now(CLOCK_REALTIME, 2), wrong = {0, -1};
    bool give_up = false;

    spawn(hold_for_writing, &give_up);
    settle();
    CHECK(call->pthread_rwlock_timedrdlock(&rwlock, &at) == ETIMEDOUT);
    CHECK(call->pthread_rwlock_timedwrlock(&rwlock, &at) == ETIMEDOUT);
    CHECK(call->pthread_rwlock_timedwrlock(&rwlock, &wrong) == EINVAL);
    give_up = true;
    reap();
    CHECK(call->pthread_rwlock_timedrdlock(&rwlock, &at) == 0);
    CHECK(call->pthread_rwlock_unlock(&rwlock) == 0);
    CHECK(stiol__lot_waiters() == 0);
}

static _Atomic int afar_state;

static void *write_from_afar(void *arg)
{
    (void)arg;
    CHECK(call->pthread_rwlock_wrlock(&rwlock) == 0);
    afar_state = 1;
    while (afar_state != 2)
        usleep(100);
    CHECK(call->pthread_rwlock_unlock(&rwlock) == 0);
    return NULL;
}

static void a_kernel_thread_shares_a_rwlock(void)
{
    char name = 'r';
    int ticks = 0;
    pthread_t id = kernel_thread(write_from_afar, NULL);

    while (afar_state != 1)
        st_thread_yield();
    spawn(note_reading, &name);
    spawn(ticker, &ticks);
    settle();
    CHECK(noted()[0] == '\0' && ticks > 0);
    afar_state = 2;
    stop_ticking = true;
    reap();
    join_kernel_thread(id);
}

/* --- semaphores --- */

static sem_t *new_sem(unsigned value)
{
    sem_t *sem = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    CHECK(sem != MAP_FAILED && sem_init(sem, 1, value) == 0);
    return sem;
}

static void *wait_on_sem(void *arg)
{
    CHECK(call->sem_wait(arg) == 0);
    note('w');
    return NULL;
}

static void *post_from_afar(void *arg)
{
    CHECK(call->sem_post(arg) == 0);
    return NULL;
}

static void semaphores_give_way(void)
{
    sem_t *sem = new_sem(1);
    struct timespec at;

    CHECK(call->sem_wait(sem) == 0);
    for (int i = 0; i < 3; i++)
        spawn(wait_on_sem, sem);
    settle();
    CHECK(noted()[0] == '\0');
    CHECK(call->sem_post(sem) == 0); /* from here */
    settle();
    CHECK(strcmp(noted(), "w") == 0);
    join_kernel_thread(kernel_thread(post_from_afar, sem)); /* from another kernel thread */
    if (fork() == 0) {                                      /* and from another process */
        sem_post(sem);
        _exit(0);
    }
    reap();
    at = from_now(CLOCK_REALTIME, 2);
    CHECK(call->sem_timedwait(sem, &at) == -1 && errno == ETIMEDOUT);
    at = from_now(CLOCK_MONOTONIC, 2);
    CHECK(call->sem_clockwait(sem, CLOCK_MONOTONIC, &at) == -1 && errno == ETIMEDOUT);
    at.tv_nsec = -1;
    CHECK(call->sem_timedwait(sem, &at) == -1 && errno == EINVAL);
    CHECK(call->sem_post(sem) == 0 && call->sem_timedwait(sem, &at) == 0);
}

static int sysv = -1;

static void *use_sysv(void *arg)
{
    struct sembuf take = {0, -1, SEM_UNDO}, give = {0, 1, SEM_UNDO};

    (void)arg;
    for (int i = 0; i < 5; i++) {
        CHECK(call->semop(sysv, &take, 1) == 0);
        CHECK(writers++ == 0);
        call->usleep(100);
        writers--;
        CHECK(call->semop(sysv, &give, 1) == 0);
    }
    return NULL;
}

static void system_v_semaphores_give_way(void)
{
    struct sembuf take = {0, -1, 0}, now = {0, -1, IPC_NOWAIT}, give = {0, 1, 0};
    struct sembuf mixed[2] = {{0, -1, 0}, {1, -1, IPC_NOWAIT}};
    struct timespec tiny = {0, 2000000};

    sysv = semget(IPC_PRIVATE, 2, 0600);
    if (sysv < 0)
        skip_test("no System V semaphores here");
    CHECK(call->semop(sysv, &give, 1) == 0);
    for (int i = 0; i < 5; i++)
        spawn(use_sysv, NULL);
    reap();
    CHECK(call->semop(sysv, &take, 1) == 0);
    CHECK(call->semop(sysv, &now, 1) == -1 && errno == EAGAIN);
    CHECK(call->semtimedop(sysv, &take, 1, &tiny) == -1 && errno == EAGAIN);
    CHECK(call->semop(sysv, &give, 1) == 0);
    CHECK(call->semop(sysv, mixed, 2) == -1 && errno == EAGAIN); /* a helper asks the kernel */
    CHECK(counters().sem.helped == 1);
    CHECK(semctl(sysv, 0, IPC_RMID) == 0);
    CHECK(call->semop(sysv, &take, 1) == -1);
}

/* --- files --- */

static char path[] = "/tmp/stiol-lock-XXXXXX";

static int open_it(void)
{
    int fd = open(path, O_RDWR);

    CHECK(fd >= 0);
    return fd;
}

static int take_lock(int fd, int how)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    switch (how) {
    case 0:
        return call->flock(fd, LOCK_EX);
    case 1:
        return call->fcntl(fd, F_SETLKW, &whole);
    case 2:
        return call->fcntl64(fd, F_OFD_SETLKW, &whole);
    case 3:
        return call->lockf(fd, F_LOCK, 0);
    default:
        return call->lockf64(fd, F_LOCK, 0);
    }
}

static int drop_lock(int fd, int how)
{
    struct flock whole = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

    switch (how) {
    case 0:
        return call->flock(fd, LOCK_UN);
    case 1:
        return call->fcntl(fd, F_SETLKW, &whole);
    case 2:
        return call->fcntl64(fd, F_OFD_SETLK, &whole);
    case 3:
        return call->lockf(fd, F_ULOCK, 0);
    default:
        return call->lockf64(fd, F_ULOCK, 0);
    }
}

/* Another process has the lock, and gives it up when told. */
static void locks_on_files_give_way(void)
{
    int fd = mkstemp(path), there[2], back[2], status;
    char c;

    CHECK(fd >= 0 && pipe(there) == 0 && pipe(back) == 0);
    for (int how = 0; how <= 4; how++) {
        pid_t pid = fork();

        if (pid == 0) {
            int own = open_it();

            if (take_lock(own, how) != 0 || write(back[1], "x", 1) != 1 ||
                read(there[0], &c, 1) != 1)
                _exit(1);
            _exit(drop_lock(own, how));
        }
        CHECK(call->read(back[0], &c, 1) == 1);
        forget_notes();
        spawn(tell, &there[1]);
        CHECK(take_lock(fd, how) == 0);
        CHECK(strcmp(noted(), "t") == 0);
        CHECK(drop_lock(fd, how) == 0);
        reap();
        CHECK(call->waitpid(pid, &status, 0) == pid && status == 0);
    }
    CHECK(call->flock(fd, LOCK_EX | LOCK_NB) == 0 && call->flock(fd, LOCK_UN) == 0);
    CHECK(call->lockf(fd, F_TEST, 0) == 0 && call->lockf(fd, F_TLOCK, 0) == 0);
    CHECK(call->flock(-1, LOCK_EX) == -1 && errno == EBADF);
    CHECK(unlink(path) == 0);
}

static void *lock_whole_file(void *arg)
{
    int fd = open_it();

    (void)arg;
    CHECK(call->flock(fd, LOCK_EX) == 0);
    CHECK(writers++ == 0);
    call->usleep(100);
    writers--;
    CHECK(call->flock(fd, LOCK_UN) == 0);
    CHECK(call->close(fd) == 0);
    return NULL;
}

static void state_threads_lock_a_file_in_turn(void)
{
    CHECK(mkstemp(path) >= 0);
    for (int i = 0; i < 10; i++)
        spawn(lock_whole_file, NULL);
    reap();
    CHECK(unlink(path) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(a_signal_wakes_the_first_in_line),
        RAW_TEST(trap_4_wakeups_come_from_kernel_threads),
        VP_TEST(a_broadcast_wakes_state_and_kernel_threads),
        VP_TEST(kernel_threads_are_signalled_too),
        VP_TEST(producers_and_consumers_of_both_kinds),
        VP_TEST(cond_waits_end_in_time),
        VP_TEST(a_signal_is_not_lost_on_a_thread_whose_time_is_up),
        VP_TEST(a_child_has_nobody_in_line),
        VP_TEST(a_cond_needs_its_mutex),
        VP_TEST(a_shared_cond_is_looked_at),
        VP_TEST(readers_and_writers_keep_apart),
        VP_TEST(writers_stand_in_line_and_readers_may_recurse),
        VP_TEST(rwlock_waits_end_in_time),
        VP_TEST(a_kernel_thread_shares_a_rwlock),
        VP_TEST(semaphores_give_way),
        VP_TEST(system_v_semaphores_give_way),
        VP_TEST(locks_on_files_give_way),
        VP_TEST(state_threads_lock_a_file_in_turn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

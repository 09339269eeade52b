/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real libapr, unmodified, on state threads: its threads, locks, condition variables, waits,
 * sockets, pipes, processes and every kind of cross-process mutex. This is what httpd and its
 * modules build on.
 */
#include "tests/stiol/stiol_vp.h"

#if __has_include(<apr_general.h>)
#include <apr_general.h>
#include <apr_global_mutex.h>
#include <apr_network_io.h>
#include <apr_poll.h>
#include <apr_portable.h>
#include <apr_proc_mutex.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include <apr_thread_rwlock.h>

static apr_pool_t *pool;

static void begin(void)
{
    CHECK(apr_initialize() == APR_SUCCESS);
    CHECK(apr_pool_create(&pool, NULL) == APR_SUCCESS);
    CHECK(st_init() == 0 && stiol_start(NULL) == 0);
}

/* --- threads --- */

static apr_thread_mutex_t *mutex;
static apr_thread_cond_t *cond;
static int turns, inside;

static void *APR_THREAD_FUNC thread_main(apr_thread_t *thread, void *data)
{
    CHECK(st_vp_self());
    for (int i = 0; i < 10; i++) {
        CHECK(apr_thread_mutex_lock(mutex) == APR_SUCCESS);
        CHECK(inside++ == 0);
        apr_sleep(100);
        inside--;
        turns++;
        CHECK(apr_thread_cond_signal(cond) == APR_SUCCESS);
        CHECK(apr_thread_mutex_unlock(mutex) == APR_SUCCESS);
        apr_thread_yield();
    }
    apr_thread_exit(thread, APR_SUCCESS);
    return data;
}

static void threads_locks_and_conds(void)
{
    apr_thread_t *threads[20];
    apr_status_t rv;

    begin();
    CHECK(apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_NESTED, pool) == APR_SUCCESS);
    CHECK(apr_thread_cond_create(&cond, pool) == APR_SUCCESS);
    for (int i = 0; i < 20; i++)
        CHECK(apr_thread_create(&threads[i], NULL, thread_main, NULL, pool) == APR_SUCCESS);
    CHECK(apr_thread_mutex_lock(mutex) == APR_SUCCESS);
    while (turns < 100)
        CHECK(apr_thread_cond_wait(cond, mutex) == APR_SUCCESS);
    CHECK(apr_thread_cond_timedwait(cond, mutex, 100 * APR_USEC_PER_SEC) == APR_SUCCESS);
    CHECK(apr_thread_mutex_unlock(mutex) == APR_SUCCESS);
    for (int i = 0; i < 20; i++)
        CHECK(apr_thread_join(&rv, threads[i]) == APR_SUCCESS && rv == APR_SUCCESS);
    CHECK(turns == 200);
    CHECK(apr_os_thread_equal(apr_os_thread_current(), pthread_self()));
    stiol_stop();
}

/* --- cross-process mutexes --- */

static apr_proc_mutex_t *shared;

static void *use_shared(void *arg)
{
    (void)arg;
    for (int i = 0; i < 5; i++) {
        CHECK(apr_proc_mutex_lock(shared) == APR_SUCCESS);
        apr_sleep(200);
        CHECK(apr_proc_mutex_unlock(shared) == APR_SUCCESS);
    }
    return NULL;
}

/* Another process has the mutex for a while: the VP continues. */
static void share_with_a_process(apr_lockmech_e mechanism)
{
    char name[] = "/tmp/stiol-apr-XXXXXX";
    int back[2], there[2], status, fd = mkstemp(name);
    char c;
    pid_t pid;

    begin();
    CHECK(fd >= 0 && close(fd) == 0 && unlink(name) == 0); /* APR makes it */
    if (apr_proc_mutex_create(&shared, name, mechanism, pool) != APR_SUCCESS)
        skip_test("not supported here");
    CHECK(pipe(back) == 0 && pipe(there) == 0);
    pid = fork();
    if (pid == 0) {
        if (apr_proc_mutex_child_init(&shared, name, pool) != APR_SUCCESS ||
            apr_proc_mutex_lock(shared) != APR_SUCCESS || write(back[1], "x", 1) != 1 ||
            read(there[0], &c, 1) != 1)
            _exit(1);
        _exit(apr_proc_mutex_unlock(shared) == APR_SUCCESS ? 0 : 2);
    }
    CHECK(read(back[0], &c, 1) == 1);
    spawn(tell, &there[1]);
    CHECK(apr_proc_mutex_lock(shared) == APR_SUCCESS);
    CHECK(strcmp(noted(), "t") == 0);
    CHECK(apr_proc_mutex_unlock(shared) == APR_SUCCESS);
    spawn(use_shared, NULL);
    spawn(use_shared, NULL);
    reap();
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(apr_proc_mutex_destroy(shared) == APR_SUCCESS);
    unlink(name);
    stiol_stop();
}

static void mutex_of_fcntl(void)
{
    share_with_a_process(APR_LOCK_FCNTL);
}

static void mutex_of_flock(void)
{
    share_with_a_process(APR_LOCK_FLOCK);
}

static void mutex_of_sysvsem(void)
{
    share_with_a_process(APR_LOCK_SYSVSEM);
}

static void mutex_of_pthread(void)
{
    share_with_a_process(APR_LOCK_PROC_PTHREAD);
}

static void mutex_of_posixsem(void)
{
    share_with_a_process(APR_LOCK_POSIXSEM);
}

/* --- sockets --- */

static apr_socket_t *listener;
static apr_sockaddr_t *address;

static void *serve(void *arg)
{
    apr_socket_t *connection;
    apr_pool_t *own;
    char data[64];
    apr_size_t length = sizeof(data);

    (void)arg;
    CHECK(apr_pool_create(&own, NULL) == APR_SUCCESS);
    CHECK(apr_socket_accept(&connection, listener, own) == APR_SUCCESS);
    CHECK(apr_socket_timeout_set(connection, 100 * APR_USEC_PER_SEC) == APR_SUCCESS);
    CHECK(apr_socket_recv(connection, data, &length) == APR_SUCCESS && length == 5);
    apr_sleep(1000);
    CHECK(apr_socket_send(connection, data, &length) == APR_SUCCESS);
    CHECK(apr_socket_close(connection) == APR_SUCCESS);
    apr_pool_destroy(own);
    return NULL;
}

static void *ask(void *arg)
{
    apr_size_t length = 5;
    apr_socket_t *socket;
    apr_pool_t *own;
    char data[8];

    CHECK(apr_pool_create(&own, NULL) == APR_SUCCESS);
    CHECK(apr_socket_create(&socket, APR_INET, SOCK_STREAM, 0, own) == APR_SUCCESS);
    if (arg) /* some with a timeout, which makes them nonblocking, some without */
        CHECK(apr_socket_timeout_set(socket, 100 * APR_USEC_PER_SEC) == APR_SUCCESS);
    CHECK(apr_socket_connect(socket, address) == APR_SUCCESS);
    CHECK(apr_socket_send(socket, "hello", &length) == APR_SUCCESS);
    length = sizeof(data);
    CHECK(apr_socket_recv(socket, data, &length) == APR_SUCCESS && length == 5);
    CHECK(memcmp(data, "hello", 5) == 0);
    length = sizeof(data);
    CHECK(APR_STATUS_IS_EOF(apr_socket_recv(socket, data, &length)));
    CHECK(apr_socket_close(socket) == APR_SUCCESS);
    apr_pool_destroy(own);
    return NULL;
}

static void sockets_with_and_without_timeouts(void)
{
    begin();
    CHECK(apr_sockaddr_info_get(&address, "127.0.0.1", APR_INET, 0, 0, pool) == APR_SUCCESS);
    CHECK(apr_socket_create(&listener, APR_INET, SOCK_STREAM, 0, pool) == APR_SUCCESS);
    CHECK(apr_socket_bind(listener, address) == APR_SUCCESS);
    CHECK(apr_socket_listen(listener, 128) == APR_SUCCESS);
    CHECK(apr_socket_addr_get(&address, APR_LOCAL, listener) == APR_SUCCESS);
    for (int i = 0; i < 50; i++) {
        spawn(serve, NULL);
        spawn(ask, i % 2 == 0 ? &listener : NULL);
    }
    reap();
    apr_socket_close(listener);
    stiol_stop();
}

/* --- polling, processes, names --- */

static void *APR_THREAD_FUNC wake(apr_thread_t *thread, void *pollset)
{
    (void)thread;
    note('w');
    CHECK(apr_pollset_wakeup(pollset) == APR_SUCCESS);
    return NULL;
}

static void pollsets_and_their_wakeups(void)
{
    const apr_pollset_method_e methods[] = {APR_POLLSET_EPOLL, APR_POLLSET_POLL,
                                            APR_POLLSET_SELECT};
    const apr_pollfd_t *got;
    apr_pollset_t *pollset;
    apr_file_t *in, *out;
    apr_thread_t *thread;
    apr_int32_t count;
    apr_status_t rv;

    begin();
    for (int i = 0; i < 3; i++) {
        CHECK(apr_pollset_create_ex(&pollset, 4, pool, APR_POLLSET_WAKEABLE, methods[i]) ==
              APR_SUCCESS);
        CHECK(apr_file_pipe_create(&in, &out, pool) == APR_SUCCESS);
        apr_pollfd_t pfd = {
            .p = pool, .desc_type = APR_POLL_FILE, .reqevents = APR_POLLIN, .desc.f = in};
        CHECK(apr_pollset_add(pollset, &pfd) == APR_SUCCESS);
        CHECK(APR_STATUS_IS_TIMEUP(apr_pollset_poll(pollset, 1000, &count, &got)));
        CHECK(apr_thread_create(&thread, NULL, wake, pollset, pool) == APR_SUCCESS);
        CHECK(APR_STATUS_IS_EINTR(apr_pollset_poll(pollset, -1, &count, &got)));
        CHECK(apr_thread_join(&rv, thread) == APR_SUCCESS);
        CHECK(apr_file_putc('x', out) == APR_SUCCESS);
        CHECK(apr_pollset_poll(pollset, -1, &count, &got) == APR_SUCCESS && count == 1);
    }
    CHECK(strcmp(noted(), "www") == 0);
    stiol_stop();
}

static void *run_program(void *arg)
{
    const char *const args[] = {"sh", "-c", "read x; echo got $x; exit 3", NULL};
    apr_procattr_t *attr;
    apr_exit_why_e why;
    apr_pool_t *own;
    apr_proc_t proc;
    char line[32];
    int code;

    (void)arg;
    CHECK(apr_pool_create(&own, NULL) == APR_SUCCESS);
    CHECK(apr_procattr_create(&attr, own) == APR_SUCCESS);
    CHECK(apr_procattr_io_set(attr, APR_FULL_BLOCK, APR_FULL_BLOCK, APR_NO_PIPE) == APR_SUCCESS);
    CHECK(apr_procattr_cmdtype_set(attr, APR_PROGRAM_PATH) == APR_SUCCESS);
    CHECK(apr_proc_create(&proc, "sh", args, NULL, attr, own) == APR_SUCCESS);
    CHECK(apr_file_puts("it\n", proc.in) == APR_SUCCESS && apr_file_close(proc.in) == APR_SUCCESS);
    CHECK(apr_file_gets(line, sizeof(line), proc.out) == APR_SUCCESS);
    CHECK(strcmp(line, "got it\n") == 0);
    CHECK(apr_proc_wait(&proc, &code, &why, APR_WAIT) == APR_CHILD_DONE && code == 3);
    apr_pool_destroy(own);
    return NULL;
}

static void programs_with_pipes(void)
{
    begin();
    for (int i = 0; i < 20; i++)
        spawn(run_program, NULL);
    reap();
    stiol_stop();
}

static void names(void)
{
    apr_sockaddr_t *found;
    char *host;
    int ticks = 0;

    begin();
    spawn(ticker, &ticks);
    CHECK(apr_sockaddr_info_get(&found, "localhost", APR_UNSPEC, 80, 0, pool) == APR_SUCCESS);
    CHECK(ticks > 0);
    CHECK(apr_getnameinfo(&host, found, 0) == APR_SUCCESS && host);
    CHECK(counters().resolve.parked == 2);
    stop_ticking = true;
    reap();
    stiol_stop();
}

static apr_thread_rwlock_t *rwlock;
static int readers, writers;

static void *read_or_write(void *arg)
{
    for (int i = 0; i < 10; i++) {
        if (arg) {
            CHECK(apr_thread_rwlock_rdlock(rwlock) == APR_SUCCESS);
            readers++;
            CHECK(writers == 0);
            apr_sleep(50);
            readers--;
        } else {
            CHECK(apr_thread_rwlock_wrlock(rwlock) == APR_SUCCESS);
            CHECK(writers++ == 0 && readers == 0);
            apr_sleep(50);
            writers--;
        }
        CHECK(apr_thread_rwlock_unlock(rwlock) == APR_SUCCESS);
    }
    return NULL;
}

static void rwlocks(void)
{
    begin();
    CHECK(apr_thread_rwlock_create(&rwlock, pool) == APR_SUCCESS);
    for (int i = 0; i < 10; i++)
        spawn(read_or_write, i % 2 == 0 ? &rwlock : NULL);
    reap();
    stiol_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(threads_locks_and_conds),
        RAW_TEST(mutex_of_fcntl),
        RAW_TEST(mutex_of_flock),
        RAW_TEST(mutex_of_sysvsem),
        RAW_TEST(mutex_of_pthread),
        RAW_TEST(mutex_of_posixsem),
        RAW_TEST(sockets_with_and_without_timeouts),
        RAW_TEST(pollsets_and_their_wakeups),
        RAW_TEST(programs_with_pipes),
        RAW_TEST(names),
        RAW_TEST(rwlocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    puts("1..0 # SKIP libapr1-dev is missing");
    return 0;
}
#endif

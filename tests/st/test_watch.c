/* SPDX-License-Identifier: Apache-2.0 */
/* Watches: one-shot readiness and timers without a thread, and listeners (ST_WATCH_ACCEPT) shared
 * by processes. */
#include "tests/vp.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define FOREVER ST_UTIME_NO_TIMEOUT

static int fds[2];
static char buf[100];

static struct {
    int calls;
    int ready; /* of the last */
    st_watch_t *watch;
} seen;

static void note_ready(st_watch_t *watch, int ready)
{
    seen.calls++;
    seen.ready = ready;
    seen.watch = watch;
}

static void start(st_watch_t *watch)
{
    socket_pair(fds, true);
    st_watch_init(watch, fds[0], 0, note_ready);
}

static void unwatch(st_watch_t *watch)
{
    st_watch_free(watch);
    st_fd_forget(fds[0]);
    close(fds[0]);
    close(fds[1]);
}

static void poke(void)
{
    assert_int_equal(write(fds[1], "p", 1), 1);
}

static void eat(void)
{
    assert_true(read(fds[0], buf, sizeof(buf)) > 0);
    st_fd_drained(fds[0], POLLIN);
}

/* --- readiness --- */

static void it_fires_once(void)
{
    int data;
    st_watch_t watch = {.data = &data};

    start(&watch);
    assert_ok(st_watch_arm(&watch, POLLIN, FOREVER));
    settle();
    assert_int_equal(seen.calls, 0);
    poke();
    settle();
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.ready, POLLIN);
    assert_ptr_equal(seen.watch, &watch);
    assert_ptr_equal(watch.data, &data);
    eat();
    poke();
    settle();
    assert_int_equal(seen.calls, 1);
    unwatch(&watch);
}

static void ready_already_is_told_and_not_armed(void)
{
    st_watch_t watch;

    start(&watch);
    poke();
    assert_int_equal(st_fd_wait(fds[0], POLLIN, FOREVER), POLLIN);
    assert_int_equal(st_watch_arm(&watch, POLLIN, FOREVER), POLLIN);
    assert_int_equal(st_watch_arm(&watch, POLLIN | POLLOUT, FOREVER), POLLIN | POLLOUT);
    settle();
    assert_int_equal(seen.calls, 0);
    unwatch(&watch);
}

static void it_may_be_armed_again_and_again(void)
{
    st_watch_t watch;

    start(&watch);
    for (int i = 1; i <= 50; i++) {
        assert_ok(st_watch_arm(&watch, POLLIN, 1000000));
        poke();
        settle();
        assert_int_equal(seen.calls, i);
        eat();
    }
    unwatch(&watch);
}

static void rearming_changes_events(void)
{
    st_watch_t watch;

    start(&watch);
    size_t n = fill_socket(fds[0]);
    assert_ok(st_fd_rearm(fds[0]));
    assert_ok(st_watch_arm(&watch, POLLOUT, FOREVER));
    assert_ok(st_watch_arm(&watch, POLLIN, FOREVER));
    drain_socket(fds[1], n);
    settle();
    assert_int_equal(seen.calls, 0);
    poke();
    settle();
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.ready, POLLIN);
    unwatch(&watch);
}

static void a_half_close_fires(void)
{
    st_watch_t watch;

    start(&watch);
    assert_ok(st_watch_arm(&watch, POLLIN, FOREVER));
    assert_ok(shutdown(fds[1], SHUT_WR));
    settle();
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.ready & POLLIN, POLLIN);
    unwatch(&watch);
}

/* Only in/out was requested, and the peer resets or closes: it is reported nevertheless. */
static void hup_fires_whatever_was_asked(void)
{
    st_watch_t watch;

    start(&watch);
    fill_socket(fds[0]);
    assert_ok(st_fd_rearm(fds[0]));
    assert_ok(st_watch_arm(&watch, POLLOUT, FOREVER));
    close(fds[1]);
    settle();
    assert_int_equal(seen.calls, 1);
    assert_true(seen.ready & (POLLHUP | POLLERR));
    fds[1] = dup(fds[0]);
    unwatch(&watch);
}

static void a_disarmed_one_is_silent(void)
{
    st_watch_t watch;

    start(&watch);
    st_watch_disarm(&watch); /* never armed: harmless */
    assert_ok(st_watch_arm(&watch, POLLIN, 1000));
    st_watch_disarm(&watch);
    st_watch_disarm(&watch);
    poke();
    advance_clock(5000);
    assert_int_equal(seen.calls, 0);
    unwatch(&watch);
}

static void forget_disarms(void)
{
    st_watch_t watch;

    start(&watch);
    assert_ok(st_watch_arm(&watch, POLLIN, 1000));
    st_fd_forget(fds[0]);
    poke();
    advance_clock(5000);
    assert_int_equal(seen.calls, 0);
    unwatch(&watch);
}

static void arm_errors(void)
{
    st_watch_t watch;

    st_watch_init(&watch, open("/proc/self/exe", O_RDONLY), 0, note_ready);
    assert_fails(st_watch_arm(&watch, POLLIN, FOREVER), EPERM);
    st_watch_init(&watch, 1000, 0, note_ready);
    assert_fails(st_watch_arm(&watch, POLLIN, FOREVER), EBADF);
    st_watch_free(&watch);
}

/* A watch and a thread wait on one descriptor: both are told. */
static void *wait_in(void *arg)
{
    *(int *)arg = st_fd_wait(fds[0], POLLIN, FOREVER);
    return NULL;
}

static void it_shares_with_a_thread(void)
{
    int ready = 0;
    st_watch_t watch, other;

    start(&watch);
    st_watch_init(&other, fds[0], 0, note_ready);
    st_thread_t thread = st_thread_create(wait_in, &ready, 1, 0);
    settle();
    assert_ok(st_watch_arm(&watch, POLLIN, FOREVER));
    assert_ok(st_watch_arm(&other, POLLIN, FOREVER));
    poke();
    assert_ok(st_thread_join(thread, NULL));
    assert_int_equal(ready, POLLIN);
    assert_int_equal(seen.calls, 2);
    st_watch_free(&other);
    unwatch(&watch);
}

/* --- timers, by the virtual clock --- */

static void a_timeout_is_ready_zero(void)
{
    st_watch_t watch;

    start(&watch);
    assert_ok(st_watch_arm(&watch, POLLIN, 1000));
    advance_clock(999);
    assert_int_equal(seen.calls, 0);
    advance_clock(1);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.ready, 0);
    poke();
    advance_clock(10000);
    assert_int_equal(seen.calls, 1);
    unwatch(&watch);
}

static void a_mere_timer(void)
{
    st_watch_t timer;

    st_watch_init(&timer, -1, 0, note_ready);
    assert_ok(st_watch_arm(&timer, 0, 500));
    advance_clock(499);
    assert_int_equal(seen.calls, 0);
    advance_clock(1);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.ready, 0);
    st_watch_free(&timer);
}

/* The lazy timer: postponed many times, it fires at the last deadline and not before. */
static void the_deadline_moves_later(void)
{
    st_watch_t timer;

    st_watch_init(&timer, -1, 0, note_ready);
    for (int i = 0; i < 100; i++) {
        assert_ok(st_watch_arm(&timer, 0, 1000));
        advance_clock(600);
    }
    assert_int_equal(seen.calls, 0);
    advance_clock(399);
    assert_int_equal(seen.calls, 0);
    advance_clock(1);
    assert_int_equal(seen.calls, 1);
    st_watch_free(&timer);
}

static void the_deadline_moves_earlier(void)
{
    st_watch_t timer;

    st_watch_init(&timer, -1, 0, note_ready);
    assert_ok(st_watch_arm(&timer, 0, 1000000));
    assert_ok(st_watch_arm(&timer, 0, 100));
    advance_clock(100);
    assert_int_equal(seen.calls, 1);
    advance_clock(2000000);
    assert_int_equal(seen.calls, 1);
    st_watch_free(&timer);
}

/* Disarmed with a lazy entry left behind, then armed anew: the old entry's time does not fire
 * it. */
static void a_left_entry_does_not_fire_the_next(void)
{
    st_watch_t timer;

    st_watch_init(&timer, -1, 0, note_ready);
    assert_ok(st_watch_arm(&timer, 0, 1000));
    st_watch_disarm(&timer);
    advance_clock(500);
    assert_ok(st_watch_arm(&timer, 0, 1000));
    advance_clock(500); /* the old deadline */
    assert_int_equal(seen.calls, 0);
    advance_clock(500);
    assert_int_equal(seen.calls, 1);
    assert_ok(st_watch_arm(&timer, 0, FOREVER));
    advance_clock(1000000000);
    assert_int_equal(seen.calls, 1);
    st_watch_free(&timer);
}

/* What the memory holds afterwards does not matter: deadlines long past, or far away. */
static void free_lets_the_memory_go(void)
{
    enum { COUNT = 100 };
    st_watch_t *timers = calloc(COUNT, sizeof(*timers));

    for (int i = 0; i < COUNT; i++) {
        st_watch_init(&timers[i], -1, 0, note_ready);
        assert_ok(st_watch_arm(&timers[i], 0, 1000));
        if (i % 2)
            st_watch_disarm(&timers[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        st_watch_free(&timers[i]);
        memset(&timers[i], i % 4 < 2 ? 0 : 0xa5, sizeof(timers[i]));
    }
    advance_clock(5000);
    assert_int_equal(seen.calls, 0);
    for (int i = 0; i < COUNT; i++)
        for (size_t byte = 0; byte < sizeof(timers[i]); byte++)
            assert_int_equal(((unsigned char *)&timers[i])[byte], i % 4 < 2 ? 0 : 0xa5);
    free(timers);
}

/* --- in the callback --- */

static void rearm_itself(st_watch_t *watch, int ready)
{
    note_ready(watch, ready);
    if (seen.calls < 5)
        assert_ok(st_watch_arm(watch, 0, 100));
}

static void a_callback_arms_its_own_watch(void)
{
    st_watch_t timer;

    st_watch_init(&timer, -1, 0, rearm_itself);
    assert_ok(st_watch_arm(&timer, 0, 100));
    for (int i = 1; i <= 5; i++) {
        advance_clock(100);
        assert_int_equal(seen.calls, i);
    }
    advance_clock(1000);
    assert_int_equal(seen.calls, 5);
    st_watch_free(&timer);
}

static void free_itself(st_watch_t *watch, int ready)
{
    note_ready(watch, ready);
    st_watch_free(watch);
    memset(watch, 0x5a, sizeof(*watch));
    free(watch);
}

static void a_callback_frees_its_own_watch(void)
{
    st_watch_t *timer = malloc(sizeof(*timer)), *reader = malloc(sizeof(*reader));

    socket_pair(fds, true);
    st_watch_init(timer, -1, 0, free_itself);
    st_watch_init(reader, fds[0], 0, free_itself);
    assert_ok(st_watch_arm(timer, 0, 100));
    assert_ok(st_watch_arm(reader, POLLIN, 1000));
    poke();
    advance_clock(100);
    assert_int_equal(seen.calls, 2);
    advance_clock(5000);
    assert_int_equal(seen.calls, 2);
    st_fd_forget(fds[0]);
    close(fds[0]);
    close(fds[1]);
}

static st_watch_t victims[2];

static void disarm_the_other(st_watch_t *watch, int ready)
{
    note_ready(watch, ready);
    st_watch_disarm(watch == &victims[0] ? &victims[1] : &victims[0]);
}

/* Both are due in one turn, by time or by event: the first one's callback disarms the second, which
 * does not fire. */
static void a_callback_disarms_another_that_is_due(void)
{
    int other[2];

    for (int i = 0; i < 2; i++) {
        st_watch_init(&victims[i], -1, 0, disarm_the_other);
        assert_ok(st_watch_arm(&victims[i], 0, 100));
    }
    advance_clock(100);
    assert_int_equal(seen.calls, 1);
    st_watch_free(&victims[0]);
    st_watch_free(&victims[1]);

    socket_pair(fds, true);
    socket_pair(other, true);
    st_watch_init(&victims[0], fds[0], 0, disarm_the_other);
    st_watch_init(&victims[1], other[0], 0, disarm_the_other);
    assert_ok(st_watch_arm(&victims[0], POLLIN, FOREVER));
    assert_ok(st_watch_arm(&victims[1], POLLIN, FOREVER));
    settle();
    poke();
    assert_int_equal(write(other[1], "o", 1), 1);
    settle();
    assert_int_equal(seen.calls, 2);
    st_watch_free(&victims[0]);
    st_watch_free(&victims[1]);
}

static void *count_run(void *arg)
{
    ++*(int *)arg;
    return NULL;
}

static st_thread_t parked;

static void unpark_and_create(st_watch_t *watch, int ready)
{
    note_ready(watch, ready);
    st_thread_unpark(parked);
    assert_non_null(st_thread_create(count_run, watch->data, 0, 0));
}

static void a_callback_wakes_and_creates_threads(void)
{
    int ran = 0;
    st_watch_t timer = {.data = &ran};

    parked = st_thread_self();
    st_watch_init(&timer, -1, 0, unpark_and_create);
    assert_ok(st_watch_arm(&timer, 0, 1000));
    assert_ok(st_thread_park(FOREVER));
    settle();
    assert_int_equal(ran, 1);
    st_watch_free(&timer);
}

/* --- in a callback or not? --- */

static int told; /* callbacks that were told that they are one */

static void ask(st_watch_t *watch, int ready)
{
    note_ready(watch, ready);
    told += st_in_callback() != 0;
}

static void ask_in_post(st_remote_t *remote)
{
    (void)remote;
    told += st_in_callback() != 0;
}

static void ask_in_turn(st_utime_t held)
{
    (void)held;
    told += st_in_callback() != 0;
    st_set_turn_cb(NULL);
}

static void callbacks_know_that_they_are_one(void)
{
    st_watch_t timer, reader;
    st_remote_t post = {.fn = ask_in_post};

    socket_pair(fds, true);
    assert_false(st_in_callback());
    st_watch_init(&timer, -1, 0, ask);
    st_watch_init(&reader, fds[0], 0, ask);
    assert_ok(st_watch_arm(&timer, 0, 1));
    assert_ok(st_watch_arm(&reader, POLLIN, FOREVER));
    poke();
    advance_clock(1);
    assert_int_equal(told, 2);
    st_vp_post(st_vp_self(), &post);
    settle();
    assert_int_equal(told, 3);
    assert_null(st_set_turn_cb(ask_in_turn));
    settle();
    assert_int_equal(told, 4);
    assert_false(st_in_callback());
    st_watch_free(&timer);
    unwatch(&reader);
}

/* --- many --- */

static st_utime_t last_deadline;
static int fired;

struct timed {
    st_watch_t watch;
    st_utime_t deadline;
};

static void in_order(st_watch_t *watch, int ready)
{
    struct timed *timed = watch->data;

    assert_int_equal(ready, 0);
    assert_true(timed->deadline >= last_deadline);
    assert_true(timed->deadline <= virtual_clock);
    last_deadline = timed->deadline;
    fired++;
}

/* 10,000 timers in random order; a third is disarmed, a third moved; the rest and the moved fire in
 * order. */
static void ten_thousand_timers_in_random_order(void)
{
    int n = scaled(10000), expected = 0;
    unsigned seed = 42;
    struct timed *timed = calloc((size_t)n, sizeof(*timed));

    for (int i = 0; i < n; i++) {
        st_utime_t timeout = (st_utime_t)(rand_r(&seed) % 1000000) + 1;
        timed[i].watch.data = &timed[i];
        st_watch_init(&timed[i].watch, -1, 0, in_order);
        timed[i].deadline = virtual_clock + timeout;
        assert_ok(st_watch_arm(&timed[i].watch, 0, timeout));
    }
    for (int i = 0; i < n; i++) {
        if (i % 3 == 0) {
            st_watch_disarm(&timed[i].watch);
        } else if (i % 3 == 1) {
            st_utime_t timeout = (st_utime_t)(rand_r(&seed) % 1000000) + 1;
            timed[i].deadline = virtual_clock + timeout;
            assert_ok(st_watch_arm(&timed[i].watch, 0, timeout));
        }
        expected += i % 3 != 0;
    }
    for (int step = 0; step < 1000; step++)
        advance_clock(1001);
    assert_int_equal(fired, expected);
    for (int i = 0; i < n; i++)
        st_watch_free(&timed[i].watch);
    free(timed);
}

static int idle_fired;

static void count_idle(st_watch_t *watch, int ready)
{
    (void)watch;
    idle_fired += ready != 0;
}

/* Many idle connections under watches: one is woken, the others stay, and no thread is held. */
static void many_idle_connections(void)
{
    int n = scaled(2000);
    int(*pairs)[2] = calloc((size_t)n, sizeof(*pairs));
    st_watch_t *watches = calloc((size_t)n, sizeof(*watches));
    st_stats_t stats;

    for (int i = 0; i < n; i++) {
        socket_pair(pairs[i], true);
        st_watch_init(&watches[i], pairs[i][0], 0, count_idle);
        assert_ok(st_watch_arm(&watches[i], POLLIN, 60000000));
    }
    st_get_stats(&stats);
    assert_int_equal(stats.watches_armed, n);
    assert_int_equal(stats.threads, 1);
    for (int i = 0; i < n; i += 2)
        assert_int_equal(write(pairs[i][1], "w", 1), 1);
    for (int turn = 0; turn < 50 && idle_fired < (n + 1) / 2; turn++)
        settle(); /* events are fetched by the batch */
    assert_int_equal(idle_fired, (n + 1) / 2);
    st_get_stats(&stats);
    assert_int_equal(stats.watches_armed, n / 2);
    for (int i = 0; i < n; i++) {
        st_watch_free(&watches[i]);
        st_fd_forget(pairs[i][0]);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    free(pairs);
    free(watches);
}

/* --- listeners --- */

static struct sockaddr_storage addr;
static socklen_t addr_len;
static int listener;

static void count_accept(st_watch_t *watch, int ready)
{
    int conn;

    note_ready(watch, ready);
    assert_int_equal(ready & POLLIN, POLLIN);
    conn = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    if (conn >= 0) {
        ++*(int *)watch->data;
        close(conn);
    }
}

static void open_listener(void)
{
    listener = listen_on_loopback(&addr, &addr_len);
    assert_ok(ioctl(listener, FIONBIO, &(int){1}));
}

static int connect_one(void)
{
    int client = socket(AF_INET, SOCK_STREAM, 0);

    assert_ok(connect(client, (struct sockaddr *)&addr, addr_len));
    return client;
}

/* A connection may come to the listener's queue after connect() has returned: the kernel ends the
 * handshake when it finds the time. */
static void settle_until(const int *count, int expected)
{
    while (*count < expected)
        settle();
    settle();
    assert_int_equal(*count, expected);
}

/* Level-triggered and persistent: one accept per call, and it is called until the queue is
 * empty. */
static void a_listener_is_called_until_empty(void)
{
    int accepted = 0, clients[10];
    st_watch_t watch = {.data = &accepted};

    open_listener();
    st_watch_init(&watch, listener, ST_WATCH_ACCEPT, count_accept);
    assert_ok(st_watch_arm(&watch, POLLIN, FOREVER));
    for (int i = 0; i < 10; i++)
        clients[i] = connect_one();
    settle_until(&accepted, 10);
    assert_int_equal(seen.calls, 10);
    st_watch_disarm(&watch);
    close(connect_one());
    settle();
    assert_int_equal(accepted, 10);
    assert_ok(st_watch_arm(&watch, POLLIN, FOREVER)); /* what waited meanwhile is told now */
    settle_until(&accepted, 11);
    st_watch_free(&watch);
    for (int i = 0; i < 10; i++)
        close(clients[i]);
    close(listener);
}

static void one_accept_watch_per_descriptor(void)
{
    int accepted = 0;
    st_watch_t one = {.data = &accepted}, two = {.data = &accepted};

    open_listener();
    st_watch_init(&one, listener, ST_WATCH_ACCEPT, count_accept);
    st_watch_init(&two, listener, ST_WATCH_ACCEPT, count_accept);
    assert_ok(st_watch_arm(&one, POLLIN, FOREVER));
    assert_fails(st_watch_arm(&two, POLLIN, FOREVER), EEXIST);
    st_watch_free(&one);
    assert_ok(st_watch_arm(&two, POLLIN, FOREVER));
    close(connect_one());
    settle_until(&accepted, 1);
    st_watch_free(&two);
    close(listener);
}

static void arming_it_again_changes_nothing(void)
{
    int accepted = 0;
    st_watch_t watch = {.data = &accepted};

    open_listener();
    st_watch_init(&watch, listener, ST_WATCH_ACCEPT, count_accept);
    for (int i = 0; i < 3; i++)
        assert_ok(st_watch_arm(&watch, POLLIN, FOREVER));
    assert_ok(st_fd_rearm(listener)); /* level-triggered: there is nothing to ask afresh */
    close(connect_one());
    settle_until(&accepted, 1);
    st_watch_free(&watch);
    close(listener);
}

static void *accept_in_a_thread(void *arg)
{
    st_netfd_t conn = st_accept(arg, NULL, NULL, FOREVER);

    assert_non_null(conn);
    assert_ok(st_netfd_close(conn));
    told++;
    return NULL;
}

/* A thread waits on the listener before, while and after the watch has its exclusive
 * registration. */
static void a_listener_shared_with_a_thread(void)
{
    int accepted = 0;
    st_watch_t watch = {.data = &accepted};

    open_listener();
    st_netfd_t netfd = st_netfd_open_socket(listener);
    st_thread_t thread = st_thread_create(accept_in_a_thread, netfd, 1, 0);
    settle();
    st_watch_init(&watch, listener, ST_WATCH_ACCEPT, count_accept);
    assert_ok(st_watch_arm(&watch, POLLIN, FOREVER));
    for (int i = 0; i < 50 && told == 0; i++) { /* the watch may be the quicker one */
        close(connect_one());
        settle();
    }
    st_watch_disarm(&watch);
    if (told == 0) { /* back to an ordinary registration, for the thread */
        close(connect_one());
        settle_until(&told, 1);
    }
    assert_int_equal(told, 1);
    assert_ok(st_thread_join(thread, NULL));
    st_watch_free(&watch);
    assert_ok(st_netfd_close(netfd));
}

/* Two processes, each a VP with a watch on the same listener: every connection is accepted once, by
 * one of them. */
enum { PROCESSES = 2, CONNECTIONS = 100 };
static int *shared; /* per process: connections accepted */

static void accept_for_ever(int process)
{
    st_watch_t watch = {.data = &shared[process]};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    assert_ok(st_init());
    st_watch_init(&watch, listener, ST_WATCH_ACCEPT, count_accept);
    assert_ok(st_watch_arm(&watch, POLLIN, FOREVER));
    st_usleep(FOREVER);
}

static void two_processes_share_a_listener(void)
{
    pid_t pids[PROCESSES];

    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    open_listener();
    for (int i = 0; i < PROCESSES; i++)
        if ((pids[i] = fork()) == 0)
            accept_for_ever(i);
    for (int i = 0; i < CONNECTIONS; i++) {
        int client = connect_one();
        /* The server closes at once: the end of the stream shows that it was accepted. */
        assert_int_equal(read(client, buf, 1), 0);
        close(client);
    }
    assert_int_equal(shared[0] + shared[1], CONNECTIONS);
    /* One of them is gone: the other continues alone. */
    assert_ok(kill(pids[0], SIGKILL));
    assert_int_equal(waitpid(pids[0], NULL, 0), pids[0]);
    int before = shared[1];
    for (int i = 0; i < 10; i++) {
        int client = connect_one();
        assert_int_equal(read(client, buf, 1), 0);
        close(client);
    }
    assert_int_equal(shared[1], before + 10);
    assert_ok(kill(pids[1], SIGKILL));
    assert_int_equal(waitpid(pids[1], NULL, 0), pids[1]);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(it_fires_once),
        VP_TEST(ready_already_is_told_and_not_armed),
        VP_TEST(it_may_be_armed_again_and_again),
        VP_TEST(rearming_changes_events),
        VP_TEST(a_half_close_fires),
        VP_TEST(hup_fires_whatever_was_asked),
        VIRTUAL_TEST(a_disarmed_one_is_silent),
        VIRTUAL_TEST(forget_disarms),
        VP_TEST(arm_errors),
        VP_TEST(it_shares_with_a_thread),
        VIRTUAL_TEST(a_timeout_is_ready_zero),
        VIRTUAL_TEST(a_mere_timer),
        VIRTUAL_TEST(the_deadline_moves_later),
        VIRTUAL_TEST(the_deadline_moves_earlier),
        VIRTUAL_TEST(a_left_entry_does_not_fire_the_next),
        VIRTUAL_TEST(free_lets_the_memory_go),
        VIRTUAL_TEST(a_callback_arms_its_own_watch),
        VIRTUAL_TEST(a_callback_frees_its_own_watch),
        VIRTUAL_TEST(a_callback_disarms_another_that_is_due),
        VP_TEST(a_callback_wakes_and_creates_threads),
        VIRTUAL_TEST(callbacks_know_that_they_are_one),
        VIRTUAL_TEST(ten_thousand_timers_in_random_order),
        VP_TEST(many_idle_connections),
        VP_TEST(a_listener_is_called_until_empty),
        VP_TEST(one_accept_watch_per_descriptor),
        VP_TEST(arming_it_again_changes_nothing),
        VP_TEST(a_listener_shared_with_a_thread),
        RAW_TEST(two_processes_share_a_listener),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* st_vp_post: calls from other kernel threads and signal handlers, into a VP that runs, polls or
 * sleeps. */
#include "tests/vp.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/time.h>

#define FOREVER ST_UTIME_NO_TIMEOUT

static st_vp_t vp;

/* The VP sleeps in epoll with nothing else to wait for. */
static void a_post_wakes_the_sleeping_vp(void)
{
    for (int i = 0; i < scaled(500); i++) {
        wakeup_t wakeup = wakeup_here();

        park_until_woken(&wakeup, FOREVER, NULL);
        assert_int_equal(wakeup.calls, 1);
    }
}

/* The same when the nearest timeout is further away than epoll can express. */
static void a_post_ends_a_very_long_sleep(void)
{
    wakeup_t wakeup = wakeup_here();

    park_until_woken(&wakeup, 1ULL << 62, NULL);
}

static char order[16];

struct named {
    st_remote_t remote;
    char name;
};

static void note_name(st_remote_t *remote)
{
    order[strlen(order)] = ((struct named *)remote)->name;
}

static void posts_run_in_order_and_not_at_once(void)
{
    struct named named[5];

    for (int i = 0; i < 5; i++) {
        named[i] = (struct named){.remote.fn = note_name, .name = (char)('a' + i)};
        st_vp_post(st_vp_self(), &named[i].remote); /* from the VP itself too */
    }
    assert_string_equal(order, "");
    settle();
    assert_string_equal(order, "abcde");
}

/* Too late for a turn: whoever posted may have memory to free. */
static void posts_are_made_at_the_end_of_the_vp(void)
{
    struct named named = {.remote.fn = note_name, .name = 'z'};

    st_vp_post(st_vp_self(), &named.remote);
    assert_ok(st_destroy());
    assert_string_equal(order, "z");
    assert_ok(st_init()); /* for the harness */
}

static st_remote_t again;
static int laps;

static void post_itself(st_remote_t *remote)
{
    if (++laps < 10)
        st_vp_post(st_vp_self(), remote); /* the node is ours again when fn is called */
}

static void a_post_may_post_itself_again(void)
{
    again.fn = post_itself;
    st_vp_post(st_vp_self(), &again);
    for (int i = 0; i < 10; i++)
        settle();
    assert_int_equal(laps, 10);
}

/* --- several kernel threads post while the VP runs, waits for I/O and sleeps --- */

enum { POSTERS = 4, MOST = 5000 };
static int per_poster, received, expected_next[POSTERS];
static st_thread_t receiver;

struct numbered {
    st_remote_t remote;
    int poster, number;
};

static void receive(st_remote_t *remote)
{
    struct numbered *numbered = (struct numbered *)remote;

    assert_int_equal(numbered->number, expected_next[numbered->poster]++);
    if (++received == POSTERS * per_poster)
        st_thread_unpark(receiver);
    free(numbered);
}

static void *post_many(void *arg)
{
    for (int i = 0; i < per_poster; i++) {
        struct numbered *numbered = malloc(sizeof(*numbered));

        *numbered = (struct numbered){{.fn = receive}, (int)(intptr_t)arg, i};
        st_vp_post(vp, &numbered->remote);
        if (i % 64 == 0)
            sched_yield();
    }
    return NULL;
}

static void *spin(void *arg)
{
    while (received < POSTERS * per_poster)
        st_usleep(received % 3 ? ST_UTIME_NO_WAIT : 50);
    return arg;
}

static void flood(int with_spinner)
{
    pthread_t posters[POSTERS];

    vp = st_vp_self();
    receiver = st_thread_self();
    per_poster = scaled(MOST);
    if (with_spinner)
        st_thread_create(spin, NULL, 0, 0);
    for (intptr_t i = 0; i < POSTERS; i++)
        assert_ok(pthread_create(&posters[i], NULL, post_many, (void *)i));
    assert_ok(st_thread_park(FOREVER));
    for (int i = 0; i < POSTERS; i++) {
        assert_ok(pthread_join(posters[i], NULL));
        assert_int_equal(expected_next[i], per_poster);
    }
    settle();
    assert_int_equal(received, POSTERS * per_poster);
}

static void many_posters_to_a_sleeping_vp(void)
{
    flood(0);
}

static void many_posters_to_a_busy_vp(void)
{
    flood(1);
    settle();
}

/* --- two VPs that post to each other --- */

struct player {
    wakeup_t ball;
    sem_t ready;
    struct player *other;
    int rounds;
};

/* One ball: the thread that has it posts it to the other VP and parks until it comes back. */
static void throw(struct player * me)
{
    st_vp_post(me->other->ball.vp, &me->other->ball.remote);
}

static void *second_vp(void *arg)
{
    struct player *me = arg;

    assert_ok(st_init());
    me->ball = wakeup_here();
    sem_post(&me->ready);
    for (int i = 0; i < me->rounds; i++) {
        assert_ok(st_thread_park(FOREVER));
        throw(me);
    }
    assert_ok(st_destroy());
    return NULL;
}

static void two_vps_ping_pong(void)
{
    struct player one = {.ball = wakeup_here()}, two = {.other = &one};
    pthread_t second;

    one.rounds = two.rounds = scaled(2000);
    one.other = &two;
    sem_init(&two.ready, 0, 0);
    second = kernel_thread(second_vp, &two);
    sem_wait(&two.ready);
    for (int i = 0; i < one.rounds; i++) {
        throw(&one);
        assert_ok(st_thread_park(FOREVER));
    }
    join_kernel_thread(second);
    assert_int_equal(one.ball.calls, one.rounds);
    assert_int_equal(two.ball.calls, two.rounds);
}

/* --- who asks whether it sleeps --- */

static void once_it_sleeps(wakeup_t *wakeup)
{
    while (!st_vp_asleep(wakeup->vp))
        sched_yield();
}

static void others_see_whether_it_sleeps(void)
{
    wakeup_t wakeup = wakeup_here();

    assert_false(st_vp_asleep(st_vp_self()));
    park_until_woken(&wakeup, FOREVER, once_it_sleeps); /* it comes only because this is sleep */
    assert_false(st_vp_asleep(st_vp_self()));
}

/* --- from a signal handler --- */

static wakeup_t from_signal;

static void on_signal(int signo)
{
    int kept = errno;

    (void)signo;
    errno = 12345;
    st_vp_post(vp, &from_signal.remote);
    if (errno != 12345)
        abort();
    errno = kept;
}

static void a_signal_handler_posts(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    struct itimerval soon = {.it_value.tv_usec = 500};
    stack_t alternative = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};

    vp = st_vp_self();
    from_signal = wakeup_here();
    assert_ok(sigaltstack(&alternative, NULL));
    action.sa_flags = SA_ONSTACK;
    assert_ok(sigaction(SIGVTALRM, &action, NULL));
    assert_ok(sigaction(SIGUSR1, &action, NULL));
    raise(SIGUSR1);
    assert_ok(st_thread_park(FOREVER));
    for (int i = 0; i < 20; i++) {
        /* A timer of its CPU time: the signal comes while the VP spins. */
        assert_ok(setitimer(ITIMER_VIRTUAL, &soon, NULL));
        while (from_signal.calls < 2 + i)
            st_thread_yield();
        assert_ok(st_thread_park(FOREVER));
    }
    alternative.ss_flags = SS_DISABLE;
    assert_ok(sigaltstack(&alternative, NULL));
    free(alternative.ss_sp);
}

static void it_is_counted(void)
{
    st_stats_t stats;
    wakeup_t wakeup = wakeup_here();

    st_vp_post(st_vp_self(), &wakeup.remote);
    assert_ok(st_thread_park(FOREVER));
    st_get_stats(&stats);
    assert_int_equal(stats.remote_posts, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(a_post_wakes_the_sleeping_vp),
        VP_TEST(a_post_ends_a_very_long_sleep),
        VP_TEST(posts_run_in_order_and_not_at_once),
        VP_TEST(posts_are_made_at_the_end_of_the_vp),
        VP_TEST(a_post_may_post_itself_again),
        VP_TEST(many_posters_to_a_sleeping_vp),
        VP_TEST(many_posters_to_a_busy_vp),
        VP_TEST(two_vps_ping_pong),
        VP_TEST(others_see_whether_it_sleeps),
        VP_TEST(a_signal_handler_posts),
        VP_TEST(it_is_counted),
    };
    return cmocka_run_group_tests_name("remote", tests, NULL, NULL);
}

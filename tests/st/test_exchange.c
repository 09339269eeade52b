/* SPDX-License-Identifier: Apache-2.0 */
/* The exchange callback: what the kernel thread has only once, each state thread has for itself;
 * the scheduler's callbacks see the primordial thread's copy; nothing is left of threads that
 * end. */
#include "tests/vp.h"

#define FOREVER ST_UTIME_NO_TIMEOUT

static long in_place; /* what there is only one of */
static int kept;      /* copies that are somewhere */
static int exchanges;
static void **primordials; /* where the primordial thread's copy is: it is the first to stop */

static void exchange(void **from, void **to, int ended)
{
    exchanges++;
    if (!primordials)
        primordials = from;
    errno = EDOM; /* which nobody may see */
    if (ended) {
        kept -= !!*from;
        free(*from);
        *from = NULL;
    } else {
        if (!*from) {
            *from = malloc(sizeof(long));
            kept++;
        }
        *(long *)*from = in_place;
    }
    in_place = *to ? *(long *)*to : 0;
}

/* The primordial thread keeps what is in place. */
static void end_exchanges(void)
{
    assert_true(st_set_exchange_cb(NULL) == exchange);
    if (primordials)
        free(*primordials);
}

static void *have_own(void *arg)
{
    long own = (long)(intptr_t)arg;

    if (in_place != 0)
        return "begins with another's";
    for (int i = 0; i < 100; i++) {
        in_place = own * 1000 + i;
        errno = (int)own;
        st_thread_yield();
        if (in_place != own * 1000 + i || errno != (int)own)
            return "has another's";
    }
    return NULL;
}

static void join_all(st_thread_t *threads, int count)
{
    for (int i = 0; i < count; i++) {
        void *complaint = "";

        assert_ok(st_thread_join(threads[i], &complaint));
        assert_null(complaint);
    }
}

static void each_thread_has_its_own(void)
{
    st_thread_t threads[20];

    in_place = -1;
    assert_null(st_set_exchange_cb(exchange));
    for (int i = 0; i < 20; i++)
        threads[i] = st_thread_create(have_own, (void *)(intptr_t)(i + 1), 1, 0);
    join_all(threads, 20);
    assert_int_equal(in_place, -1);
    assert_int_equal(kept, 1); /* the primordial thread's */
    end_exchanges();
}

static void a_thread_alone_is_not_exchanged(void)
{
    int before;

    st_set_exchange_cb(exchange);
    st_thread_yield();
    before = exchanges;
    for (int i = 0; i < 1000; i++)
        st_thread_yield();
    assert_int_equal(exchanges, before);
    st_set_exchange_cb(NULL);
    for (int i = 0; i < 10; i++)
        st_thread_yield();
    assert_int_equal(exchanges, before);
}

static long seen[4];

static void on_watch(st_watch_t *watch, int ready)
{
    (void)ready;
    seen[*(int *)watch->data] = in_place;
}

static void on_post(st_remote_t *remote)
{
    (void)remote;
    seen[2] = in_place;
}

static void on_turn(st_utime_t held)
{
    (void)held;
    seen[3] = in_place;
}

static void *wait_alone(void *arg)
{
    in_place = 5;
    assert_int_equal(st_fd_wait(*(int *)arg, POLLIN, FOREVER), POLLIN);
    assert_int_equal(in_place, 5);
    return NULL;
}

/* On the stack of a thread that waits, and of one that has ended. */
static void callbacks_have_the_primordial_threads(void)
{
    static int numbers[2] = {0, 1};
    st_remote_t remote = {.fn = on_post};
    st_watch_t watches[2];
    st_thread_t thread;
    int fds[2], other[2];

    in_place = 7;
    st_set_exchange_cb(exchange);
    st_set_turn_cb(on_turn);
    socket_pair(fds, true);
    socket_pair(other, true);
    for (int i = 0; i < 2; i++) {
        st_watch_init(&watches[i], i == 0 ? other[0] : -1, 0, on_watch);
        watches[i].data = &numbers[i];
    }
    thread = st_thread_create(wait_alone, &fds[0], 1, 0);
    assert_int_equal(st_watch_arm(&watches[0], POLLIN, FOREVER), 0);
    assert_int_equal(st_watch_arm(&watches[1], 0, 1000), 0);
    st_vp_post(st_vp_self(), &remote);
    assert_int_equal(write(other[1], "x", 1), 1);
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_ok(st_thread_join(thread, NULL));
    assert_fails(st_thread_park(20000), ETIME);
    for (int i = 0; i < 4; i++)
        assert_int_equal(seen[i], 7);
    assert_int_equal(in_place, 7);
    st_set_turn_cb(NULL);
    end_exchanges();
    st_fd_forget(fds[0]);
    st_fd_forget(other[0]);
}

static void *begin_and_end(void *arg)
{
    if (in_place != 0)
        return "begins with another's";
    in_place = 9;
    if (arg)
        st_thread_yield();
    return NULL;
}

static void nothing_is_left_of_those_that_end(void)
{
    in_place = 3;
    st_set_exchange_cb(exchange);
    for (int i = 0; i < 200; i++) {
        void *complaint = "";
        st_thread_t thread = st_thread_create(begin_and_end, i % 2 ? "" : NULL, 1, 0);

        st_thread_create(begin_and_end, i % 3 ? "" : NULL, 0, 0);
        assert_ok(st_thread_join(thread, &complaint));
        assert_null(complaint);
    }
    settle();
    assert_int_equal(in_place, 3);
    assert_int_equal(kept, 1);
    end_exchanges();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(each_thread_has_its_own),
        VP_TEST(a_thread_alone_is_not_exchanged),
        VP_TEST(callbacks_have_the_primordial_threads),
        VP_TEST(nothing_is_left_of_those_that_end),
    };
    return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}

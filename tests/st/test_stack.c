/* SPDX-License-Identifier: Apache-2.0 */
/* Stacks: overflow faults instead of corrupting, in both kinds of guards; the cache, its bound, the
 * census. */
#include "tests/vp.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "st/st_internal.h"

#if defined(__SANITIZE_ADDRESS__)
enum { ADDRESS_SANITIZER = 1 }; /* reports the overflow itself, before the guard is hit */
#else
enum { ADDRESS_SANITIZER = 0 };
#endif

enum { SMALL = 32768 };

/* --- overflow --- */

static __attribute__((noinline)) int recurse(int depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    if (depth == 0)
        return 0;
    return recurse(depth - 1) + frame[0];
}

static void *overflow(void *arg)
{
    *(volatile int *)arg = recurse(1 << 24);
    return NULL;
}

static void *stand_by(void *arg)
{
    volatile char mine[16384];

    memset((void *)(uintptr_t)mine, 0x77, sizeof(mine));
    (void)arg;
    st_usleep(ST_UTIME_NO_TIMEOUT);
    for (size_t i = 0; i < sizeof(mine); i++)
        if (mine[i] != 0x77)
            _exit(3); /* a neighbour was corrupted */
    return NULL;
}

static st_thread_t neighbours[8];
static char signal_stack[65536];
static volatile size_t fault_size; /* what st_stack_overflow_at said of the address */

/* The neighbours must be unchanged: each checks its own stack, in the handler's process. */
static void on_segv(int signo, siginfo_t *info, void *context)
{
    (void)signo;
    (void)context;
    fault_size = st_stack_overflow_at(info->si_addr);
    if (fault_size == 0)
        _exit(4);
    if (st_stack_overflow_at(signal_stack) != 0 || st_stack_overflow_at(NULL) != 0)
        _exit(5);
    _exit(fault_size >= SMALL && fault_size <= SMALL + 8192 ? 0 : 6);
}

static void catch_segv(void)
{
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof(signal_stack)};
    struct sigaction action = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    assert_ok(sigaltstack(&stack, NULL));
    assert_ok(sigaction(SIGSEGV, &action, NULL));
}

static void init_with(int mprotect_guards)
{
    st_stack_stats_t stats;

    st__force_mprotect_guards = mprotect_guards;
    assert_ok(st_init());
    st_get_stack_stats(&stats);
    if (mprotect_guards)
        assert_int_equal(stats.guard_install, 0);
}

static void run_over(void)
{
    static int sink;
    st_thread_t victim;

    for (int i = 0; i < 4; i++)
        neighbours[i] = st_thread_create(stand_by, NULL, 1, SMALL);
    victim = st_thread_create(overflow, &sink, 1, SMALL);
    for (int i = 4; i < 8; i++)
        neighbours[i] = st_thread_create(stand_by, NULL, 1, SMALL);
    st_thread_join(victim, NULL);
    _exit(2); /* it came back? */
}

static void overflow_default(void)
{
    init_with(0);
    run_over();
}

static void overflow_mprotect(void)
{
    init_with(1);
    run_over();
}

static void overflow_told_default(void)
{
    catch_segv();
    init_with(0);
    run_over();
}

static void overflow_told_mprotect(void)
{
    catch_segv();
    init_with(1);
    run_over();
}

/* --- frames larger than what is left of the stack --- */

static volatile size_t frame_size;

/* Its frame is written to only at its far end: the code of a compiler that does not probe. */
static __attribute__((noinline)) int large_frame(void)
{
    volatile char here;
    volatile char *far_end = &here - frame_size;

    __asm__("" : "+r"(far_end));
    *far_end = 'S';
    return *far_end;
}

/* Leaves 4 to 8 KB of the stack. */
static __attribute__((noinline)) int to_the_bottom(const char *base)
{
    volatile char frame[1024];

    frame[0] = 0;
    if ((const char *)__builtin_frame_address(0) - base > 8192)
        return to_the_bottom(base) + frame[0];
    return large_frame() + frame[0];
}

static void *overflow_by_a_frame(void *arg)
{
    *(volatile int *)arg = to_the_bottom(st__stack_base(st_thread_self()->stack));
    return NULL;
}

static void jump(int mprotect_guards)
{
    static int sink;
    st_thread_t victim;

    catch_segv();
    init_with(mprotect_guards);
    for (int i = 0; i < 8; i++)
        neighbours[i] = st_thread_create(stand_by, NULL, 1, SMALL);
    settle();
    victim = st_thread_create(overflow_by_a_frame, &sink, 1, SMALL);
    st_thread_join(victim, NULL);
    _exit(2); /* it found memory to write to */
}

static void jump_default(void)
{
    jump(0);
}

static void jump_mprotect(void)
{
    jump(1);
}

static void need_real_guards(void)
{
    if (ADDRESS_SANITIZER || under_valgrind())
        skip_test("the sanitizer or Valgrind handles overflows in its own way");
}

static void an_overflow_is_a_fault(void)
{
    int status;

    need_real_guards();
    status = run_child(overflow_default);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void an_overflow_is_a_fault_with_mprotect(void)
{
    int status;

    need_real_guards();
    status = run_child(overflow_mprotect);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
}

static void a_handler_learns_that_it_was_an_overflow(void)
{
    need_real_guards();
    assert_int_equal(run_child(overflow_told_default), 0);
    assert_int_equal(run_child(overflow_told_mprotect), 0);
}

/* However large, up to 1 MB: it ends in the guard, and the handler knows what that was. */
static void no_frame_jumps_over_a_guard(void)
{
    static const size_t kilobytes[] = {8, 33, 65, 112, 300, 513, 900, 1010};

    need_real_guards();
    for (size_t i = 0; i < sizeof(kilobytes) / sizeof(*kilobytes); i++) {
        frame_size = kilobytes[i] * 1024;
        assert_int_equal(run_child(jump_default), 0);
        assert_int_equal(run_child(jump_mprotect), 0);
    }
}

enum { REACH = 1024 * 1024 };

/* Checks that no page below a stack can be written, as far down as a frame reaches. */
static void assert_nothing_in_reach(st_thread_t thread)
{
    const char *base = st__stack_base(thread->stack);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    for (size_t below = page; below <= REACH; below += page) {
        assert_fails(uname((void *)(uintptr_t)(base - below)), EFAULT);
        assert_int_not_equal(st_stack_overflow_at(base - below), 0);
    }
    assert_int_equal(st_stack_overflow_at(base), 0);
}

/* Of every size and in every slab. */
static void nothing_lies_within_reach_below(void)
{
    static const int sizes[] = {SMALL, 65536, 262144, 1 << 20, 3 << 20, 8 << 20, 40 << 20};
    enum { SIZES = 7, EACH = 12 };
    st_thread_t threads[SIZES][EACH];

    need_real_guards();
    for (int i = 0; i < EACH; i++)
        for (int size = 0; size < SIZES; size++)
            threads[size][i] = st_thread_create(stand_by, NULL, 1, sizes[size]);
    settle();
    for (int size = 0; size < SIZES; size++)
        for (int i = 0; i < EACH; i++) {
            assert_nothing_in_reach(threads[size][i]);
            assert_true(st__stack_size(threads[size][i]->stack) >= (size_t)sizes[size]);
        }
    for (int size = 0; size < SIZES; size++)
        for (int i = 0; i < EACH; i++) {
            st_thread_interrupt(threads[size][i]);
            assert_ok(st_thread_join(threads[size][i], NULL));
        }
}

/* The stack that overflows lies between those of others; a stack that is nearly full does not
 * damage them. */
static void *use_most(void *arg)
{
    volatile char *bytes = __builtin_alloca(SMALL - 8192);

    escape(bytes);
    (void)arg;
    memset((void *)(uintptr_t)bytes, 0x11, SMALL - 8192);
    st_thread_yield();
    return NULL;
}

static void neighbours_are_left_alone(void)
{
    st_thread_t users[4];

    for (int i = 0; i < 8; i++)
        neighbours[i] = st_thread_create(stand_by, NULL, 1, SMALL);
    settle();
    for (int i = 0; i < 4; i++)
        users[i] = st_thread_create(use_most, NULL, 1, SMALL);
    for (int i = 0; i < 4; i++)
        assert_ok(st_thread_join(users[i], NULL));
    for (int i = 0; i < 8; i++) {
        st_thread_interrupt(neighbours[i]);
        assert_ok(st_thread_join(neighbours[i], NULL));
    }
}

/* --- the cache --- */

static void *nothing(void *arg)
{
    return arg;
}

static void *address(void *arg)
{
    *(void **)arg = __builtin_frame_address(0);
    return NULL;
}

static st_stack_stats_t stats_now(void)
{
    st_stack_stats_t stats;

    st_get_stack_stats(&stats);
    return stats;
}

/* Holds n threads at once, then ends them. */
static void hold(int n)
{
    st_thread_t *threads = calloc((size_t)n, sizeof(*threads));

    for (int i = 0; i < n; i++)
        assert_non_null(threads[i] = st_thread_create(nothing, NULL, 1, 0));
    assert_int_equal(stats_now().in_use, n);
    for (int i = 0; i < n; i++)
        assert_ok(st_thread_join(threads[i], NULL));
    free(threads);
}

static void a_stack_is_recycled_last_in_first_out(void)
{
    void *one = NULL, *two = NULL;

    assert_ok(st_thread_join(st_thread_create(address, &one, 1, 0), NULL));
    assert_ok(st_thread_join(st_thread_create(address, &two, 1, 0), NULL));
    if (!ADDRESS_SANITIZER) /* which may move frames to a fake stack */
        assert_ptr_equal(one, two);
    assert_int_equal(stats_now().in_use, 0);
    assert_int_equal(stats_now().peak, 1);
}

static void the_cache_is_bounded(void)
{
    assert_int_equal(st_set_stack_cache(64), 64);
    hold(200);
    assert_int_equal(stats_now().in_use, 0);
    assert_int_equal(stats_now().peak, 200);
    assert_int_equal(stats_now().cached, 64);
    assert_int_equal(st_set_stack_cache(10), 64);
    assert_int_equal(stats_now().cached, 10);
    assert_int_equal(st_set_stack_cache(0), 10);
    assert_int_equal(stats_now().cached, 0);
    hold(20);
    assert_int_equal(stats_now().cached, 0);
    assert_int_equal(st_set_stack_cache(-5), 0);
    assert_int_equal(st_set_stack_cache(64), 0);
    hold(20);
    assert_int_equal(stats_now().cached, 20);
}

/* Bytes; from smaps_rollup, because statm's figure is only approximate. */
static size_t resident(void)
{
    FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
    char line[256];
    size_t kilobytes = 0;

    assert_non_null(rollup);
    while (fgets(line, sizeof(line), rollup))
        if (strncmp(line, "Rss:", 4) == 0)
            kilobytes = strtoul(line + 4, NULL, 10);
    fclose(rollup);
    assert_true(kilobytes > 0);
    return kilobytes * 1024;
}

static void *dirty(void *arg)
{
    volatile char *bytes = __builtin_alloca(200000);

    (void)arg;
    escape(bytes);
    for (int i = 0; i < 200000; i += 4096)
        bytes[i] = 1;
    st_usleep(ST_UTIME_NO_TIMEOUT);
    return NULL;
}

/* 200 stacks, each of which has touched 200 KB: afterwards all but the cached ones have given that
 * back. */
static void free_stacks_give_their_pages_back(void)
{
    enum { COUNT = 200 };
    st_thread_t threads[COUNT];
    size_t before, with, after;

    if (ADDRESS_SANITIZER || under_valgrind())
        skip_test("resident memory is the sanitizer's or Valgrind's");
    st_set_stack_cache(4);
    before = resident();
    for (int i = 0; i < COUNT; i++)
        assert_non_null(threads[i] = st_thread_create(dirty, NULL, 1, 262144));
    settle();
    with = resident();
    for (int i = 0; i < COUNT; i++) {
        st_thread_interrupt(threads[i]);
        assert_ok(st_thread_join(threads[i], NULL));
    }
    after = resident();
    assert_true(with - before > COUNT * 190000UL);
    assert_true(after - before < COUNT * 20000UL);
}

/* --- stacks as large as those of kernel threads --- */

enum { LARGE = 8 << 20 };

static void need_real_memory(void)
{
    if (ADDRESS_SANITIZER || under_valgrind() || under_emulator())
        skip_test("memory is the sanitizer's, Valgrind's or the emulator's");
}

/* A figure of /proc/self/status, bytes. */
static size_t status_bytes(const char *name)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    size_t kilobytes = 0;

    assert_non_null(status);
    while (fgets(line, sizeof(line), status))
        if (strncmp(line, name, strlen(name)) == 0)
            kilobytes = strtoul(line + strlen(name), NULL, 10);
    fclose(status);
    return kilobytes * 1024;
}

/* One page of page tables for each: for its top, and for the guard above it, too. */
static void a_large_stack_costs_one_page_table(void)
{
    enum { COUNT = 512 };
    st_thread_t threads[COUNT];
    size_t page = (size_t)sysconf(_SC_PAGESIZE), tables, resident_bytes;

    need_real_guards();
    need_real_memory();
    tables = status_bytes("VmPTE:");
    resident_bytes = resident();
    for (int i = 0; i < COUNT; i++)
        assert_non_null(threads[i] = st_thread_create(nothing, NULL, 1, LARGE));
    assert_true(status_bytes("VmPTE:") - tables < COUNT * page * 9 / 8);
    assert_true(resident() - resident_bytes < COUNT * page * 9 / 8);
    for (int i = 0; i < COUNT; i++)
        assert_ok(st_thread_join(threads[i], NULL));
}

static __attribute__((noinline)) size_t deep(const char *until)
{
    volatile char frame[4000];

    frame[0] = 1;
    if ((const char *)__builtin_frame_address(0) <= until)
        return 1;
    return deep(until) + (size_t)frame[0];
}

/* All but the last 64 KB; and then waits, high up again. */
static void *dive(void *arg)
{
    const char *top = __builtin_frame_address(0);

    *(size_t *)arg = deep(top - LARGE + 65536);
    st_usleep(ST_UTIME_NO_TIMEOUT);
    return NULL;
}

/* What a deep recursion has touched is given back, both by a thread that continues and by a cached
 * stack, and the high-water mark remembers it. */
static void a_deep_recursion_is_stood_and_given_back(void)
{
    enum { COUNT = 4 };
    st_thread_t threads[COUNT];
    size_t levels = 0, before = resident();

    need_real_memory();
    for (int i = 0; i < COUNT; i++)
        threads[i] = st_thread_create(dive, &levels, 1, LARGE);
    settle();
    assert_true(levels > LARGE / 8192);
    assert_true(resident() - before > COUNT * (size_t)(LARGE - 2 * 65536));
    assert_true(st_sample_stacks(-1) >= LARGE - 65536);
    assert_true(resident() - before < COUNT * 400000UL);
    for (int i = 0; i < COUNT; i++) {
        st_thread_interrupt(threads[i]);
        assert_ok(st_thread_join(threads[i], NULL));
    }
    threads[0] = st_thread_create(dive, &levels, 1, LARGE);
    st_thread_yield();
    st_thread_interrupt(threads[0]);
    assert_ok(st_thread_join(threads[0], NULL));
    assert_true(resident() - before > LARGE - 2 * 65536);
    assert_true(st_sample_stacks(-1) >= LARGE - 65536);
    assert_true(resident() - before < COUNT * 400000UL);
}

static __attribute__((noinline)) void *dive_briefly(void *arg)
{
    volatile char *bytes = __builtin_alloca(100000);

    memset((void *)(uintptr_t)bytes, 1, 100000);
    escape(bytes);
    return arg;
}

static void *use_much_then_wait(void *arg)
{
    dive_briefly(arg);
    st_usleep(ST_UTIME_NO_TIMEOUT);
    return arg;
}

/* A thread that still waits where it did gives back what it once used beyond that; one that has
 * only begun to wait does not. */
static void a_long_wait_gives_back_what_lies_below(void)
{
    enum { COUNT = 20, USED = COUNT * 90000 };
    st_thread_t threads[COUNT];
    size_t before = resident();

    need_real_memory();
    for (int i = 0; i < COUNT; i++)
        threads[i] = st_thread_create(use_much_then_wait, NULL, 1, LARGE);
    settle();
    st_sample_stacks(-1);
    assert_true(resident() - before > USED);
    st_sample_stacks(-1);
    assert_true(resident() - before < USED / 4);
    for (int i = 0; i < COUNT; i++) {
        st_thread_interrupt(threads[i]);
        assert_ok(st_thread_join(threads[i], NULL));
    }
}

/* What a thread still needs stays, however deeply it waits; and so does the stack of the calling
 * thread. */
static __attribute__((noinline)) void wait_deep(int levels)
{
    volatile char frame[20000];

    memset((void *)(uintptr_t)frame, levels, sizeof(frame));
    if (levels > 0)
        wait_deep(levels - 1);
    else
        st_usleep(ST_UTIME_NO_TIMEOUT);
    st_sample_stacks(-1);
    for (size_t i = 0; i < sizeof(frame); i += 100)
        if (frame[i] != levels)
            abort();
}

static void *wait_deep_down(void *arg)
{
    wait_deep(100);
    return arg;
}

static void pages_in_use_stay(void)
{
    st_thread_t threads[3];

    for (int i = 0; i < 3; i++)
        threads[i] = st_thread_create(wait_deep_down, NULL, 1, LARGE);
    settle();
    for (int i = 0; i < 3; i++) {
        st_sample_stacks(-1);
        st_thread_interrupt(threads[i]);
        assert_ok(st_thread_join(threads[i], NULL));
    }
}

/* A limit on address space leads to an error, leaves room for other things, and ended threads make
 * room for others. */
static void a_limit_of_address_space_is_an_error(void)
{
    const size_t limit = (size_t)1 << 30;
    struct rlimit least = {limit, limit};
    st_thread_t threads[200];
    int n = 0;

    need_real_memory();
    assert_ok(setrlimit(RLIMIT_AS, &least));
    assert_ok(st_init());
    assert_non_null(threads[n++] = st_thread_create(nothing, NULL, 1, LARGE));
    assert_true(stats_now().bytes_reserved <= limit / 32);
    for (; n < 200; n++)
        if (!(threads[n] = st_thread_create(nothing, NULL, 1, LARGE)))
            break;
    assert_int_equal(errno, ENOMEM);
    assert_true(n > 64 && n < 128);
    for (int i = 0; i < n; i++)
        assert_ok(st_thread_join(threads[i], NULL));
    assert_ok(st_thread_join(st_thread_create(nothing, NULL, 1, LARGE), NULL));
    assert_ok(st_destroy());
}

/* Some of many threads end and their stacks are not cached: the next ones take their places. */
static void freed_places_are_taken_again(void)
{
    enum { COUNT = 100 };
    st_thread_t threads[COUNT];

    st_set_stack_cache(0);
    for (int i = 0; i < COUNT; i++)
        threads[i] = st_thread_create(nothing, NULL, 1, 0);
    settle();
    size_t reserved = stats_now().bytes_reserved;
    for (int round = 0; round < 10; round++) {
        for (int i = round; i < COUNT; i += 3)
            assert_ok(st_thread_join(threads[i], NULL));
        for (int i = round; i < COUNT; i += 3)
            assert_non_null(threads[i] = st_thread_create(nothing, NULL, 1, 0));
        settle();
        assert_int_equal(stats_now().in_use, COUNT);
        assert_true(stats_now().bytes_reserved <= reserved);
    }
    for (int i = 0; i < COUNT; i++)
        assert_ok(st_thread_join(threads[i], NULL));
}

static void unused_slabs_are_unmapped(void)
{
    hold(1);
    size_t reserved = stats_now().bytes_reserved;
    hold(2000);
    assert_true(stats_now().bytes_reserved > 0);
    st_set_stack_cache(0);
    assert_true(stats_now().bytes_reserved <= reserved);
}

/* --- the census --- */

static void *use_20k(void *arg)
{
    volatile char *bytes = __builtin_alloca(20000);

    escape(bytes);
    for (int i = 0; i < 20000; i += 256)
        bytes[i] = 1;
    (void)arg;
    st_thread_yield();
    return NULL;
}

static void the_census_knows_the_depth(void)
{
    size_t used;

    if (ADDRESS_SANITIZER || under_valgrind())
        skip_test(
            "the sanitizer may put frames elsewhere, and Valgrind forbids to look below them");
    assert_int_equal(st_stack_census(1), 0);
    st_thread_t thread = st_thread_create(use_20k, NULL, 1, 0);
    settle();
    used = st_thread_stack_used(thread);
    assert_true(used >= 20000 && used < 30000);
    assert_ok(st_thread_join(thread, NULL));
    assert_true(stats_now().deepest >= 20000 && stats_now().deepest < 30000);
    /* A recycled stack is painted again. */
    thread = st_thread_create(nothing, NULL, 1, 0);
    settle();
    assert_true(st_thread_stack_used(thread) < 10000);
    assert_ok(st_thread_join(thread, NULL));
    assert_int_not_equal(st_stack_census(0), 0);
    thread = st_thread_create(nothing, NULL, 1, 0);
    settle();
    assert_int_equal(st_thread_stack_used(thread), 0);
    assert_ok(st_thread_join(thread, NULL));
}

/* --- where it lies --- */

static void *look_where(void *arg)
{
    size_t size = 0, guard = 0;
    char *base = NULL, *here = __builtin_frame_address(0); /* a local may lie elsewhere */
    st_thread_t self = st_thread_self();

    assert_ok(st_thread_stack(self, (void **)&base, &size, &guard));
    assert_true(here >= base && here < base + size);
    assert_true((char *)self < base || (char *)self >= base + size); /* its stack may rest */
    assert_true(size >= SMALL && guard > 0);
    assert_true(st_stack_overflow_at(base - 1) != 0);
    assert_true(st_stack_overflow_at(base - guard) != 0 && st_stack_overflow_at(base) == 0);
    return arg;
}

static void a_thread_knows_its_stack(void)
{
    st_thread_t thread = st_thread_create(look_where, NULL, 1, SMALL);
    size_t size;
    void *base;

    assert_int_equal(st_thread_stack(st_thread_self(), &base, &size, NULL), -1);
    assert_int_equal(errno, EINVAL);
    assert_ok(st_thread_stack(thread, &base, &size, NULL));
    assert_ok(st_thread_join(thread, NULL));
}

/* Without a census: whole pages, and what was given back before anyone looked. */
static void the_depth_is_known_to_the_page(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), depth;

    if (ADDRESS_SANITIZER || under_valgrind())
        skip_test("the sanitizer may put frames elsewhere, and Valgrind uses stacks itself");
    assert_int_equal(st_sample_stacks(-1), 0);
    st_thread_t thread = st_thread_create(nothing, NULL, 1, 0);
    assert_ok(st_thread_join(thread, NULL));
    depth = st_sample_stacks(1);
    assert_true(depth >= page && depth <= 3 * page && depth % page == 0);
    thread = st_thread_create(use_20k, NULL, 1, 0);
    assert_ok(st_thread_join(thread, NULL)); /* on the same stack, which is cached */
    assert_int_equal(stats_now().deepest, depth);
    assert_int_equal(st_sample_stacks(0), depth);
    assert_int_equal(st_sample_stacks(1), depth); /* the round has ended */
    depth = st_sample_stacks(1);
    assert_true(depth >= 20000 && depth < 20000 + 3 * page && depth % page == 0);
    assert_int_equal(stats_now().deepest, depth);
}

static void *use_60k(void *arg)
{
    volatile char *bytes = __builtin_alloca(60000);

    escape(bytes);
    bytes[0] = 1;
    return arg;
}

static void the_depth_is_noted_before_pages_are_given_back(void)
{
    if (ADDRESS_SANITIZER || under_valgrind())
        skip_test("the sanitizer may put frames elsewhere, and Valgrind uses stacks itself");
    st_set_stack_cache(0);
    assert_ok(st_thread_join(st_thread_create(use_60k, NULL, 1, 0), NULL));
    assert_true(stats_now().deepest >= 60000 && stats_now().deepest < 70000);
    hold(300);
    assert_true(st_sample_stacks(-1) >= 60000); /* no stack is left that shows it */
    assert_true(st_sample_stacks(-1) < 70000);
}

/* A round over several sizes and slabs ends, and slabs that are unmapped meanwhile do no harm. */
static void sampling_goes_round(void)
{
    st_thread_t threads[100];

    for (int i = 0; i < 100; i++)
        threads[i] = st_thread_create(stand_by, NULL, 1, i % 3 * 65536);
    settle();
    for (int i = 0; i < 50; i++)
        assert_true(st_sample_stacks(7) <= 70000);
    for (int i = 0; i < 100; i++) {
        st_thread_interrupt(threads[i]);
        assert_ok(st_thread_join(threads[i], NULL));
        st_sample_stacks(i % 5);
        st_set_stack_cache(i % 2);
    }
    assert_true(ADDRESS_SANITIZER || st_sample_stacks(-1) >= 16384);
}

static void a_stack_size_must_make_sense(void)
{
    assert_null_errno(st_thread_create(nothing, NULL, 1, -1), EINVAL);
    st_thread_t thread = st_thread_create(nothing, NULL, 1, 1); /* rounded up */
    assert_non_null(thread);
    assert_ok(st_thread_join(thread, NULL));
}

/* With mprotect, each guard costs mappings; when the system has no more, the result is an error,
 * not a stack without a guard. */
static void mprotect_guards_end_with_an_error(void)
{
    enum { MANY = 70000 };
    st_thread_t *threads;
    int n = 0;
    char text[32] = "";
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    long limit;

    if (ADDRESS_SANITIZER || under_valgrind())
        skip_test("takes too long with the sanitizer or Valgrind");
    if (!file || !fgets(text, sizeof(text), file))
        skip_test("there is no vm.max_map_count here");
    fclose(file);
    if ((limit = strtol(text, NULL, 10)) > 100000)
        skip_test("vm.max_map_count is too high to reach");
    init_with(1);
    threads = calloc(MANY, sizeof(*threads));
    for (; n < MANY; n++)
        if (!(threads[n] = st_thread_create(nothing, NULL, 1, 16384)))
            break;
    assert_int_equal(errno, ENOMEM);
    assert_true(n > limit / 4 && n <= limit);
    for (int i = 0; i < n; i++)
        assert_ok(st_thread_join(threads[i], NULL));
    /* And it works again after some have ended. */
    assert_ok(st_thread_join(st_thread_create(nothing, NULL, 1, 16384), NULL));
    free(threads);
    assert_ok(st_destroy());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(an_overflow_is_a_fault),
        RAW_TEST(an_overflow_is_a_fault_with_mprotect),
        RAW_TEST(a_handler_learns_that_it_was_an_overflow),
        RAW_TEST(no_frame_jumps_over_a_guard),
        VP_TEST(nothing_lies_within_reach_below),
        VP_TEST(neighbours_are_left_alone),
        VP_TEST(a_stack_is_recycled_last_in_first_out),
        VP_TEST(the_cache_is_bounded),
        VP_TEST(free_stacks_give_their_pages_back),
        VP_TEST(a_large_stack_costs_one_page_table),
        VP_TEST(a_deep_recursion_is_stood_and_given_back),
        VP_TEST(pages_in_use_stay),
        VP_TEST(a_long_wait_gives_back_what_lies_below),
        RAW_TEST(a_limit_of_address_space_is_an_error),
        VP_TEST(freed_places_are_taken_again),
        VP_TEST(unused_slabs_are_unmapped),
        VP_TEST(the_census_knows_the_depth),
        VP_TEST(a_thread_knows_its_stack),
        VP_TEST(the_depth_is_known_to_the_page),
        VP_TEST(the_depth_is_noted_before_pages_are_given_back),
        VP_TEST(sampling_goes_round),
        VP_TEST(a_stack_size_must_make_sense),
        RAW_TEST(mprotect_guards_end_with_an_error),
    };
    return cmocka_run_group_tests_name("stack", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which slots are rebound, in all kinds of objects, and when they are not: kernel threads,
 * children, later objects, functions that only have the name, and objects that cannot be rebound.
 */
#include "stiol/rebind.h"
#include "stiol/tls.h"
#include "tests/stiol/stiol_vp.h"

int now_poll(int fd, int timeout), now_sleep(int us), now_lock(pthread_mutex_t *mutex);
int lazy_poll(int fd, int timeout), lazy_sleep(int us), lazy_lock(pthread_mutex_t *mutex);
int noplt_poll(int fd, int timeout), noplt_sleep(int us), noplt_lock(pthread_mutex_t *mutex);

/* How many slots of a table lead to their replacement: the one for objects of this kind. */
static int replaced(const table_t *table)
{
    void *const *slots = (void *const *)table;
    int count = 0;

    for (int i = 0; i < STIOL_CALLS; i++) {
        const stiol__call_t *row = &stiol__calls[i];

        count += slots[i] == (table == &table_any && row->scope == STIOL_BOTH ? row->elsewhere
                                                                              : row->replacement);
    }
    return count;
}

static int in_every_object(void)
{
    int count = 0;

    for (int i = 0; i < STIOL_CALLS; i++)
        count += stiol__calls[i].scope != STIOL_THREADS;
    return count;
}

static void ignore(const stiol_slot_t *slot, void *data)
{
    (void)slot, (void)data;
}

static void every_call_is_rebound(void)
{
    CHECK(replaced(&table_any) == in_every_object());
    CHECK(replaced(&table_threads) == STIOL_CALLS);
}

static void stop_restores_every_slot(void)
{
    void *before[STIOL_CALLS];

    memcpy(before, &table_any, sizeof(before));
    CHECK(st_init() == 0);
    for (int round = 0; round < 3; round++) {
        CHECK(stiol_start(&test_config) == 0);
        CHECK(replaced(&table_threads) == STIOL_CALLS);
        CHECK(stiol_each(ignore, NULL) > STIOL_CALLS);
        stiol_stop();
        CHECK(stiol_each(ignore, NULL) == 0);
        CHECK(replaced(&table_threads) == 0 && replaced(&table_any) == 0);
        CHECK(memcmp(before, &table_any, sizeof(before)) == 0);
    }
}

/* The pages that were read-only are read-only again: a write to the table must fault. */
static void faulted(int signal_number)
{
    (void)signal_number;
    _exit(0);
}

static void relro_pages_stay_read_only(void)
{
    signal(SIGSEGV, faulted);
    *(void *volatile *)(uintptr_t)&table_any = NULL;
    _exit(1); /* it did not fault */
}

typedef int (*sleeper_t)(int us);

static void *sleep_and_note(void *arg)
{
    note('s');
    CHECK((*(sleeper_t *)arg)(1000) == 0);
    note('w');
    return NULL;
}

static void gives_way(sleeper_t sleeper)
{
    int ticks = 0;

    stop_ticking = false;
    st_thread_t tick = st_thread_create(ticker, &ticks, 1, 0);
    CHECK(tick);
    sleep_and_note(&sleeper);
    while (ticks == 0) /* as vp.h says of waits; never, if the sleep holds up the VP */
        CHECK(sleeper(1000) == 0);
    stop_ticking = true;
    CHECK(st_thread_join(tick, NULL) == 0);
}

static void objects_of_every_make_give_way(void)
{
    gives_way(now_sleep);
    gives_way(lazy_sleep);
    gives_way(noplt_sleep);
}

static void a_function_of_that_name_is_left_alone(void)
{
    void *own;

#ifdef __SANITIZE_ADDRESS__
    skip_test("AddressSanitizer wants no RTLD_DEEPBIND");
#endif
    own = table_any.dlopen(OBJECTS "/libown.so", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    CHECK(own);
    CHECK(((int (*)(int, int))(uintptr_t)dlsym(own, "own_flock"))(40, 2) == 42);
    gives_way((sleeper_t)(uintptr_t)dlsym(own, "own_sleep"));
}

static void *on_kernel_thread(void *arg)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct pollfd one = {.fd = -1};

    (void)arg;
    CHECK(!st_vp_self());
    CHECK(table_any.poll(&one, 1, 1) == 0);
    CHECK(table_any.usleep(1) == 0);
    CHECK(table_any.pthread_mutex_lock(&mutex) == 0 && table_any.pthread_mutex_unlock(&mutex) == 0);
    CHECK(table_threads.pthread_self() == pthread_self());
    return NULL;
}

static void kernel_threads_pass_through(void)
{
    stiol_counters_t before = counters(), after;

    join_kernel_thread(kernel_thread(on_kernel_thread, NULL));
    after = counters();
    CHECK(memcmp(&before, &after, sizeof(before)) == 0);
}

static void callback(st_watch_t *watch, int ready)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct pollfd one = {.fd = -1};
    int fd = dup(2);

    (void)ready;
    CHECK(stiol__vp && !stiol__here());
    CHECK(table_any.poll(&one, 1, 0) == 0 && table_any.sched_yield() == 0);
    CHECK(table_any.pthread_mutex_lock(&mutex) == 0 && table_any.pthread_mutex_unlock(&mutex) == 0);
    CHECK(table_any.close(fd) == 0);
    *(bool *)watch->data = true;
}

static void callbacks_of_the_scheduler_pass_through(void)
{
    st_watch_t watch;
    bool called = false;

    st_watch_init(&watch, -1, 0, callback);
    watch.data = &called;
    CHECK(st_watch_arm(&watch, 0, 0) == 0);
    while (!called)
        st_thread_yield();
    st_watch_free(&watch);
}

/* --- objects that come and go --- */

static void later_objects_are_rebound(void)
{
    for (int round = 0; round < 3; round++) {
        void *late = table_any.dlopen(OBJECTS "/liblate.so", RTLD_NOW | RTLD_LOCAL);
        int with, gone;

        CHECK(late);
        gives_way((sleeper_t)(uintptr_t)dlsym(late, "late_sleep"));
        with = stiol_each(ignore, NULL);
        CHECK(table_any.dlclose(late) == 0);
        gone = stiol_each(ignore, NULL);
        CHECK(gone < with);
    }
}

/* However many there are, and whether or not they came with others. */
static void each_object_is_looked_through_once(void)
{
    for (int round = 0; round < 3; round++) {
        unsigned before = stiol__looked_through;
        void *late = table_any.dlopen(OBJECTS "/liblate.so", RTLD_NOW | RTLD_LOCAL);

        CHECK(late && stiol__looked_through == before + 1);
        CHECK(table_any.dlopen(OBJECTS "/liblate.so", RTLD_NOW | RTLD_LOCAL) == late);
        CHECK(table_any.dlclose(late) == 0 && table_any.dlclose(late) == 0);
        CHECK(stiol__looked_through == before + 1);
    }
}

/* The C library unloads objects by itself, and so may one that is not rebound. The same file is
 * then mapped to the same place. */
static void an_object_that_comes_back_unnoticed_is_rebound(void)
{
    void *late = table_any.dlopen(OBJECTS "/liblate.so", RTLD_NOW | RTLD_LOCAL), *own;
    int slots = stiol_each(ignore, NULL);

    CHECK(late && dlclose(late) == 0);
    late = dlopen(OBJECTS "/liblate.so", RTLD_NOW | RTLD_LOCAL);
    CHECK(late);
    own = table_any.dlopen(OBJECTS "/liblate.so", RTLD_NOW | RTLD_LOCAL);
    CHECK(own == late && stiol_each(ignore, NULL) == slots);
    gives_way((sleeper_t)(uintptr_t)dlsym(late, "late_sleep"));

    /* While one is being unloaded, another kernel thread loads it again. */
    CHECK(table_any.dlclose(own) == 0 && dlclose(late) == 0);
    late = dlopen(OBJECTS "/liblate.so", RTLD_NOW | RTLD_LOCAL);
    stiol__rebind_less();
    stiol__rebind_more();
    CHECK(late && stiol_each(ignore, NULL) == slots);
    gives_way((sleeper_t)(uintptr_t)dlsym(late, "late_sleep"));
}

/* --- objects that another kernel thread is loading --- */

/* libchoice.so calls this while an object that refers to choice() is being relocated. */
extern void (*on_choice)(void);

static pid_t the_vp;
static volatile bool relocating, looked;

static bool sleeps(pid_t tid)
{
    char path[64], state = 0;
    FILE *stat;

    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)tid);
    stat = fopen(path, "r");
    CHECK(stat && fscanf(stat, "%*d (%*[^)]) %c", &state) == 1);
    fclose(stat);
    return state == 'S';
}

/* Waits until the VP has looked at the loaded objects, or is waiting to do so. */
static void let_it_look(void)
{
    relocating = true;
    while (!looked && !sleeps(the_vp))
        sched_yield();
}

static void *load_chooser(void *arg)
{
    (void)arg;
    return dlopen(OBJECTS "/libchooser.so", RTLD_NOW | RTLD_LOCAL);
}

static void *chosen_for_new_thread(void *arg)
{
    int (*choice)(void) = ((int (*(*)(void))(void))(uintptr_t)dlsym(arg, "chosen"))();

    CHECK(choice && choice() == 42);
    return NULL;
}

static void objects_are_left_alone_until_they_are_relocated(void)
{
    pthread_t loader;
    void *chooser;

    the_vp = gettid();
    on_choice = let_it_look;
    CHECK(pthread_create(&loader, NULL, load_chooser, NULL) == 0);
    while (!relocating)
        sched_yield();
    stiol__rebind_more();
    CHECK(stiol__locals_update() == 0);
    looked = true;
    CHECK(pthread_join(loader, &chooser) == 0 && chooser);
    gives_way((sleeper_t)(uintptr_t)dlsym(chooser, "chooser_sleep"));
    CHECK(st_thread_join(st_thread_create(chosen_for_new_thread, chooser, 1, 0), NULL) == 0);
}

static char complaint[512];

static void complain(const char *message)
{
    snprintf(complaint, sizeof(complaint), "%s", message);
}

static void a_later_object_that_cannot_be_rebound_is_told_of(void)
{
    void *object;

    stiol_set_complaint(complain);
    object = table_any.dlopen(OBJECTS "/libunbindable.so", RTLD_NOW | RTLD_LOCAL);
    if (!object)
        skip_test(dlerror());
    CHECK(strstr(complaint, "libunbindable.so") && strstr(complaint, "poll"));
    CHECK(((int (*)(int))(uintptr_t)dlsym(object, "unbindable_poll"))(0) == 0);
    stiol_set_complaint(NULL);
}

static void the_start_refuses_an_object_that_cannot_be_rebound(void)
{
    if (!dlopen(OBJECTS "/libunbindable.so", RTLD_NOW | RTLD_LOCAL))
        skip_test(dlerror());
    CHECK(st_init() == 0);
    CHECK(stiol_start(&test_config) == -1);
    CHECK(strstr(stiol_error(), "libunbindable.so"));
    CHECK(strstr(stiol_error(), "poll"));
    CHECK(replaced(&table_any) == 0 && replaced(&table_threads) == 0);
}

static void the_start_needs_a_vp_and_happens_once(void)
{
    CHECK(stiol_start(NULL) == -1 && stiol_error()[0] != '\0');
    CHECK(st_init() == 0);
    CHECK(stiol_start(NULL) == 0 && stiol_error()[0] == '\0');
    CHECK(stiol_start(NULL) == -1 && strstr(stiol_error(), "already"));
    stiol_stop();
    stiol_stop();
}

/* --- the dry walk --- */

typedef struct seen {
    int total, of_table, problems;
    bool read_in_threads;
} seen_t;

static void see(const stiol_slot_t *slot, void *data)
{
    seen_t *seen = data;

    seen->total++;
    seen->of_table += strstr(slot->object, "libtable.so") &&
                      strcmp(slot->relocation, "64") == 0; /* some linkers make a PLT besides */
    seen->problems += !!slot->problem;
    CHECK(slot->symbol[0] != '\0' && slot->relocation[0] != '\0');
    CHECK(!strstr(slot->object, "libc.so") && slot->object[0] != '\0');
    if (strstr(slot->object, "libthreads.so") && strcmp(slot->symbol, "read") == 0)
        seen->read_in_threads = true;
}

static void the_dry_walk_says_what_would_be_rebound(void)
{
    seen_t dry = {0}, real = {0};

    CHECK(stiol_would_rebind(see, &dry) == dry.total && dry.problems == 0);
    CHECK(dry.of_table == in_every_object() && dry.read_in_threads);
    CHECK(replaced(&table_any) == 0);
    CHECK(st_init() == 0 && stiol_start(NULL) == 0);
    CHECK(stiol_each(see, &real) == dry.total && real.total == dry.total);
    stiol_stop();
}

static void the_dry_walk_tells_of_problems(void)
{
    seen_t seen = {0};

    if (!dlopen(OBJECTS "/libunbindable.so", RTLD_NOW | RTLD_LOCAL))
        skip_test(dlerror());
    CHECK(stiol_would_rebind(see, &seen) == -1 && seen.problems == 1);
}

/* --- children --- */

static void children_make_the_real_calls(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    int status, fds[2];
    char c = 0;
    pid_t pid;

    CHECK(table_any.pipe(fds) == 0);
    CHECK(table_any.pthread_mutex_lock(&mutex) == 0);
    pid = fork();
    if (pid == 0) {
        if (stiol__vp || st_vp_self())
            _exit(2);
        if (table_any.usleep(1) != 0 || table_any.write(fds[1], "x", 1) != 1 ||
            table_any.read(fds[0], &c, 1) != 1 || table_any.pthread_mutex_unlock(&mutex) != 0 ||
            table_any.dup2(fds[0], fds[1]) != fds[1] || table_any.close(fds[0]) != 0)
            _exit(3);
        _exit(0);
    }
    CHECK(table_any.waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(table_any.pthread_mutex_unlock(&mutex) == 0);
    CHECK(table_any.close(fds[0]) == 0 && table_any.close(fds[1]) == 0);
}

/* --- several VPs in one process --- */

static void *second_vp(void *arg)
{
    (void)arg;
    CHECK(st_init() == 0 && stiol_start(&test_config) == 0);
    gives_way(now_sleep);
    stiol_stop();
    CHECK(st_destroy() == 0);
    return NULL;
}

static void a_second_vp_leaves_the_first_at_work(void)
{
    join_kernel_thread(kernel_thread(second_vp, NULL));
    CHECK(replaced(&table_threads) == STIOL_CALLS);
    gives_way(now_sleep);
}

/* Trap 8: a plain look-up may find another version; the linker's binding may not. */
static void the_real_calls_are_of_the_right_version(void)
{
    void *wait = stiol__calls[stiol__call_pthread_cond_wait].real;
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    struct timespec past = {0, 0};

    if (STIOL_COND_VERSION)
        CHECK(wait == dlvsym(RTLD_DEFAULT, "pthread_cond_wait", "GLIBC_2.3.2") ||
              !dlvsym(RTLD_DEFAULT, "pthread_cond_wait", "GLIBC_2.3.2"));
    /* The version of 2.2.5 would take the first word of the condition variable for a pointer. */
    pthread_mutex_lock(&mutex);
    CHECK(((__typeof__(pthread_cond_timedwait) *)(uintptr_t)
               stiol__calls[stiol__call_pthread_cond_timedwait]
                   .real)(&cond, &mutex, &past) == ETIMEDOUT);
    CHECK(cond.__data.__wrefs == 0);
    pthread_mutex_unlock(&mutex);
}

static void trap_8_the_old_version_is_another_function(void)
{
    void *old = dlvsym(RTLD_DEFAULT, "pthread_cond_wait", "GLIBC_2.2.5");

    if (!STIOL_COND_VERSION || !old)
        skip_test("this C library has one version only");
    CHECK(old != stiol__calls[stiol__call_pthread_cond_wait].real);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(every_call_is_rebound),
        RAW_TEST(stop_restores_every_slot),
        VP_TEST(relro_pages_stay_read_only),
        VP_TEST(objects_of_every_make_give_way),
        VP_TEST(a_function_of_that_name_is_left_alone),
        VP_TEST(kernel_threads_pass_through),
        VP_TEST(callbacks_of_the_scheduler_pass_through),
        VP_TEST(later_objects_are_rebound),
        VP_TEST(each_object_is_looked_through_once),
        VP_TEST(an_object_that_comes_back_unnoticed_is_rebound),
        VP_TEST(objects_are_left_alone_until_they_are_relocated),
        VP_TEST(a_later_object_that_cannot_be_rebound_is_told_of),
        RAW_TEST(the_start_refuses_an_object_that_cannot_be_rebound),
        RAW_TEST(the_start_needs_a_vp_and_happens_once),
        RAW_TEST(the_dry_walk_says_what_would_be_rebound),
        RAW_TEST(the_dry_walk_tells_of_problems),
        VP_TEST(children_make_the_real_calls),
        VP_TEST(a_second_vp_leaves_the_first_at_work),
        RAW_TEST(the_real_calls_are_of_the_right_version),
        RAW_TEST(trap_8_the_old_version_is_another_function),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

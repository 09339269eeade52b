/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread-local variables are a state thread's own: of the program, of objects linked and loaded
 * later, with the initial values of a new thread, at fixed addresses; and so is what glibc keeps
 * for a thread. Here STIOL is in an object of its own, so that the program is an object like any
 * other.
 */
#include <resolv.h>

#include "tests/stiol/stiol_vp.h"
#include "tests/stiol/objects/locals.h"

enum { THREADS = 20 };

static __thread _Alignas(64) locals_t mine = {33, "image", {0}, "relocated"};

static locals_t *own_locals(void)
{
    return &mine;
}

static bool is_new(const locals_t *locals, long number)
{
    for (int i = 0; i < 12; i++)
        if (locals->zeros[i] != 0)
            return false;
    return locals->number == number && strcmp(locals->text, "image") == 0 &&
           strcmp(locals->pointer, "relocated") == 0;
}

static void fill(locals_t *locals, long value)
{
    locals->number = value;
    (void)snprintf(locals->text, sizeof(locals->text), "of thread %ld", value);
    for (int i = 0; i < 12; i++)
        locals->zeros[i] = value * 100 + i;
    locals->pointer = locals->text;
}

static bool is_filled(const locals_t *locals, long value)
{
    char text[sizeof(locals->text)];

    (void)snprintf(text, sizeof(text), "of thread %ld", value);
    for (int i = 0; i < 12; i++)
        if (locals->zeros[i] != value * 100 + i)
            return false;
    return locals->number == value && strcmp(locals->text, text) == 0 &&
           locals->pointer == locals->text;
}

/* --- each its own --- */

typedef struct user {
    where_t *where;
    long number, value; /* that the variables begin with, and that this thread gives them */
} user_t;

static void *use(void *arg)
{
    const user_t *user = arg;
    locals_t *locals = user->where();

    CHECK((uintptr_t)locals % 64 == 0);
    CHECK(is_new(locals, user->number));
    for (long round = 0; round < 20; round++) {
        fill(locals, user->value + round);
        st_thread_yield();
        CHECK(user->where() == locals && is_filled(locals, user->value + round));
    }
    return NULL;
}

static void use_everywhere(where_t *where, long number)
{
    static user_t users[THREADS];

    CHECK(is_new(where(), number));
    fill(where(), -1);
    for (int i = 0; i < THREADS; i++) {
        users[i] = (user_t){where, number, 1000L * i};
        spawn(use, &users[i]);
    }
    reap();
    CHECK(is_filled(where(), -1));
}

static void of_the_program(void)
{
    use_everywhere(own_locals, 33);
}

static void of_a_linked_object(void)
{
    use_everywhere(linked_locals, 1);
}

static void of_an_object_with_static_tls(void)
{
    use_everywhere(static_locals, 2);
}

static void *load(const char *name, int flags)
{
    char path[512];
    void *handle;

    (void)snprintf(path, sizeof(path), OBJECTS "/%s", name);
    handle = dlopen(path, flags);
    CHECK(handle);
    return handle;
}

static bool is_loaded(const char *name)
{
    char path[512];
    void *handle;

    (void)snprintf(path, sizeof(path), OBJECTS "/%s", name);
    handle = dlopen(path, RTLD_NOLOAD | RTLD_LAZY);

    if (handle)
        (void)dlclose(handle);
    return handle;
}

static where_t *where_in(void *handle)
{
    where_t *where = (where_t *)dlsym(handle, "late_locals");

    CHECK(where);
    return where;
}

static void of_an_object_loaded_later(void)
{
    use_everywhere(where_in(load("liblate_tls.so", RTLD_NOW)), 3);
}

static void shared_body(void)
{
    use_everywhere(own_locals, 33);
    _exit(10);
}

static void without_it_they_are_shared(void)
{
    CHECK(without(0, shared_body) == 10);
    CHECK(without(STIOL_NO_TLS, shared_body) == 1);
}

/* --- objects that come and go --- */

static where_t *late;
static bool go_on;

/* Exists before the object, waits, and finds it as a new thread would. */
static void *use_late(void *arg)
{
    long value = *(long *)arg;

    fill(own_locals(), value);
    while (!go_on)
        st_thread_yield();
    CHECK(is_new(late(), 3));
    fill(late(), value);
    for (int i = 0; i < 20; i++) {
        st_thread_yield();
        CHECK(is_filled(late(), value) && is_filled(own_locals(), value));
    }
    return NULL;
}

static long values[THREADS];

static void spawn_all(void *(*start)(void *))
{
    for (int i = 0; i < THREADS; i++) {
        values[i] = i + 1;
        spawn(start, &values[i]);
    }
    st_thread_yield();
}

static void threads_that_were_there_before_the_object(void)
{
    spawn_all(use_late);
    late = where_in(load("liblate_tls.so", RTLD_LAZY));
    CHECK(is_new(late(), 3));
    fill(late(), -1); /* before anybody else was told of it */
    go_on = true;
    reap();
    CHECK(is_filled(late(), -1));
}

static void *load_elsewhere(void *arg)
{
    late = where_in(load(arg, RTLD_NOW));
    fill(late(), -7); /* the kernel thread's own */
    return NULL;
}

static void an_object_that_a_kernel_thread_loads(void)
{
    pthread_t id;

    spawn_all(use_late);
    id = kernel_thread(load_elsewhere, "liblate_tls.so");
    join_kernel_thread(id);
    CHECK(is_new(late(), 3));
    go_on = true;
    reap();
    CHECK(is_new(late(), 3));
}

static int turn; /* of those below: what they are to do next */
static long number_now;
static int arrived;

/* In each round, another object has replaced the last one. */
static void *use_changing(void *arg)
{
    long value = *(long *)arg;

    fill(own_locals(), value);
    for (int round = 1; round <= 6; round++) {
        while (turn < round)
            st_thread_yield();
        CHECK(is_new(late(), number_now));
        fill(late(), value + round);
        st_thread_yield();
        CHECK(is_filled(late(), value + round) && is_filled(own_locals(), value));
        arrived++;
    }
    return NULL;
}

static void an_object_in_place_of_another(void)
{
    static const char *const names[] = {"liblate_tls.so", "liblate_tls2.so"};
    void *handle;

    spawn_all(use_changing);
    for (int round = 1; round <= 6; round++) {
        handle = load(names[round / 2 % 2], RTLD_NOW); /* the same one again, and the other */
        late = where_in(handle);
        number_now = round / 2 % 2 == 0 ? 3 : 4;
        turn = round;
        CHECK(is_new(late(), number_now));
        while (arrived < round * THREADS)
            st_thread_yield();
        CHECK(dlclose(handle) == 0);
        CHECK(!is_loaded(names[round / 2 % 2]));
    }
    reap();
}

static _Atomic bool loaded_and_gone, stop_loading;

static void *load_and_unload(void *arg)
{
    (void)arg;
    for (int i = 0; !stop_loading; i++) {
        void *handle = load(i % 2 == 0 ? "liblate_tls.so" : "liblate_tls2.so", RTLD_NOW);

        CHECK(is_new(where_in(handle)(), i % 2 == 0 ? 3 : 4));
        fill(where_in(handle)(), i);
        CHECK(dlclose(handle) == 0);
        loaded_and_gone = i > 300;
    }
    return NULL;
}

static void *use_until_told(void *arg)
{
    long value = *(long *)arg;

    while (!loaded_and_gone) {
        fill(own_locals(), value);
        fill(linked_locals(), value);
        st_thread_yield();
        CHECK(is_filled(own_locals(), value) && is_filled(linked_locals(), value));
        value += 100;
    }
    return NULL;
}

/* Objects come and go on a kernel thread while state threads are exchanged. */
static void objects_that_come_and_go_elsewhere(void)
{
    pthread_t id = kernel_thread(load_and_unload, NULL);

    spawn_all(use_until_told);
    while (!loaded_and_gone) {
        void *handle = load("liblate_tls3.so", RTLD_NOW);

        CHECK(is_new(where_in(handle)(), 5));
        fill(where_in(handle)(), 1);
        for (int i = 0; i < 50; i++)
            st_thread_yield();
        CHECK(is_filled(where_in(handle)(), 1));
        CHECK(dlclose(handle) == 0);
    }
    reap();
    stop_loading = true;
    join_kernel_thread(id);
}

/* --- threads --- */

static void *see_new(void *arg)
{
    CHECK(is_new(own_locals(), 33) && is_new(linked_locals(), 1));
    fill(own_locals(), *(long *)arg);
    fill(linked_locals(), *(long *)arg);
    return NULL;
}

static void a_new_thread_finds_nothing_of_an_ended_one(void)
{
    for (int i = 0; i < 100; i++) {
        pthread_t id;

        spawn_all(see_new);
        reap();
        CHECK(table_threads.pthread_create(&id, NULL, see_new, &values[0]) == 0);
        CHECK(table_threads.pthread_join(id, NULL) == 0);
    }
    CHECK(is_new(own_locals(), 33));
}

static pthread_key_t key;
static int ended;

static void end_value(void *value)
{
    CHECK(value == own_locals()->pointer); /* as code that keeps both in step */
    CHECK(strcmp(value, "kept") == 0);
    free(value);
    ended++;
}

/* What libraries do: a thread-local says whether there is a value, and the key ends it. */
static void *keep_in_step(void *arg)
{
    stiol_inherit();
    if (is_new(own_locals(), 33)) {
        CHECK(!pthread_getspecific(key));
        own_locals()->pointer = strdup("kept");
        own_locals()->number = 1;
        CHECK(pthread_setspecific(key, own_locals()->pointer) == 0);
        ++*(int *)arg;
    }
    st_thread_yield();
    CHECK(pthread_getspecific(key) == own_locals()->pointer);
    return NULL;
}

static void values_and_variables_are_kept_and_ended_together(void)
{
    stiol_config_t config = test_config;
    int made = 0;

    config.tsd_cache = 8;
    CHECK(st_init() == 0 && stiol_start(&config) == 0);
    CHECK(pthread_key_create(&key, end_value) == 0);
    for (int i = 0; i < 20; i++)
        spawn(keep_in_step, &made);
    reap();
    CHECK(made == 20 && ended == 12); /* 8 are kept */
    for (int i = 0; i < 8; i++)
        spawn(keep_in_step, &made);
    reap();
    CHECK(made == 20 && ended == 12);
    spawn(see_new, &values[0]); /* which does not ask for them */
    reap();
    stiol_stop();
    CHECK(ended == 20 && is_new(own_locals(), 33));
}

static void *fork_within(void *arg)
{
    int status;
    pid_t pid;

    fill(own_locals(), 55);
    fill(linked_locals(), 56);
    st_thread_yield();
    pid = fork();
    if (pid == 0)
        _exit(is_filled(own_locals(), 55) && is_filled(linked_locals(), 56) ? 10 : 1);
    CHECK(pid > 0 && table_any.waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 10);
    return arg;
}

static void a_child_has_the_forking_threads(void)
{
    fill(own_locals(), 1);
    spawn_all(see_new);
    spawn(fork_within, NULL);
    reap();
}

static void *be_a_kernel_thread(void *arg)
{
    CHECK(is_new(own_locals(), 33) && is_new(linked_locals(), 1));
    fill(own_locals(), *(long *)arg);
    while (!go_on)
        usleep(1000);
    CHECK(is_filled(own_locals(), *(long *)arg));
    return NULL;
}

static void kernel_threads_have_theirs(void)
{
    long value = 77;
    pthread_t id = kernel_thread(be_a_kernel_thread, &value);

    for (int i = 0; i < 20; i++) {
        spawn_all(see_new);
        reap();
    }
    go_on = true;
    join_kernel_thread(id);
}

/* --- signal handlers --- */

static volatile long handler_number, handler_value;
static _Atomic int handled;
static pthread_t vp_id;
static int byte_ends[2]; /* what two state threads wait for */

static void on_usr1(int number)
{
    (void)number;
    handler_number = own_locals()->number;
    handler_value = (long)(intptr_t)pthread_getspecific(key);
    handled++;
}

/* Sends a signal while all state threads wait and the VP sleeps. */
static void *interrupt_sleep(void *arg)
{
    while (!st_vp_asleep(arg))
        usleep(1000);
    CHECK(pthread_kill(vp_id, SIGUSR1) == 0);
    while (handled < 2)
        usleep(1000);
    CHECK(write(byte_ends[1], "xx", 2) == 2);
    return NULL;
}

static void *wait_for_byte(void *arg)
{
    struct pollfd one = {.fd = byte_ends[0], .events = POLLIN};
    char byte;

    own_locals()->number = *(long *)arg;
    CHECK(pthread_setspecific(key, (void *)*(long *)arg) == 0);
    if (*(long *)arg == 55) {
        CHECK(raise(SIGUSR1) == 0);
        CHECK(handled == 1 && handler_number == 55 && handler_value == 55);
    }
    while (poll(&one, 1, -1) != 1)
        CHECK(errno == EINTR);
    CHECK(read(byte_ends[0], &byte, 1) == 1);
    return NULL;
}

/* A handler sees what its thread has: variables and values of the same thread. */
static void a_handler_sees_one_thread(void)
{
    long values_here[] = {55, 66};
    pthread_t id;

    vp_id = pthread_self();
    CHECK(pipe(byte_ends) == 0 && signal(SIGUSR1, on_usr1) != SIG_ERR);
    CHECK(pthread_key_create(&key, NULL) == 0);
    own_locals()->number = 77;
    CHECK(pthread_setspecific(key, (void *)77) == 0);
    for (int i = 0; i < 2; i++)
        spawn(wait_for_byte, &values_here[i]);
    id = kernel_thread(interrupt_sleep, st_vp_self());
    reap();
    join_kernel_thread(id);
    CHECK(handled == 2 && handler_number == 77 && handler_value == 77);
}

/* --- C++ --- */

static void (*farewells_tell)(void (*)(char));
static void (*farewells_use)(void);
static bool (*farewells_word)(const char *, const char *);
static bool (*farewells_catch)(int, void (*)(void));

static void need_cxx(void)
{
#ifndef HAVE_CXX
    skip_test("libfarewells.so needs a C++ compiler");
#endif
}

static void *load_farewells(void)
{
    void *handle;

    need_cxx();
    handle = load("libfarewells.so", RTLD_NOW);
    farewells_tell = (void (*)(void (*)(char)))dlsym(handle, "farewells_tell");
    farewells_use = (void (*)(void))dlsym(handle, "farewells_use");
    farewells_word = (bool (*)(const char *, const char *))dlsym(handle, "farewells_word");
    farewells_catch = (bool (*)(int, void (*)(void)))dlsym(handle, "farewells_catch");
    CHECK(farewells_tell && farewells_use && farewells_word && farewells_catch);
    farewells_tell(note);
    return handle;
}

static void wait_a_while(void)
{
    for (int i = 0; i < 3; i++)
        st_thread_yield();
}

static void *catch_own(void *arg)
{
    for (int i = 0; i < 20; i++)
        CHECK(farewells_catch((int)*(long *)arg + 100 * i, wait_a_while));
    return NULL;
}

static void exceptions_are_a_threads_own(void)
{
    (void)load_farewells();
    spawn_all(catch_own);
    CHECK(farewells_catch(7, wait_a_while));
    reap();
}

static void *have_word(void *arg)
{
    char own[100];

    (void)snprintf(own, sizeof(own), "%s, and longer than what lies in the string itself",
                   (const char *)arg);
    CHECK(farewells_word("begin", own));
    for (int i = 0; i < 20; i++) {
        st_thread_yield();
        CHECK(farewells_word(own, own));
    }
    return NULL;
}

static void thread_local_objects_are_a_threads_own(void)
{
    (void)load_farewells();
    for (int i = 0; i < 20; i++)
        spawn(have_word, i % 2 == 0 ? "even" : "odd");
    reap();
    CHECK(farewells_word("begin", "end"));
}

static void note_value(void *value)
{
    note(*(char *)value);
}

static void *use_farewells(void *arg)
{
    farewells_use();
    CHECK(pthread_setspecific(key, arg) == 0);
    st_thread_yield();
    note('r');
    return NULL;
}

/* The last one first, before the values of keys; each thread's with its own contents. */
static void destructors_run_when_their_thread_ends(void)
{
    pthread_t ids[2];

    (void)load_farewells();
    CHECK(pthread_key_create(&key, note_value) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(table_threads.pthread_create(&ids[i], NULL, use_farewells, "k") == 0);
    for (int i = 0; i < 2; i++)
        CHECK(table_threads.pthread_join(ids[i], NULL) == 0);
    CHECK(strcmp(noted(), "r21kr21k") == 0);
}

static void *close_and_end(void *arg)
{
    farewells_use();
    CHECK(dlclose(arg) == 0);
    st_thread_yield();
    return NULL;
}

static void an_object_stays_until_its_destructors_have_run(void)
{
    pthread_t id;
    void *handle = load_farewells();

    CHECK(is_loaded("libfarewells.so"));
    CHECK(table_threads.pthread_create(&id, NULL, close_and_end, handle) == 0);
    CHECK(table_threads.pthread_join(id, NULL) == 0);
    CHECK(strcmp(noted(), "21") == 0);
    CHECK(!is_loaded("libfarewells.so"));
}

static void write_note(char what)
{
    CHECK(write(STDOUT_FILENO, &what, 1) == 1);
}

static void leave(void)
{
    _exit(10); /* before a leak checker sees the stacks that are left */
}

static void *exit_within(void *arg)
{
    CHECK(atexit(leave) == 0);
    farewells_use();
    st_thread_yield();
    exit(1);
    return arg;
}

static void exit_body(void)
{
    farewells_use(); /* the primordial thread's: nobody ends them */
    spawn_all(see_new);
    spawn(exit_within, NULL);
    reap();
}

/* exit() runs those of the calling thread, as with kernel threads. */
static void exit_runs_the_callers_destructors(void)
{
    int ends[2], status;
    char text[16] = "";
    pid_t pid;

    need_cxx();
    CHECK(pipe(ends) == 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        CHECK(dup2(ends[1], STDOUT_FILENO) == STDOUT_FILENO);
        start_vp();
        (void)load_farewells();
        farewells_tell(write_note);
        exit_body();
        _exit(1);
    }
    close(ends[1]);
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 10);
    CHECK(read(ends[0], text, sizeof(text) - 1) == 2 && strcmp(text, "21") == 0);
}

/* --- what glibc keeps for a thread --- */

static void *have_locale(void *arg)
{
    locale_t own = newlocale(LC_ALL_MASK, "C", (locale_t)0);

    CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    CHECK(uselocale(own) == LC_GLOBAL_LOCALE);
    for (int i = 0; i < 20; i++) {
        st_thread_yield();
        CHECK(uselocale((locale_t)0) == own);
    }
    if (*(long *)arg % 2 == 0)
        CHECK(uselocale(LC_GLOBAL_LOCALE) == own);
    if (*(long *)arg % 2 == 0)
        freelocale(own);
    return NULL;
}

static void locales(void)
{
    spawn_all(have_locale);
    CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    reap();
    CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
}

/* What the primordial thread has set is not its children's: they may free what they find. */
static void a_locale_from_before(void)
{
    locale_t own = newlocale(LC_ALL_MASK, "C", (locale_t)0);

    CHECK(uselocale(own) == LC_GLOBAL_LOCALE);
    CHECK(st_init() == 0 && stiol_start(&test_config) == 0);
    spawn_all(have_locale);
    CHECK(uselocale((locale_t)0) == own);
    reap();
    CHECK(uselocale((locale_t)0) == own);
    stiol_stop();
    CHECK(uselocale(LC_GLOBAL_LOCALE) == own);
    freelocale(own);
}

static void *have_texts(void *arg)
{
    int own = 5000 + (int)*(long *)arg;
    struct in_addr address = {.s_addr = (in_addr_t)own};
    char expected[3][100];
    const char *texts[3];

    texts[0] = strerror(own);
    texts[1] = strsignal(own);
    texts[2] = inet_ntoa(address);
    for (int i = 0; i < 3; i++) {
        CHECK(strlen(texts[i]) < 100);
        strcpy(expected[i], texts[i]);
    }
    CHECK(strstr(expected[0], "50") && strstr(expected[1], "50"));
    h_errno = own;
    for (int i = 0; i < 20; i++) {
        st_thread_yield();
        for (int j = 0; j < 3; j++)
            CHECK(strcmp(texts[j], expected[j]) == 0);
        CHECK(h_errno == own);
        if (i == 10) {
            texts[0] = strerror_l(own, uselocale((locale_t)0));
            CHECK(strcmp(strerror(ENOENT), "No such file or directory") == 0);
        }
    }
    return NULL;
}

static void texts(void)
{
    h_errno = 3;
    spawn_all(have_texts);
    reap();
    CHECK(h_errno == 3 && strcmp(strsignal(SIGINT), "Interrupt") == 0);
}

static tss_t tss;

static void *have_tss(void *arg)
{
    CHECK(!tss_get(tss) && tss_set(tss, arg) == thrd_success);
    for (int i = 0; i < 20; i++) {
        st_thread_yield();
        CHECK(tss_get(tss) == arg);
    }
    return NULL;
}

static void c11_keys(void)
{
    pthread_t id;

    CHECK(tss_create(&tss, note_value) == thrd_success);
    CHECK(tss_set(tss, &tss) == thrd_success);
    spawn_all(have_tss);
    reap();
    CHECK(tss_get(tss) == &tss && noted()[0] == '\0'); /* kept */
    CHECK(table_threads.pthread_create(&id, NULL, have_tss, "e") == 0);
    CHECK(table_threads.pthread_join(id, NULL) == 0);
    CHECK(strcmp(noted(), "e") == 0);
    tss_delete(tss);
    CHECK(tss_set(tss, &tss) == thrd_error);
}

static uint64_t mask(void)
{
    uint64_t bits;
    sigset_t set;

    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &set) == 0);
    memcpy(&bits, &set, sizeof(bits));
    return bits;
}

static void *have_mask(void *arg)
{
    uint64_t before = mask(), own;
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, 30 + (int)*(long *)arg % 2);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    own = mask();
    CHECK(own != before);
    for (int i = 0; i < 20; i++) {
        st_thread_yield();
        CHECK(mask() == own);
    }
    CHECK(sigprocmask(SIG_UNBLOCK, &set, NULL) == 0 && mask() == before);
    st_thread_yield();
    CHECK(mask() == before);
    sigfillset(&set);
    CHECK(sigprocmask(SIG_SETMASK, &set, NULL) == 0);
    return NULL; /* with all blocked */
}

static void *see_inherited_mask(void *arg)
{
    CHECK(mask() == *(uint64_t *)arg);
    st_thread_yield();
    CHECK(mask() == *(uint64_t *)arg);
    return NULL;
}

static void signal_masks(void)
{
    uint64_t before = mask(), blocked;
    sigset_t set;
    pthread_t id;

    spawn_all(have_mask);
    CHECK(mask() == before);
    reap();
    CHECK(mask() == before);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    blocked = mask();
    CHECK(blocked != before);
    CHECK(table_threads.pthread_create(&id, NULL, see_inherited_mask, &blocked) == 0);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
    CHECK(table_threads.pthread_join(id, NULL) == 0);
    CHECK(mask() == before);
}

static void *have_signal_stack(void *arg)
{
    stack_t own = {.ss_size = (size_t)(2 * SIGSTKSZ), .ss_sp = malloc((size_t)(2 * SIGSTKSZ))}, now;

    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == *(void **)arg);
    CHECK(sigaltstack(&own, NULL) == 0);
    for (int i = 0; i < 20; i++) {
        st_thread_yield();
        CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == own.ss_sp);
    }
    own.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&own, &now) == 0);
    free(now.ss_sp);
    return NULL;
}

static void signal_stacks(void)
{
    stack_t first = {.ss_size = (size_t)SIGSTKSZ, .ss_sp = malloc((size_t)SIGSTKSZ)}, now;

    CHECK(sigaltstack(&first, NULL) == 0);
    CHECK(st_init() == 0 && stiol_start(&test_config) == 0);
    for (int i = 0; i < 10; i++)
        spawn(have_signal_stack, &first.ss_sp);
    reap();
    CHECK(sigaltstack(NULL, &now) == 0 && now.ss_sp == first.ss_sp && now.ss_flags == 0);
    stiol_stop();
    now.ss_flags = SS_DISABLE;
    CHECK(sigaltstack(&now, NULL) == 0);
    free(first.ss_sp);
}

static void *have_dlerror(void *arg)
{
    char name[40];
    const char *error;

    (void)snprintf(name, sizeof(name), "libnone%ld.so", *(long *)arg);
    CHECK(!dlopen(name, RTLD_NOW));
    st_thread_yield();
    error = dlerror();
    CHECK(error && strstr(error, name));
    st_thread_yield();
    CHECK(strstr(error, name) && !dlerror());
    CHECK(!dlopen(name, RTLD_NOW) && strstr(dlerror(), name));
    return NULL;
}

static void errors_of_dlopen(void)
{
    spawn_all(have_dlerror);
    reap();
    CHECK(!dlerror());
}

static void *have_resolver(void *arg)
{
    CHECK(_res.retrans != 1000 + (int)*(long *)arg);
    CHECK(res_init() == 0);
    _res.retrans = 1000 + (int)*(long *)arg;
    for (int i = 0; i < 20; i++) {
        st_thread_yield();
        CHECK(_res.retrans == 1000 + (int)*(long *)arg && _res.nscount > 0);
    }
    return NULL;
}

static void the_resolvers_state(void)
{
    int before = 0;

    for (int i = 0; i < 50; i++) {
        spawn_all(have_resolver);
        reap();
        if (i == 0)
            before = table_any.dup(0);
    }
    CHECK(table_any.dup(0) == before + 1); /* nothing is left open */
}

/* --- random operations, compared with a model --- */

enum { OBJECTS_AT_RANDOM = 3, STEPS = 400 };

static unsigned dice(unsigned *seed, unsigned sides)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % sides;
}

static void *at_random(void *arg)
{
    static where_t *const places[OBJECTS_AT_RANDOM] = {own_locals, linked_locals, static_locals};
    static const long first[OBJECTS_AT_RANDOM] = {33, 1, 2};
    long model[OBJECTS_AT_RANDOM] = {0};
    unsigned seed = (unsigned)*(long *)arg * 77;

    for (long step = 1; step <= STEPS; step++) {
        unsigned i = dice(&seed, OBJECTS_AT_RANDOM);

        switch (dice(&seed, 4)) {
        case 0:
            model[i] = *(long *)arg * 10000 + step;
            fill(places[i](), model[i]);
            break;
        case 1: /* as new again */
            *places[i]() = (locals_t){first[i], "image", {0}, "relocated"};
            model[i] = 0;
            break;
        default:
            st_thread_yield();
        }
        for (i = 0; i < OBJECTS_AT_RANDOM; i++)
            CHECK(model[i] == 0 ? is_new(places[i](), first[i]) : is_filled(places[i](), model[i]));
    }
    return NULL;
}

static void anything_at_random(void)
{
    for (int i = 0; i < 5; i++) {
        spawn_all(at_random);
        reap();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(of_the_program),
        VP_TEST(of_a_linked_object),
        VP_TEST(of_an_object_with_static_tls),
        VP_TEST(of_an_object_loaded_later),
        RAW_TEST(without_it_they_are_shared),
        VP_TEST(threads_that_were_there_before_the_object),
        VP_TEST(an_object_that_a_kernel_thread_loads),
        VP_TEST(an_object_in_place_of_another),
        VP_TEST(objects_that_come_and_go_elsewhere),
        VP_TEST(a_new_thread_finds_nothing_of_an_ended_one),
        RAW_TEST(values_and_variables_are_kept_and_ended_together),
        VP_TEST(a_child_has_the_forking_threads),
        VP_TEST(kernel_threads_have_theirs),
        VP_TEST(a_handler_sees_one_thread),
        VP_TEST(exceptions_are_a_threads_own),
        VP_TEST(thread_local_objects_are_a_threads_own),
        VP_TEST(destructors_run_when_their_thread_ends),
        VP_TEST(an_object_stays_until_its_destructors_have_run),
        RAW_TEST(exit_runs_the_callers_destructors),
        VP_TEST(locales),
        RAW_TEST(a_locale_from_before),
        VP_TEST(texts),
        VP_TEST(c11_keys),
        VP_TEST(signal_masks),
        RAW_TEST(signal_stacks),
        VP_TEST(errors_of_dlopen),
        VP_TEST(the_resolvers_state),
        VP_TEST(anything_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

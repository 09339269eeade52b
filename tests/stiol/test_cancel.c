/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State threads that end before their function returns: by pthread_exit(), or because another one
 * cancels them. Their stacks are unwound as kernel threads' are.
 */
#include "stiol/program.h"
#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any, *apr = &table_threads;

void cleanup_around(void (*body)(void *), void (*handler)(void *), void *arg);
#ifdef HAVE_CXX
void cxx_around(void (*body)(void *), void (*destructor)(void *), void *arg);
#endif

/* Handlers get letters: "ab" is the outer one's a, and the inner one's b. */
static void note_letter(void *arg)
{
    note(*(char *)arg);
}

static char letters[] = "ab", others[] = "cd";

static void exit_now(void *arg)
{
    call->pthread_exit(arg);
}

static void return_now(void *arg)
{
    (void)arg;
    note('r');
}

static void yield_and_exit(void *arg)
{
    for (int i = 0; i < 5; i++)
        CHECK(call->usleep(100) == 0);
    call->pthread_exit(arg);
}

static void *with_handlers(void *arg)
{
    cleanup_around(exit_now, note_letter, arg);
    note('!');
    return NULL;
}

static void *without_an_end(void *arg)
{
    cleanup_around(return_now, note_letter, arg);
    return arg;
}

static void *with_handlers_and_waits(void *arg)
{
    cleanup_around(yield_and_exit, note_letter, arg);
    note('!');
    return NULL;
}

static pthread_t start(void *(*what)(void *), void *arg)
{
    pthread_t id;

    CHECK(apr->pthread_create(&id, NULL, what, arg) == 0);
    return id;
}

static void exit_runs_cleanup_handlers(void)
{
    void *result;

    CHECK(call->pthread_join(start(with_handlers, letters), &result) == 0 && result == letters);
    CHECK(strcmp(noted(), "ba") == 0);
    forget_notes();
    CHECK(call->pthread_join(start(without_an_end, letters), &result) == 0);
    CHECK(result == letters && strcmp(noted(), "ra") == 0);
}

/* The lists of handlers are kept apart although the threads alternate. */
static void every_thread_has_its_own_handlers(void)
{
    pthread_t one = start(with_handlers_and_waits, letters);
    pthread_t other = start(with_handlers_and_waits, others);
    const char *a, *b, *c, *d;

    CHECK(call->pthread_join(one, NULL) == 0 && call->pthread_join(other, NULL) == 0);
    a = strchr(noted(), 'a'), b = strchr(noted(), 'b');
    c = strchr(noted(), 'c'), d = strchr(noted(), 'd');
    CHECK(strlen(noted()) == 4 && a && c && b < a && d < c);
}

#ifdef HAVE_CXX
static void *with_destructors(void *arg)
{
    cxx_around(exit_now, note_letter, arg);
    note('!');
    return NULL;
}

static void exit_runs_destructors(void)
{
    void *result;

    CHECK(call->pthread_join(start(with_destructors, letters), &result) == 0 && result == letters);
    CHECK(strcmp(noted(), "ca") == 0); /* through catch (...), which throws again */
}
#endif

static void *exit_plainly(void *arg)
{
    exit_now(arg);
    return NULL;
}

/* One that the MPM made. */
static void exit_on_a_thread_of_libst(void)
{
    void *result;
    st_thread_t thread = st_thread_create(exit_plainly, letters, 1, 0);

    CHECK(st_thread_join(thread, &result) == 0 && result == letters);
    CHECK(call->pthread_join(call->pthread_self(), NULL) == EDEADLK); /* the VP lives */
}

static void exit_in_handler(int signal_number)
{
    (void)signal_number;
    call->pthread_exit(letters);
}

static void raise_it(void *arg)
{
    (void)arg;
    raise(SIGUSR1);
    note('!');
}

static void *exit_by_handler(void *arg)
{
    cleanup_around(raise_it, note_letter, arg);
    return NULL;
}

/* Through the frame of the signal; the VP is a VP again. */
static void exit_from_a_handler(void)
{
    int ticks = 0;
    void *result;

    call->signal(SIGUSR1, exit_in_handler);
    CHECK(call->pthread_join(start(exit_by_handler, letters), &result) == 0 && result == letters);
    CHECK(strcmp(noted(), "ba") == 0);
    spawn(ticker, &ticks);
    CHECK(call->usleep(1000) == 0 && ticks > 0);
    stop_ticking = true;
}

/* --- cancellation --- */

static int fds[2];
static pthread_mutex_t mutex = PTHREAD_ERRORCHECK_MUTEX_INITIALIZER_NP;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static pthread_t endless_id;

static void *endless(void *arg)
{
    for (;;)
        CHECK(call->usleep(1000) == 0);
    return arg;
}

static void *endless_on_kernel_thread(void *arg)
{
    while (*(volatile char *)arg != 'x')
        usleep(100);
    return arg;
}

/* The mutex knows its owner: if it had not been locked again, unlocking would return EPERM. */
static void unlock(void *arg)
{
    if (arg == &mutex)
        CHECK(call->pthread_mutex_unlock(arg) == 0);
}

static void wait_for_cond(void *arg)
{
    for (;;)
        call->pthread_cond_wait(&cond, arg);
}

/* Each of them waits forever. */
static void *wait_somehow(void *arg)
{
    char c;

    switch (*(char *)arg) {
    case 'r':
        (void)!call->read(fds[0], &c, 1);
        break;
    case 'p':
        call->poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, -1);
        break;
    case 's':
        call->sleep(1000);
        break;
    case 'w':
        call->waitpid(-1, NULL, 0);
        break;
    case 'j':
    case 'k':
        call->pthread_join(endless_id, NULL);
        break;
    case 't':
        for (;;) {
            call->pthread_testcancel();
            call->sched_yield();
        }
        break;
    default:
        CHECK(false);
    }
    note('!');
    return NULL;
}

static void cancel_wait(char how)
{
    pthread_t id = start(wait_somehow, &how);
    void *result;

    settle();
    CHECK(call->pthread_cancel(id) == 0);
    CHECK(call->pthread_join(id, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(noted()[0] == '\0' && call->pthread_cancel(id) == ESRCH);
}

static void cancelled_threads_end_in_their_waits(void)
{
    pid_t pid = fork();
    char stop = 0;

    if (pid == 0) {
        st_after_fork_child();
        (void)!pause();
    }
    socket_pair(fds, false);
    for (const char *how = "rpswt"; *how != '\0'; how++)
        cancel_wait(*how);
    endless_id = start(endless, NULL);
    cancel_wait('j');
    CHECK(call->pthread_cancel(endless_id) == 0 && call->pthread_join(endless_id, NULL) == 0);
    CHECK(call->pthread_create(&endless_id, NULL, endless_on_kernel_thread, &stop) == 0);
    cancel_wait('k');
    stop = 'x';
    CHECK(call->pthread_join(endless_id, NULL) == 0); /* the cancelled one has not joined it */
    CHECK(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

/* The mutex is held again when the handler runs. */
static void *wait_with_mutex(void *arg)
{
    int type;

    (void)arg;
    CHECK(call->pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type) == 0);
    CHECK(type == PTHREAD_CANCEL_DEFERRED && call->pthread_mutex_lock(&mutex) == 0);
    cleanup_around(wait_for_cond, unlock, &mutex);
    return NULL;
}

static void a_condition_is_left_with_the_mutex(void)
{
    pthread_t id = start(wait_with_mutex, NULL);
    void *result;

    settle();
    CHECK(call->pthread_mutex_trylock(&mutex) == 0 && call->pthread_mutex_unlock(&mutex) == 0);
    CHECK(call->pthread_cancel(id) == 0);
    CHECK(call->pthread_join(id, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(call->pthread_mutex_trylock(&mutex) == 0);
}

static void *not_now(void *arg)
{
    int state;

    CHECK(call->pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state) == 0);
    CHECK(state == PTHREAD_CANCEL_ENABLE && call->pthread_setcancelstate(77, NULL) == EINVAL);
    note('b');
    CHECK(call->usleep(1000) == 0);
    call->pthread_testcancel();
    note('d');
    CHECK(call->pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state) == 0);
    CHECK(state == PTHREAD_CANCEL_DISABLE);
    note('e');
    call->usleep(1);
    note('!');
    return arg;
}

static void cancellation_waits_until_it_may(void)
{
    pthread_t id = start(not_now, NULL);
    void *result;

    while (noted()[0] == '\0')
        st_thread_yield();
    CHECK(call->pthread_cancel(id) == 0);
    CHECK(call->pthread_join(id, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(strcmp(noted(), "bde") == 0);
}

static void *at_once(void *arg)
{
    CHECK(call->pthread_setcanceltype(77, NULL) == EINVAL);
    CHECK(call->pthread_cancel(call->pthread_self()) == 0);
    note('s');
    call->pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
    note('!');
    return arg;
}

static void one_may_cancel_itself(void)
{
    void *result;

    CHECK(call->pthread_join(start(at_once, NULL), &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(strcmp(noted(), "s") == 0);
}

static void *cancel_from_afar(void *arg)
{
    CHECK(call->pthread_cancel(*(pthread_t *)arg) == 0);
    return arg;
}

static void a_kernel_thread_may_cancel(void)
{
    pthread_t id = start(endless, NULL), canceller;
    void *result;

    settle();
    CHECK(call->pthread_create(&canceller, NULL, cancel_from_afar, &id) == 0);
    CHECK(call->pthread_join(id, &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(call->pthread_join(canceller, NULL) == 0);
}

/* --- programs --- */

static char in_child_called;

static void in_child(void)
{
    in_child_called = 1;
}

static void *run_for_long(void *arg)
{
    int status = call->system("exec sleep 1000");

    note('!');
    return (void *)(intptr_t)(status + (arg));
}

static void *read_and_close(void *arg)
{
    FILE *stream = call->popen("read line; exit 3", "w");

    CHECK(stream);
    note('p');
    CHECK(call->pclose(stream) == 3 << 8); /* not a place where threads are cancelled */
    note('c');
    call->pthread_testcancel();
    note('!');
    return arg;
}

static void no_handler(int number)
{
    (void)number;
}

/* The program of system() ends, the keyboard's signals are no longer ignored, and no child is
 * left. */
static void cancelled_with_a_program(void)
{
    struct sigaction action;
    pthread_t ids[2];
    void *result;

    stiol__in_child = in_child;
    CHECK(call->signal(SIGINT, no_handler) != SIG_ERR);
    ids[0] = start(run_for_long, NULL);
    ids[1] = start(read_and_close, NULL);
    while (noted()[0] != 'p')
        settle();
    for (int i = 0; i < 2; i++)
        CHECK(call->pthread_cancel(ids[i]) == 0);
    for (int i = 0; i < 2; i++)
        CHECK(call->pthread_join(ids[i], &result) == 0 && result == PTHREAD_CANCELED);
    CHECK(strcmp(noted(), "pc") == 0);
    CHECK(in_child_called || under_emulator()); /* whose vfork() gives the child its own memory */
    CHECK(call->sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == no_handler);
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(exit_runs_cleanup_handlers),
        VP_TEST(every_thread_has_its_own_handlers),
#ifdef HAVE_CXX
        VP_TEST(exit_runs_destructors),
#endif
        VP_TEST(exit_on_a_thread_of_libst),
        VP_TEST(exit_from_a_handler),
        VP_TEST(cancelled_threads_end_in_their_waits),
        VP_TEST(a_condition_is_left_with_the_mutex),
        VP_TEST(cancellation_waits_until_it_may),
        VP_TEST(one_may_cancel_itself),
        VP_TEST(a_kernel_thread_may_cancel),
        VP_TEST(cancelled_with_a_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal handlers: what they call are the real calls, whoever installed them and when; those who
 * install them see their own; and after a handler, however it was left, calls park again.
 */
#include <sys/time.h>

#include "tests/stiol/stiol_vp.h"

static const table_t *call = &table_any;

static int ticks;
static volatile sig_atomic_t handled;
static int pipe_fds[2];

/* Calls that would park, or give way, if a state thread made them. */
static void call_around(void)
{
    struct timespec moment = {0, 1000};
    struct pollfd one = {.fd = pipe_fds[0], .events = POLLIN};
    unsigned long long switches = st_switch_count();
    int error = errno, fd;
    char c;

    CHECK(!stiol__here());
    CHECK(call->write(pipe_fds[1], "x", 1) == 1);
    CHECK(call->poll(&one, 1, 1000) == 1);
    CHECK(call->read(pipe_fds[0], &c, 1) == 1);
    CHECK(call->poll(&one, 1, 0) == 0 && call->poll(&one, 1, 1) == 0);
    CHECK(call->sched_yield() == 0 && call->nanosleep(&moment, NULL) == 0);
    CHECK(call->waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
    fd = call->open("/dev/null", O_RDONLY);
    CHECK(fd >= 0 && call->close(fd) == 0);
    CHECK(st_switch_count() == switches);
    errno = error;
}

static void on_signal(int number)
{
    (void)number;
    call_around();
    handled++;
}

static void install(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    CHECK(call->sigaction(number, &action, NULL) == 0);
}

/* A state thread's calls do what the handler's do not. */
static void gives_way(void)
{
    unsigned long long parked = counters().sleep.parked;

    CHECK(stiol__here());
    CHECK(call->usleep(1) == 0);
    CHECK(counters().sleep.parked == parked + 1);
}

static void *raise_one(void *arg)
{
    (void)arg;
    errno = 4711;
    CHECK(raise(SIGUSR1) == 0);
    CHECK(errno == 4711);
    gives_way();
    return NULL;
}

static void a_handler_never_yields(void)
{
    CHECK(pipe(pipe_fds) == 0);
    install(SIGUSR1, on_signal, 0);
    spawn(ticker, &ticks);
    for (int i = 0; i < 3; i++)
        raise_one(NULL);
    st_thread_join(st_thread_create(raise_one, NULL, 1, 0), NULL);
    CHECK(handled == 4);
    stop_ticking = true;
}

/* A callback of the scheduler, in the midst of which the signal comes. */
static void raise_in_callback(st_watch_t *watch, int ready)
{
    (void)watch, (void)ready;
    CHECK(raise(SIGUSR1) == 0);
    CHECK(stiol__vp && st_in_callback());
}

static void a_handler_may_interrupt_the_scheduler(void)
{
    st_watch_t watch;

    CHECK(pipe(pipe_fds) == 0);
    install(SIGUSR1, on_signal, 0);
    st_watch_init(&watch, -1, 0, raise_in_callback);
    CHECK(st_watch_arm(&watch, 0, 0) == 0);
    while (handled == 0)
        st_thread_yield();
    st_watch_free(&watch);
    gives_way();
}

static void yield_and_tell(int number)
{
    unsigned long long switches = st_switch_count();

    (void)number;
    call->sched_yield();
    _exit(st_switch_count() == switches ? 10 : 20);
}

static void handler_body(void)
{
    install(SIGUSR1, yield_and_tell, 0);
    spawn(ticker, &ticks);
    CHECK(raise(SIGUSR1) == 0);
}

static void trap_11_handlers_make_the_real_calls(void)
{
    CHECK(without(0, handler_body) == 10);
    CHECK(without(STIOL_NO_HANDLERS, handler_body) == 20);
}

static pthread_key_t key;

static void look_at_value(int number)
{
    (void)number;
    CHECK(call->pthread_getspecific(key) == (void *)&key);
    handled++;
}

static void *have_a_value(void *arg)
{
    (void)arg;
    CHECK(call->pthread_setspecific(key, &key) == 0);
    CHECK(raise(SIGUSR1) == 0);
    return NULL;
}

/* As Perl's handlers find their interpreter. */
static void a_handler_sees_the_values_of_its_thread(void)
{
    CHECK(call->pthread_key_create(&key, NULL) == 0);
    install(SIGUSR1, look_at_value, 0);
    st_thread_join(st_thread_create(have_a_value, NULL, 1, 0), NULL);
    CHECK(handled == 1 && !call->pthread_getspecific(key));
    have_a_value(NULL);
    CHECK(handled == 2);
}

/* --- who installs them --- */

static void earlier(int number)
{
    (void)number;
    call_around();
    handled++;
}

static void handlers_that_were_there_before_are_known(void)
{
    struct sigaction action = {.sa_handler = earlier, .sa_flags = SA_RESTART}, now;

    sigaddset(&action.sa_mask, SIGUSR2);
    CHECK(pipe(pipe_fds) == 0 && sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(signal(SIGHUP, SIG_IGN) != SIG_ERR);
    start_vp();
    CHECK(raise(SIGUSR1) == 0 && handled == 1);
    CHECK(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler != earlier);
    CHECK(call->sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == earlier);
    CHECK((now.sa_flags & ~0x04000000) == SA_RESTART && sigismember(&now.sa_mask, SIGUSR2) == 1);
    CHECK(call->sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler == SIG_IGN);
    stop_vp();
    CHECK(sigaction(SIGUSR1, NULL, &now) == 0 && now.sa_handler == earlier);
    CHECK((now.sa_flags & ~0x04000000) == SA_RESTART);
}

static void one(int number)
{
    (void)number;
    note('1');
}

static void two(int number)
{
    (void)number;
    CHECK(!stiol__here());
    note('2');
}

static void every_setter_tells_the_callers_own(void)
{
    __typeof__(signal) *const setters[] = {call->signal,      call->bsd_signal,    call->ssignal,
                                           call->sysv_signal, call->__sysv_signal, call->sigset};
    struct sigaction action = {.sa_handler = one}, old;

    for (size_t i = 0; i < sizeof(setters) / sizeof(*setters); i++) {
        forget_notes();
        CHECK(call->sigaction(SIGUSR1, &action, NULL) == 0);
        CHECK(setters[i](SIGUSR1, two) == one);
        CHECK(raise(SIGUSR1) == 0 && strcmp(noted(), "2") == 0);
        CHECK(setters[i](SIGUSR1, two) != SIG_ERR);
        CHECK(setters[i](SIGUSR1, SIG_IGN) == two && setters[i](SIGUSR1, one) == SIG_IGN);
        CHECK(setters[i](SIGUSR1, SIG_DFL) == one && setters[i](SIGUSR1, one) == SIG_DFL);
        CHECK(setters[i](SIGKILL, one) == SIG_ERR && errno == EINVAL);
    }
    CHECK(call->__sigaction(SIGUSR1, &action, &old) == 0 && old.sa_handler == one);
    CHECK(call->sigaction(SIGKILL, &action, NULL) == -1 && errno == EINVAL);
    CHECK(call->sigaction(4711, &action, NULL) == -1 && errno == EINVAL);
    CHECK(call->sigaction(0, NULL, &old) == -1 && errno == EINVAL);
}

/* --- flags --- */

static volatile sig_atomic_t value;

static void with_info(int number, siginfo_t *info, void *context)
{
    CHECK(number == SIGUSR1 && context && info->si_code == SI_QUEUE);
    CHECK(!stiol__here());
    value = info->si_value.sival_int;
}

static void a_handler_of_three_arguments_gets_them(void)
{
    struct sigaction action = {.sa_sigaction = with_info, .sa_flags = SA_SIGINFO}, old;

    CHECK(call->sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 42}) == 0 && value == 42);
    CHECK(call->sigaction(SIGUSR1, NULL, &old) == 0);
    CHECK(old.sa_sigaction == with_info && (old.sa_flags & SA_SIGINFO) != 0);
}

static void once_only_is_once_only(void)
{
    struct sigaction old;

    install(SIGUSR1, one, (int)SA_RESETHAND);
    CHECK(raise(SIGUSR1) == 0 && strcmp(noted(), "1") == 0);
    CHECK(call->sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == SIG_DFL);
}

static int depth;

static void nested(int number)
{
    CHECK(!stiol__here());
    if (++depth < 4)
        CHECK(raise(depth % 2 != 0 ? SIGUSR2 : SIGUSR1) == 0);
    (void)number;
    call_around(); /* the inner ones have returned */
}

static void handlers_nest(void)
{
    CHECK(pipe(pipe_fds) == 0);
    install(SIGUSR1, nested, (int)SA_NODEFER);
    install(SIGUSR2, nested, (int)SA_NODEFER);
    CHECK(raise(SIGUSR1) == 0 && depth == 4);
    gives_way();
}

static void give_own_stack(void)
{
    static char room[65536];
    const stack_t own = {.ss_sp = room, .ss_size = sizeof(room)};

    CHECK(sigaltstack(&own, NULL) == 0);
}

static void a_stack_of_their_own_is_used(void)
{
    CHECK(pipe(pipe_fds) == 0);
    give_own_stack();
    install(SIGUSR1, on_signal, SA_ONSTACK);
    st_thread_join(st_thread_create(raise_one, NULL, 1, 0), NULL);
    CHECK(handled == 1);
}

static void raise_another(int number)
{
    (void)number;
    CHECK(raise(SIGUSR2) == 0);
    call_around();
}

/* Above the interrupted stack, where frames of a handler on the thread's own stack never are. */
static void a_handler_interrupts_another_from_its_own_stack(void)
{
    const size_t size = 65536;
    char *room = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const stack_t own = {.ss_sp = room, .ss_size = size};
    st_thread_t thread;

    CHECK(room != MAP_FAILED && pipe(pipe_fds) == 0 && sigaltstack(&own, NULL) == 0);
    install(SIGUSR1, raise_another, 0);
    install(SIGUSR2, on_signal, SA_ONSTACK);
    thread = st_thread_create(raise_one, NULL, 1, 0);
    if (under_emulator() && (char *)thread > room)
        skip_test("the emulator maps memory upwards");
    CHECK(thread && (char *)thread < room);
    CHECK(st_thread_join(thread, NULL) == 0 && handled == 1);
}

/* --- handlers that do not return --- */

static sigjmp_buf env;

static void jump(int number)
{
    CHECK(!stiol__here());
    call->siglongjmp(env, number);
}

static void jump_unseen(int number)
{
    siglongjmp(env, number);
}

static void jump_seen_by_fortified_code(int number)
{
    call->__longjmp_chk(env, number);
}

/* As code that tries an instruction: the address is none. */
__attribute__((no_sanitize("undefined"))) static void *try_and_jump(void *arg)
{
    volatile int *volatile nowhere = NULL;

    (void)arg;
    if (sigsetjmp(env, 1) == 0) {
        *nowhere = 1;
        CHECK(false);
    }
    gives_way();
    return NULL;
}

static void a_handler_may_be_left_by_a_jump(void)
{
    static void (*const jumps[])(int) = {jump, jump_unseen, jump_seen_by_fortified_code};

    give_own_stack();
    for (int i = 0; i < 6; i++) {
        install(SIGSEGV, jumps[i / 2], i % 2 != 0 ? SA_ONSTACK : 0);
        try_and_jump(NULL);
        CHECK(st_thread_join(st_thread_create(try_and_jump, NULL, 1, 65536), NULL) == 0);
        try_and_jump(NULL);
    }
}

static void jump_within(int number)
{
    if (sigsetjmp(env, 1) == 0)
        call->siglongjmp(env, number);
    on_signal(number);
}

static void a_jump_within_a_handler_does_not_leave_it(void)
{
    CHECK(pipe(pipe_fds) == 0);
    give_own_stack();
    for (int i = 0; i < 2; i++) {
        install(SIGUSR1, jump_within, i == 0 ? 0 : SA_ONSTACK);
        CHECK(raise(SIGUSR1) == 0);
        gives_way();
    }
    CHECK(handled == 2);
}

static void fork_in_handler(int number)
{
    (void)number;
    handled = fork();
}

static void *come_back_in_the_child(void *arg)
{
    int status;

    (void)arg;
    CHECK(raise(SIGUSR1) == 0);
    if (handled == 0) {
        CHECK(!stiol__here() && !stiol__vp && call->usleep(1) == 0);
        handled = 0;
        install(SIGUSR2, two, 0);
        CHECK(raise(SIGUSR2) == 0 && strcmp(noted(), "2") == 0);
        _exit(7);
    }
    CHECK(call->waitpid(handled, &status, 0) == handled && WEXITSTATUS(status) == 7);
    gives_way();
    return NULL;
}

static void a_child_of_a_handler_is_no_vp(void)
{
    install(SIGUSR1, fork_in_handler, 0);
    st_thread_join(st_thread_create(come_back_in_the_child, NULL, 1, 0), NULL);
}

/* --- what they release and close --- */

enum { SEMAPHORES = 40 };

static sem_t sems[SEMAPHORES];

static void post_all(int number)
{
    (void)number;
    for (int i = 0; i < SEMAPHORES; i++)
        CHECK(call->sem_post(&sems[i]) == 0);
}

static void *wait_for_post(void *arg)
{
    note('(');
    CHECK(call->sem_wait(arg) == 0);
    note(')');
    return NULL;
}

static void a_handler_may_post_semaphores(void)
{
    for (int i = 0; i < SEMAPHORES; i++) {
        CHECK(sem_init(&sems[i], 0, 0) == 0);
        spawn(wait_for_post, &sems[i]);
    }
    settle();
    install(SIGUSR1, post_all, 0);
    CHECK(!strchr(noted(), ')') && raise(SIGUSR1) == 0);
    reap();
    CHECK(strlen(noted()) == 2 * SEMAPHORES);
}

static int victim;

static void close_victim(int number)
{
    (void)number;
    CHECK(call->close(victim) == 0);
}

static void what_a_handler_closes_is_closed(void)
{
    struct pollfd poller = {.events = POLLIN};
    int fds[2];

    install(SIGUSR1, close_victim, 0);
    CHECK(call->socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    poller.fd = victim = fds[0];
    CHECK(call->poll(&poller, 1, 1) == 0); /* libst knows it now */
    CHECK(raise(SIGUSR1) == 0);
    CHECK(call->pipe(pipe_fds) == 0 && pipe_fds[0] == victim);
    CHECK(call->write(pipe_fds[1], "x", 1) == 1);
    CHECK(call->poll(&poller, 1, -1) == 1 && poller.revents == POLLIN);
}

/* --- other kernel threads, and a storm --- */

static void on_kernel_threads_signal(int number)
{
    struct timespec moment = {0, 1000};

    (void)number;
    CHECK(!st_vp_self() && call->nanosleep(&moment, NULL) == 0);
    handled++;
}

static void *raise_there(void *arg)
{
    (void)arg;
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    while (handled == 0)
        sched_yield();
    return NULL;
}

static void kernel_threads_have_handlers_too(void)
{
    install(SIGUSR1, on_kernel_threads_signal, 0);
    join_kernel_thread(kernel_thread(raise_there, NULL));
    CHECK(handled == 1);
    gives_way();
}

enum {
    ROUNDS = 500,
    PLAYERS = 4,
};

/* A self-pipe, as many libraries have one. */
static void write_to_self(int number)
{
    int error = errno;

    (void)number;
    CHECK(call->write(pipe_fds[1], "x", 1) == 1);
    handled++;
    errno = error;
}

static void *drain(void *arg)
{
    char data[64];
    ssize_t n;

    (void)arg;
    while ((n = call->read(pipe_fds[0], data, sizeof(data))) > 0)
        if (data[n - 1] == 'q')
            break;
    return NULL;
}

static void *echo(void *arg)
{
    char c;

    while (read(*(int *)arg, &c, 1) == 1)
        CHECK(write(*(int *)arg, &c, 1) == 1);
    return NULL;
}

static void *play(void *arg)
{
    int *fds = arg;
    char c;

    for (int i = 0; i < ROUNDS; i++) {
        CHECK(call->write(fds[0], "x", 1) == 1);
        CHECK(call->read(fds[0], &c, 1) == 1);
    }
    close(fds[0]);
    return NULL;
}

static void a_storm_of_signals_disturbs_nobody(void)
{
    const struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
    pthread_t echoes[PLAYERS];
    int fds[PLAYERS][2];
    sigset_t blocked;

    CHECK(call->pipe(pipe_fds) == 0);
    install(SIGPROF, write_to_self, SA_RESTART);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGPROF);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
    for (int i = 0; i < PLAYERS; i++) {
        CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]) == 0);
        echoes[i] = kernel_thread(echo, &fds[i][1]);
    }
    CHECK(pthread_sigmask(SIG_UNBLOCK, &blocked, NULL) == 0);
    st_thread_t drainer = st_thread_create(drain, NULL, 1, 0);
    CHECK(setitimer(ITIMER_PROF, &often, NULL) == 0);
    for (int i = 0; i < PLAYERS; i++)
        spawn(play, fds[i]);
    reap();
    while (handled == 0)
        gives_way();
    CHECK(setitimer(ITIMER_PROF, &never, NULL) == 0);
    CHECK(write(pipe_fds[1], "q", 1) == 1 && st_thread_join(drainer, NULL) == 0);
    for (int i = 0; i < PLAYERS; i++)
        join_kernel_thread(echoes[i]);
}

/* --- waits for a handler --- */

static void note_signal(int number)
{
    note(number == SIGUSR1 ? '1' : '2');
}

static void *pause_once(void *arg)
{
    (void)arg;
    note('p');
    CHECK(call->pause() == -1 && errno == EINTR);
    note('P');
    return NULL;
}

/* SIGUSR2 is blocked but while it waits. */
static void *suspend_once(void *arg)
{
    sigset_t blocked, mask;

    (void)arg;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    CHECK(call->pthread_sigmask(SIG_BLOCK, &blocked, &mask) == 0);
    note('s');
    CHECK(kill(getpid(), SIGUSR2) == 0 && strcmp(noted(), "s") == 0);
    CHECK(call->sigsuspend(&mask) == -1 && errno == EINTR);
    CHECK(strcmp(noted(), "s2") == 0);
    CHECK(call->pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0 && sigismember(&mask, SIGUSR2) == 1);
    return NULL;
}

static void who_waits_for_a_handler_parks(void)
{
    int turns = 0;

    install(SIGUSR1, note_signal, 0);
    install(SIGUSR2, note_signal, 0);
    spawn(pause_once, NULL);
    spawn(ticker, &turns);
    while (turns < 10)
        st_thread_yield();
    CHECK(strcmp(noted(), "p") == 0 && raise(SIGUSR1) == 0);
    stop_ticking = true;
    reap();
    CHECK(strcmp(noted(), "p1P") == 0);
    forget_notes();
    spawn(suspend_once, NULL);
    reap();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(a_handler_never_yields),
        VP_TEST(a_handler_may_interrupt_the_scheduler),
        VP_TEST(a_handler_sees_the_values_of_its_thread),
        RAW_TEST(trap_11_handlers_make_the_real_calls),
        RAW_TEST(handlers_that_were_there_before_are_known),
        VP_TEST(every_setter_tells_the_callers_own),
        VP_TEST(a_handler_of_three_arguments_gets_them),
        VP_TEST(once_only_is_once_only),
        VP_TEST(handlers_nest),
        VP_TEST(a_stack_of_their_own_is_used),
        VP_TEST(a_handler_interrupts_another_from_its_own_stack),
        VP_TEST(a_handler_may_be_left_by_a_jump),
        VP_TEST(a_jump_within_a_handler_does_not_leave_it),
        VP_TEST(a_child_of_a_handler_is_no_vp),
        VP_TEST(a_handler_may_post_semaphores),
        VP_TEST(what_a_handler_closes_is_closed),
        VP_TEST(kernel_threads_have_handlers_too),
        VP_TEST(who_waits_for_a_handler_parks),
        VP_TEST(a_storm_of_signals_disturbs_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

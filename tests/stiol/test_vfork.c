/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfork(): the child runs in the VP's memory, but is no VP, and changes nothing that is the VP's.
 * Signal handlers may run in either. The program gets the limits that it should have.
 */
#include "stiol/fd.h"
#include "stiol/program.h"
#include "tests/stiol/stiol_vp.h"

enum { LIMIT = 777 }; /* of open files, for programs: not the VP's */

static const table_t *call = &table_any;
static int fds[2];
static volatile int runs; /* of the handler */

#define SH(command)                                                                                \
    {                                                                                              \
        (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)(command), NULL     \
    }

/* What a child returned with. */
static int status_of(pid_t pid)
{
    int status;

    CHECK(pid > 0 && call->waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

/* Under an emulator, or in a build without optimisation, it is a fork. */
static bool shares_memory(void)
{
    static volatile int where;
    pid_t pid;

    where = 1;
    pid = call->vfork();
    if (pid == 0) {
        where = 2;
        _exit(0);
    }
    CHECK(status_of(pid) == 0);
    return where == 2;
}

static void it_is_the_real_one(void)
{
#ifdef OPTIMISED
    CHECK(stiol__vfork_is_real());
    CHECK(shares_memory() || under_emulator() || under_valgrind());
#else
    skip_test("built without optimisation, so vfork() is a fork");
#endif
}

static void *on_kernel_thread(void *arg)
{
    volatile int where = 1;
    int status;
    pid_t pid = call->vfork();

    (void)arg;
    if (pid == 0) {
        where = 2;
        _exit(0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 && where == 1);
    return NULL;
}

static void on_other_kernel_threads_it_is_a_fork(void)
{
    join_kernel_thread(kernel_thread(on_kernel_thread, NULL));
}

static void *read_one(void *arg)
{
    char c;

    CHECK(call->read(fds[0], &c, 1) == 1 && c == 'x');
    note('r');
    return arg;
}

static void count_run(int number)
{
    (void)number;
    CHECK(!stiol__here());
    CHECK(call->usleep(1) == 0); /* the real one: no thread switch */
    runs++;
}

static void other_handler(int number)
{
    (void)number;
    _exit(9);
}

/* What children do before they execute a program, and some more. Returns where it failed. */
static int prepare(pthread_t self)
{
    struct sigaction action = {.sa_handler = other_handler};
    sigset_t all;

    sigfillset(&all);
    if (stiol__here() || call->pthread_self() != self || call->gettid() != getpid())
        return 1;
    if (call->close(fds[0]) != 0 || call->dup2(2, fds[0]) != fds[0] || call->close(100) == 0)
        return 2;
    if (call->close_range(3, ~0U, 0) != 0 || call->socket(AF_UNIX, SOCK_STREAM, 0) != 3)
        return 3;
    if (call->sigaction(SIGUSR1, &action, NULL) != 0 ||
        call->pthread_sigmask(SIG_SETMASK, &all, NULL) != 0 ||
        call->prctl(PR_SET_NAME, "child", 0, 0, 0) != 0)
        return 4;
    return call->usleep(1) == 0 && call->poll(NULL, 0, 1) == 0 ? 0 : 5;
}

static void nothing_of_the_vp_is_touched(void)
{
    struct sigaction action = {.sa_handler = count_run};
    stiol_counters_t before, after;
    stiol__fd_class_t class;
    pthread_t self = call->pthread_self();
    char name[16];
    pid_t pid;

    forget_notes();
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    CHECK(call->sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(call->prctl(PR_SET_NAME, "parent", 0, 0, 0) == 0);
    spawn(read_one, NULL);
    st_thread_yield(); /* it waits */
    class = stiol__fd_noted(fds[0]);
    before = counters();
    pid = call->vfork();
    if (pid == 0)
        _exit(prepare(self));
    after = counters();
    before.process.calls++;
    CHECK(memcmp(&before, &after, sizeof(before)) == 0);
    CHECK(stiol__fd_noted(fds[0]) == class && *stiol__fd_byte(3) != STIOL_ELSEWHERE);
    CHECK(status_of(pid) == 0);
    CHECK(stiol__here() && call->pthread_self() == self);
    CHECK(call->pthread_getname_np(self, name, sizeof(name)) == 0 && strcmp(name, "parent") == 0);
    CHECK(write(fds[1], "x", 1) == 1);
    reap();
    CHECK(strcmp(noted(), "r") == 0);
    runs = 0;
    CHECK(raise(SIGUSR1) == 0 && runs == 1);
    close(fds[0]);
    close(fds[1]);
}

/* --- signal handlers --- */

static void handle_with(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};

    CHECK(call->sigaction(SIGUSR1, &action, NULL) == 0);
}

static void handlers_run_in_the_child(void)
{
    pid_t pid;

    handle_with(count_run);
    pid = call->vfork();
    if (pid == 0)
        _exit(raise(SIGUSR1) == 0 && !stiol__here() ? 0 : 1);
    CHECK(stiol__here());
    CHECK(status_of(pid) == 0);
}

static void leave_child(int number)
{
    (void)number;
    _exit(call->usleep(1) == 0 && !stiol__here() ? 7 : 8);
}

static void and_may_end_it(void)
{
    pid_t pid;

    handle_with(leave_child);
    pid = call->vfork();
    if (pid == 0) {
        (void)raise(SIGUSR1);
        _exit(1);
    }
    CHECK(stiol__here());
    CHECK(status_of(pid) == 7);
    CHECK(stiol__interruption.depth <= 1);
}

static void handlers_run_in_the_parent_before_its_first_call(void)
{
    pid_t pid;

    handle_with(count_run);
    runs = 0;
    pid = call->vfork();
    if (pid == 0)
        _exit(0);
    CHECK(raise(SIGUSR1) == 0 && runs == 1); /* not through the table */
    CHECK(stiol__here());
    CHECK(raise(SIGUSR1) == 0 && runs == 2);
    CHECK(stiol__here());
    CHECK(status_of(pid) == 0);
}

static sigjmp_buf back;

static void jump_back(int number)
{
    (void)number;
    call->siglongjmp(back, 1);
}

static void and_may_leave_by_a_jump(void)
{
    volatile pid_t pid;

    handle_with(jump_back);
    pid = call->vfork();
    if (pid == 0)
        _exit(0);
    if (sigsetjmp(back, 1) == 0) {
        (void)raise(SIGUSR1);
        CHECK(!"reached");
    }
    CHECK(stiol__here());
    CHECK(status_of(pid) == 0);
}

/* --- programs --- */

static void put_limit(void)
{
    const struct rlimit limit = {LIMIT, LIMIT};

    setrlimit(RLIMIT_NOFILE, &limit);
}

enum { EXECVE, EXECV, EXECVP, EXECVPE, EXECL, EXECLP, EXECLE, FEXECVE, EXECVEAT, WAYS };

static void execute(int way, int shell)
{
    char *const argv[] = SH("[ $(ulimit -n) = 777 ]");
    char *const env[] = {(char *)(uintptr_t) "PATH=/bin", NULL};

    switch (way) {
    case EXECVE:
        call->execve("/bin/sh", argv, env);
        break;
    case EXECV:
        call->execv("/bin/sh", argv);
        break;
    case EXECVP:
        call->execvp("sh", argv);
        break;
    case EXECVPE:
        call->execvpe("sh", argv, env);
        break;
    case EXECL:
        call->execl("/bin/sh", argv[0], argv[1], argv[2], NULL);
        break;
    case EXECLP:
        call->execlp("sh", argv[0], argv[1], argv[2], NULL);
        break;
    case EXECLE:
        call->execle("/bin/sh", argv[0], argv[1], "[ $(ulimit -n)$A = 777b ]", NULL,
                     ((char *[]){(char *)(uintptr_t) "A=b", NULL}));
        break;
    case FEXECVE:
        call->fexecve(shell, argv, env);
        break;
    default:
        call->execveat(AT_FDCWD, "/bin/sh", argv, env, 0);
        break;
    }
}

static void programs_get_the_limit(void)
{
    int shell = open("/bin/sh", O_RDONLY | O_CLOEXEC);
    stiol_config_t config = test_config;
    struct rlimit before, after;

    config.in_child = put_limit;
    stiol_stop();
    CHECK(stiol_start(&config) == 0);
    if (!shares_memory())
        skip_test("a fork's handlers set the limit");
    CHECK(shell >= 0 && getrlimit(RLIMIT_NOFILE, &before) == 0);
    for (int way = 0; way < WAYS; way++) {
        pid_t pid = call->vfork();

        if (pid == 0) {
            execute(way, shell);
            _exit(100);
        }
        CHECK(status_of(pid) == 0);
        CHECK(stiol__here() && getrlimit(RLIMIT_NOFILE, &after) == 0);
        CHECK(memcmp(&before, &after, sizeof(before)) == 0);
    }
    close(shell);
}

static void an_error_is_told_through_memory(void)
{
    volatile int error = 0;
    char *const argv[] = {NULL};
    pid_t pid = call->vfork();

    if (pid == 0) {
        call->execv("/nowhere", argv);
        error = errno;
        _exit(1);
    }
    CHECK(status_of(pid) == 1 && error == (shares_memory() ? ENOENT : 0));
}

enum { THREADS = 20 };

static void *run_and_wait(void *arg)
{
    char *const argv[] = SH("exit 3");
    int status;
    pid_t pid = call->vfork();

    if (pid == 0) {
        call->execv("/bin/sh", argv);
        _exit(100);
    }
    CHECK(pid > 0 && call->waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
    note('e');
    return arg;
}

static void many_at_once(void)
{
    forget_notes();
    for (int i = 0; i < THREADS; i++)
        spawn(run_and_wait, NULL);
    reap();
    CHECK(strlen(noted()) == THREADS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(it_is_the_real_one),
        VP_TEST(on_other_kernel_threads_it_is_a_fork),
        VP_TEST(nothing_of_the_vp_is_touched),
        VP_TEST(handlers_run_in_the_child),
        VP_TEST(and_may_end_it),
        VP_TEST(handlers_run_in_the_parent_before_its_first_call),
        VP_TEST(and_may_leave_by_a_jump),
        VP_TEST(programs_get_the_limit),
        VP_TEST(an_error_is_told_through_memory),
        VP_TEST(many_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that posix_spawn(), system() and popen() start: with their limits restored, and
 * otherwise as the C library's own calls would start them.
 */
#include <sys/mount.h>
#include <sys/stat.h>

#include "tests/stiol/stiol_vp.h"

enum { LIMIT = 777 }; /* of open files, for programs: not the VP's */

static const table_t *call = &table_any;

static void put_limit(void)
{
    const struct rlimit limit = {LIMIT, LIMIT};

    setrlimit(RLIMIT_NOFILE, &limit);
}

static void start_with_limits(void)
{
    stiol_config_t config = test_config;

    config.in_child = put_limit;
    stiol_stop();
    CHECK(stiol_start(&config) == 0);
}

/* What a program started by posix_spawn() writes to its standard output; its status goes to
 * *status. */
static const char *said_by(int fd)
{
    static char text[2][4096];
    static int turn;
    char *said = text[turn ^= 1];
    size_t n = 0;
    ssize_t more;

    while ((more = read(fd, said + n, sizeof(text[0]) - 1 - n)) > 0)
        n += (size_t)more;
    said[n] = '\0';
    close(fd);
    return said;
}

typedef struct order {
    const char *file, *command; /* of sh; NULL: `file` alone */
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
} order_t;

static void begin(order_t *order, const char *command)
{
    *order = (order_t){.file = "/bin/sh", .command = command};
    CHECK(posix_spawn_file_actions_init(&order->actions) == 0);
    CHECK(posix_spawnattr_init(&order->attr) == 0);
}

static void end(order_t *order)
{
    posix_spawn_file_actions_destroy(&order->actions);
    posix_spawnattr_destroy(&order->attr);
}

typedef __typeof__(posix_spawn) spawn_t;

/* NULL and *rc: it could not be started. */
static const char *run_with(spawn_t *spawn_it, order_t *order, int *rc)
{
    char *const argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                          (char *)(uintptr_t)order->command, NULL};
    posix_spawn_file_actions_t actions = order->actions;
    int fds[2], status;
    const char *said;
    pid_t pid = -5;

    CHECK(pipe2(fds, O_CLOEXEC) == 0);
    CHECK(fcntl(fds[1], F_DUPFD_CLOEXEC, 100) == 100); /* actions may close the lower ones */
    errno = EXDEV;
    *rc = spawn_it(&pid, order->file, &actions, &order->attr, argv, environ);
    CHECK(errno == EXDEV || spawn_it == posix_spawn || spawn_it == posix_spawnp);
    close(fds[1]);
    close(100);
    if (*rc != 0) {
        CHECK(pid == -5 && waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
        errno = 0;
        close(fds[0]);
        return NULL;
    }
    said = said_by(fds[0]);
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return said;
}

/* Errors are reported through the memory that a child of vfork() shares. */
static void need_vfork(void)
{
    char *const argv[] = {NULL};

    if (posix_spawn(NULL, "/nowhere", NULL, NULL, argv, environ) != ENOENT)
        skip_test("an emulator's vfork() is a fork");
}

/* The real call and the replacement must do the same. */
static void same(order_t *order, bool search)
{
    int rc, real_rc;
    const char *real = run_with(search ? posix_spawnp : posix_spawn, order, &real_rc);
    const char *said = run_with(search ? call->posix_spawnp : call->posix_spawn, order, &rc);

    CHECK(rc == real_rc && (!real) == (!said));
    if (real && strcmp(real, said) != 0)
        fprintf(stderr, "%s: \"%s\", and by the C library \"%s\"\n", order->command, said, real);
    CHECK(!real || (real[0] != '\0' && strcmp(real, said) == 0));
    end(order);
}

static void out(order_t *order)
{
    CHECK(posix_spawn_file_actions_adddup2(&order->actions, 100, 1) == 0);
}

/* --- posix_spawn() --- */

static void programs_get_the_limit(void)
{
    struct rlimit before, after;
    char expected[20];
    order_t order;
    int rc;

    start_with_limits();
    snprintf(expected, sizeof(expected), "%d\n", LIMIT);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0 && before.rlim_cur > LIMIT);
    begin(&order, "ulimit -n");
    out(&order);
    CHECK(strcmp(run_with(call->posix_spawn, &order, &rc), expected) == 0);
    order.file = "sh";
    CHECK(strcmp(run_with(call->posix_spawnp, &order, &rc), expected) == 0);
    CHECK(strcmp(run_with(posix_spawnp, &order, &rc), expected) != 0);
    CHECK(getrlimit(RLIMIT_NOFILE, &after) == 0 && after.rlim_cur == before.rlim_cur);
    end(&order);
}

static void file_actions(void)
{
    order_t order;
    int fd;

    start_with_limits();
    begin(&order, "cat; pwd; ls -l /proc/self/fd | grep -c /dev/null");
    out(&order);
    CHECK(posix_spawn_file_actions_addopen(&order.actions, 0, "/proc/version", O_RDONLY, 0) == 0);
    CHECK(posix_spawn_file_actions_addopen(&order.actions, 5, "/dev/null", O_RDWR, 0) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&order.actions, 5, 900) == 0); /* above the limit */
    CHECK(posix_spawn_file_actions_adddup2(&order.actions, 900, 6) == 0);
    CHECK(posix_spawn_file_actions_addchdir_np(&order.actions, "/proc/self") == 0);
    CHECK(posix_spawn_file_actions_addchdir_np(&order.actions, "fd") == 0);
    CHECK(posix_spawn_file_actions_addclose(&order.actions, 5) == 0);
    CHECK(posix_spawn_file_actions_addclose(&order.actions, 77) == 0); /* not open */
    CHECK(posix_spawn_file_actions_addchdir_np(&order.actions, "/usr/lib") == 0);
    same(&order, false);

    fd = open("/usr/bin", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    begin(&order, "pwd; echo /proc/$$/fd/*");
    order.command = "pwd; cd /proc/self/fd; ls | head -3";
    out(&order);
    CHECK(posix_spawn_file_actions_addfchdir_np(&order.actions, fd) == 0);
    CHECK(posix_spawn_file_actions_addclosefrom_np(&order.actions, 3) == 0);
    same(&order, false);

    begin(&order, "ls /proc/self/fd");
    out(&order);
    CHECK(posix_spawn_file_actions_adddup2(&order.actions, fd, fd) == 0); /* kept open */
    same(&order, false);
    close(fd);
}

static void file_actions_that_fail(void)
{
    order_t order;

    need_vfork();
    start_with_limits();
    begin(&order, "echo never");
    CHECK(posix_spawn_file_actions_addopen(&order.actions, 0, "/nowhere", O_RDONLY, 0) == 0);
    same(&order, false);
    begin(&order, "echo never");
    CHECK(posix_spawn_file_actions_adddup2(&order.actions, 77, 1) == 0);
    same(&order, false);
    begin(&order, "echo never");
    CHECK(posix_spawn_file_actions_adddup2(&order.actions, 77, 77) == 0);
    same(&order, false);
    begin(&order, "echo never");
    CHECK(posix_spawn_file_actions_addchdir_np(&order.actions, "/nowhere") == 0);
    same(&order, false);
    begin(&order, "echo never");
    CHECK(posix_spawn_file_actions_addfchdir_np(&order.actions, 77) == 0);
    same(&order, false);
}

static void on_signal(int signal_number)
{
    (void)signal_number;
    _exit(99);
}

#define STATE                                                                                      \
    "grep -E '^Sig(Blk|Cgt)' /proc/self/status; "                                                  \
    "grep SigIgn /proc/self/status | sed 's/.*\\(........\\)$/\\1/;s/^[0-9a-f]/x/'"

static void attributes(void)
{
    const struct sched_param param = {0};
    sigset_t set;
    order_t order;

    need_vfork();
    start_with_limits();
    signal(SIGUSR1, on_signal);
    signal(SIGUSR2, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    begin(&order, STATE);
    out(&order);
    same(&order, false); /* the mask is the caller's; ignored ones stay so */

    begin(&order, STATE);
    out(&order);
    sigaddset(&set, SIGUSR1);
    CHECK(posix_spawnattr_setsigmask(&order.attr, &set) == 0);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    CHECK(posix_spawnattr_setsigdefault(&order.attr, &set) == 0);
    CHECK(posix_spawnattr_setflags(&order.attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) ==
          0);
    same(&order, false);

    begin(&order, "set -- $(cat /proc/self/stat); [ $5 = $4 ] && echo group; ");
    out(&order);
    CHECK(posix_spawnattr_setpgroup(&order.attr, 0) == 0);
    CHECK(posix_spawnattr_setschedparam(&order.attr, &param) == 0);
    CHECK(posix_spawnattr_setschedpolicy(&order.attr, SCHED_OTHER) == 0);
    CHECK(posix_spawnattr_setflags(&order.attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSCHEDULER |
                                                    POSIX_SPAWN_RESETIDS) == 0);
    same(&order, false);

    begin(&order, "set -- $(cat /proc/self/stat); [ $6 = $4 ] && echo session");
    out(&order);
    CHECK(posix_spawnattr_setflags(&order.attr, POSIX_SPAWN_SETSID) == 0);
    same(&order, false);

    begin(&order, "echo never");
    CHECK(posix_spawnattr_setpgroup(&order.attr, 1) == 0); /* of another session */
    CHECK(posix_spawnattr_setflags(&order.attr, POSIX_SPAWN_SETPGROUP) == 0);
    same(&order, false);
}

static void files_that_are_no_programs(void)
{
    char path[] = "/tmp/stiol-spawn-XXXXXX", file[64];
    order_t order;

    need_vfork();
    start_with_limits();
    CHECK(mkdtemp(path) && setenv("PATH", path, 1) == 0);
    snprintf(file, sizeof(file), "%s/text", path);
    for (int mode = 0600; mode <= 0700; mode += 0100) { /* EACCES for most, then ENOEXEC */
        close(open(file, O_CREAT | O_WRONLY, mode));
        CHECK(chmod(file, (mode_t)mode) == 0);
        begin(&order, "echo never");
        order.file = "text";
        same(&order, true);
        begin(&order, "echo never");
        order.file = file;
        same(&order, false);
    }
    CHECK(unlink(file) == 0 && rmdir(path) == 0);
    for (int i = 0; i < 4; i++) {
        const char *const names[] = {"nothing-of-that-name", "/nowhere/at/all", "", "/etc"};

        begin(&order, "echo never");
        order.file = names[i];
        same(&order, true);
    }
    CHECK(setenv("PATH", "/nowhere::/etc/passwd:/bin:/usr/bin", 1) == 0);
    begin(&order, "echo found");
    order.file = "sh";
    out(&order);
    same(&order, true);
    CHECK(unsetenv("PATH") == 0);
    begin(&order, "echo found");
    order.file = "sh";
    out(&order);
    same(&order, true);
}

/* --- system() and popen() --- */

static void *use_shells(void *arg)
{
    char text[80], expected[20];
    FILE *stream;

    snprintf(expected, sizeof(expected), "%d\n", LIMIT);
    snprintf(text, sizeof(text), "[ $(ulimit -n) = %d ]", LIMIT);
    CHECK(call->system(text) == 0);
    stream = call->popen("ulimit -n", "re");
    CHECK(stream && (fcntl(fileno(stream), F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(fgets(text, sizeof(text), stream) && strcmp(text, expected) == 0);
    CHECK(call->pclose(stream) == 0);
    return arg;
}

static void shells_get_the_limit(void)
{
    start_with_limits();
    for (int i = 0; i < 10; i++)
        spawn(use_shells, NULL);
    reap();
    join_kernel_thread(kernel_thread(use_shells, NULL)); /* a module's own is no VP */
    CHECK(counters().process.helped == 0);
}

static void system_says_what_the_c_librarys_says(void)
{
    struct sigaction action;

    start_with_limits();
    signal(SIGINT, on_signal);
    CHECK(call->system("exit 3") == system("exit 3"));
    CHECK(call->system("kill -9 $$") == system("kill -9 $$"));
    CHECK(call->system("kill -INT $$") == system("kill -INT $$")); /* for the program only */
    CHECK(call->system("kill -INT $PPID; exit 4") == 4 << 8);
    CHECK(sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == on_signal);
    signal(SIGCHLD, SIG_IGN);
    CHECK(call->system("exit 3") == -1 && errno == ECHILD);
}

static void *wait_in_system(void *arg)
{
    CHECK(call->system(arg) == 5 << 8);
    note('s');
    return NULL;
}

/* As many as there are requests: each may need another one of the same VP to end. */
static void many_systems_at_once(void)
{
    char command[80];
    int fds[2];

    start_with_limits();
    CHECK(pipe(fds) == 0);
    snprintf(command, sizeof(command), "head -c1 /dev/fd/%d >/dev/null; exit 5", fds[0]);
    for (int i = 0; i < 8; i++)
        spawn(wait_in_system, command);
    settle();
    CHECK(call->system("exit 0") == 0 && noted()[0] == '\0');
    CHECK(write(fds[1], "12345678", 8) == 8);
    reap();
    CHECK(strlen(noted()) == 8 && kernel_threads() == 1);
}

static void *pass_through(void *arg)
{
    char line[80], command[80];
    FILE *stream;
    int fds[2];

    CHECK(pipe(fds) == 0);
    snprintf(command, sizeof(command), "cat > /dev/fd/%d; exit 6", fds[1]);
    stream = call->popen(command, "w");
    CHECK(stream && fprintf(stream, "hello %d\n", *(int *)arg) > 0);
    CHECK(call->pclose(stream) == 6 << 8); /* writes what the stream still holds */
    CHECK(read(fds[0], line, sizeof(line)) > 0);
    snprintf(command, sizeof(command), "hello %d\n", *(int *)arg);
    CHECK(strncmp(line, command, strlen(command)) == 0);
    close(fds[0]);
    close(fds[1]);
    return NULL;
}

static void pipes_to_programs(void)
{
    static int values[5] = {1, 2, 3, 4, 5};

    start_with_limits();
    for (int i = 0; i < 5; i++)
        spawn(pass_through, &values[i]);
    reap();
    CHECK(!call->popen("true", "") && errno == EINVAL);
    CHECK(!call->popen("true", "rw") && errno == EINVAL);
    CHECK(!call->popen("true", "x") && errno == EINVAL);
}

/* The first program sees the end of its input although the second one still runs. */
static void a_program_does_not_hold_earlier_pipes(void)
{
    FILE *first, *second;

    start_with_limits();
    first = call->popen("cat >/dev/null; exit 1", "w");
    second = call->popen("cat >/dev/null; exit 2", "w");
    CHECK(first && second);
    CHECK((fcntl(fileno(first), F_GETFD) & FD_CLOEXEC) == 0);
    CHECK(call->pclose(first) == 1 << 8);
    CHECK(call->fclose(second) == 2 << 8); /* which is a pclose() as well */
    CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
}

/* --- programs that are not in memory --- */

static void by_a_helper(void (*body)(void))
{
    stiol__off |= STIOL_NO_CACHE;
    body();
    CHECK(counters().process.helped > 0);
}

static void a_helper_starts_them_alike(void)
{
    by_a_helper(programs_get_the_limit);
}

static void with_the_same_file_actions(void)
{
    by_a_helper(file_actions);
}

static void with_the_same_attributes(void)
{
    by_a_helper(attributes);
}

static void with_the_same_errors(void)
{
    by_a_helper(files_that_are_no_programs);
}

static void and_for_pipes(void)
{
    by_a_helper(pipes_to_programs);
}

static void *start_from(void *arg)
{
    char *const argv[] = {arg, NULL};

    note('(');
    CHECK(call->posix_spawn(NULL, arg, NULL, NULL, argv, environ) != 0);
    note(')');
    return NULL;
}

static void *start_by_name(void *arg)
{
    char *const argv[] = {arg, NULL};

    note('[');
    CHECK(call->posix_spawnp(NULL, arg, NULL, NULL, argv, environ) != 0);
    note(']');
    return NULL;
}

/* On a FUSE file system that nobody serves; the interpreter of a script on a disk is there. */
static void a_disk_that_does_not_answer_holds_up_nobody(void)
{
    char folder[] = "/var/tmp/stiol-spawn-XXXXXX", dead[64], program[80], script[80];
    static const char *const ends = "()()[]";
    int device, turns = 0, fd;

    start_with_limits();
    CHECK(mkdtemp(folder));
    snprintf(dead, sizeof(dead), "%s/dead", folder);
    snprintf(program, sizeof(program), "%s/program", dead);
    snprintf(script, sizeof(script), "%s/script", folder);
    CHECK(mkdir(dead, 0700) == 0 && setenv("PATH", dead, 1) == 0);
    fd = open(script, O_CREAT | O_WRONLY | O_CLOEXEC, 0700);
    CHECK(dprintf(fd, "#! %s -x\n", program) > 0 && close(fd) == 0);
    device = mount_dead(dead);
    look_again_at_mounts();
    spawn(start_from, program);
    spawn(start_from, script);
    settle();
    spawn(ticker, &turns);
    settle();
    CHECK(strcmp(noted(), "((") == 0 && turns > 0);
    (void)umount2(dead, MNT_FORCE); /* waiting children have the device open, too */
    close(device);
    stop_ticking = true;
    reap();
    spawn(start_by_name, (char *)(uintptr_t) "program");
    reap();
    CHECK(strlen(noted()) == strlen(ends));
    (void)umount2(dead, MNT_DETACH);
    CHECK(unlink(script) == 0 && rmdir(dead) == 0 && rmdir(folder) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VP_TEST(programs_get_the_limit),
        VP_TEST(file_actions),
        VP_TEST(file_actions_that_fail),
        VP_TEST(attributes),
        VP_TEST(files_that_are_no_programs),
        VP_TEST(shells_get_the_limit),
        VP_TEST(system_says_what_the_c_librarys_says),
        VP_TEST(many_systems_at_once),
        VP_TEST(pipes_to_programs),
        VP_TEST(a_program_does_not_hold_earlier_pipes),
        VP_TEST(a_helper_starts_them_alike),
        VP_TEST(with_the_same_file_actions),
        VP_TEST(with_the_same_attributes),
        VP_TEST(with_the_same_errors),
        VP_TEST(and_for_pipes),
        VP_TEST(a_disk_that_does_not_answer_holds_up_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

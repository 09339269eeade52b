/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordinary httpd module for the live tests: says which process and thread serve a request, and
 * fails on demand, in the ways in which modules fail. Loaded by tests/live/test_*.py only.
 *
 *   SetHandler probe, then GET ...?pid         process and kernel thread, as two numbers
 *                             ?crash ?abort ?exit ?overflow      the process's end
 *                             ?die                               the same, without a core
 *                             ?crash-at-end                      once the child pool is being
 *                                     destroyed, whose last cleanup is ProbeExitLog's
 *                             ?loop ?wait                        hangs forever: computes; waits
 *                                     in a system call that nobody can catch
 *                             ?stall=MS                          waits like that for so long
 *                             ?deaf                              loops, and only SIGKILL ends it
 *                             ?sleep=MS ?spin=MS                 waits by apr_sleep; uses CPU
 *                             ?depth=KB                          uses so much of the stack
 *                             ?kept=MS ?kept-by-one-of=N         whether a global that it sets is
 *                                     still its own after using CPU, or after waiting until N
 *                                     requests have set it: "kept" or "lost"
 *                             ?signal=N                          raises it where less of the
 *                                     stack is left than the signal's frame takes
 *                             ?threads=N                         N kernel threads use the request's
 *                                     pool while the handler waits: is there a mutex, then: "is"
 *   ProbeCrashFile PATH       a process that finds this file when it starts dies of SIGSEGV
 *   ProbeRun COMMAND          a shell runs it whenever the configuration is read
 *   ProbeExitFile PATH        the same, but exits with status 1
 *   ProbeStartFor MS          starting takes a process so long
 *   ProbeExitLog PATH         one line for each process whose child pool is destroyed in order
 */
#include <httpd.h>
#include <http_config.h>
#include <http_log.h>
#include <http_protocol.h>
#include <apr_allocator.h>
#include <apr_strings.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *crash_file, *exit_file, *exit_log, *start_time;
static int *volatile nowhere;

static void crash(void)
{
    signal(SIGSEGV, SIG_DFL); /* die of it, even if it was caught before */
    raise(SIGSEGV);
}

/* Uses `depth` KB of stack; the sum keeps the compiler from making a loop of it. */
static int overflow(int depth)
{
    volatile char frame[1024];
    memset((char *)frame, depth & 0x7f, sizeof(frame));
    if (depth == 0)
        return frame[0];
    return overflow(depth - 1) + frame[sizeof(frame) - 1];
}

/* CPU time: if the machine freezes meanwhile, this takes longer, not shorter. */
static apr_interval_time_t used(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return apr_time_from_sec(now.tv_sec) + now.tv_nsec / 1000;
}

static void spin(apr_interval_time_t time)
{
    apr_interval_time_t end = used() + time;
    while (used() < end)
        continue;
}

/* Names that call stacks show. */
void probe_loops_for_ever(void);
void probe_waits_for_ever(void);

__attribute__((noinline)) void probe_loops_for_ever(void)
{
    for (;;)
        (void)used();
}

/* futex(&word, FUTEX_WAIT, 0, limit): without a function that could be rebound. */
static void wait_in_kernel(const struct timespec *limit)
{
    static int word;
#if defined(__x86_64__)
    long result = SYS_futex;
    register const struct timespec *r10 __asm__("r10") = limit;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(&word), "S"(0L), "d"(0L), "r"(r10)
                     : "rcx", "r11", "memory");
#elif defined(__aarch64__)
    register long number __asm__("x8") = SYS_futex;
    register void *at __asm__("x0") = &word;
    register long wait __asm__("x1") = 0, value __asm__("x2") = 0;
    register const struct timespec *x3 __asm__("x3") = limit;
    __asm__ volatile("svc 0" : "+r"(at) : "r"(number), "r"(wait), "r"(value), "r"(x3) : "memory");
#endif
}

__attribute__((noinline)) void probe_waits_for_ever(void)
{
    for (;;)
        wait_in_kernel(NULL);
}

/* A signal ends such a wait: repeat it as often as necessary. */
static void stall(int milliseconds)
{
    struct timespec limit = {0, 100000000};
    apr_time_t end = apr_time_now() + milliseconds * (apr_time_t)1000;
    while (apr_time_now() < end)
        wait_in_kernel(&limit);
}

static void probe_is_deaf(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    probe_loops_for_ever();
}

/* What code that is not thread-safe does. */
static bool global_kept(const request_rec *r, int spin_ms, int setters)
{
    static const request_rec *volatile whose;
    static volatile int set;
    whose = r;
    set++;
    if (spin_ms > 0)
        spin(spin_ms * (apr_interval_time_t)1000);
    while (set < setters)
        apr_sleep(1000);
    return whose == r;
}

/* The lowest address of this stack: below it, even the kernel finds no memory. */
static const char *stack_end(void)
{
    const char *page = (const char *)((uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)4095);
    while (access(page - 4096, F_OK) == 0 || errno != EFAULT)
        page -= 4096;
    return page;
}

static int raise_at(const char *end, int signal_number)
{
    static int (*volatile const call)(int) = raise; /* bound: the linker at work needs stack, too */
    volatile char frame[256] = "";
    if ((const char *)__builtin_frame_address(0) - end < 1500)
        return call(signal_number);
    return raise_at(end, signal_number) + frame[0];
}

/* Pools besides the request's: each takes a node from its allocator and gives it back. */
static void *use_pool(void *data)
{
    for (int i = 0; i < 20000; i++) {
        apr_pool_t *pool;
        apr_pool_create(&pool, data);
        memset(apr_palloc(pool, 9000), i & 0x7f, 9000);
        apr_pool_destroy(pool);
    }
    return NULL;
}

static void use_pool_in_threads(request_rec *r, int count)
{
    pthread_t *ids = apr_palloc(r->pool, sizeof(*ids) * (size_t)count);
    for (int i = 0; i < count; i++)
        if (pthread_create(&ids[i], NULL, use_pool, r->pool) != 0)
            abort();
    ap_rputs(apr_allocator_mutex_get(apr_pool_allocator_get(r->pool)) ? "is\n" : "is not\n", r);
    for (int i = 0; i < count; i++)
        while (pthread_tryjoin_np(ids[i], NULL) != 0)
            apr_sleep(1000);
}

static int number(const char *args, const char *name)
{
    size_t length = strlen(name);
    return strncmp(args, name, length) == 0 ? (int)strtol(args + length, NULL, 10) : -1;
}

/* A request on a kernel thread that outlives its module's data in the child pool. */
static atomic_bool will_crash, at_end, crashes;

static void crash_at_end(void)
{
    will_crash = true;
    while (!at_end)
        continue;
    crashes = true;
    *nowhere = 1;
}

static apr_status_t let_it_crash(void *data)
{
    (void)data;
    at_end = true;
    while (will_crash && !crashes)
        apr_sleep(1000);
    if (will_crash)
        apr_sleep(100000); /* which takes a moment */
    return APR_SUCCESS;
}

static int handler(request_rec *r)
{
    if (strcmp(r->handler, "probe") != 0)
        return DECLINED;
    const char *args = r->args ? r->args : "";
    int sleep_ms = number(args, "sleep="), spin_ms = number(args, "spin=");
    int depth = number(args, "depth="), stall_ms = number(args, "stall=");
    int kept_ms = number(args, "kept="), setters = number(args, "kept-by-one-of=");
    int threads = number(args, "threads="), signal_number = number(args, "signal=");
    if (strcmp(args, "crash") == 0)
        *nowhere = 1;
    else if (strcmp(args, "abort") == 0)
        abort();
    else if (strcmp(args, "die") == 0)
        crash();
    else if (strcmp(args, "crash-at-end") == 0)
        crash_at_end();
    else if (strcmp(args, "exit") == 0)
        _exit(1);
    else if (strcmp(args, "loop") == 0)
        probe_loops_for_ever();
    else if (strcmp(args, "deaf") == 0)
        probe_is_deaf();
    else if (strcmp(args, "wait") == 0)
        probe_waits_for_ever();
    else if (strcmp(args, "overflow") == 0)
        ap_rprintf(r, "%d\n", overflow(64 * 1024));
    if (depth > 0)
        ap_rprintf(r, "%d\n", overflow(depth));
    ap_set_content_type(r, "text/plain");
    if (sleep_ms > 0)
        apr_sleep(sleep_ms * (apr_interval_time_t)1000);
    if (spin_ms > 0)
        spin(spin_ms * (apr_interval_time_t)1000);
    if (stall_ms > 0)
        stall(stall_ms);
    if (kept_ms > 0 || setters > 0)
        ap_rputs(global_kept(r, kept_ms, setters) ? "kept\n" : "lost\n", r);
    if (signal_number > 0)
        ap_rprintf(r, "%d\n", raise_at(stack_end(), signal_number));
    if (threads > 0)
        use_pool_in_threads(r, threads);
    ap_rprintf(r, "%ld %ld\n", (long)getpid(), (long)syscall(SYS_gettid));
    return OK;
}

static apr_status_t log_exit(void *data)
{
    char line[32];
    int fd = open(data, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    int length = snprintf(line, sizeof(line), "%ld\n", (long)getpid());
    if (fd < 0 || write(fd, line, (size_t)length) != length)
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, NULL, "ProbeExitLog %s", (const char *)data);
    if (fd >= 0)
        close(fd);
    return APR_SUCCESS;
}

static void child_init(apr_pool_t *pool, server_rec *server)
{
    (void)server;
    if (crash_file && access(crash_file, F_OK) == 0)
        crash();
    if (exit_file && access(exit_file, F_OK) == 0)
        _exit(1);
    if (start_time)
        apr_sleep(strtol(start_time, NULL, 10) * 1000);
    if (exit_log)
        apr_pool_cleanup_register(pool, exit_log, log_exit, apr_pool_cleanup_null);
    apr_pool_cleanup_register(pool, NULL, let_it_crash, apr_pool_cleanup_null);
}

static const char *set_path(cmd_parms *cmd, void *dummy, const char *path)
{
    (void)dummy;
    *(const char **)cmd->info = apr_pstrdup(cmd->pool, path);
    return NULL;
}

static const char *run_command(cmd_parms *cmd, void *dummy, const char *command)
{
    (void)dummy;
    return system(command) == 0 ? NULL : apr_pstrcat(cmd->pool, "failed: ", command, NULL);
}

static const command_rec commands[] = {
    AP_INIT_TAKE1("ProbeRun", run_command, NULL, RSRC_CONF, "a command for a shell"),
    AP_INIT_TAKE1("ProbeCrashFile", set_path, &crash_file, RSRC_CONF, "file that makes us crash"),
    AP_INIT_TAKE1("ProbeExitFile", set_path, &exit_file, RSRC_CONF, "file that makes us exit"),
    AP_INIT_TAKE1("ProbeStartFor", set_path, &start_time, RSRC_CONF, "milliseconds"),
    AP_INIT_TAKE1("ProbeExitLog", set_path, &exit_log, RSRC_CONF, "file that notes orderly ends"),
    {NULL, {NULL}, NULL, 0, RAW_ARGS, NULL}};

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    crash_file = exit_file = exit_log = start_time = NULL;
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(probe) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, commands, register_hooks, AP_MODULE_FLAG_NONE};

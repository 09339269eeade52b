/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VP's fatal signals: handled on a separate stack, since the state thread's may have overflowed.
 * Records an overflow in shared memory; then httpd's own handler leaves the core in CoreDir.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mpm/accept/accept.h"
#include "mpm/conn/kernel_request.h"
#include "mpm/process/process.h"
#include "mpm/shared/share.h"

/* httpd's handler may log a line, which takes about 30 KB. */
enum { ALTERNATE_STACK = 256 * 1024 };

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
#define FATAL_SIGNALS (sizeof(fatal_signals) / sizeof(*fatal_signals))

static struct sigaction before[FATAL_SIGNALS];
static bool installed;
static volatile sig_atomic_t vp_only;

/* Like httpd's own handler, this logs from a signal handler. The fault was in the guard area, so
 * what the log needs is intact. */
static void log_overflow(size_t size)
{
    const request_rec *r = stm_thread_request();
    const char *request = r ? r->the_request : NULL;

    ap_log_error(
        APLOG_MARK, APLOG_CRIT, 0, ap_server_conf,
        STMNO(0053) "a state thread of VP %d overflowed its stack of %lu bytes (StackSize)%s%s%s",
        stm.vp.ordinal, (unsigned long)size, request ? " in the request \"" : "",
        request ? request : "", request ? "\"" : "");
}

/* If it is on a kernel thread, other requests continue until the process ends: log which one caused
 * it. */
static void log_kernel_thread(int signal_number)
{
    const request_rec *r = stm_kernel_request();

    if (r && r->the_request)
        ap_log_error(
            APLOG_MARK, APLOG_CRIT, 0, ap_server_conf,
            STMNO(0054) "a kernel thread of VP %d crashed (signal %d) in the request \"%s\"",
            stm.vp.ordinal, signal_number, r->the_request);
}

static void note_overflow(const void *address)
{
    size_t size = st_stack_overflow_at(address);

    if (!size)
        return;
    stm_share->overflow_size = (unsigned)size;
    stm_share->overflowed = 1;
    log_overflow(size);
}

/* The process is about to exit, and must not die before the modules' cleanups that are running have
 * finished. */
static void stop_kernel_thread(void)
{
    if (vp_only && gettid() != stm.vp.pid)
        for (;;)
            pause();
}

static void on_fatal_signal(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    stop_kernel_thread();
    if (signal_number == SIGSEGV || signal_number == SIGBUS)
        note_overflow(info->si_addr);
    log_kernel_thread(signal_number);
    for (size_t i = 0; i < FATAL_SIGNALS; i++) {
        if (fatal_signals[i] != signal_number)
            continue;
        sigaction(signal_number, &before[i], NULL);
        if (before[i].sa_handler != SIG_DFL && before[i].sa_handler != SIG_IGN &&
            !(before[i].sa_flags & SA_SIGINFO))
            before[i].sa_handler(signal_number);
    }
    /* Returning repeats the fault, now with the previous handler; a signal that was sent by a
     * process is sent again. */
    if (info->si_code <= 0)
        raise(signal_number);
}

/* Makes a signal stack for the calling kernel thread. */
static bool make_stack(void)
{
    stack_t stack = {.ss_size = ALTERNATE_STACK};

    stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    return stack.ss_sp != MAP_FAILED && sigaltstack(&stack, NULL) == 0;
}

/** Called first and last on a kernel thread that serves requests. */
void stm_crash_kernel_thread_begins(void)
{
    (void)make_stack();
    pthread_setname_np(pthread_self(), "stm-kernel");
}

void stm_crash_kernel_thread_ends(void)
{
    stack_t none = {.ss_flags = SS_DISABLE}, stack = {.ss_flags = SS_DISABLE};

    if (sigaltstack(&none, &stack) == 0 && !(stack.ss_flags & SS_DISABLE))
        munmap(stack.ss_sp, stack.ss_size);
}

void stm_crash_setup(void)
{
    struct sigaction action = {.sa_sigaction = on_fatal_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};

    if (!make_stack()) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, ap_server_conf,
                     STMNO(0055) "no stack for signal handlers");
        return;
    }
    sigemptyset(&action.sa_mask);
    installed = true;
    for (size_t i = 0; i < FATAL_SIGNALS; i++)
        sigaction(fatal_signals[i], &action, &before[i]);
}

void stm_crash_concerns_vp_only(void)
{
    vp_only = 1;
}

void stm_crash_restore(void)
{
    if (!installed)
        return;
    for (size_t i = 0; i < FATAL_SIGNALS; i++)
        sigaction(fatal_signals[i], &before[i], NULL);
    installed = false;
}

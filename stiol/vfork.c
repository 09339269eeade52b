/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfork(): the child runs in the VP's memory, on the caller's stack and with its thread-local
 * variables, until it executes a program or ends; meanwhile the VP's kernel thread waits. So the
 * child is treated like a signal handler that has interrupted the VP (handler.c): its calls are the
 * real ones, and nothing of libst or STIOL is touched. That ends at the parent's next call: no code
 * of ours can run when vfork() returns, because the child has used the stack below its caller. So
 * the last thing that our vfork() does is jump to the real one; if the compiler has made that a
 * call instead, vfork() is a fork.
 */
#include <stdarg.h>

#include "stiol/program.h"
#include "stiol/stiol_int.h"

typedef pid_t forks_t(void);

/* Volatile, because a compiler that sees vfork() makes no jump. */
static struct {
    forks_t *volatile on_vp, *volatile elsewhere;
} forks = {fork, fork};

/* The order matters: a handler may run in between. */
static inline void lend(stiol__vp_t *vp)
{
    stiol__vp = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    stiol__interruption.low = stiol__interruption.high = 0;
    stiol__interruption.thread = NULL;
    stiol__interruption.handler_of = 0;
    stiol__interruption.lender = getpid();
    atomic_signal_fence(memory_order_seq_cst);
    stiol__interruption.vp = vp;
}

pid_t stiol__vfork(void)
{
    stiol__vp_t *vp = STIOL_ENTER(process, vfork, 0);
    forks_t *call = vp ? forks.on_vp : forks.elsewhere;

    if (vp && call != fork)
        lend(vp);
    return call();
}

static const void *volatile seen;

static __attribute__((noinline)) pid_t note_frame(void)
{
    seen = __builtin_frame_address(0);
    return 0;
}

/* Whatever is called through stiol__vfork() has the frame that it would have without it. */
void stiol__vfork_start(void)
{
    forks_t *volatile both[] = {note_frame, stiol__vfork};
    const void *frames[2];

    forks.elsewhere = note_frame;
    for (int i = 0; i < 2; i++) {
        (void)both[i]();
        frames[i] = seen;
    }
    forks.elsewhere = fork;
    forks.on_vp = frames[0] == frames[1] ? vfork : fork;
}

bool stiol__vfork_is_real(void)
{
    return forks.on_vp != fork;
}

/* --- the program: it gets the limits that it would get from posix_spawn() --- */

static void before_program(void)
{
    if (stiol__lent() && stiol__in_child)
        stiol__in_child();
}

int stiol__execve(const char *file, char *const argv[], char *const environment[])
{
    (void)STIOL_ENTER(process, execve, file);
    before_program();
    return execve(file, argv, environment);
}

int stiol__execv(const char *file, char *const argv[])
{
    (void)STIOL_ENTER(process, execv, file);
    before_program();
    return execv(file, argv);
}

int stiol__execvp(const char *file, char *const argv[])
{
    (void)STIOL_ENTER(process, execvp, file);
    before_program();
    return execvp(file, argv);
}

int stiol__execvpe(const char *file, char *const argv[], char *const environment[])
{
    (void)STIOL_ENTER(process, execvpe, file);
    before_program();
    return execvpe(file, argv, environment);
}

int stiol__fexecve(int fd, char *const argv[], char *const environment[])
{
    (void)STIOL_ENTER(process, fexecve, fd);
    before_program();
    return fexecve(fd, argv, environment);
}

int stiol__execveat(int dir, const char *file, char *const argv[], char *const environment[],
                    int flags)
{
    (void)STIOL_ENTER(process, execveat, file);
    before_program();
    return execveat(dir, file, argv, environment, flags);
}

/* How many arguments there are, with the NULL at the end. */
static size_t count_arguments(const char *first, va_list list)
{
    size_t count = 1;

    for (const char *one = first; one; count++)
        one = va_arg(list, const char *);
    return count;
}

/* Returns what comes after the NULL, if that is asked for. */
static char **list_arguments(char **arguments, const char *first, va_list list, bool environment)
{
    *arguments = (char *)(uintptr_t)first;
    while (*arguments)
        *++arguments = va_arg(list, char *);
    return environment ? va_arg(list, char **) : NULL;
}

/* The list is on the stack, since a child may not allocate memory. */
#define EXECL(name, has_environment, call)                                                         \
    int stiol__##name(const char *file, const char *first, ...)                                    \
    {                                                                                              \
        char **environment;                                                                        \
        size_t count;                                                                              \
        va_list list;                                                                              \
                                                                                                   \
        (void)STIOL_ENTER(process, name, file);                                                    \
        va_start(list, first);                                                                     \
        count = count_arguments(first, list);                                                      \
        va_end(list);                                                                              \
        va_start(list, first);                                                                     \
        char *arguments[count];                                                                    \
        environment = list_arguments(arguments, first, list, has_environment);                     \
        va_end(list);                                                                              \
        (void)environment;                                                                         \
        before_program();                                                                          \
        return call;                                                                               \
    }

EXECL(execl, false, execv(file, arguments))
EXECL(execlp, false, execvp(file, arguments))
EXECL(execle, true, execve(file, arguments, environment))

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signal handlers. A signal may arrive anywhere, even in the scheduler, so handlers must make the
 * real calls. The kernel gets one function for all handlers, on_signal(), which takes the VP away
 * from its kernel thread (stiol__vp) while the handler runs: so the hot path of a call need not
 * check for this. Everything that installs handlers is rebound, so that callers still see their
 * own.
 */
#include "stiol/handler.h"
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

/* Maximum number of keys kept that handlers have released; if there are more, everyone is woken. */
enum { LATER_MAX = 32 };

typedef void (*handler_t)(int number, siginfo_t *info, void *context);

/* The handlers as they were installed; for a signal that is ignored or at its default, the last
 * one. */
static _Atomic(handler_t) handlers[NSIG];

__thread stiol__interruption_t stiol__interruption;

/* --- a handler runs --- */

static uintptr_t here(void)
{
    return (uintptr_t)__builtin_frame_address(0);
}

/* Whether a frame at this address belongs to the handler, or to something that it called. */
static bool is_handlers(uintptr_t frame)
{
    const stiol__interruption_t *interruption = &stiol__interruption;

    return frame <= interruption->high && frame >= interruption->low &&
           (interruption->low != 0 || interruption->thread == st_thread_self());
}

/* The VP continues. The order matters: a handler may run in between. */
static void resume(void)
{
    stiol__vp_t *vp = stiol__interruption.vp;

    stiol__interruption.lender = 0;
    stiol__interruption.vp = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    stiol__vp = vp;
}

/* If so, there is a handler that has not been left: this one has interrupted it. */
static bool on_signal_stack(void)
{
    stack_t own = {.ss_flags = 0};

    return sigaltstack(NULL, &own) == 0 && (own.ss_flags & SS_ONSTACK) != 0;
}

/* Whether the child of vfork() is still on the stack, or a handler runs beside it in the parent: in
 * the moments before and after. */
static bool is_lent(void)
{
    pid_t process = getpid();

    return process != stiol__interruption.lender || process == stiol__interruption.handler_of;
}

__attribute__((noinline)) stiol__vp_t *stiol__after_handler(void)
{
    if (stiol__interruption.lender != 0 ? is_lent() : is_handlers(here()) || on_signal_stack())
        return NULL;
    resume();
    return stiol__vp;
}

static void interrupt(stiol__vp_t *vp, uintptr_t frame)
{
    stack_t own = {.ss_flags = SS_DISABLE};
    int error = errno;

    stiol__vp = NULL;
    atomic_signal_fence(memory_order_seq_cst);
    (void)sigaltstack(NULL, &own);
    stiol__interruption.low = (own.ss_flags & SS_ONSTACK) != 0 ? (uintptr_t)own.ss_sp : 0;
    stiol__interruption.high = frame;
    stiol__interruption.thread = st_thread_self();
    atomic_signal_fence(memory_order_seq_cst);
    stiol__interruption.vp = vp;
    errno = error;
}

/* The kernel calls this in place of every handler. Three arguments do not harm a handler that takes
 * one: they are passed in registers. */
static void on_signal(int number, siginfo_t *info, void *context)
{
    handler_t handler = atomic_load_explicit(&handlers[number], memory_order_acquire);
    bool lent = stiol__interruption.lender != 0;
    pid_t before = stiol__interruption.handler_of;
    stiol__vp_t *vp = lent ? NULL : stiol__mine();

    if (lent)
        stiol__interruption.handler_of = getpid();
    if (vp && !STIOL_OFF(STIOL_NO_HANDLERS))
        interrupt(vp, here());
    stiol__interruption.handled++;
    stiol__interruption.depth++;
    handler(number, info, context);
    stiol__interruption.depth--;
    if (lent)
        stiol__interruption.handler_of = before;
    if (vp && stiol__interruption.vp == vp) /* otherwise it was left, or is in a forked child */
        resume();
}

/* --- a handler is left by longjmp() --- */

#if defined(__x86_64__)
enum { SAVED_SP = 6 };
#define SCRAMBLED(word) (((word) >> 17) | ((word) << 47))
#elif defined(__aarch64__)
enum { SAVED_SP = 13 };
#define SCRAMBLED(word) (word)
#endif

static uintptr_t guard; /* what glibc scrambles stack pointers with */
static bool guard_known;

static uintptr_t saved_sp(struct __jmp_buf_tag *env)
{
    uintptr_t word = (uintptr_t)env->__jmpbuf[SAVED_SP];

    return SCRAMBLED(word) ^ guard;
}

static __attribute__((noinline)) uintptr_t look_at_guard(void)
{
    jmp_buf env;
    uintptr_t sp, word;

    (void)_setjmp(env);
#if defined(__x86_64__)
    __asm__ volatile("mov %%rsp, %0" : "=r"(sp));
#else
    __asm__ volatile("mov %0, sp" : "=r"(sp));
#endif
    word = (uintptr_t)env->__jmpbuf[SAVED_SP];
    return SCRAMBLED(word) ^ sp;
}

static __attribute__((noinline)) uintptr_t look_from_deeper(void)
{
    volatile char room[512];

    room[0] = room[511] = 0;
    return look_at_guard() + (uintptr_t)room[0];
}

static void find_guard(void)
{
    guard = look_at_guard();
    guard_known = guard == look_from_deeper();
}

/* Jumps within a handler leave it interrupted. */
static void jumps(struct __jmp_buf_tag *env)
{
    if (STIOL_LIKELY(stiol__vp || !stiol__interruption.vp))
        return;
    stiol__interruption.handler_of = 0;
    if (is_handlers(here()) && !(guard_known && is_handlers(saved_sp(env))))
        resume();
}

void stiol__longjmp(jmp_buf env, int value)
{
    jumps(env);
    longjmp(env, value);
}

void stiol___longjmp(jmp_buf env, int value)
{
    jumps(env);
    _longjmp(env, value);
}

void stiol__siglongjmp(sigjmp_buf env, int value)
{
    jumps(env);
    siglongjmp(env, value);
}

void stiol____longjmp_chk(jmp_buf env, int value)
{
    jumps(env);
    __longjmp_chk(env, value);
}

/* --- setting them --- */

static bool is_function(handler_t handler)
{
    __sighandler_t plain = (__sighandler_t)(uintptr_t)handler;

    return plain != SIG_DFL && plain != SIG_IGN && plain != SIG_ERR && plain != SIG_HOLD &&
           handler != on_signal;
}

/* What the kernel gets in place of a handler, which is remembered. */
static handler_t for_kernel(int number, handler_t handler)
{
    if (number <= 0 || number >= NSIG || !is_function(handler) || stiol__lent())
        return handler;
    atomic_store_explicit(&handlers[number], handler, memory_order_release);
    return on_signal;
}

static handler_t remembered(int number)
{
    return number > 0 && number < NSIG ? atomic_load(&handlers[number]) : NULL;
}

typedef int (*setter_t)(int number, const struct sigaction *action, struct sigaction *old);

static int set_action(setter_t real, int number, const struct sigaction *action,
                      struct sigaction *old)
{
    handler_t before = remembered(number);
    struct sigaction ours;
    int rc;

    if (action) {
        ours = *action;
        ours.sa_sigaction = for_kernel(number, action->sa_sigaction);
    }
    rc = real(number, action ? &ours : NULL, old);
    if (rc == 0 && old && old->sa_sigaction == on_signal && before)
        old->sa_sigaction = before;
    return rc;
}

int stiol__sigaction(int number, const struct sigaction *restrict action,
                     struct sigaction *restrict old)
{
    (void)STIOL_ENTER(handler, sigaction, number);
    return set_action(sigaction, number, action, old);
}

int stiol____sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    (void)STIOL_ENTER(handler, __sigaction, number);
    return set_action(__sigaction, number, action, old);
}

typedef __sighandler_t (*simple_setter_t)(int number, __sighandler_t handler);

static __sighandler_t set_simply(simple_setter_t real, int number, __sighandler_t handler)
{
    handler_t before = remembered(number);
    handler_t ours = for_kernel(number, (handler_t)(uintptr_t)handler);
    __sighandler_t old = real(number, (__sighandler_t)(uintptr_t)ours);

    return (uintptr_t)old == (uintptr_t)on_signal && before ? (__sighandler_t)(uintptr_t)before
                                                            : old;
}

#define SIMPLE_SETTER(name)                                                                        \
    __sighandler_t stiol__##name(int number, __sighandler_t handler)                               \
    {                                                                                              \
        (void)STIOL_ENTER(handler, name, number);                                                  \
        return set_simply(name, number, handler);                                                  \
    }

SIMPLE_SETTER(signal)
SIMPLE_SETTER(bsd_signal)
SIMPLE_SETTER(ssignal)
SIMPLE_SETTER(sysv_signal)
SIMPLE_SETTER(__sysv_signal)
SIMPLE_SETTER(sigset)

/* --- start and end --- */

static _Atomic(stiol__vp_t *) any_vp; /* wakes for handlers on other kernel threads */

void stiol__handlers_forked(void)
{
    stiol__interruption.vp = NULL;
    stiol__interruption.lender = 0;
    atomic_store(&any_vp, NULL); /* its scheduler is the parent's */
}

/** Takes over handlers that are already installed, whoever installed them. */
void stiol__handlers_start(void)
{
    struct sigaction action;

    atomic_store(&any_vp, stiol__vp);
    find_guard();
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) != 0 || !is_function(action.sa_sigaction))
            continue;
        action.sa_sigaction = for_kernel(number, action.sa_sigaction);
        (void)sigaction(number, &action, NULL);
    }
}

/** Nothing is to be posted to it from now on. */
void stiol__handlers_vp_ends(stiol__vp_t *vp)
{
    (void)atomic_compare_exchange_strong(&any_vp, &vp, NULL);
}

void stiol__handlers_stop(void)
{
    struct sigaction action;

    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) != 0 || action.sa_sigaction != on_signal)
            continue;
        action.sa_sigaction = remembered(number);
        (void)sigaction(number, &action, NULL);
    }
}

/* --- what a handler releases: sem_post() may be called in one --- */

static struct {
    _Atomic uintptr_t keys[LATER_MAX]; /* 0: free */
    _Atomic bool everyone, posted;
    st_remote_t remote;
} later;

/* In a VP's scheduler. */
static void wake_now(st_remote_t *remote)
{
    (void)remote;
    atomic_store(&later.posted, false);
    for (int i = 0; i < LATER_MAX; i++) {
        uintptr_t key = atomic_exchange(&later.keys[i], 0);

        if (key != 0)
            stiol__lot_wake(key, true);
    }
    if (atomic_exchange(&later.everyone, false))
        stiol__lot_wake_everyone();
}

static void keep(uintptr_t key)
{
    for (int i = 0; i < LATER_MAX; i++) {
        uintptr_t none = 0;

        if (atomic_compare_exchange_strong(&later.keys[i], &none, key) || none == key)
            return;
    }
    atomic_store(&later.everyone, true);
}

/* The lines are locked only for moments, but the handler may have interrupted the holder. */
bool stiol__wake_later(uintptr_t key)
{
    stiol__vp_t *vp;

    if (STIOL_LIKELY(stiol__vp || stiol__interruption.depth == 0))
        return false;
    vp = stiol__interruption.vp ? stiol__interruption.vp : atomic_load(&any_vp);
    if (!vp)
        return false;
    keep(key);
    if (!atomic_exchange(&later.posted, true)) {
        later.remote.fn = wake_now;
        st_vp_post(vp->vp, &later.remote);
    }
    return true;
}

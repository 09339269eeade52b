/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread has set for itself in the kernel and in the C library: its locale (uselocale()),
 * its signal mask, its alternate signal stack, and the reason of its last failed dlopen(). Few
 * threads set any of these: those that do have a record here, and tls.c says when to change from
 * one record to another.
 */
#include <locale.h>

#include "stiol/carry.h"
#include "stiol/stiol_int.h"
#include "stiol/tls.h"

struct stiol__settings {
    locale_t locale;
    uint64_t mask; /* signal n is bit n-1 */
    stack_t stack;
    bool dl_failed; /* dlerror() has something for this thread */
    char *dl_error; /* what it had when the thread began to wait, or NULL */
    char *dl_shown; /* what dlerror() returned last */
};

/* The kernel has 64 signals on x86-64 and aarch64. */
_Static_assert(sizeof(sigset_t) >= sizeof(uint64_t), "a signal mask has 64 bits");

static uint64_t bits_of(const sigset_t *set)
{
    uint64_t bits;

    memcpy(&bits, set, sizeof(bits));
    return bits;
}

static void set_mask(uint64_t bits)
{
    sigset_t set;

    sigemptyset(&set);
    memcpy(&set, &bits, sizeof(bits));
    (void)pthread_sigmask(SIG_SETMASK, &set, NULL);
}

/* --- what a thread has that has set nothing --- */

int stiol__settings_start(stiol__tls_t *tls)
{
    stiol__settings_t *usual = calloc(1, sizeof(*usual));
    locale_t locale = uselocale((locale_t)0);
    sigset_t set;

    if (!usual)
        return -1;
    usual->locale = LC_GLOBAL_LOCALE;
    (void)pthread_sigmask(SIG_SETMASK, NULL, &set);
    usual->mask = bits_of(&set);
    (void)sigaltstack(NULL, &usual->stack);
    tls->usual = usual;
    if (locale == LC_GLOBAL_LOCALE)
        return 0;
    /* For the calling thread only: others must not use or free what belongs to it. */
    tls->settings = malloc(sizeof(*tls->settings));
    if (!tls->settings)
        return -1;
    *tls->settings = *usual;
    tls->settings->locale = locale;
    return 0;
}

static bool same_stack(const stack_t *one, const stack_t *other)
{
    return one->ss_sp == other->ss_sp && one->ss_size == other->ss_size &&
           one->ss_flags == other->ss_flags;
}

static void keep_dlerror(stiol__settings_t *settings)
{
    const char *error = dlerror();

    settings->dl_failed = false;
    if (!error)
        return;
    free(settings->dl_error);
    settings->dl_error = strdup(error);
}

void stiol__settings_change(stiol__tls_t *tls, stiol__settings_t *to)
{
    const stiol__settings_t *after = to ? to : tls->usual;
    stiol__settings_t *before = tls->settings ? tls->settings : tls->usual;

    if (before->dl_failed)
        keep_dlerror(before);
    if (before->locale != after->locale)
        (void)uselocale(after->locale);
    if (before->mask != after->mask)
        set_mask(after->mask);
    if (!same_stack(&before->stack, &after->stack))
        (void)sigaltstack(&after->stack, NULL);
    tls->settings = to;
}

const stack_t *stiol__settings_stack(const stiol__tls_t *tls)
{
    return &tls->usual->stack;
}

void stiol__settings_move(stiol__tls_t *tls, const stack_t *before)
{
    if (!tls->settings || !same_stack(&tls->settings->stack, before))
        return;
    tls->settings->stack = tls->usual->stack;
    (void)sigaltstack(&tls->usual->stack, NULL);
}

void stiol__settings_usual_mask(const stiol__tls_t *tls, sigset_t *mask)
{
    (void)pthread_sigmask(SIG_SETMASK, NULL, mask);
    if (tls)
        memcpy(mask, &tls->usual->mask, sizeof(tls->usual->mask));
}

void stiol__settings_free(stiol__settings_t *settings)
{
    if (!settings)
        return;
    free(settings->dl_error);
    free(settings->dl_shown);
    free(settings);
}

/* The calling thread's own, made if need be; NULL: no memory. */
static stiol__settings_t *own(stiol__tls_t *tls)
{
    stiol__settings_t *settings = tls->settings;

    if (settings)
        return settings;
    settings = malloc(sizeof(*settings));
    if (!settings)
        return NULL;
    *settings = *tls->usual;
    settings->dl_failed = false;
    settings->dl_error = settings->dl_shown = NULL;
    tls->settings = settings;
    return settings;
}

/* --- a thread's mask is its maker's --- */

uint64_t stiol__settings_mask(const stiol__vp_t *vp)
{
    if (!vp->tls || !vp->tls->settings)
        return 0;
    return vp->tls->settings->mask;
}

void stiol__settings_inherit(stiol__vp_t *vp, uint64_t mask)
{
    stiol__settings_t *settings;

    if (!vp->tls || mask == 0 || mask == vp->tls->usual->mask)
        return;
    settings = own(vp->tls);
    if (!settings)
        return;
    settings->mask = mask;
    set_mask(mask);
}

/* --- the replacements --- */

/* Where the calling thread's settings are kept; NULL: it is not a state thread. */
static stiol__tls_t *here(stiol__vp_t *vp)
{
    if (STIOL_LIKELY(vp))
        return vp->tls;
    return stiol__carriage ? stiol__carriage->tls : NULL;
}

locale_t stiol__uselocale(locale_t locale)
{
    stiol__tls_t *tls = here(STIOL_ENTER(tsd, uselocale, locale));
    stiol__settings_t *settings;
    locale_t before;

    if (!tls || locale == (locale_t)0)
        return uselocale(locale);
    settings = own(tls);
    if (!settings) {
        errno = ENOMEM;
        return (locale_t)0;
    }
    before = uselocale(locale);
    if (before != (locale_t)0)
        settings->locale = locale;
    return before;
}

static uint64_t mask_after(int how, uint64_t before, uint64_t set)
{
    switch (how) {
    case SIG_BLOCK:
        return before | set;
    case SIG_UNBLOCK:
        return before & ~set;
    default:
        return set;
    }
}

int stiol__pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    stiol__tls_t *tls = here(STIOL_ENTER(tsd, pthread_sigmask, how));
    uint64_t wanted = set ? bits_of(set) : 0; /* old may be where set is */
    stiol__settings_t *settings;
    sigset_t before;
    int rc;

    if (!tls || !set)
        return pthread_sigmask(how, set, old);
    settings = own(tls);
    if (!settings)
        return ENOMEM;
    rc = pthread_sigmask(how, set, &before);
    if (rc != 0)
        return rc;
    settings->mask = mask_after(how, bits_of(&before), wanted);
    if (old)
        *old = before;
    return 0;
}

int stiol__sigprocmask(int how, const sigset_t *restrict set, sigset_t *restrict old)
{
    int rc = stiol__pthread_sigmask(how, set, old);

    if (rc == 0)
        return 0;
    errno = rc;
    return -1;
}

int stiol__sigaltstack(const stack_t *restrict stack, stack_t *restrict old)
{
    stiol__tls_t *tls = here(STIOL_ENTER(tsd, sigaltstack, stack));
    stack_t wanted = stack ? *stack : (stack_t){0};
    stiol__settings_t *settings;
    int rc;

    if (!tls || !stack)
        return sigaltstack(stack, old);
    settings = own(tls);
    if (!settings) {
        errno = ENOMEM;
        return -1;
    }
    rc = sigaltstack(stack, old);
    if (rc == 0)
        settings->stack = wanted;
    return rc;
}

/** dlopen() or dlclose() has failed: the thread may ask why after it has waited. */
void stiol__note_dlerror(stiol__vp_t *vp)
{
    stiol__tls_t *tls = here(vp);
    stiol__settings_t *settings = tls ? own(tls) : NULL;

    if (settings)
        settings->dl_failed = true;
}

char *stiol__dlerror(void)
{
    stiol__tls_t *tls = here(STIOL_ENTER(dl, dlerror, 0));
    stiol__settings_t *settings = tls ? tls->settings : NULL;
    char *error = dlerror();

    if (!settings)
        return error;
    settings->dl_failed = false;
    if (error || !settings->dl_error)
        return error;
    free(settings->dl_shown);
    settings->dl_shown = settings->dl_error;
    settings->dl_error = NULL;
    return settings->dl_shown;
}

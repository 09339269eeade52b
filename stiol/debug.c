/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What debug builds report: with STIOL_DEBUG, a line at the beginning of each call (STIOL_TRACE in
 * the server's environment); with STM_DEBUG, each lock that a state thread held while it parked.
 */
#include "stiol/stiol_int.h"

#ifdef STIOL_DEBUG
static const char *object_of(const void *address)
{
    const char *slash;
    Dl_info info;

    if (dladdr(address, &info) == 0 || !info.dli_fname)
        return "?";
    slash = strrchr(info.dli_fname, '/');
    return slash ? slash + 1 : info.dli_fname;
}

/* One write, so that lines of several VPs do not mix. */
void stiol__trace(stiol__vp_t *vp, const char *call, long arg, const void *caller)
{
    int error = errno, length;
    char line[256];

    length = snprintf(line, sizeof(line), "STIOL: %d %p %s(%#lx) from %s\n", (int)vp->tid,
                      (void *)st_thread_self(), call, (unsigned long)arg, object_of(caller));
    if (length > 0 && (size_t)length < sizeof(line))
        (void)!write(STDERR_FILENO, line, (size_t)length);
    errno = error;
}
#endif

#ifdef STM_DEBUG
void stiol__parks(stiol__vp_t *vp)
{
    stiol__thread_t *self = stiol__self(vp);

    if (self)
        self->parks++;
}

/* More than STIOL_HELD_MAX at once go unreported. */
void stiol__took(stiol__vp_t *vp, const char *kind, const void *lock, const void *caller)
{
    stiol__thread_t *self;

    if (!vp->config.lock_report || !(self = stiol__self(vp)) || self->held == STIOL_HELD_MAX)
        return;
    self->locks[self->held++] = (stiol__held_t){
        .lock = lock, .caller = caller, .kind = kind, .since = st_utime(), .parks = self->parks};
}

/* The latest entry for that address: recursive locks are there several times. */
void stiol__gave(stiol__vp_t *vp, const void *lock)
{
    stiol__thread_t *self;
    stiol__held_t held;
    int i;

    if (!vp->config.lock_report || !(self = stiol__self(vp)))
        return;
    for (i = self->held - 1; i >= 0 && self->locks[i].lock != lock;)
        i--;
    if (i < 0)
        return;
    held = self->locks[i];
    memmove(&self->locks[i], &self->locks[i + 1],
            (size_t)(--self->held - i) * sizeof(self->locks[0]));
    if (self->parks != held.parks)
        vp->config.lock_report(&(stiol_lock_report_t){.thread = self->thread,
                                                      .kind = held.kind,
                                                      .lock = lock,
                                                      .caller = held.caller,
                                                      .held = st_utime() - held.since,
                                                      .parks = self->parks - held.parks});
}
#endif

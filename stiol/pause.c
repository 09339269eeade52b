/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pause() and sigsuspend(): a state thread parks until a signal handler has run on its VP's kernel
 * thread, whatever that interrupted. Nothing reports this, so it checks at intervals.
 */
#include "stiol/stiol_int.h"

enum { INTERVAL = 20000 }; /* us */

/* Waits until more handlers than `before` have run. */
static int wait_for_handler(stiol__vp_t *vp, unsigned before)
{
    STIOL_PARKS(vp, wait);
    while (stiol__interruption.handled == before)
        if (st_usleep(INTERVAL) != 0)
            return stiol__failed(vp);
    errno = EINTR;
    return -1;
}

int stiol__pause(void)
{
    stiol__vp_t *vp = STIOL_ENTER(wait, pause, 0);

    return !vp ? pause() : wait_for_handler(vp, stiol__interruption.handled);
}

int stiol__sigsuspend(const sigset_t *mask)
{
    stiol__vp_t *vp = STIOL_ENTER(wait, sigsuspend, 0);
    unsigned before = stiol__interruption.handled;
    sigset_t own;
    int error;

    if (!vp)
        return sigsuspend(mask);
    (void)stiol__pthread_sigmask(SIG_SETMASK, mask, &own);
    (void)wait_for_handler(vp, before);
    error = errno;
    (void)stiol__pthread_sigmask(SIG_SETMASK, &own, NULL);
    errno = error;
    return -1;
}

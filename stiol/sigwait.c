/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sigtimedwait() and the like: a blocked signal is waited for on a signalfd, and then taken as
 * usual. The signal mask that matters is that of the VP's kernel thread.
 */
#include <sys/signalfd.h>

#include "stiol/stiol_int.h"

/* The signal, or -1: EAGAIN if there is none. */
static int take(const sigset_t *set, siginfo_t *info)
{
    static const struct timespec now = {0, 0};

    return sigtimedwait(set, info, &now);
}

static int wait_until(stiol__vp_t *vp, int fd, const sigset_t *set, siginfo_t *info,
                      st_utime_t deadline)
{
    int rc;

    do {
        if (stiol__wait_fd(fd, POLLIN, stiol__left(deadline)) < 0)
            return stiol__failed(vp);
        rc = take(set, info); /* none: another state thread was quicker */
    } while (rc < 0 && errno == EAGAIN && stiol__left(deadline) > 0);
    return rc;
}

int stiol__sigtimedwait(const sigset_t *restrict set, siginfo_t *restrict info,
                        const struct timespec *restrict timeout)
{
    stiol__vp_t *vp = STIOL_ENTER(wait, sigtimedwait, 0);
    int fd, rc, error;

    if (!vp || (timeout && !stiol__valid(timeout)))
        return sigtimedwait(set, info, timeout);
    rc = take(set, info);
    if (rc >= 0 || errno != EAGAIN) {
        stiol__yield();
        return rc;
    }
    fd = signalfd(-1, set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return -1;
    stiol_forget_fd(fd); /* what the number was before */
    STIOL_PARKS(vp, wait);
    rc = wait_until(vp, fd, set, info,
                    stiol__deadline(timeout ? stiol__timespec(timeout) : STIOL_NEVER));
    error = errno;
    stiol_forget_fd(fd);
    (void)close(fd);
    errno = error;
    return rc;
}

int stiol__sigwaitinfo(const sigset_t *restrict set, siginfo_t *restrict info)
{
    return stiol__sigtimedwait(set, info, NULL);
}

/* Returns error numbers, but never EINTR. */
int stiol__sigwait(const sigset_t *restrict set, int *restrict signal)
{
    bool interrupted = false;
    int rc, error = errno;

    while ((rc = stiol__sigtimedwait(set, NULL, NULL)) < 0 && errno == EINTR)
        interrupted = true;
    if (interrupted && stiol__here())
        st_thread_interrupt(st_thread_self()); /* not for this wait: pass it on to the next one */
    if (rc < 0)
        return errno;
    *signal = rc;
    errno = error;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors in use by calls on helpers. A job knows its file only by number, so while it is
 * queued or running, the number must not come to mean another file: a close() in the meantime takes
 * effect once the last such call has ended. Called by file.c and fd.c, on the VP.
 */
#include "stiol/file.h"
#include "stiol/lot.h"

static stiol__fd_use_t **bucket_of(stiol__vp_t *vp, int fd)
{
    return &vp->uses[(unsigned)fd % STIOL_USES];
}

static bool is_used(stiol__vp_t *vp, int fd)
{
    const stiol__fd_use_t *use = *bucket_of(vp, fd);

    while (use && use->fd != fd)
        use = use->next;
    return use;
}

void stiol__fd_use(stiol__vp_t *vp, stiol__fd_use_t *use, int fd)
{
    unsigned char *byte = stiol__fd_byte(fd);

    *use = (stiol__fd_use_t){.fd = byte ? fd : -1};
    if (!byte)
        return;
    use->next = *bucket_of(vp, fd);
    *bucket_of(vp, fd) = use;
    (void)__atomic_fetch_or(byte, STIOL_USED_MARK, __ATOMIC_RELAXED);
}

static void close_at_last(stiol__vp_t *vp, int fd)
{
    int error = errno;

    (void)stiol__close_known(vp, fd);
    errno = error;
}

void stiol__fd_used(stiol__vp_t *vp, stiol__fd_use_t *use)
{
    stiol__fd_use_t **place;

    if (use->fd < 0)
        return;
    place = bucket_of(vp, use->fd);
    while (*place != use)
        place = &(*place)->next;
    *place = use->next;
    if (is_used(vp, use->fd))
        return;
    (void)__atomic_fetch_and(stiol__fd_byte(use->fd), (unsigned char)~STIOL_USED_MARK,
                             __ATOMIC_RELAXED);
    if (use->closed)
        close_at_last(vp, use->fd);
    stiol__lot_notify(stiol__turn_key(use->fd), true);
}

bool stiol__put_off_close(stiol__vp_t *vp, int fd)
{
    bool found = false;

    for (stiol__fd_use_t *use = *bucket_of(vp, fd); use; use = use->next)
        if (use->fd == fd)
            use->closed = found = true;
    return found;
}

static int attempt(void *arg)
{
    return stiol__fd_in_use(*(const int *)arg) ? 0 : 1;
}

void stiol__await_unused(stiol__vp_t *vp, int fd)
{
    st_wait_t wait = {.kind = ST_WAIT_DISK, .number = fd};
    bool interrupted = false;

    STIOL_PARKS(vp, file);
    st_wait_begin(&wait);
    while (stiol__probe(vp, stiol__turn_key(fd), attempt, &fd, STIOL_NEVER) != 0)
        interrupted = true;
    st_wait_end(&wait);
    if (interrupted)
        st_thread_interrupt(st_thread_self()); /* was not meant for this wait: passes it on to the
                                                * next one */
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptor objects (st_netfd_t): opening, closing, private data.
 */
#include "st/st_internal.h"

/* One system call for sockets, POSIX's two for everything else. */
static int set_nonblocking(int osfd, bool socket)
{
    int flags;

    if (socket && st__sys_set_nonblocking(osfd) == 0)
        return 0;
    if ((flags = st__sys_get_flags(osfd)) < 0)
        return -1;
    return st__sys_set_flags(osfd, flags | O_NONBLOCK);
}

/* A new descriptor has this number: forget an earlier one that was never reported closed. */
static void reset(struct st_vp *vp, int osfd)
{
    struct st__fd *fd = st__fd_find(vp, osfd);

    if (!fd || fd->links)
        return;
    fd->generation++;
    fd->flags = 0;
    fd->ready = 0;
}

st_netfd_t st__netfd_new(int osfd, bool nonblock, bool socket)
{
    struct st_vp *vp = st__vp_get();
    struct st_netfd *fd;

    if (!vp)
        return NULL;
    if (osfd < 0) {
        errno = EBADF;
        return NULL;
    }
    if (!(fd = st__calloc(1, sizeof(*fd))))
        return NULL;
    fd->osfd = osfd;
    if (nonblock && set_nonblocking(osfd, socket) < 0) {
        int error = errno;

        free(fd);
        errno = error;
        return NULL;
    }
    reset(vp, osfd);
    return fd;
}

st_netfd_t st_netfd_open(int osfd)
{
    return st__netfd_new(osfd, true, false);
}

st_netfd_t st_netfd_open_socket(int osfd)
{
    return st__netfd_new(osfd, true, true);
}

st_netfd_t st_open(const char *path, int oflags, mode_t mode)
{
    st_netfd_t fd;
    int osfd;

    while ((osfd = st__sys_open(path, oflags | O_NONBLOCK, mode)) < 0)
        if (errno != EINTR)
            return NULL;
    if (!(fd = st__netfd_new(osfd, false, false))) {
        int error = errno;

        close(osfd);
        errno = error;
    }
    return fd;
}

void st_netfd_free(st_netfd_t fd)
{
    st_fd_forget(fd->osfd);
    if (fd->specific && fd->destructor)
        fd->destructor(fd->specific);
    free(fd);
}

/* Whether state threads wait on the descriptor. */
static bool is_busy(struct st_vp *vp, int osfd)
{
    struct st__fd *fd = st__fd_find(vp, osfd);

    if (!fd)
        return false;
    for (struct st_fd_link *link = fd->links; link; link = link->next)
        if (link->kind == ST__LINK_THREAD || link->kind == ST__LINK_POLL)
            return true;
    return false;
}

int st_netfd_close(st_netfd_t fd)
{
    struct st_vp *vp = st__vp_get();
    int osfd = fd->osfd;

    if (!vp)
        return -1;
    if (is_busy(vp, osfd))
        return st__fail(EBUSY);
    st_netfd_free(fd);
    return st__sys_close(osfd);
}

int st_netfd_fileno(st_netfd_t fd)
{
    return fd->osfd;
}

void st_netfd_setspecific(st_netfd_t fd, void *value, void (*destructor)(void *))
{
    if (fd->specific && fd->specific != value && fd->destructor)
        fd->destructor(fd->specific);
    fd->specific = value;
    fd->destructor = destructor;
}

void *st_netfd_getspecific(st_netfd_t fd)
{
    return fd->specific;
}

int st_netfd_serialize_accept(st_netfd_t fd)
{
    (void)fd; /* Linux needs no help with several processes that accept on one socket */
    return 0;
}

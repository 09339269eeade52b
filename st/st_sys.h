/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thin wrappers for every system call and allocation of libst that can fail, so that the unit tests
 * can make each of them fail (st_faults.h). Without -DST_FAULTS they are the calls themselves. They
 * return -1 with errno on failure unless said otherwise, and never yield. Called all over libst.
 */
#ifndef ST_SYS_H
#define ST_SYS_H

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "st/st_faults.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#endif

/* malloc(). NULL with ENOMEM if it fails; so do the three below. */
static inline void *st__malloc(size_t size)
{
    return st__fault_hit(ST_FAULT_MALLOC) ? NULL : malloc(size);
}

/* calloc(). */
static inline void *st__calloc(size_t count, size_t size)
{
    return st__fault_hit(ST_FAULT_MALLOC) ? NULL : calloc(count, size);
}

/* realloc(); on failure, the old memory is unchanged. */
static inline void *st__realloc(void *old, size_t size)
{
    return st__fault_hit(ST_FAULT_MALLOC) ? NULL : realloc(old, size);
}

/* aligned_alloc(). */
static inline void *st__aligned_alloc(size_t alignment, size_t size)
{
    return st__fault_hit(ST_FAULT_MALLOC) ? NULL : aligned_alloc(alignment, size);
}

/* Maps size bytes, readable and writable, at an address of the kernel's choice. flags: MAP_*.
 * Returns MAP_FAILED with errno on failure. */
static inline void *st__sys_mmap(size_t size, int flags)
{
    return st__fault_hit(ST_FAULT_MMAP) ? MAP_FAILED
                                        : mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
}

/* mprotect(): changes the protection of size bytes at addr, both whole pages. */
static inline int st__sys_mprotect(void *addr, size_t size, int prot)
{
    return st__fault_hit(ST_FAULT_MPROTECT) ? -1 : mprotect(addr, size, prot);
}

/* Makes size bytes at addr a guard, which costs no mapping of its own. EINVAL before Linux 6.13. */
static inline int st__sys_guard(void *addr, size_t size)
{
    return st__fault_hit(ST_FAULT_GUARD) ? -1 : madvise(addr, size, MADV_GUARD_INSTALL);
}

/* Creates an epoll descriptor that is closed on exec. */
static inline int st__sys_epoll_create(void)
{
    return st__fault_hit(ST_FAULT_EPOLL_CREATE) ? -1 : epoll_create1(EPOLL_CLOEXEC);
}

/* epoll_ctl(). */
static inline int st__sys_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    return st__fault_hit(ST_FAULT_EPOLL_CTL) ? -1 : epoll_ctl(epfd, op, fd, event);
}

/* epoll_wait() for up to `ms` milliseconds; -1: without limit. Waits in the kernel, so only the
 * scheduler calls it. */
static inline int st__sys_epoll_wait(int epfd, struct epoll_event *events, int room, int ms)
{
    return st__fault_hit(ST_FAULT_EPOLL_WAIT) ? -1 : epoll_wait(epfd, events, room, ms);
}

/* The same with a finer timeout; NULL: without limit. ENOSYS where the kernel does not have it. */
static inline int st__sys_epoll_pwait2(int epfd, struct epoll_event *events, int room,
                                       const struct timespec *timeout)
{
#ifdef SYS_epoll_pwait2
    if (st__fault_hit(ST_FAULT_EPOLL_WAIT))
        return -1;
    return (int)syscall(SYS_epoll_pwait2, epfd, events, room, timeout, NULL, 0);
#else
    (void)epfd;
    (void)events;
    (void)room;
    (void)timeout;
    errno = ENOSYS;
    return -1;
#endif
}

/* Creates a nonblocking eventfd with a count of 0, closed on exec. */
static inline int st__sys_eventfd(void)
{
    return st__fault_hit(ST_FAULT_EVENTFD) ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* Sets what a signal does; the earlier action is not wanted. */
static inline int st__sys_sigaction(int sig, const struct sigaction *action)
{
    return st__fault_hit(ST_FAULT_SIGACTION) ? -1 : sigaction(sig, action, NULL);
}

/* glibc has a type of its own for what musl calls an int. */
#ifdef __GLIBC__
#define ST__RESOURCE(resource) ((__rlimit_resource_t)(resource))
#else
#define ST__RESOURCE(resource) (resource)
#endif

/* getrlimit(). */
static inline int st__sys_getrlimit(int resource, struct rlimit *limit)
{
    return st__fault_hit(ST_FAULT_GETRLIMIT) ? -1 : getrlimit(ST__RESOURCE(resource), limit);
}

/* setrlimit(). */
static inline int st__sys_setrlimit(int resource, const struct rlimit *limit)
{
    return st__fault_hit(ST_FAULT_SETRLIMIT) ? -1 : setrlimit(ST__RESOURCE(resource), limit);
}

/* Returns the flags of an open file (F_GETFL), or -1 with errno. */
static inline int st__sys_get_flags(int fd)
{
    return st__fault_hit(ST_FAULT_FCNTL) ? -1 : fcntl(fd, F_GETFL, 0);
}

/* Sets the flags of an open file (F_SETFL). */
static inline int st__sys_set_flags(int fd, int flags)
{
    return st__fault_hit(ST_FAULT_FCNTL) ? -1 : fcntl(fd, F_SETFL, flags);
}

/* Makes the open file nonblocking, with one call instead of two. */
static inline int st__sys_set_nonblocking(int fd)
{
    int on = 1;

    return st__fault_hit(ST_FAULT_IOCTL) ? -1 : ioctl(fd, FIONBIO, &on);
}

/* open(). May wait in the kernel. */
static inline int st__sys_open(const char *path, int flags, mode_t mode)
{
    return st__fault_hit(ST_FAULT_OPEN) ? -1 : open(path, flags, mode);
}

/* close(). Under fault injection the descriptor is closed all the same. */
static inline int st__sys_close(int fd)
{
    int result = close(fd);

    return st__fault_hit(ST_FAULT_CLOSE) ? -1 : result;
}

/* poll() without waiting: how many descriptors are ready. */
static inline int st__sys_poll(struct pollfd *pds, int count)
{
    return st__fault_hit(ST_FAULT_POLL) ? -1 : poll(pds, (nfds_t)count, 0);
}

/* accept4() with SOCK_NONBLOCK; EAGAIN if no connection has arrived. addr may be NULL. */
static inline int st__sys_accept(int fd, struct sockaddr *addr, socklen_t *addrlen)
{
    return st__fault_hit(ST_FAULT_ACCEPT) ? -1 : accept4(fd, addr, addrlen, SOCK_NONBLOCK);
}

/* connect(); EINPROGRESS on a nonblocking socket. */
static inline int st__sys_connect(int fd, const struct sockaddr *addr, socklen_t addrlen)
{
    return st__fault_hit(ST_FAULT_CONNECT) ? -1 : connect(fd, addr, addrlen);
}

/* Reads an integer option of level SOL_SOCKET. */
static inline int st__sys_getsockopt(int fd, int option, int *value)
{
    socklen_t size = sizeof(*value);

    return st__fault_hit(ST_FAULT_GETSOCKOPT) ? -1
                                              : getsockopt(fd, SOL_SOCKET, option, value, &size);
}

/* read(). This call and the following ones transfer what they can at once, and fail with EAGAIN if
 * a nonblocking descriptor is not ready. */
static inline ssize_t st__sys_read(int fd, void *buf, size_t size)
{
    return st__fault_hit(ST_FAULT_READ) ? -1 : read(fd, buf, size);
}

/* readv(). */
static inline ssize_t st__sys_readv(int fd, const struct iovec *iov, int count)
{
    return st__fault_hit(ST_FAULT_READV) ? -1 : readv(fd, iov, count);
}

/* write(). */
static inline ssize_t st__sys_write(int fd, const void *buf, size_t size)
{
    return st__fault_hit(ST_FAULT_WRITE) ? -1 : write(fd, buf, size);
}

/* writev(). */
static inline ssize_t st__sys_writev(int fd, const struct iovec *iov, int count)
{
    return st__fault_hit(ST_FAULT_WRITEV) ? -1 : writev(fd, iov, count);
}

/* recvfrom() without flags; from may be NULL. */
static inline ssize_t st__sys_recvfrom(int fd, void *buf, size_t size, struct sockaddr *from,
                                       socklen_t *fromlen)
{
    return st__fault_hit(ST_FAULT_RECVFROM) ? -1 : recvfrom(fd, buf, size, 0, from, fromlen);
}

/* sendto() without flags. */
static inline ssize_t st__sys_sendto(int fd, const void *msg, size_t size,
                                     const struct sockaddr *to, socklen_t tolen)
{
    return st__fault_hit(ST_FAULT_SENDTO) ? -1 : sendto(fd, msg, size, 0, to, tolen);
}

/* recvmsg(). */
static inline ssize_t st__sys_recvmsg(int fd, struct msghdr *msg, int flags)
{
    return st__fault_hit(ST_FAULT_RECVMSG) ? -1 : recvmsg(fd, msg, flags);
}

/* sendmsg(). */
static inline ssize_t st__sys_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    return st__fault_hit(ST_FAULT_SENDMSG) ? -1 : sendmsg(fd, msg, flags);
}

#endif /* ST_SYS_H */

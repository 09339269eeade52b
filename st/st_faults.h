/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault injection, for the unit tests only: with -DST_FAULTS every system call and allocation of
 * libst that can fail counts down a counter. The wrappers are in st_internal.h, the counters in
 * faults.c.
 */
#ifndef ST_FAULTS_H
#define ST_FAULTS_H

/* Per kind of call: a name, and the errno it fails with unless the test sets another. */
#define ST__FAULT_KINDS(X)                                                                         \
    X(MALLOC, ENOMEM) /* malloc, calloc and realloc */                                             \
    X(MMAP, ENOMEM)                                                                                \
    X(MPROTECT, ENOMEM) /* guards, if MADV_GUARD_INSTALL is not used */                            \
    X(GUARD, ENOMEM)    /* madvise(MADV_GUARD_INSTALL), the run-time probe not included */         \
    X(EPOLL_CREATE, EMFILE)                                                                        \
    X(EPOLL_CTL, ENOMEM)                                                                           \
    X(EPOLL_WAIT, EINTR)                                                                           \
    X(EVENTFD, EMFILE)                                                                             \
    X(ATFORK, ENOMEM)                                                                              \
    X(SIGACTION, EINVAL)                                                                           \
    X(GETRLIMIT, EINVAL)                                                                           \
    X(SETRLIMIT, EPERM)                                                                            \
    X(FCNTL, EBADF)                                                                                \
    X(IOCTL, ENOTTY)                                                                               \
    X(OPEN, ENOENT)                                                                                \
    X(CLOSE, EIO) /* the descriptor is closed nevertheless */                                      \
    X(POLL, ENOMEM)                                                                                \
    X(ACCEPT, ECONNABORTED)                                                                        \
    X(CONNECT, ECONNREFUSED)                                                                       \
    X(GETSOCKOPT, EBADF)                                                                           \
    X(READ, EIO)                                                                                   \
    X(READV, EIO)                                                                                  \
    X(WRITE, EIO)                                                                                  \
    X(WRITEV, EIO)                                                                                 \
    X(RECVFROM, EIO)                                                                               \
    X(SENDTO, EIO)                                                                                 \
    X(RECVMSG, EIO)                                                                                \
    X(SENDMSG, EIO)

enum st__fault {
#define X(name, error) ST_FAULT_##name,
    ST__FAULT_KINDS(X)
#undef X
        ST_FAULT_COUNT
};

#ifdef ST_FAULTS
/* Per kind: 0 off; n > 0: the n-th call from now fails, once; -1: every call fails until set to
 * 0. */
extern long st__fault_countdown[ST_FAULT_COUNT];
/* The errno it fails with; starts as the one above, a test may set another. */
extern int st__fault_errno[ST_FAULT_COUNT];
/* Calls of each kind so far, whether failed or not; a test may set it to 0. */
extern unsigned long st__fault_calls[ST_FAULT_COUNT];
/* "MALLOC", "MMAP", ... */
extern const char *const st__fault_name[ST_FAULT_COUNT];
/* All counters to 0, all errnos to their defaults. */
void st__fault_reset(void);
/* Nonzero, with errno set, if this call must fail. Used by the wrappers. */
int st__fault_hit(enum st__fault kind);
#else
static inline int st__fault_hit(enum st__fault kind)
{
    (void)kind;
    return 0;
}
#endif

/* For tests of the fallback: 1 makes VPs that are initialized from now on guard stacks by
 * mprotect. */
extern int st__force_mprotect_guards;

#endif /* ST_FAULTS_H */

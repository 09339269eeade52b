/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of each descriptor: whether a call on it can wait at all. One byte each, for the
 * whole process, made out at the first call and forgotten when the descriptor is closed, made anew
 * or changed. Used by io.c.
 */
#include <stdarg.h>
#include <sys/stat.h>

#include "stiol_int.h"

#define FDS_MAX (1 << 20) /* descriptors beyond it are made out at each call */

static unsigned char *classes; /* FDS_MAX bytes of address space; only touched pages are memory */

int stiol__fd_start(void)
{
    void *memory = mmap(NULL, FDS_MAX, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return -1;
    classes = memory;
    return 0;
}

void stiol__fd_set_class(int fd, stiol__fd_class_t class)
{
    if (classes != NULL && fd >= 0 && fd < FDS_MAX)
        __atomic_store_n(&classes[fd], (unsigned char)class, __ATOMIC_RELAXED);
}

static stiol__fd_class_t make_out(int fd)
{
    stiol__fd_class_t class = STIOL_FD_STREAM;
    int error = errno, flags;
    struct stat st;

    if (fstat(fd, &st) != 0)
        class = STIOL_FD_UNKNOWN;
    else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode))
        class = STIOL_FD_PASS;
    else if ((flags = fcntl(fd, F_GETFL)) < 0 || (flags & O_NONBLOCK) != 0)
        class = STIOL_FD_PASS;
    else if (S_ISSOCK(st.st_mode))
        class = STIOL_FD_SOCKET;
    errno = error;
    return class;
}

static stiol__fd_class_t noted(int fd)
{
    return classes != NULL && fd >= 0 && fd < FDS_MAX
               ? __atomic_load_n(&classes[fd], __ATOMIC_RELAXED)
               : STIOL_FD_UNKNOWN;
}

stiol__fd_class_t stiol__fd_class(int fd)
{
    stiol__fd_class_t class = noted(fd);

    if (class == STIOL_FD_NONBLOCKING)
        return STIOL_FD_PASS;
    if (STIOL_UNLIKELY(class == STIOL_FD_UNKNOWN)) {
        class = make_out(fd);
        stiol__fd_set_class(fd, class);
    }
    return class != STIOL_FD_UNKNOWN ? class : STIOL_FD_PASS; /* not open: the real call says so */
}

/* A descriptor came into being under this number: what was known is of another one. */
static int made(int fd, stiol__fd_class_t class)
{
    if (fd >= 0)
        stiol__fd_set_class(fd, class);
    return fd;
}

static int made_two(int rc, const int fds[2], stiol__fd_class_t class)
{
    if (rc == 0) {
        (void)made(fds[0], class);
        (void)made(fds[1], class);
    }
    return rc;
}

/* It is about to be closed. On any kernel thread, and in callbacks too. */
static void forget(int fd)
{
    int error = errno;

    if (STIOL_OFF(STIOL_NO_FORGET))
        return;
    stiol__fd_set_class(fd, STIOL_FD_UNKNOWN);
    if (stiol__vp != NULL && fd >= 0)
        st_fd_forget(fd);
    errno = error;
}

/* --- the replacements --- */

int stiol__close(int fd)
{
    (void)STIOL_ENTER(fd, close, fd);
    if (fd == -1) { /* the MPM has taken the socket out of what APR cleans up */
        errno = EBADF;
        return -1;
    }
    forget(fd);
    return close(fd);
}

int stiol__dup(int fd)
{
    (void)STIOL_ENTER(fd, dup, fd);
    return made(dup(fd), STIOL_FD_UNKNOWN);
}

int stiol__dup2(int from, int to)
{
    (void)STIOL_ENTER(fd, dup2, to);
    if (from != to)
        forget(to);
    return dup2(from, to);
}

int stiol__dup3(int from, int to, int flags)
{
    (void)STIOL_ENTER(fd, dup3, to);
    if (from != to)
        forget(to);
    return dup3(from, to, flags);
}

static stiol__fd_class_t socket_class(int type)
{
    return (type & SOCK_NONBLOCK) != 0 ? STIOL_FD_PASS : STIOL_FD_SOCKET;
}

int stiol__socket(int domain, int type, int protocol)
{
    (void)STIOL_ENTER(fd, socket, domain);
    return made(socket(domain, type, protocol), socket_class(type));
}

int stiol__socketpair(int domain, int type, int protocol, int fds[2])
{
    (void)STIOL_ENTER(fd, socketpair, domain);
    return made_two(socketpair(domain, type, protocol, fds), fds, socket_class(type));
}

int stiol__pipe(int fds[2])
{
    (void)STIOL_ENTER(fd, pipe, 0);
    return made_two(pipe(fds), fds, STIOL_FD_STREAM);
}

int stiol__pipe2(int fds[2], int flags)
{
    (void)STIOL_ENTER(fd, pipe2, flags);
    return made_two(pipe2(fds, flags), fds,
                    (flags & O_NONBLOCK) != 0 ? STIOL_FD_PASS : STIOL_FD_STREAM);
}

/* The mode is there only if a file may be made. */
static mode_t mode_in(va_list args, int flags)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

int stiol__open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_in(args, flags);
    va_end(args);
    (void)STIOL_ENTER(fd, open, flags);
    return made(open(path, flags, mode), STIOL_FD_UNKNOWN);
}

int stiol__open64(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_in(args, flags);
    va_end(args);
    (void)STIOL_ENTER(fd, open64, flags);
    return made(open64(path, flags, mode), STIOL_FD_UNKNOWN);
}

int stiol__openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_in(args, flags);
    va_end(args);
    (void)STIOL_ENTER(fd, openat, flags);
    return made(openat(dir, path, flags, mode), STIOL_FD_UNKNOWN);
}

int stiol__openat64(int dir, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_in(args, flags);
    va_end(args);
    (void)STIOL_ENTER(fd, openat64, flags);
    return made(openat64(dir, path, flags, mode), STIOL_FD_UNKNOWN);
}

/* APR makes each client's socket nonblocking, which the MPM did when it accepted it. */
#define FLAGS    (O_RDWR | O_NONBLOCK)
#define SETTABLE (O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK)

/* Linux takes the third argument of both as one word, whatever its type. */
static int do_fcntl(stiol__vp_t *vp, int fd, int command, void *arg)
{
    int rc;

    switch (command) {
    case F_GETFL:
        return noted(fd) == STIOL_FD_NONBLOCKING ? FLAGS : fcntl(fd, command);
    case F_SETFL:
        if (noted(fd) == STIOL_FD_NONBLOCKING && ((uintptr_t)arg & SETTABLE) == O_NONBLOCK)
            return 0;
        rc = fcntl(fd, command, arg);
        stiol__fd_set_class(fd, rc == 0 && ((uintptr_t)arg & O_NONBLOCK) != 0 ? STIOL_FD_PASS
                                                                              : STIOL_FD_UNKNOWN);
        return rc;
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return made(fcntl(fd, command, arg), STIOL_FD_UNKNOWN);
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return vp != NULL ? stiol__filelock_fcntl(vp, fd, command, arg) : fcntl(fd, command, arg);
    default:
        return fcntl(fd, command, arg);
    }
}

int stiol__fcntl(int fd, int command, ...)
{
    va_list args;
    void *arg;

    va_start(args, command);
    arg = va_arg(args, void *);
    va_end(args);
    return do_fcntl(STIOL_ENTER(fd, fcntl, fd), fd, command, arg);
}

int stiol__fcntl64(int fd, int command, ...)
{
    va_list args;
    void *arg;

    va_start(args, command);
    arg = va_arg(args, void *);
    va_end(args);
    return do_fcntl(STIOL_ENTER(fd, fcntl64, fd), fd, command, arg);
}

int stiol__ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    void *arg;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    (void)STIOL_ENTER(fd, ioctl, fd);
    if (request == FIONBIO)
        stiol__fd_set_class(fd, STIOL_FD_UNKNOWN);
    return ioctl(fd, request, arg);
}

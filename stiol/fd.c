/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known about each descriptor: whether a call on it can wait at all. One byte each, for the
 * whole process, determined at the first call and forgotten when the descriptor is closed, reopened
 * or changed. Used by io.c, message.c and everything that waits for a descriptor; calls that create
 * descriptors are in made.c.
 */
#include <stdarg.h>
#include <sys/stat.h>

#include "stiol/fd.h"
#include "stiol/file.h"
#include "stiol/stiol_int.h"

unsigned char *stiol__fd_bytes;

int stiol__fd_start(void)
{
    void *memory = mmap(NULL, STIOL_FDS_MAX, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return -1;
    stiol__fd_bytes = memory;
    return 0;
}

static unsigned byte_at(int fd)
{
    const unsigned char *byte = stiol__fd_byte(fd);

    return byte ? __atomic_load_n(byte, __ATOMIC_RELAXED) : STIOL_FD_UNKNOWN;
}

bool stiol__fd_is_noted(int fd)
{
    return (byte_at(fd) & ~(unsigned)STIOL_ELSEWHERE) != STIOL_FD_UNKNOWN;
}

/* The same descriptor has been examined or changed: its mark stays. */
static void note_class(int fd, stiol__fd_class_t class)
{
    unsigned mark = byte_at(fd) & STIOL_FD_MARKS;

    if (stiol__lent())
        return;
    if (!stiol__mine() && (byte_at(fd) & STIOL_ELSEWHERE) != 0)
        return; /* a VP has to see the mark, and examines it then */

    stiol__fd_set_class(fd, (stiol__fd_class_t)(class | mark));
}

bool stiol__fd_has_low_mark(int fd)
{
    return (byte_at(fd) & STIOL_LOW_MARK) != 0;
}

static stiol__fd_class_t make_out(int fd)
{
    int error = errno, flags;
    struct statx st;
    bool blocks;

    if (stiol__look_at(fd, &st) != 0)
        return STIOL_FD_UNKNOWN;
    if (S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode))
        return stiol__device_class(st.stx_dev_major, st.stx_dev_minor, S_ISDIR(st.stx_mode));
    if (S_ISBLK(st.stx_mode))
        return STIOL_FD_SLOW_FILE;
    flags = fcntl(fd, F_GETFL);
    errno = error;
    if (flags < 0)
        return STIOL_FD_UNKNOWN;
    blocks = (flags & O_NONBLOCK) == 0;
    if (S_ISSOCK(st.stx_mode))
        return blocks ? STIOL_FD_SOCKET : STIOL_FD_ASYNC_SOCKET;
    return blocks ? STIOL_FD_STREAM : STIOL_FD_ASYNC_STREAM;
}

/* What libst knows about this number belongs to an earlier descriptor. */
static void renew(int fd)
{
    unsigned char *byte = stiol__fd_byte(fd);

    if (!byte || (*byte & STIOL_ELSEWHERE) == 0 || !stiol__mine())
        return;
    (void)__atomic_fetch_and(byte, (unsigned char)~STIOL_ELSEWHERE, __ATOMIC_RELAXED);
    st_fd_renew(fd);
}

stiol__fd_class_t stiol__fd_look(int fd)
{
    stiol__fd_class_t class = make_out(fd);

    renew(fd);
    note_class(fd, class);
    return class != STIOL_FD_UNKNOWN ? class : STIOL_FD_PASS; /* not open: the real call fails */
}

int stiol__fd_made(int fd, stiol__fd_class_t class)
{
    if (fd < 0 || STIOL_OFF(STIOL_NO_FORGET) || stiol__lent())
        return fd;
    if (stiol__mine()) {
        stiol__fd_set_class(fd, class);
        st_fd_renew(fd);
    } else {
        stiol__fd_set_class(fd, (stiol__fd_class_t)STIOL_ELSEWHERE);
    }
    return fd;
}

#define made stiol__fd_made

static int made_two(int rc, const int fds[2], stiol__fd_class_t class)
{
    if (rc == 0) {
        (void)made(fds[0], class);
        (void)made(fds[1], class);
    }
    return rc;
}

void stiol__fd_received(struct msghdr *message)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        int fd;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t at = 0; CMSG_LEN(at + sizeof(fd)) <= c->cmsg_len; at += sizeof(fd)) {
            memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
            (void)made(fd, STIOL_FD_UNKNOWN);
        }
    }
}

/* Runs on any kernel thread, in callbacks and signal handlers, too. What libst knows belongs to its
 * VP: on other kernel threads it is kept until the number is used again, when the mark tells the
 * VP. A child of vfork() closes only its own. */
void stiol__fd_closing(int fd)
{
    int error = errno;

    if (STIOL_OFF(STIOL_NO_FORGET) || stiol__lent())
        return;
    stiol__fd_set_class(fd, stiol__mine() ? STIOL_FD_UNKNOWN : (stiol__fd_class_t)STIOL_ELSEWHERE);
    if (stiol__mine() && fd >= 0)
        st_fd_forget(fd);
    errno = error;
}

/* --- the replacements --- */

int stiol__close_known(stiol__vp_t *vp, int fd)
{
    bool slow = vp && stiol__is_slow_file(stiol__fd_noted(fd));
    int rc;

    stiol__fd_closing(fd);
    rc = STIOL_UNLIKELY(slow) ? stiol__close_patiently(vp, fd) : close(fd);
    if (!stiol__mine() && !STIOL_OFF(STIOL_NO_FORGET) && !stiol__lent())
        stiol__fd_set_class(fd, (stiol__fd_class_t)STIOL_ELSEWHERE); /* a VP may have examined it */
    return rc;
}

int stiol__close(int fd)
{
    stiol__vp_t *vp = STIOL_ENTER(fd, close, fd);

    if (fd == -1) { /* the MPM has removed the socket from what APR cleans up */
        errno = EBADF;
        return -1;
    }
    if (STIOL_UNLIKELY(vp && stiol__fd_in_use(fd)) && stiol__put_off_close(vp, fd))
        return 0;
    return stiol__close_known(vp, fd);
}

/* A call that still means the old file must not see what the number will mean from now on. */
static void make_room(stiol__vp_t *vp, int to)
{
    if (STIOL_UNLIKELY(vp && stiol__fd_in_use(to)))
        stiol__await_unused(vp, to);
    stiol__fd_closing(to);
}

/* The flags are the open file's. */
static stiol__fd_class_t class_of_duplicate(int fd)
{
    return stiol__fd_noted(fd) == STIOL_FD_SYNC_FILE ? STIOL_FD_SYNC_FILE : STIOL_FD_UNKNOWN;
}

int stiol__dup(int fd)
{
    (void)STIOL_ENTER(fd, dup, fd);
    return made(dup(fd), class_of_duplicate(fd));
}

int stiol__dup2(int from, int to)
{
    stiol__vp_t *vp = STIOL_ENTER(fd, dup2, to);

    if (from == to)
        return dup2(from, to);
    make_room(vp, to);
    return made(dup2(from, to), class_of_duplicate(from));
}

int stiol__dup3(int from, int to, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(fd, dup3, to);

    if (from == to)
        return dup3(from, to, flags);
    make_room(vp, to);
    return made(dup3(from, to, flags), class_of_duplicate(from));
}

static stiol__fd_class_t socket_class(int type)
{
    return (type & SOCK_NONBLOCK) != 0 ? STIOL_FD_ASYNC_SOCKET : STIOL_FD_SOCKET;
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

int stiol__setsockopt(int fd, int level, int option, const void *value, socklen_t length)
{
    unsigned char *byte = stiol__fd_byte(fd);

    (void)STIOL_ENTER(fd, setsockopt, fd);
    if (STIOL_UNLIKELY(level == SOL_SOCKET && option == SO_RCVLOWAT && byte) && !stiol__lent())
        (void)__atomic_fetch_or(byte, STIOL_LOW_MARK, __ATOMIC_RELAXED);
    return setsockopt(fd, level, option, value, length);
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
                    (flags & O_NONBLOCK) != 0 ? STIOL_FD_ASYNC_STREAM : STIOL_FD_STREAM);
}

/* APR makes each client's socket nonblocking, which the MPM already did on accepting it. */
#define FLAGS    (O_RDWR | O_NONBLOCK)
#define SETTABLE (O_APPEND | O_ASYNC | O_DIRECT | O_NOATIME | O_NONBLOCK)

/* The class after a change of flags. Descriptors not known to be a socket or a stream are examined
 * anew. */
static stiol__fd_class_t with_flags(stiol__fd_class_t before, int flags)
{
    bool blocks = (flags & O_NONBLOCK) == 0;

    switch (before) {
    case STIOL_FD_SOCKET:
    case STIOL_FD_ASYNC_SOCKET:
        return blocks ? STIOL_FD_SOCKET : STIOL_FD_ASYNC_SOCKET;
    case STIOL_FD_STREAM:
    case STIOL_FD_ASYNC_STREAM:
        return blocks ? STIOL_FD_STREAM : STIOL_FD_ASYNC_STREAM;
    case STIOL_FD_SYNC_FILE: /* O_SYNC cannot be cleared */
        return before;
    default:
        return STIOL_FD_UNKNOWN;
    }
}

/* Linux takes the third argument of both as a single word, whatever its type. */
static int do_fcntl(stiol__vp_t *vp, int fd, int command, void *arg)
{
    int rc;

    switch (command) {
    case F_GETFL:
        return stiol__fd_noted(fd) == STIOL_FD_NONBLOCKING ? FLAGS : fcntl(fd, command);
    case F_SETFL:
        if (stiol__fd_noted(fd) == STIOL_FD_NONBLOCKING &&
            ((uintptr_t)arg & SETTABLE) == O_NONBLOCK)
            return 0;
        rc = fcntl(fd, command, arg);
        note_class(fd, rc == 0 ? with_flags(stiol__fd_noted(fd), (int)(uintptr_t)arg)
                               : STIOL_FD_UNKNOWN);
        if (STIOL_UNLIKELY(rc == 0 && ((uintptr_t)arg & O_DIRECT) != 0))
            (void)stiol__fd_flags_known(fd, O_DIRECT);
        return rc;
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
        return made(fcntl(fd, command, arg), class_of_duplicate(fd));
    case F_SETLK:
    case F_SETLKW:
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
        return vp ? stiol__filelock_fcntl(vp, fd, command, arg) : fcntl(fd, command, arg);
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
        note_class(fd, STIOL_FD_UNKNOWN);
    return ioctl(fd, request, arg);
}

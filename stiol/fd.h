/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known about descriptors, so that a call on one need not ask whether it may wait (fd.c),
 * and record locks (filelock.c). Nothing here yields except stiol__filelock_fcntl().
 */
#ifndef STIOL_FD_H
#define STIOL_FD_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/** How a call on this fd behaves. */
typedef enum {
    STIOL_FD_UNKNOWN,
    STIOL_FD_PASS,   /* nonblocking, or a file in memory: the real call */
    STIOL_FD_SOCKET, /* a blocking socket */
    STIOL_FD_STREAM, /* blocking: a pipe, a terminal, an eventfd */
    /* Kinds that are PASS to all calls except reads and writes: */
    STIOL_FD_NONBLOCKING,  /* a socket whose F_GETFL says O_RDWR | O_NONBLOCK */
    STIOL_FD_ASYNC_SOCKET, /* other nonblocking sockets */
    STIOL_FD_ASYNC_STREAM, /* like STREAM, but nonblocking */
    /* Regular files (file.c): */
    STIOL_FD_FILE,      /* asked with RWF_NOWAIT */
    STIOL_FD_MUTE_FILE, /* its file system cannot say what is in memory: the real call, timed */
    STIOL_FD_SLOW_FILE, /* its file system may take forever: calls run on a helper */
    STIOL_FD_SYNC_FILE  /* O_DIRECT, O_SYNC: each read or write waits for the device; likewise */
} stiol__fd_class_t;

#define STIOL_FDS_MAX (1 << 20) /* descriptors from here on are examined at each call */

/* STIOL_FDS_MAX bytes of address space, NULL before the start; only touched pages use memory. */
extern unsigned char *stiol__fd_bytes;

/** Makes the table, before the first VP. Returns 0, or -1 with errno: no address space. */
int stiol__fd_start(void);
/** Examines the descriptor itself, because nothing is known about it, and notes what it is. */
stiol__fd_class_t stiol__fd_look(int fd);

/* Beside the class: */
#define STIOL_LOW_MARK  0x80 /* SO_RCVLOWAT was set */
#define STIOL_BUSY_MARK 0x40 /* a helper is using the file's position, or writing */
#define STIOL_ELSEWHERE 0x20 /* opened or closed on a kernel thread that is not a VP */
#define STIOL_USED_MARK 0x10 /* a call on a helper, queued or running, uses the number */
#define STIOL_FD_MARKS  (STIOL_LOW_MARK | STIOL_BUSY_MARK | STIOL_ELSEWHERE | STIOL_USED_MARK)

static inline unsigned char *stiol__fd_byte(int fd)
{
    return STIOL_LIKELY((unsigned)fd < STIOL_FDS_MAX && stiol__fd_bytes) ? &stiol__fd_bytes[fd]
                                                                         : NULL;
}

/** What is known about it, without examining it. */
static inline stiol__fd_class_t stiol__fd_noted(int fd)
{
    const unsigned char *byte = stiol__fd_byte(fd);
    unsigned noted = byte ? __atomic_load_n(byte, __ATOMIC_RELAXED) : 0;

    return (stiol__fd_class_t)(noted & ~(unsigned)STIOL_FD_MARKS);
}

/** Its class, including the kinds of nonblocking descriptors and files. */
static inline stiol__fd_class_t stiol__fd_kind(int fd)
{
    stiol__fd_class_t class = stiol__fd_noted(fd);

    return STIOL_LIKELY(class != STIOL_FD_UNKNOWN) ? class : stiol__fd_look(fd);
}

/** SOCKET, STREAM or PASS. */
static inline stiol__fd_class_t stiol__fd_class(int fd)
{
    stiol__fd_class_t class = stiol__fd_kind(fd);

    return class == STIOL_FD_SOCKET || class == STIOL_FD_STREAM ? class : STIOL_FD_PASS;
}

/** Notes what it is. */
static inline void stiol__fd_set_class(int fd, stiol__fd_class_t class)
{
    unsigned char *byte = stiol__fd_byte(fd);

    if (byte && *byte != (unsigned char)class)
        __atomic_store_n(byte, (unsigned char)class, __ATOMIC_RELAXED);
}

/** A descriptor was opened with this number, if it is one (not negative): what was known belongs to
 * another. Returns fd and preserves errno. */
int stiol__fd_made(int fd, stiol__fd_class_t class);
/** The same for descriptors received in a message (SCM_RIGHTS). */
void stiol__fd_received(struct msghdr *message);
/** The descriptor is about to be closed, or has just been. May be called on any kernel thread, in
 * callbacks and signal handlers, too. */
void stiol__fd_closing(int fd);
/** The same two for a stream's descriptor; stiol__stream_opened() returns the stream, which may be
 * NULL. */
FILE *stiol__stream_opened(FILE *stream);
/** The stream is about to be closed: forgets its descriptor. */
void stiol__stream_closing(FILE *stream);
/** Whether anything is known about it. */
bool stiol__fd_is_noted(int fd);
/** Whether SO_RCVLOWAT was set. */
bool stiol__fd_has_low_mark(int fd);
/** The time that the socket's SO_RCVTIMEO or SO_SNDTIMEO (option) allows, us; STIOL_NEVER: no
 * limit. */
st_utime_t stiol__socket_timeout(int fd, int option);

/** filelock.c: fcntl() with F_SETLKW or F_OFD_SETLKW; parks. -1 with errno. Called by fd.c. */
int stiol__filelock_fcntl(stiol__vp_t *vp, int fd, int command, struct flock *lock);

#pragma GCC visibility pop

#endif /* STIOL_FD_H */

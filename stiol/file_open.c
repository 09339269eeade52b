/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open() and the like. A name that is in memory is opened directly, by a system call that reports
 * if it is not (openat2 with RESOLVE_CACHED, instead of openat); any other, and all on slow file
 * systems, on a helper. Files opened there are known to be slow from the start.
 */
#include <linux/openat2.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "stiol/file.h"

/* Flags that openat2() accepts and that do not by themselves access the device. */
#define ASKABLE                                                                                    \
    (O_ACCMODE | O_APPEND | O_CLOEXEC | O_DIRECTORY | O_DSYNC | O_LARGEFILE | O_NOATIME |          \
     O_NOCTTY | O_NOFOLLOW | O_NONBLOCK | O_PATH | O_SYNC)
/* Of these, whatever there is: openat2() has no reason of its own to refuse them. */
#define PLAIN (O_ACCMODE | O_APPEND | O_CLOEXEC | O_DIRECTORY | O_LARGEFILE | O_NOCTTY)

/* openat2() does not exist or is forbidden here (an old kernel, a container's filter). */
_Atomic bool stiol__openat2_barred;

typedef struct request {
    int dir;
    const char *path;
    int flags;
    mode_t mode;
} request_t;

static long really_open(const long *args)
{
    return openat((int)args[0], STIOL_TEXT(args[1]), (int)args[2], (mode_t)args[3]);
}

static int open_really(const request_t *request)
{
    return openat(request->dir, request->path, request->flags, request->mode);
}

/* Opens on a helper. A file on a slow file system is known as such from now on. */
static int open_patiently(stiol__vp_t *vp, const request_t *request, uint64_t group)
{
    const long args[] = {request->dir, (long)request->path, request->flags, (long)request->mode};
    int fd = (int)stiol__file_help_at(vp, request->dir, request->path, group, really_open, args);
    struct statx st;

    (void)stiol__fd_made(fd, STIOL_FD_UNKNOWN);
    if (fd < 0 || stiol__look_at(fd, &st) != 0)
        return fd;
    if (S_ISREG(st.stx_mode) || S_ISDIR(st.stx_mode))
        stiol__fd_set_class(
            fd, stiol__device_class(st.stx_dev_major, st.stx_dev_minor, S_ISDIR(st.stx_mode)));
    return fd;
}

/* Opens a FIFO whose other end nobody has opened yet. */
static int open_aside(stiol__vp_t *vp, const request_t *request)
{
    const long args[] = {request->dir, (long)request->path, request->flags, (long)request->mode};
    stiol__fd_use_t use;
    int fd;

    stiol__fd_use(vp, &use, request->dir);
    fd = stiol__fd_made((int)stiol__file_aside(vp, really_open, args), STIOL_FD_UNKNOWN);
    stiol__fd_used(vp, &use);
    return fd;
}

static int open_timed(stiol__vp_t *vp, const request_t *request)
{
    stiol__begun_t begun = stiol__begin(vp);
    int fd = open_really(request);

    if (stiol__has_waited(vp, &begun))
        stiol__path_was_slow(vp, request->dir, request->path);
    return stiol__fd_made(fd, STIOL_FD_UNKNOWN);
}

/* EPERM may be the file's own answer, and openat2() is more particular about flags (EINVAL): then
 * the plain call says so. Before Linux 5.12 it takes no RESOLVE_CACHED, which is EINVAL, too. */
static int open_after_refusal(stiol__vp_t *vp, const request_t *request)
{
    int refusal = errno, fd = open_timed(vp, request);

    if (refusal == ENOSYS || (fd >= 0 && (refusal == EPERM || (request->flags & ~PLAIN) == 0)))
        stiol__openat2_barred = true;
    return fd;
}

static int open_cached(stiol__vp_t *vp, const request_t *request)
{
    struct open_how how = {.flags = (unsigned)request->flags, .resolve = RESOLVE_CACHED};
    uint64_t group;
    int error = errno;
    int fd = (int)syscall(SYS_openat2, request->dir, request->path, &how, sizeof(how));

    if (STIOL_LIKELY(fd >= 0 || errno == ENOENT))
        return stiol__fd_made(fd, STIOL_FD_UNKNOWN);
    if (errno == ENOSYS || errno == EPERM || errno == EINVAL)
        return open_after_refusal(vp, request);
    if (errno != EAGAIN)
        return fd;
    errno = error;
    switch (stiol__uncached_verdict(vp, request->dir, request->path, &group)) {
    case STIOL_FS_MEMORY:
        return open_timed(vp, request);
    case STIOL_FS_NOT_THERE:
        errno = ENOTDIR;
        return -1;
    default:
        return open_patiently(vp, request, group);
    }
}

int stiol__fd_flags_known(int fd, int flags)
{
    bool writes = (flags & O_ACCMODE) != O_RDONLY;
    struct statx st;

    if (STIOL_LIKELY((flags & (O_DIRECT | O_DSYNC)) == 0) || fd < 0 || (flags & O_PATH) != 0)
        return fd;
    if (((flags & O_DIRECT) != 0 || writes) && stiol__look_at(fd, &st) == 0 &&
        S_ISREG(st.stx_mode) &&
        stiol__device_class(st.stx_dev_major, st.stx_dev_minor, false) != STIOL_FD_PASS)
        stiol__fd_set_class(fd, STIOL_FD_SYNC_FILE);
    return fd;
}

/* Anything without another end does not wait for one. */
static bool may_be_fifo(int flags)
{
    return (flags & (O_PATH | O_NONBLOCK | O_DIRECTORY)) == 0 && (flags & O_TMPFILE) != O_TMPFILE &&
           (flags & O_ACCMODE) != O_RDWR && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL);
}

static int open_by_name(stiol__vp_t *vp, const request_t *request)
{
    /* Without these two a link may lead to another file system. */
    bool makes = (request->flags & O_CREAT) != 0 && (request->flags & (O_EXCL | O_NOFOLLOW)) != 0;
    uint64_t group;

    if (!vp)
        return stiol__fd_made(open_really(request), STIOL_FD_UNKNOWN);
    switch (stiol__path_verdict(vp, request->dir, request->path, makes, &group)) {
    case STIOL_FS_PATIENT:
        return open_patiently(vp, request, group);
    case STIOL_FS_MEMORY:
        return open_timed(vp, request);
    default:
        break;
    }
    if (stiol__is_unaskable(vp, request->dir, request->path))
        return open_timed(vp, request);
    if (may_be_fifo(request->flags)) {
        bool missing = false;

        if (stiol__is_fifo(vp, request->dir, request->path, &missing))
            return open_aside(vp, request);
        if (missing && (request->flags & O_CREAT) == 0) {
            errno = ENOENT;
            return -1;
        }
    }
    if ((request->flags & (O_CREAT | O_TRUNC)) != 0 &&
        stiol__change_verdict(vp, request->dir, request->path, &group) == STIOL_FS_PATIENT)
        return open_patiently(vp, request, group);
    if (STIOL_LIKELY((request->flags & ~ASKABLE) == 0 && !stiol__openat2_barred))
        return open_cached(vp, request);
    return open_timed(vp, request);
}

static int open_request(stiol__vp_t *vp, const request_t *request)
{
    return stiol__fd_flags_known(open_by_name(vp, request), request->flags);
}

/* --- the calls --- */

/* The mode argument exists only if a file may be created. */
static mode_t mode_in(va_list args, int flags)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(args, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
    int stiol__##name(const char *path, int flags, ...)                                            \
    {                                                                                              \
        request_t request = {AT_FDCWD, path, flags, 0};                                            \
        va_list args;                                                                              \
                                                                                                   \
        va_start(args, flags);                                                                     \
        request.mode = mode_in(args, flags);                                                       \
        va_end(args);                                                                              \
        return open_request(STIOL_ENTER(fd, name, flags), &request);                               \
    }

#define OPEN_AT(name)                                                                              \
    int stiol__##name(int dir, const char *path, int flags, ...)                                   \
    {                                                                                              \
        request_t request = {dir, path, flags, 0};                                                 \
        va_list args;                                                                              \
                                                                                                   \
        va_start(args, flags);                                                                     \
        request.mode = mode_in(args, flags);                                                       \
        va_end(args);                                                                              \
        return open_request(STIOL_ENTER(fd, name, flags), &request);                               \
    }

OPEN(open)
OPEN(open64)
OPEN_AT(openat)
OPEN_AT(openat64)

/* Fortified versions, which end the process if the flags require a mode. */
#define WANTS_MODE(flags) (((flags)&O_CREAT) != 0 || ((flags)&O_TMPFILE) == O_TMPFILE)

#define OPEN_2(name)                                                                               \
    int stiol__##name(const char *path, int flags)                                                 \
    {                                                                                              \
        const request_t request = {AT_FDCWD, path, flags, 0};                                      \
                                                                                                   \
        if (WANTS_MODE(flags))                                                                     \
            return name(path, flags);                                                              \
        return open_request(STIOL_ENTER(fd, name, flags), &request);                               \
    }

#define OPEN_AT_2(name)                                                                            \
    int stiol__##name(int dir, const char *path, int flags)                                        \
    {                                                                                              \
        const request_t request = {dir, path, flags, 0};                                           \
                                                                                                   \
        if (WANTS_MODE(flags))                                                                     \
            return name(dir, path, flags);                                                         \
        return open_request(STIOL_ENTER(fd, name, flags), &request);                               \
    }

OPEN_2(__open_2)
OPEN_2(__open64_2)
OPEN_AT_2(__openat_2)
OPEN_AT_2(__openat64_2)

int stiol__creat(const char *path, mode_t mode)
{
    const request_t request = {AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode};

    return open_request(STIOL_ENTER(fd, creat, mode), &request);
}

int stiol__creat64(const char *path, mode_t mode)
{
    return stiol__creat(path, mode);
}

/* --- temporary files: the name is changed in place --- */

/* If a helper creates it, the descriptor is not known to be slow: the first call on it finds
 * out. */
static int make_temporary(stiol__vp_t *vp, char *name, stiol__file_call_t call, const long *args)
{
    return stiol__fd_made((int)stiol__on_path(vp, AT_FDCWD, name, true, call, args),
                          STIOL_FD_UNKNOWN);
}

static long run_mkstemps(const long *args)
{
    return mkostemps((char *)args[0], (int)args[1], (int)args[2]);
}

static int temporary(stiol__vp_t *vp, char *name, int suffix, int flags)
{
    const long args[] = {(long)name, suffix, flags};

    return make_temporary(vp, name, run_mkstemps, args);
}

int stiol__mkstemp(char *name)
{
    return temporary(STIOL_ENTER(fd, mkstemp, 0), name, 0, 0);
}

int stiol__mkstemp64(char *name)
{
    return temporary(STIOL_ENTER(fd, mkstemp64, 0), name, 0, 0);
}

int stiol__mkostemp(char *name, int flags)
{
    return temporary(STIOL_ENTER(fd, mkostemp, 0), name, 0, flags);
}

int stiol__mkostemp64(char *name, int flags)
{
    return temporary(STIOL_ENTER(fd, mkostemp64, 0), name, 0, flags);
}

int stiol__mkstemps(char *name, int suffix)
{
    return temporary(STIOL_ENTER(fd, mkstemps, 0), name, suffix, 0);
}

int stiol__mkstemps64(char *name, int suffix)
{
    return temporary(STIOL_ENTER(fd, mkstemps64, 0), name, suffix, 0);
}

int stiol__mkostemps(char *name, int suffix, int flags)
{
    return temporary(STIOL_ENTER(fd, mkostemps, 0), name, suffix, flags);
}

int stiol__mkostemps64(char *name, int suffix, int flags)
{
    return temporary(STIOL_ENTER(fd, mkostemps64, 0), name, suffix, flags);
}

/* --- close --- */

static long really_close(const long *args)
{
    return close((int)args[0]);
}

/* Closing may write remaining data (NFS), or tell the server (FUSE). */
int stiol__close_patiently(stiol__vp_t *vp, int fd)
{
    const long args[] = {fd};
    /* Declared without its number, which may be another file's once the kernel has started. */
    st_wait_t wait = {.kind = ST_WAIT_DISK, .number = -1, .name = "(close)"};
    int rc;

    st_wait_begin(&wait);
    rc = (int)stiol__file_help(vp, stiol__fd_group(fd), really_close, args);
    st_wait_end(&wait);
    return rc;
}

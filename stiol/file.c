/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes of regular files, and how any call on a file goes to a helper. What is in memory
 * takes no more system calls than without STIOL (RWF_NOWAIT); the rest is read on a kernel thread
 * while the state thread is parked. Called by io.c, batch.c and the other files of this name.
 */
#include <locale.h>

#include "stiol/file.h"
#include "stiol/lot.h"
#include "stiol/thread.h"

/* --- helpers --- */

/* What the C library goes by that is the caller's: its locale (numbers, order), errno (%m). */
typedef struct file_job {
    stiol__job_t job;
    stiol__file_call_t call;
    const long *args;
    long rc;
    locale_t locale;
    int error;
} file_job_t;

static void run_file_job(stiol__job_t *job)
{
    file_job_t *file = (file_job_t *)job;
    locale_t before = uselocale(file->locale);

    errno = file->error;
    file->rc = file->call(file->args);
    (void)uselocale(before);
}

static file_job_t make_job(uint64_t group, stiol__file_call_t call, const long *args)
{
    return (file_job_t){.job = {.run = run_file_job, .group = group},
                        .call = call,
                        .args = args,
                        .locale = uselocale((locale_t)0),
                        .error = errno};
}

long stiol__file_aside(stiol__vp_t *vp, stiol__file_call_t call, const long *args)
{
    file_job_t file = make_job(0, call, args);

    STIOL_PARKS(vp, file);
    stiol__aside(vp, &vp->counters.file.helped, &file.job);
    return file.rc;
}

long stiol__file_help_as(stiol__vp_t *vp, stiol__help_class_t class, uint64_t group,
                         stiol__file_call_t call, const long *args)
{
    file_job_t file = make_job(group, call, args);

    STIOL_HELP(vp, file, class, &file.job);
    return file.rc;
}

long stiol__file_help(stiol__vp_t *vp, uint64_t group, stiol__file_call_t call, const long *args)
{
    return stiol__file_help_as(vp, STIOL_HELP_FILE, group, call, args);
}

long stiol__file_help_at(stiol__vp_t *vp, int fd, const char *path, uint64_t group,
                         stiol__file_call_t call, const long *args)
{
    st_wait_t wait = {.kind = ST_WAIT_DISK, .number = fd, .name = path};
    stiol__fd_use_t use;
    long rc;

    stiol__fd_use(vp, &use, fd);
    st_wait_begin(&wait);
    rc = stiol__file_help(vp, group, call, args);
    st_wait_end(&wait);
    stiol__fd_used(vp, &use);
    return rc;
}

long stiol__fd_help(stiol__vp_t *vp, int fd, stiol__file_call_t call, const long *args)
{
    return stiol__file_help_at(vp, fd, NULL, stiol__fd_group(fd), call, args);
}

long stiol__on_path(stiol__vp_t *vp, int dir, const char *path, bool made, stiol__file_call_t call,
                    const long *args)
{
    stiol__begun_t begun;
    uint64_t group;
    long rc;

    if (!vp)
        return call(args);
    if (dir >= 0 && stiol__is_readable(path) && *path == '\0')
        return stiol__on_fd(vp, dir, call, args); /* AT_EMPTY_PATH */
    if ((made ? stiol__change_verdict(vp, dir, path, &group)
              : stiol__path_verdict(vp, dir, path, false, &group)) == STIOL_FS_PATIENT)
        return stiol__file_help_at(vp, dir, path, group, call, args);
    begun = stiol__begin(vp);
    rc = call(args);
    if (stiol__has_waited(vp, &begun) && stiol__is_readable(path))
        stiol__path_was_slow(vp, dir, path);
    return rc;
}

long stiol__on_change(stiol__vp_t *vp, int dir, const char *path, stiol__file_call_t call,
                      const long *args)
{
    uint64_t group;

    if (vp && stiol__change_verdict(vp, dir, path, &group) == STIOL_FS_PATIENT)
        return stiol__file_help_at(vp, dir, path, group, call, args);
    return stiol__on_path(vp, dir, path, false, call, args);
}

static long timed(stiol__vp_t *vp, int fd, stiol__file_call_t call, const long *args)
{
    stiol__begun_t begun = stiol__begin(vp);
    long rc = call(args);

    if (stiol__has_waited(vp, &begun))
        stiol__fd_was_slow(vp, fd);
    return rc;
}

long stiol__on_fd(stiol__vp_t *vp, int fd, stiol__file_call_t call, const long *args)
{
    stiol__fd_class_t class = stiol__fd_noted(fd);

    if (!vp)
        return call(args);
    if (STIOL_UNLIKELY(class == STIOL_FD_UNKNOWN && vp->wary))
        class = stiol__fd_look(fd); /* a duplicate, or opened by another process */
    if (STIOL_UNLIKELY(stiol__is_slow_file(class)))
        return stiol__fd_help(vp, fd, call, args);
    return timed(vp, fd, call, args);
}

long stiol__on_device(stiol__vp_t *vp, int fd, stiol__file_call_t call, const long *args)
{
    stiol__fd_class_t class = stiol__fd_noted(fd);

    if (!vp || (class != STIOL_FD_UNKNOWN && class != STIOL_FD_PASS && !stiol__is_file(class)))
        return call(args);
    return stiol__fd_help(vp, fd, call, args);
}

/* --- turns --- */

/* All users of a descriptor share the file's position, and the kernel has a lock on it, which a
 * helper in the middle of a read holds. Data written while a helper is writing must come after the
 * helper's. */

static bool is_busy(int fd)
{
    const unsigned char *byte = stiol__fd_byte(fd);

    return byte && (__atomic_load_n(byte, __ATOMIC_RELAXED) & STIOL_BUSY_MARK) != 0;
}

static int attempt_turn(void *arg)
{
    return is_busy(*(const int *)arg) ? 0 : 1;
}

bool stiol__await_turn(stiol__vp_t *vp, int fd)
{
    st_wait_t wait = {.kind = ST_WAIT_DISK, .number = fd};
    bool interrupted = false, closed;
    stiol__fd_use_t use;

    STIOL_PARKS(vp, file);
    stiol__fd_use(vp, &use, fd);
    st_wait_begin(&wait);
    while (stiol__probe(vp, stiol__turn_key(fd), attempt_turn, &fd, STIOL_NEVER) != 0)
        interrupted = true;
    st_wait_end(&wait);
    if (interrupted)
        st_thread_interrupt(st_thread_self()); /* not for this wait: pass it on to the next one */
    closed = use.closed;
    stiol__fd_used(vp, &use);
    if (closed)
        errno = EBADF;
    return !closed;
}

/* A call that uses the position, on a helper. */
static long help_in_turn(stiol__vp_t *vp, int fd, stiol__file_call_t call, const long *args)
{
    unsigned char *byte = stiol__fd_byte(fd);
    stiol__fd_use_t use;
    long rc;

    if (!stiol__file_turn(vp, fd))
        return -1;
    stiol__fd_use(vp, &use, fd);
    if (byte)
        (void)__atomic_fetch_or(byte, STIOL_BUSY_MARK, __ATOMIC_RELAXED);
    rc = stiol__fd_help(vp, fd, call, args);
    if (byte)
        (void)__atomic_fetch_and(byte, (unsigned char)~STIOL_BUSY_MARK, __ATOMIC_RELAXED);
    stiol__fd_used(vp, &use);
    stiol__lot_notify(stiol__turn_key(fd), false);
    return rc;
}

/* --- the real calls --- */

static long really_read(const long *args)
{
    int fd = (int)args[0], count = (int)args[2];
    const struct iovec *parts = (const struct iovec *)args[1];
    off64_t offset = args[3];

    if (offset >= 0)
        return preadv64(fd, parts, count, offset);
    return count == 1 ? read(fd, parts->iov_base, parts->iov_len) : readv(fd, parts, count);
}

static long really_write(const long *args)
{
    int fd = (int)args[0], count = (int)args[2];
    const struct iovec *parts = (const struct iovec *)args[1];
    off64_t offset = args[3];

    if (offset >= 0)
        return pwritev64(fd, parts, count, offset);
    return count == 1 ? write(fd, parts->iov_base, parts->iov_len) : writev(fd, parts, count);
}

static long move_on_helper(stiol__vp_t *vp, const stiol__transfer_t *transfer, off64_t offset)
{
    const long args[] = {transfer->fd, (long)transfer->parts, (long)transfer->count, offset};
    stiol__file_call_t call = transfer->in ? really_read : really_write;

    if (transfer->in && offset >= 0)
        return stiol__fd_help(vp, transfer->fd, call, args);
    return help_in_turn(vp, transfer->fd, call, args);
}

/* --- reading --- */

/* -2: the file system does not know RWF_NOWAIT, or what it would read is not in memory. *final: the
 * answer is the real call's. */
static ssize_t read_what_is_there(stiol__vp_t *vp, const stiol__transfer_t *transfer,
                                  off64_t offset, bool *final)
{
    const long args[] = {transfer->fd, (long)transfer->parts, (long)transfer->count, offset};
    stiol__fd_class_t class;
    int error = errno;
    ssize_t n = -1;

    if (STIOL_OFF(STIOL_NO_CACHE))
        return -2;
    if (STIOL_OFF(STIOL_NO_NOWAIT))
        errno = EOPNOTSUPP;
    else
        n = preadv64v2(transfer->fd, transfer->parts, (int)transfer->count, offset, RWF_NOWAIT);
    if (STIOL_UNLIKELY(n == 0) && stiol__no_end_is_sure)
        return -2;
    if (n >= 0 || (errno != EAGAIN && errno != EOPNOTSUPP && !stiol__is_refused(errno)))
        return n;
    class = errno == EAGAIN ? STIOL_FD_SLOW_FILE : stiol__fd_noted(transfer->fd);
    errno = error;
    if (class == STIOL_FD_FILE || class == STIOL_FD_UNKNOWN)
        class = stiol__fd_is_mute(transfer->fd);
    if (class == STIOL_FD_SLOW_FILE)
        return -2;
    *final = true;
    return timed(vp, transfer->fd, really_read, args);
}

/* Advances by n bytes. */
static off64_t go_on(stiol__transfer_t *transfer, off64_t offset, ssize_t n)
{
    stiol__advance(transfer, (size_t)n);
    return offset >= 0 ? offset + n : offset;
}

/* Some of it was there: the rest is not, or the file ends here. A short answer of the real call is
 * the caller's: more may be long in coming, where a file is a program's. */
static ssize_t read_rest(stiol__vp_t *vp, stiol__transfer_t *transfer, off64_t offset, ssize_t done)
{
    size_t left = stiol__length_of(transfer->parts, transfer->count);
    bool final = false;
    ssize_t n = 0;

    while (left > 0 && !final) {
        n = read_what_is_there(vp, transfer, offset, &final);
        if (n == -2) {
            n = move_on_helper(vp, transfer, offset);
            final = true;
        }
        if (n <= 0)
            break;
        done += n;
        left -= (size_t)n;
        offset = go_on(transfer, offset, n);
    }
    return done > 0 ? done : n;
}

/* The parts are the caller's: a copy is changed. */
static ssize_t read_rest_copied(stiol__vp_t *vp, stiol__transfer_t *transfer, off64_t offset,
                                ssize_t done)
{
    struct iovec one = transfer->count > 0 ? transfer->parts[0] : (struct iovec){NULL, 0};
    struct iovec *copy = &one;
    int error = errno;

    if (transfer->count > 1) {
        copy = malloc(transfer->count * sizeof(*copy));
        if (!copy)
            return done > 0 ? done : -1;
        memcpy(copy, transfer->parts, transfer->count * sizeof(*copy));
    }
    transfer->parts = copy;
    done = read_rest(vp, transfer, go_on(transfer, offset, done), done);
    if (done >= 0)
        errno = error;
    if (copy != &one)
        free(copy);
    return done;
}

ssize_t stiol__file_read(stiol__vp_t *vp, stiol__transfer_t *transfer, off64_t offset)
{
    size_t length = stiol__length_of(transfer->parts, transfer->count);
    stiol__fd_class_t class = stiol__fd_noted(transfer->fd);
    bool final = false;
    ssize_t n;

    if (offset < 0 && !stiol__file_turn(vp, transfer->fd))
        return -1;
    if (STIOL_UNLIKELY(class == STIOL_FD_SYNC_FILE))
        return move_on_helper(vp, transfer, offset); /* O_DIRECT ignores RWF_NOWAIT */
    if (class == STIOL_FD_MUTE_FILE) {
        const long args[] = {transfer->fd, (long)transfer->parts, (long)transfer->count, offset};

        return timed(vp, transfer->fd, really_read, args);
    }
    n = read_what_is_there(vp, transfer, offset, &final);
    if (STIOL_LIKELY((size_t)n == length || n == 0 || n == -1 || final))
        return n;
    return read_rest_copied(vp, transfer, offset, n == -2 ? 0 : n);
}

ssize_t stiol__read_unknown(stiol__vp_t *vp, stiol__transfer_t *transfer, off64_t offset)
{
    size_t length = stiol__length_of(transfer->parts, transfer->count);
    int error = errno;
    ssize_t n = -1;

    if (!STIOL_OFF(STIOL_NO_NOWAIT | STIOL_NO_CACHE))
        n = preadv64v2(transfer->fd, transfer->parts, (int)transfer->count, offset, RWF_NOWAIT);
    else
        errno = EAGAIN;
    if ((size_t)n == length || (n == 0 && !stiol__no_end_is_sure))
        return n;
    if (n < 0 && errno != EAGAIN && errno != EOPNOTSUPP && !stiol__is_refused(errno) &&
        errno != EINVAL && errno != ESPIPE && errno != EISDIR)
        return n;
    errno = error;
    if (!stiol__is_file(stiol__fd_look(transfer->fd)))
        return n > 0 ? n : -2;
    if (n > 0)
        return read_rest_copied(vp, transfer, offset, n);
    return stiol__file_read(vp, transfer, offset);
}

/* --- writing --- */

#define LAGS_FOR  STIOL_SECOND
#define VERY_LONG ((st_utime_t)100000) /* us; not even a busy machine is the reason */
#define AGAIN     ((st_utime_t)100000) /* us between two slow writes of a slow disk, at most */

bool stiol__begins_to_lag(stiol__laggard_t *laggard, st_utime_t took, st_utime_t now)
{
    bool again = laggard->slow_at != 0 && now <= laggard->slow_at + AGAIN + took;

    laggard->slow_at = now;
    if (took < VERY_LONG && !again)
        return false;
    laggard->until = now + LAGS_FOR;
    return true;
}

static bool lags(stiol__vp_t *vp, int fd)
{
    st_utime_t now = st_utime();

    if (now >= vp->any_lags) {
        vp->any_lags = 0;
        return false;
    }
    for (int i = 0; i < STIOL_LAGGARDS; i++)
        if (vp->laggards[i].fd == fd && now < vp->laggards[i].until)
            return true;
    return false;
}

/* The descriptor's laggard, or that which was slow longest ago. */
static stiol__laggard_t *laggard_of(stiol__vp_t *vp, int fd)
{
    stiol__laggard_t *oldest = &vp->laggards[0];

    for (int i = 0; i < STIOL_LAGGARDS; i++) {
        if (vp->laggards[i].fd == fd)
            return &vp->laggards[i];
        if (vp->laggards[i].slow_at < oldest->slow_at)
            oldest = &vp->laggards[i];
    }
    *oldest = (stiol__laggard_t){.fd = fd};
    return oldest;
}

static void note_slow_write(stiol__vp_t *vp, int fd, uint64_t ticks)
{
    int error = errno;
    stiol__laggard_t *laggard = laggard_of(vp, fd);

    if (stiol__begins_to_lag(laggard, stiol__ticks_time(vp, ticks), st_utime()))
        vp->any_lags = laggard->until;
    errno = error;
}

/* How long a write took on a helper: its wait for the helper, and the VP's turns before its state
 * thread goes on, are not the disk's. */
typedef struct timed_write {
    uint64_t ticks;
    bool waited;
} timed_write_t;

static long write_and_time(const long *args)
{
    timed_write_t *timed = (timed_write_t *)args[4];
    long before = stiol__switches(), n;
    uint64_t began = stiol__ticks();
    int error;

    n = really_write(args);
    error = errno;
    timed->ticks = stiol__ticks() - began;
    timed->waited = stiol__switches() > before;
    errno = error;
    return n;
}

static long write_on_helper(stiol__vp_t *vp, const stiol__transfer_t *transfer, off64_t offset)
{
    timed_write_t timed = {0};
    const long args[] = {transfer->fd, (long)transfer->parts, (long)transfer->count, offset,
                         (long)&timed};
    long n = help_in_turn(vp, transfer->fd, write_and_time, args);

    if (timed.waited && stiol__is_long(vp, timed.ticks))
        note_slow_write(vp, transfer->fd, timed.ticks);
    return n;
}

ssize_t stiol__file_write(stiol__vp_t *vp, stiol__transfer_t *transfer, off64_t offset)
{
    const long args[] = {transfer->fd, (long)transfer->parts, (long)transfer->count, offset};
    stiol__begun_t begun;
    long n;

    if (!stiol__file_turn(vp, transfer->fd))
        return -1;
    if (STIOL_UNLIKELY(stiol__is_slow_file(stiol__fd_noted(transfer->fd))) ||
        (STIOL_UNLIKELY(vp->any_lags != 0) && lags(vp, transfer->fd)))
        return write_on_helper(vp, transfer, offset);
    begun = stiol__begin(vp);
    n = really_write(args);
    if (stiol__has_waited(vp, &begun))
        note_slow_write(vp, transfer->fd, stiol__ticks() - begun.ticks);
    return n;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FIFOs: opening one waits until another process opens the other end, which may never happen; and
 * anybody who may create files where httpd looks for them (.htaccess) can create one. So open()
 * first asks what the name refers to, unless stat() has just said so, as it has for every file that
 * httpd itself serves. Called by file_open.c, file_stream.c and file_path.c.
 */
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "stiol/file.h"

/* --- what stat() has said --- */

/* Hashes the end of the name, and its length. */
static size_t place_of(const char *path, size_t length)
{
    uint64_t end = 0;

    memcpy(&end, path + length - sizeof(end), sizeof(end));
    return ((end ^ length) * UINT64_C(0x9E3779B97F4A7C15) >> 32) % STIOL_REGULAR;
}

static bool can_be_noted(const stiol__vp_t *vp, size_t length)
{
    return length >= sizeof(uint64_t) && length < sizeof(vp->regular[0].path);
}

void stiol__note_regular(stiol__vp_t *vp, const char *path)
{
    size_t length = strlen(path), place;

    if (!can_be_noted(vp, length))
        return;
    place = place_of(path, length);
    memcpy(vp->regular[place].path, path, length + 1);
    vp->regular[place].noted = stiol__ticks();
}

/* A second later, the name may belong to another file. */
static bool is_noted(const stiol__vp_t *vp, const char *path)
{
    size_t length = strlen(path), place;

    if (!can_be_noted(vp, length))
        return false;
    place = place_of(path, length);
    return memcmp(vp->regular[place].path, path, length + 1) == 0 &&
           stiol__ticks() - vp->regular[place].noted <= vp->look_ticks;
}

/* --- what the kernel says --- */

/* Returns -1 with errno, which is EAGAIN if the name is not in memory. */
static int type_of(int dir, const char *path, mode_t *mode)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED};
    struct statx st = {0};
    struct stat plain;
    int fd = -1, rc;

    if (!stiol__openat2_barred)
        fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
    if (fd < 0 && !stiol__openat2_barred && errno != ENOSYS && errno != EPERM && errno != EINVAL)
        return -1;
    if (fd >= 0) {
        rc = stiol__look_at(fd, &st);
        (void)close(fd);
        *mode = st.stx_mode;
        return rc;
    }
    rc = fstatat(dir, path, &plain, 0); /* waits no longer for a disk than open() would */
    *mode = plain.st_mode;
    return rc;
}

bool stiol__is_fifo(stiol__vp_t *vp, int dir, const char *path, bool *missing)
{
    int error = errno;
    mode_t mode = 0;

    *missing = false;
    if (!path || STIOL_LIKELY(is_noted(vp, path) && (dir == AT_FDCWD || *path == '/')))
        return false;
    if (type_of(dir, path, &mode) != 0) {
        *missing = errno == ENOENT;
        errno = error;
        return false;
    }
    errno = error;
    return S_ISFIFO(mode);
}

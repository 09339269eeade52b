/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on open files that neither read nor write: on a helper if the file system is slow, and
 * always if the call waits for the device by its nature (fsync). Called only through the
 * replacements.
 */
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>

#include "stiol/file_call.h"

typedef const char *path_t;
typedef const void *value_t;

/* --- looking --- */

CALL_2(int, fstat, ON_FD, int, struct stat *)
CALL_2(int, fstat64, ON_FD, int, struct stat64 *)
CALL_2(int, fstatfs, ON_FD, int, struct statfs *)
CALL_2(int, fstatfs64, ON_FD, int, struct statfs64 *)
CALL_2(int, fstatvfs, ON_FD, int, struct statvfs *)
CALL_2(int, fstatvfs64, ON_FD, int, struct statvfs64 *)
CALL_4(ssize_t, fgetxattr, ON_FD, int, path_t, void *, size_t)
CALL_3(ssize_t, flistxattr, ON_FD, int, char *, size_t)

/* --- changing --- */

CALL_2(int, fchmod, ON_FD, int, mode_t)
CALL_3(int, fchown, ON_FD, int, uid_t, gid_t)
CALL_2(int, futimens, ON_FD, int, const struct timespec *)
CALL_2(int, futimes, ON_FD, int, const struct timeval *)
CALL_5(int, fsetxattr, ON_FD, int, path_t, value_t, size_t, int)
CALL_2(int, fremovexattr, ON_FD, int, path_t)
CALL_4(int, posix_fadvise, ON_FD, int, off_t, off_t, int)
CALL_4(int, posix_fadvise64, ON_FD, int, off64_t, off64_t, int)

/* --- what waits for a device in any case --- */

CALL_2(int, ftruncate, ON_DEVICE, int, off_t)
CALL_2(int, ftruncate64, ON_DEVICE, int, off64_t)
CALL_4(int, fallocate, ON_DEVICE, int, int, off_t, off_t)
CALL_4(int, fallocate64, ON_DEVICE, int, int, off64_t, off64_t)
CALL_3(int, posix_fallocate, ON_DEVICE, int, off_t, off_t)
CALL_3(int, posix_fallocate64, ON_DEVICE, int, off64_t, off64_t)
CALL_1(int, fsync, ON_DEVICE, int)
CALL_1(int, fdatasync, ON_DEVICE, int)
CALL_1(int, syncfs, ON_DEVICE, int)
CALL_4(int, sync_file_range, ON_DEVICE, int, off64_t, off64_t, unsigned)
CALL_3(ssize_t, readahead, ON_DEVICE, int, off64_t, size_t)
CALL_6(ssize_t, copy_file_range, ON_DEVICE, int, off64_t *, int, off64_t *, size_t, unsigned)
CALL_3(int, msync, ((c & MS_SYNC) != 0 && vp ? stiol__file_help(vp, 0, run, args) : run(args)),
       void *, size_t, int)

static long run_sync(const long *args)
{
    (void)args;
    sync();
    return 0;
}

void stiol__sync(void)
{
    stiol__vp_t *vp = STIOL_ENTER(file, sync, 0);

    if (!vp)
        sync();
    else
        (void)stiol__file_help(vp, 0, run_sync, NULL);
}

/* --- the position --- */

RUN_3(lseek64, int, off64_t, int)

/* It may take a server to tell where a file ends. */
static off64_t seek(stiol__vp_t *vp, int fd, off64_t offset, int whence)
{
    const long args[] = {fd, offset, whence};

    if (!vp)
        return lseek64(fd, offset, whence);
    if (!stiol__file_turn(vp, fd))
        return -1;
    if (whence == SEEK_SET || whence == SEEK_CUR)
        return lseek64(fd, offset, whence);
    return stiol__on_fd(vp, fd, run_lseek64, args);
}

off_t stiol__lseek(int fd, off_t offset, int whence)
{
    return seek(STIOL_ENTER(file, lseek, fd), fd, offset, whence);
}

off64_t stiol__lseek64(int fd, off64_t offset, int whence)
{
    return seek(STIOL_ENTER(file, lseek64, fd), fd, offset, whence);
}

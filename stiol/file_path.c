/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on paths: made directly, and timed, if nothing is known to be slow; on a helper if the path
 * leads to a slow file system. Called only through the replacements.
 */
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <utime.h>

#include "stiol/file_call.h"

typedef const char *path_t;
typedef const struct timeval *times_t;
typedef const struct timespec *stamps_t;
typedef const void *value_t;

/* --- looking --- */

/* Notes that it is a regular file, for open(). */
#define STATS                                                                                      \
    ({                                                                                             \
        long rc_ = LOOKS;                                                                          \
                                                                                                   \
        if (rc_ == 0 && vp && S_ISREG(b->st_mode))                                                 \
            stiol__note_regular(vp, a);                                                            \
        rc_;                                                                                       \
    })

CALL_2(int, stat, STATS, path_t, struct stat *)
CALL_2(int, stat64, STATS, path_t, struct stat64 *)
CALL_2(int, lstat, STATS, path_t, struct stat *)
CALL_2(int, lstat64, STATS, path_t, struct stat64 *)
CALL_4(int, fstatat, LOOKS_AT, int, path_t, struct stat *, int)
CALL_4(int, fstatat64, LOOKS_AT, int, path_t, struct stat64 *, int)
CALL_5(int, statx, LOOKS_AT, int, path_t, int, unsigned, struct statx *)
CALL_2(int, access, LOOKS, path_t, int)
CALL_2(int, eaccess, LOOKS, path_t, int)
CALL_2(int, euidaccess, LOOKS, path_t, int)
CALL_4(int, faccessat, LOOKS_AT, int, path_t, int, int)
CALL_3(ssize_t, readlink, LOOKS, path_t, char *, size_t)
CALL_4(ssize_t, readlinkat, LOOKS_AT, int, path_t, char *, size_t)
CALL_4(ssize_t, __readlink_chk, LOOKS, path_t, char *, size_t, size_t)
CALL_5(ssize_t, __readlinkat_chk, LOOKS_AT, int, path_t, char *, size_t, size_t)
CALL_2(char *, realpath, LOOKS, path_t, char *)
CALL_3(char *, __realpath_chk, LOOKS, path_t, char *, size_t)
CALL_1(char *, canonicalize_file_name, LOOKS, path_t)
CALL_2(int, statfs, LOOKS, path_t, struct statfs *)
CALL_2(int, statfs64, LOOKS, path_t, struct statfs64 *)
CALL_2(int, statvfs, LOOKS, path_t, struct statvfs *)
CALL_2(int, statvfs64, LOOKS, path_t, struct statvfs64 *)
CALL_2(long, pathconf, LOOKS, path_t, int)
CALL_1(int, chdir, LOOKS, path_t)
CALL_4(ssize_t, getxattr, LOOKS, path_t, path_t, void *, size_t)
CALL_4(ssize_t, lgetxattr, LOOKS, path_t, path_t, void *, size_t)
CALL_3(ssize_t, listxattr, LOOKS, path_t, char *, size_t)
CALL_3(ssize_t, llistxattr, LOOKS, path_t, char *, size_t)

/* --- changing what is there --- */

CALL_2(int, chmod, CHANGES, path_t, mode_t)
CALL_4(int, fchmodat, CHANGES_AT, int, path_t, mode_t, int)
CALL_3(int, chown, CHANGES, path_t, uid_t, gid_t)
CALL_3(int, lchown, CHANGES, path_t, uid_t, gid_t)
CALL_5(int, fchownat, CHANGES_AT, int, path_t, uid_t, gid_t, int)
CALL_2(int, utime, CHANGES, path_t, const struct utimbuf *)
CALL_2(int, utimes, CHANGES, path_t, times_t)
CALL_2(int, lutimes, CHANGES, path_t, times_t)
CALL_3(int, futimesat, CHANGES_AT, int, path_t, times_t)
CALL_4(int, utimensat, CHANGES_AT, int, path_t, stamps_t, int)
CALL_2(int, truncate, CHANGES, path_t, off_t)
CALL_2(int, truncate64, CHANGES, path_t, off64_t)
CALL_5(int, setxattr, CHANGES, path_t, path_t, value_t, size_t, int)
CALL_5(int, lsetxattr, CHANGES, path_t, path_t, value_t, size_t, int)
CALL_2(int, removexattr, CHANGES, path_t, path_t)
CALL_2(int, lremovexattr, CHANGES, path_t, path_t)

/* --- making and removing --- */

CALL_2(int, mkdir, MAKES, path_t, mode_t)
CALL_3(int, mkdirat, MAKES_AT, int, path_t, mode_t)
CALL_1(int, rmdir, MAKES, path_t)
CALL_1(int, unlink, MAKES, path_t)
CALL_3(int, unlinkat, MAKES_AT, int, path_t, int)
CALL_1(int, remove, MAKES, path_t)
CALL_2(int, mkfifo, MAKES, path_t, mode_t)
CALL_3(int, mkfifoat, MAKES_AT, int, path_t, mode_t)
CALL_3(int, mknod, MAKES, path_t, mode_t, dev_t)
CALL_4(int, mknodat, MAKES_AT, int, path_t, mode_t, dev_t)
CALL_1(char *, mkdtemp, MAKES, char *)

/* --- two paths --- */

static long on_two_paths(stiol__vp_t *vp, int dir, const char *path, int other_dir,
                         const char *other, stiol__file_call_t call, const long *args)
{
    uint64_t group;

    if (vp && stiol__change_verdict(vp, other_dir, other, &group) == STIOL_FS_PATIENT)
        return stiol__file_help_at(vp, other_dir, other, group, call, args);
    return stiol__on_path(vp, dir, path, true, call, args);
}

CALL_2(int, rename, MAKES_BOTH, path_t, path_t)
CALL_4(int, renameat, MAKES_BOTH_AT, int, path_t, int, path_t)
CALL_5(int, renameat2, MAKES_BOTH_AT, int, path_t, int, path_t, unsigned)
CALL_2(int, link, MAKES_BOTH, path_t, path_t)
CALL_5(int, linkat, MAKES_BOTH_AT, int, path_t, int, path_t, int)

/* The first path is only text. */
CALL_2(int, symlink, stiol__on_path(vp, AT_FDCWD, b, true, run, args), path_t, path_t)
CALL_3(int, symlinkat, stiol__on_path(vp, b, c, true, run, args), path_t, int, path_t)

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls on files that are made by number: treated like the C library's functions, by a table
 * that says where each has its path or its descriptor. Called by syscall.c.
 */
#include <sys/syscall.h>

#include "stiol/file.h"

/* Where the path is, and what kind of call it is. */
typedef enum {
    PATH,    /* the first argument is a path */
    AT,      /* a directory's descriptor, then a path */
    MAKE,    /* like PATH, but the last component is created or removed */
    MAKE_AT, /* the same, like AT */
    OPEN,    /* like PATH; returns a descriptor */
    OPEN_AT,
    BOTH,    /* two paths */
    BOTH_AT, /* two directories and paths */
    FD,      /* a file's descriptor */
    DEVICE   /* always waits for the device */
} form_t;

static const struct {
    short number;
    form_t form;
} calls[] = {
#ifdef SYS_open
    {SYS_open, OPEN},        {SYS_creat, OPEN},
    {SYS_stat, PATH},        {SYS_lstat, PATH},
    {SYS_access, PATH},      {SYS_readlink, PATH},
    {SYS_chmod, PATH},       {SYS_chown, PATH},
    {SYS_lchown, PATH},      {SYS_utime, PATH},
    {SYS_utimes, PATH},      {SYS_mkdir, MAKE},
    {SYS_rmdir, MAKE},       {SYS_unlink, MAKE},
    {SYS_rename, BOTH},      {SYS_link, BOTH},
    {SYS_getdents, FD},
#endif
#ifdef SYS_renameat
    {SYS_renameat, BOTH_AT},
#endif
#ifdef SYS_openat2
    {SYS_openat2, OPEN_AT},
#endif
#ifdef SYS_faccessat2
    {SYS_faccessat2, AT},
#endif
    {SYS_openat, OPEN_AT},   {SYS_newfstatat, AT},
    {SYS_statx, AT},         {SYS_faccessat, AT},
    {SYS_readlinkat, AT},    {SYS_fchmodat, AT},
    {SYS_fchownat, AT},      {SYS_utimensat, AT},
    {SYS_statfs, PATH},      {SYS_truncate, PATH},
    {SYS_getxattr, PATH},    {SYS_lgetxattr, PATH},
    {SYS_setxattr, PATH},    {SYS_listxattr, PATH},
    {SYS_mkdirat, MAKE_AT},  {SYS_unlinkat, MAKE_AT},
    {SYS_mknodat, MAKE_AT},  {SYS_renameat2, BOTH_AT},
    {SYS_linkat, BOTH_AT},   {SYS_getdents64, FD},
    {SYS_fstat, FD},         {SYS_fstatfs, FD},
    {SYS_ftruncate, FD},     {SYS_fallocate, FD},
    {SYS_fchmod, FD},        {SYS_fchown, FD},
    {SYS_fgetxattr, FD},     {SYS_fsetxattr, FD},
    {SYS_fsync, DEVICE},     {SYS_fdatasync, DEVICE},
    {SYS_syncfs, DEVICE},    {SYS_sync_file_range, DEVICE},
    {SYS_readahead, DEVICE}, {SYS_copy_file_range, DEVICE},
};

static long run_raw(const long *args)
{
    return syscall(args[6], args[0], args[1], args[2], args[3], args[4], args[5]);
}

static long two_paths(stiol__vp_t *vp, const long *args, bool at)
{
    const int dir = at ? (int)args[0] : AT_FDCWD, other_dir = at ? (int)args[2] : AT_FDCWD;
    const char *path = (const char *)args[at], *other = (const char *)args[at ? 3 : 1];
    uint64_t group;

    if (vp && stiol__path_verdict(vp, other_dir, other, true, &group) == STIOL_FS_PATIENT)
        return stiol__file_help_at(vp, other_dir, other, group, run_raw, args);
    return stiol__on_path(vp, dir, path, true, run_raw, args);
}

static long carry_out(stiol__vp_t *vp, form_t form, const long *args)
{
    const char *path = (const char *)args[0], *at = (const char *)args[1];
    int fd = (int)args[0];

    switch (form) {
    case PATH:
    case MAKE:
        return stiol__on_path(vp, AT_FDCWD, path, form == MAKE, run_raw, args);
    case AT:
    case MAKE_AT:
        return stiol__on_path(vp, fd, at, form == MAKE_AT, run_raw, args);
    case OPEN:
        return stiol__fd_made((int)stiol__on_path(vp, AT_FDCWD, path, false, run_raw, args),
                              STIOL_FD_UNKNOWN);
    case OPEN_AT:
        return stiol__fd_made((int)stiol__on_path(vp, fd, at, false, run_raw, args),
                              STIOL_FD_UNKNOWN);
    case BOTH:
    case BOTH_AT:
        return two_paths(vp, args, form == BOTH_AT);
    case FD:
        return stiol__on_fd(vp, fd, run_raw, args);
    default:
        return stiol__on_device(vp, fd, run_raw, args);
    }
}

/* Reads and writes at an offset, like the C library's. */
static bool is_at_offset(long number, const long *args, long *rc)
{
    switch (number) {
    case SYS_pread64:
        *rc = stiol__pread64((int)args[0], (void *)args[1], (size_t)args[2], args[3]);
        return true;
    case SYS_pwrite64:
        *rc = stiol__pwrite64((int)args[0], (const void *)args[1], (size_t)args[2], args[3]);
        return true;
    case SYS_preadv:
        *rc = stiol__preadv64((int)args[0], (const struct iovec *)args[1], (int)args[2], args[3]);
        return true;
    case SYS_pwritev:
        *rc = stiol__pwritev64((int)args[0], (const struct iovec *)args[1], (int)args[2], args[3]);
        return true;
    default:
        return false;
    }
}

bool stiol__syscall_file(long number, const long *args, long *rc)
{
    const long raw[] = {args[0], args[1], args[2], args[3], args[4], args[5], number};

    if (is_at_offset(number, args, rc))
        return true;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
        if (calls[i].number == number) {
            *rc = carry_out(stiol__here(), calls[i].form, raw);
            return true;
        }
    return false;
}

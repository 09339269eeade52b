/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories: opened and read on a helper if their file system is slow. What the C library reads
 * in one go (scandir, glob) is read completely; the caller's filter runs afterwards, on the VP.
 * Called only through the replacements.
 */
#include <glob.h>
#include <sys/stat.h>

#include "stiol/file_call.h"

typedef const char *path_t;

static DIR *opened(DIR *dir)
{
    struct statx st;
    int fd;

    if (!dir)
        return NULL;
    fd = stiol__fd_made(dirfd(dir), STIOL_FD_UNKNOWN);
    if (stiol__mine() && stiol__mine()->filesystems && stiol__look_at(fd, &st) == 0)
        stiol__fd_set_class(fd, stiol__device_class(st.stx_dev_major, st.stx_dev_minor, true));
    return dir;
}

RUN_1(opendir, path_t)

DIR *stiol__opendir(const char *path)
{
    stiol__vp_t *vp = STIOL_ENTER(fd, opendir, 0);
    const long args[] = {(long)path};

    return opened((DIR *)stiol__on_path(vp, AT_FDCWD, path, false, run_opendir, args));
}

/* On a helper if the directory is on a slow file system. */
#define ON_DIR stiol__on_fd(vp, dirfd(a), run, args)

CALL_1(struct dirent *, readdir, ON_DIR, DIR *)
CALL_1(struct dirent64 *, readdir64, ON_DIR, DIR *)
CALL_3(int, readdir_r, ON_DIR, DIR *, struct dirent *, struct dirent **)
CALL_3(int, readdir64_r, ON_DIR, DIR *, struct dirent64 *, struct dirent64 **)

RUN_1(closedir, DIR *)

int stiol__closedir(DIR *dir)
{
    stiol__vp_t *vp = STIOL_ENTER(fd, closedir, 0);
    const long args[] = {(long)dir};
    int fd = dirfd(dir);
    bool slow = vp && stiol__is_slow_file(stiol__fd_noted(fd));
    uint64_t group = slow ? stiol__fd_group(fd) : 0;

    stiol__fd_closing(fd);
    return slow ? (int)stiol__file_help(vp, group, run_closedir, args) : closedir(dir);
}

/* --- whole directories --- */

/* The filter and the order are a module's code, so they are applied on the VP, to the complete
 * list. */
#define SCANDIR(name, entry_t)                                                                     \
    static long run_##name(const long *args)                                                       \
    {                                                                                              \
        return name(STIOL_TEXT(args[0]), (entry_t ***)args[1], NULL, NULL);                        \
    }                                                                                              \
                                                                                                   \
    int stiol__##name(const char *restrict path, entry_t ***restrict list,                         \
                      int (*filter)(const entry_t *),                                              \
                      int (*compare)(const entry_t **, const entry_t **))                          \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        uint64_t group;                                                                            \
        const long args[] = {(long)path, (long)list};                                              \
        int count, kept = 0;                                                                       \
                                                                                                   \
        if (!vp || stiol__path_verdict(vp, AT_FDCWD, path, false, &group) != STIOL_FS_PATIENT)     \
            return name(path, list, filter, compare);                                              \
        count = (int)stiol__file_help_at(vp, AT_FDCWD, path, group, run_##name, args);             \
        for (int i = 0; i < count; i++)                                                            \
            if (!filter || filter((*list)[i]) != 0)                                                \
                (*list)[kept++] = (*list)[i];                                                      \
            else                                                                                   \
                free((*list)[i]);                                                                  \
        if (kept > 1 && compare)                                                                   \
            qsort(*list, (size_t)kept, sizeof(**list),                                             \
                  (int (*)(const void *, const void *))(void *)compare);                           \
        return count < 0 ? count : kept;                                                           \
    }

SCANDIR(scandir, struct dirent)
SCANDIR(scandir64, struct dirent64)

/* The caller's functions must run on the VP, so then its files wait there. */
static bool is_own_glob(int flags, const void *on_error)
{
    return (flags & GLOB_ALTDIRFUNC) == 0 && !on_error;
}

/* A pattern begins with a path. */
static bool begins_slow(stiol__vp_t *vp, const char *pattern, uint64_t *group)
{
    size_t plain = strcspn(pattern, "*?[{~\\");
    char start[PATH_MAX];

    if (plain >= sizeof(start) - 1)
        return false;
    while (plain > 0 && pattern[plain - 1] != '/')
        plain--;
    memcpy(start, pattern, plain);
    strcpy(start + plain, plain > 0 ? "" : ".");
    return stiol__path_verdict(vp, AT_FDCWD, start, false, group) == STIOL_FS_PATIENT;
}

RUN_4(glob, path_t, int, __typeof__((int (*)(const char *, int))NULL), glob_t *)
RUN_4(glob64, path_t, int, __typeof__((int (*)(const char *, int))NULL), glob64_t *)

#define GLOB(name, result_t)                                                                       \
    int stiol__##name(const char *restrict pattern, int flags, int (*on_error)(const char *, int), \
                      result_t *restrict result)                                                   \
    {                                                                                              \
        stiol__vp_t *vp = STIOL_ENTER(file, name, 0);                                              \
        const long args[] = {(long)pattern, flags, (long)on_error, (long)result};                  \
        uint64_t group;                                                                            \
                                                                                                   \
        if (!vp || !is_own_glob(flags, (const void *)on_error) ||                                  \
            !begins_slow(vp, pattern, &group))                                                     \
            return name(pattern, flags, on_error, result);                                         \
        return (int)stiol__file_help_at(vp, AT_FDCWD, pattern, group, run_##name, args);           \
    }

GLOB(glob, glob_t)
GLOB(glob64, glob64_t)

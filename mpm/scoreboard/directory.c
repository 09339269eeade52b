/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ScoreboardDir, for file.c. The directory is opened once, and what was opened is checked; files
 * are created anew each time, so that readers of an old one still have it intact, and no name that
 * another user has put there is followed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mpm/scoreboard/directory.h"
#include "mpm/stm.h"
#include "score/layout.h"

/* Maximum number of directories checked on the way to the root. */
enum { MOST_PARENTS = 100 };

/* --- who may write there --- */

typedef enum { NOBODY, HERE, ABOVE, UNKNOWN } writable_e;

/* Asked of the kernel, as the VPs' user: modes, groups and access lists all count. The owner could
 * change the mode. In a sticky directory nobody can rename what belongs to others. */
static bool may_write(int directory, bool parent)
{
    struct stat info;

    if (fstat(directory, &info) != 0)
        return true;
    if (info.st_uid == geteuid())
        return true;
    return faccessat(directory, ".", W_OK, 0) == 0 && !(parent && (info.st_mode & S_ISVTX));
}

static int open_parents(int directory, int *parents)
{
    int count = 0;

    parents[count++] = directory;
    while (count < MOST_PARENTS) {
        struct stat child, parent;
        int fd = openat(parents[count - 1], "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0 || fstat(parents[count - 1], &child) != 0 || fstat(fd, &parent) != 0)
            return -1;
        if (child.st_ino == parent.st_ino && child.st_dev == parent.st_dev)
            break; /* the root's parent is itself */
        parents[count++] = fd;
    }
    return count;
}

static bool become_vps_user(void)
{
    const struct passwd *user = getpwuid(ap_unixd_config.user_id);
    int groups = user ? initgroups(user->pw_name, ap_unixd_config.group_id)
                      : setgroups(1, &ap_unixd_config.group_id);

    return groups == 0 && setgid(ap_unixd_config.group_id) == 0 &&
           setuid(ap_unixd_config.user_id) == 0;
}

static writable_e look(int directory)
{
    int parents[MOST_PARENTS], count = open_parents(directory, parents);

    if (count < 0 || !become_vps_user())
        return UNKNOWN;
    for (int i = 0; i < count; i++) {
        if (may_write(parents[i], i > 0))
            return i > 0 ? ABOVE : HERE;
    }
    return NOBODY;
}

/* A server that does not change its user has nobody to protect itself from. */
static writable_e writable_by_vps(int directory)
{
    int status = 0;
    pid_t pid;

    if (geteuid() != 0 || ap_unixd_config.user_id == 0)
        return NOBODY;
    pid = fork();
    if (pid == 0)
        _exit((int)look(directory));
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return pid > 0 && WIFEXITED(status) ? (writable_e)WEXITSTATUS(status) : UNKNOWN;
}

static const char *why_not_checked(int directory)
{
    static const char *const reasons[] = {
        [NOBODY] = NULL,
        [HERE] = "the user of the VPs (User) owns this directory or may write to it, which is "
                 "refused",
        [ABOVE] = "the user of the VPs (User) owns a directory above this one or may write to it, "
                  "which is refused",
        [UNKNOWN] = "cannot tell whether the user of the VPs (User) may write to this directory",
    };
    struct stat info;
    writable_e writable;

    if (fstat(directory, &info) != 0)
        return strerror(errno);
    if (info.st_mode & S_IWOTH)
        return "everyone may write to this directory, which is refused";
    writable = writable_by_vps(directory);
    return writable <= UNKNOWN ? reasons[writable] : reasons[UNKNOWN];
}

const char *stm_score_dir_open(const char *path, int *directory)
{
    const char *reason;

    *directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*directory < 0) {
        struct stat info;

        if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode))
            return "is a symbolic link, which is refused";
        return strerror(errno);
    }
    reason = why_not_checked(*directory);
    if (reason) {
        close(*directory);
        *directory = -1;
    }
    return reason;
}

/* --- files --- */

/* The name of a scoreboard's file, "3", or of one of its blocks, "3.0.block": no other spelling of
 * a number is accepted. */
static bool parse_name(const char *name, int *ordinal, int *block)
{
    char again[STM_SCORE_NAME], *end;

    *ordinal = (int)strtol(name, &end, 10);
    *block = *end == '.' ? (int)strtol(end + 1, NULL, 10) : -1;
    stm_score_name(again, *ordinal, *block);
    return *ordinal >= 0 && strcmp(again, name) == 0;
}

static const char *why_not_ours(const struct stat *info)
{
    if (S_ISLNK(info->st_mode))
        return "is a symbolic link, which is refused: remove it";
    if (!S_ISREG(info->st_mode) || info->st_nlink != 1)
        return "is not a regular file, or has another hard link: refused";
    if (info->st_uid != geteuid())
        return "belongs to another user: refused";
    return NULL;
}

/* A file whose name is just a number may belong to anybody. */
static const char *why_no_scoreboard(int directory, const char *name)
{
    char magic[sizeof(STM_SCORE_MAGIC) - 1];
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return strerror(errno);
    n = read(fd, magic, sizeof(magic));
    close(fd);
    if (n == 0 || (n == sizeof(magic) && memcmp(magic, STM_SCORE_MAGIC, sizeof(magic)) == 0))
        return NULL;
    return "is not an STM scoreboard file, and is left alone: remove it, or choose another "
           "directory";
}

const char *stm_score_dir_refuses(int directory, const char *name)
{
    const char *reason;
    struct stat info;

    if (fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? NULL : strerror(errno);
    reason = why_not_ours(&info);
    return reason || strchr(name, '.') ? reason : why_no_scoreboard(directory, name);
}

/* The second descriptor must refer to the file that was just created. */
static bool open_both(int directory, const char *name, stm_score_new_file_t *file)
{
    struct stat first, second;

    file->readable = -1;
    file->writable =
        openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (file->writable < 0)
        return false;
    file->readable = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file->readable >= 0 && fstat(file->writable, &first) == 0 &&
        fstat(file->readable, &second) == 0 && first.st_ino == second.st_ino &&
        first.st_dev == second.st_dev)
        return true;
    close(file->writable);
    if (file->readable >= 0)
        close(file->readable);
    return false;
}

const char *stm_score_dir_create(int directory, const char *name, long long size,
                                 stm_score_new_file_t *file)
{
    const char *reason = stm_score_dir_refuses(directory, name);

    if (reason)
        return reason;
    if (unlinkat(directory, name, 0) != 0 && errno != ENOENT)
        return "cannot be replaced";
    if (!open_both(directory, name, file))
        return "cannot be created";
    if (ftruncate(file->writable, size) == 0)
        return NULL;
    close(file->writable);
    close(file->readable);
    return "cannot be extended to its size";
}

void stm_score_dir_tidy(int directory, int vps)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), ordinal, block;
    DIR *list = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;

    if (!list) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((entry = readdir(list))) {
        if (parse_name(entry->d_name, &ordinal, &block) && (block >= 0 || ordinal >= vps) &&
            !stm_score_dir_refuses(directory, entry->d_name))
            unlinkat(directory, entry->d_name, 0);
    }
    closedir(list);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the scoreboards of a directory: files whose names are numbers. One that cannot be read is
 * reported; the others are shown.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stmstat/stmstat.h"

static uint64_t time_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static int ordinal_of(const char *name)
{
    size_t length = strspn(name, "0123456789");

    if (!length || name[length] || length > 4 || (length > 1 && *name == '0'))
        return -1;
    return (int)strtol(name, NULL, 10);
}

static int in_order(const void *left, const void *right)
{
    return *(const int *)left - *(const int *)right;
}

static int *list_ordinals(DIR *directory, int *count)
{
    int *list = NULL, room = 0;
    const struct dirent *entry;

    *count = 0;
    while ((entry = readdir(directory))) {
        int ordinal = ordinal_of(entry->d_name);

        if (ordinal < 0)
            continue;
        if (*count == room) {
            int *more = realloc(list, sizeof(*list) * (size_t)(room += 64));

            if (!more)
                break;
            list = more;
        }
        list[(*count)++] = ordinal;
    }
    if (*count)
        qsort(list, (size_t)*count, sizeof(*list), in_order);
    return list;
}

static void complain(stm_view_t *view, int ordinal, const char *what)
{
    memset(view, 0, sizeof(*view));
    view->ordinal = ordinal;
    snprintf(view->problem, sizeof(view->problem), "%s", what);
}

/* --- a scoreboard: its header's file, and one for each block --- */

typedef struct {
    int directory, ordinal, header;
    int block, block_file; /* the block that was read last; -1: none */
} files_t;

static int open_part(int directory, int ordinal, int block)
{
    char name[STM_SCORE_NAME];
    struct stat info;
    int fd;

    stm_score_name(name, ordinal, block);
    fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))) {
        close(fd);
        errno = EINVAL;
        return -1;
    }
    return fd;
}

static int file_of(files_t *files, int part)
{
    if (part < 0)
        return files->header;
    if (part != files->block) {
        if (files->block_file >= 0)
            close(files->block_file);
        files->block_file = open_part(files->directory, files->ordinal, part);
        files->block = part;
    }
    return files->block_file;
}

/* Read, not mapped: a file that is truncated meanwhile then causes an error, not a signal. */
static bool read_file(void *baton, int part, void *to, size_t size, uint64_t offset)
{
    int fd = file_of(baton, part);

    while (size > 0) {
        ssize_t n = fd < 0 ? -1 : pread(fd, to, size, (off_t)offset);

        if (n <= 0)
            return false;
        to = (char *)to + n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return true;
}

static void read_one(stm_view_t *view, int directory, int ordinal, unsigned what)
{
    files_t files = {.directory = directory, .ordinal = ordinal, .block = -1, .block_file = -1};
    const stm_view_source_t source = {.read = read_file, .baton = &files};

    files.header = open_part(directory, ordinal, -1);
    if (files.header < 0) {
        complain(view, ordinal,
                 errno == ENOENT   ? "has disappeared"
                 : errno == ELOOP  ? "is a symbolic link, which is refused"
                 : errno == EINVAL ? "is not a regular file"
                                   : strerror(errno));
        return;
    }
    stm_view_read(view, ordinal, &source, what);
    if (files.block_file >= 0)
        close(files.block_file);
    close(files.header);
}

const char *scan_plain(const char *text)
{
    static char plain[256];
    size_t i;

    for (i = 0; i < sizeof(plain) - 1 && text[i]; i++)
        plain[i] = (char)(text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?');
    plain[i] = '\0';
    return plain;
}

void scan_read(stmstat_scan_t *scan, unsigned what)
{
    DIR *directory = opendir(settings.directory);
    int *ordinals, count;

    memset(scan, 0, sizeof(*scan));
    scan->now = time_now();
    if (!directory) {
        snprintf(scan->problem, sizeof(scan->problem), "%.200s: %s", scan_plain(settings.directory),
                 strerror(errno));
        return;
    }
    ordinals = list_ordinals(directory, &count);
    scan->views = calloc((size_t)count + 1, sizeof(*scan->views));
    for (int i = 0; scan->views && i < count; i++)
        read_one(&scan->views[scan->count++], dirfd(directory), ordinals[i], what);
    if (!scan->count)
        snprintf(scan->problem, sizeof(scan->problem),
                 "%.200s: there are no scoreboards (is it the server's ScoreboardDir, and has "
                 "the server been started?)",
                 scan_plain(settings.directory));
    free(ordinals);
    closedir(directory);
}

void scan_free(stmstat_scan_t *scan)
{
    for (int i = 0; i < scan->count; i++)
        stm_view_free(&scan->views[i]);
    free(scan->views);
    memset(scan, 0, sizeof(*scan));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens the objects that a process has loaded, as listed in its maps, through the process's root
 * directory, so that those of a container are found. Called by dump.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "stmstat/dump.h"

enum { FILES = 4096, VDSO_LIMIT = 1 << 16 };

static dump_file_t *add(dump_t *dump, const char *name, uint64_t low, uint64_t end)
{
    dump_file_t *file = &dump->file[dump->files];

    *file = (dump_file_t){.name = strdup(name), .fd = -1, .low = low, .end = end};
    if (!file->name)
        return NULL;
    dump->files++;
    return file;
}

static int open_regular(const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd >= 0 && (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Opens the mapped file. The links in map_files lead to it even if it was deleted or replaced, but
 * not all kernels let us follow them. By its name it is opened only if it was not replaced. */
static int open_mapped(const dump_t *dump, const dump_file_t *file, const char *range,
                       unsigned long inode)
{
    char path[4200];
    struct stat info;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/map_files/%s", (int)dump->pid, range);
    if ((fd = open_regular(path)) >= 0)
        return fd;
    snprintf(path, sizeof(path), "/proc/%d/root%s", (int)dump->pid, file->name);
    fd = open_regular(path);
    if (fd >= 0 && (fstat(fd, &info) != 0 || (unsigned long)info.st_ino != inode)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* The kernel's own object has no file. */
static int open_vdso(const dump_t *dump, const dump_file_t *file)
{
    size_t size = (size_t)(file->end - file->low);
    char *copy = size <= VDSO_LIMIT ? malloc(size) : NULL;
    int fd = copy ? memfd_create("vdso", MFD_CLOEXEC) : -1;

    if (fd >= 0 &&
        (!dump_read(dump, file->low, copy, size) || write(fd, copy, size) != (ssize_t)size)) {
        close(fd);
        fd = -1;
    }
    free(copy);
    return fd;
}

/* A line of /proc/PID/maps. */
typedef struct {
    uint64_t low, end, offset;
    unsigned long inode;
    char *name;
} mapping_t;

/* 7f08332c0000-7f08332e0000 r-xp 00001000 08:01 1234    /usr/lib/object.so */
static bool parse(char *line, mapping_t *to)
{
    char *at;

    to->low = strtoull(line, &at, 16);
    if (*at != '-')
        return false;
    to->end = strtoull(at + 1, &at, 16);
    if (*at != ' ' || !(at = strchr(at + 1, ' '))) /* the permissions */
        return false;
    to->offset = strtoull(at, &at, 16);
    if (*at != ' ' || !(at = strchr(at + 1, ' '))) /* the device */
        return false;
    to->inode = strtoul(at, &at, 10);
    to->name = at + strspn(at, " ");
    to->name[strcspn(to->name, "\n")] = '\0';
    return *to->name && to->end > to->low;
}

static void look_at(dump_t *dump, char *line)
{
    mapping_t at;
    char range[64];
    dump_file_t *last = dump->files ? &dump->file[dump->files - 1] : NULL;

    if (!parse(line, &at))
        return;
    if (last && last->name && strcmp(last->name, at.name) == 0) {
        last->end = at.end;
        return;
    }
    if (at.offset != 0 || dump->files == FILES || (!at.inode && strcmp(at.name, "[vdso]") != 0) ||
        !(last = add(dump, at.name, at.low, at.end)))
        return;
    snprintf(range, sizeof(range), "%" PRIx64 "-%" PRIx64, at.low, at.end);
    last->fd = at.inode ? open_mapped(dump, last, range, at.inode) : open_vdso(dump, last);
}

bool dump_files_open(dump_t *dump)
{
    char path[64], line[4400];
    FILE *maps;

    snprintf(path, sizeof(path), "/proc/%d/maps", (int)dump->pid);
    maps = fopen(path, "re");
    if (!maps)
        return false;
    dump->file = calloc(FILES, sizeof(*dump->file));
    while (dump->file && fgets(line, sizeof(line), maps))
        look_at(dump, line);
    fclose(maps);
    if (dump->files)
        return true;
    errno = dump->file ? ESRCH : ENOMEM;
    return false;
}

void dump_files_close(dump_t *dump)
{
    for (size_t i = 0; i < dump->files; i++) {
        if (dump->file[i].fd >= 0)
            close(dump->file[i].fd);
        free(dump->file[i].name);
    }
    free(dump->file);
}

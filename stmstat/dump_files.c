/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects that a process has loaded, by its maps. They are opened through the process's root, so
 * that a container's are found. dump.c calls it.
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

/* The file that is mapped. The links in map_files lead to it even if it was deleted or replaced,
 * but not all kernels let us follow them. A replaced file is not opened by its name. */
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

/* The kernel's own object is in memory only. */
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

static void look_at(dump_t *dump, const char *line)
{
    uint64_t low, end, offset;
    unsigned long inode;
    char name[4097] = "", range[64];
    dump_file_t *last = dump->files ? &dump->file[dump->files - 1] : NULL;

    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %lu %4096[^\n]", &low, &end,
               &offset, &inode, name) != 5 ||
        end <= low)
        return;
    if (last && strcmp(last->name, name) == 0) {
        last->end = end;
        return;
    }
    if (offset != 0 || dump->files == FILES || (inode == 0 && strcmp(name, "[vdso]") != 0) ||
        !(last = add(dump, name, low, end)))
        return;
    snprintf(range, sizeof(range), "%" PRIx64 "-%" PRIx64, low, end);
    last->fd = inode ? open_mapped(dump, last, range, inode) : open_vdso(dump, last);
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

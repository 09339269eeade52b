/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a program can be executed without waiting for a disk: whoever starts it waits until the
 * kernel has read its first page, and that of a script's interpreter. Called by spawn.c; does not
 * yield or wait.
 */
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "stiol/file.h"
#include "stiol/program.h"

enum { HEAD = 256, MOST_SCRIPTS = 4 }; /* bytes that the kernel reads; scripts that run scripts */

typedef enum { MISSING, NEAR, FAR } look_t;

/* Finds the name after "#!". False: it is not a script. */
static bool interpreter_in(char *head, ssize_t length, char *name)
{
    char *start = head + 2;
    size_t size;

    if (length < 3 || head[0] != '#' || head[1] != '!')
        return false;
    head[length] = '\0';
    start += strspn(start, " \t");
    size = strcspn(start, " \t\n");
    memcpy(name, start, size);
    name[size] = '\0';
    return size > 0;
}

/* FAR: its first bytes are not in memory. What cannot be asked about counts as near. */
static look_t read_head(const char *file, char *head, ssize_t *length)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_CACHED};
    struct iovec part = {head, HEAD};
    look_t look = NEAR;
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, file, &how, sizeof(how));

    *length = 0;
    if (fd < 0)
        return errno == EAGAIN ? FAR : errno == ENOENT || errno == ENOTDIR ? MISSING : NEAR;
    *length = preadv64v2(fd, &part, 1, 0, RWF_NOWAIT);
    if (*length < 0 && errno == EAGAIN)
        look = FAR;
    (void)close(fd);
    return look;
}

static look_t look_at(stiol__vp_t *vp, const char *file, uint64_t *group)
{
    char head[HEAD + 1], name[HEAD + 1];
    look_t look = NEAR;
    ssize_t length;

    for (int i = 0; i < MOST_SCRIPTS; i++) {
        if (stiol__path_verdict(vp, AT_FDCWD, file, false, group) == STIOL_FS_PATIENT)
            return FAR;
        look = read_head(file, head, &length);
        if (look != NEAR || !interpreter_in(head, length, name))
            break;
        file = name;
    }
    return look;
}

static look_t look_on_path(stiol__vp_t *vp, const char *file, const char *path, uint64_t *group)
{
    char name[PATH_MAX + NAME_MAX + 2];
    look_t look = MISSING;

    if (strlen(file) > NAME_MAX)
        return MISSING;
    for (const char *end; look == MISSING; path = end + 1) {
        size_t size;

        end = strchrnul(path, ':');
        size = (size_t)(end - path);
        if (size < PATH_MAX) {
            memcpy(name, path, size);
            name[size] = '/';
            strcpy(name + size + (size > 0), file);
            look = look_at(vp, name, group);
        }
        if (*end == '\0')
            break;
    }
    return look;
}

bool stiol__program_is_near(stiol__vp_t *vp, const char *file, const char *path, uint64_t *group)
{
    int error = errno;
    look_t look;

    *group = 0;
    if (STIOL_OFF(STIOL_NO_CACHE))
        return false;
    look = path ? look_on_path(vp, file, path, group) : look_at(vp, file, group);
    errno = error;
    return look != FAR;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory with one writer (shmem.h). A mapping of a descriptor that was opened read-only can never
 * be made writable, so each piece is mapped twice, and only one child inherits the writable
 * mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mpm/shared/shmem.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

/* The usual capacity of a pipe. */
enum { CHUNK = 65536 };

static size_t at_most(size_t size, size_t limit)
{
    return size < limit ? size : limit;
}

size_t stm_shmem_round(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

/* By a sandbox. */
static bool is_refused(int error)
{
    return error == EPERM || error == ENOSYS;
}

/* --- mapping --- */

/* Kept out of core dumps: the pieces may be large, and hold other processes' requests. */
static void *map(int fd, int protection, size_t size)
{
    void *memory = mmap(NULL, size, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);

    if (memory == MAP_FAILED)
        return NULL;
    madvise(memory, size, MADV_DONTDUMP);
    return memory;
}

/* A sandbox may refuse this, too; then all children inherit what is writable. */
static bool keep_from_children(const stm_shmem_t *memory)
{
    return madvise(memory->writable, memory->size, MADV_DONTFORK) == 0 || is_refused(errno);
}

bool stm_shmem_map(stm_shmem_t *memory, int writable, int readable, size_t size)
{
    memory->size = stm_shmem_round(size);
    memory->readable = map(readable, PROT_READ, memory->size);
    memory->writable = map(writable, PROT_READ | PROT_WRITE, memory->size);
    if (memory->readable && memory->writable && keep_from_children(memory))
        return true;
    stm_shmem_unmake(memory);
    return false;
}

void stm_shmem_unmake(stm_shmem_t *memory)
{
    int error = errno;

    if (memory->readable)
        munmap((void *)(uintptr_t)memory->readable, memory->size);
    if (memory->writable)
        munmap(memory->writable, memory->size);
    *memory = (stm_shmem_t){0};
    errno = error;
}

void stm_shmem_inherit(const stm_shmem_t *memory, bool inherited)
{
    if (memory->writable)
        madvise(memory->writable, memory->size, inherited ? MADV_DOFORK : MADV_DONTFORK);
}

/* --- memory without a file --- */

static int reopen_for_reading(int fd)
{
    char path[32];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

/* To be called once the writable mapping exists. The last seal keeps everybody from writing in any
 * other way, and from punching holes; if the kernel does not support it, the file's mode has to
 * do. */
static bool seal(int fd)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

    return fcntl(fd, F_ADD_SEALS, seals | F_SEAL_FUTURE_WRITE) == 0 ||
           fcntl(fd, F_ADD_SEALS, seals) == 0;
}

/* Where memfds are refused, or there is no /proc to open one again: anonymous memory, and a second
 * mapping of it. A process that runs code of an attacker could make that writable. */
static bool make_anonymous(stm_shmem_t *memory, size_t size)
{
    void *writable =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void *readable =
        writable == MAP_FAILED ? MAP_FAILED : mremap(writable, 0, size, MREMAP_MAYMOVE);

    memory->size = size;
    memory->writable = writable == MAP_FAILED ? NULL : writable;
    memory->readable = readable == MAP_FAILED ? NULL : readable;
    if (memory->readable && mprotect(readable, size, PROT_READ) == 0 &&
        keep_from_children(memory)) {
        madvise(writable, size, MADV_DONTDUMP);
        madvise(readable, size, MADV_DONTDUMP);
        return true;
    }
    stm_shmem_unmake(memory);
    return false;
}

bool stm_shmem_make(stm_shmem_t *memory, const char *name, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), readable = -1, error;
    bool made = false, no_proc;

    *memory = (stm_shmem_t){0};
    size = stm_shmem_round(size);
    if (fd < 0 && is_refused(errno))
        return make_anonymous(memory, size);
    if (fd >= 0 && fchmod(fd, S_IRUSR | S_IWUSR) == 0 && ftruncate(fd, (off_t)size) == 0 &&
        (readable = reopen_for_reading(fd)) >= 0)
        made = stm_shmem_map(memory, fd, readable, size);
    if (made && !seal(fd)) {
        stm_shmem_unmake(memory);
        made = false;
    }
    error = errno;
    no_proc = fd >= 0 && readable < 0 && error == ENOENT;
    if (readable >= 0)
        close(readable);
    if (fd >= 0)
        close(fd);
    if (no_proc)
        return make_anonymous(memory, size);
    errno = error;
    return made;
}

/* --- copies that fail with an error: a pipe's ends copy as the kernel does --- */

static bool all_from_pipe(int fd, char *to, size_t size)
{
    while (size > 0) {
        ssize_t n = read(fd, to, size);

        if (n <= 0)
            return false;
        to += n;
        size -= (size_t)n;
    }
    return true;
}

static bool copy(char *to, const char *from, size_t size, bool repeat)
{
    bool copied = true;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    while (copied && size > 0) {
        ssize_t n = write(ends[1], from, at_most(size, CHUNK));

        copied = n > 0 && all_from_pipe(ends[0], to, (size_t)n);
        if (!copied)
            break;
        to += n;
        from += repeat ? 0 : n;
        size -= (size_t)n;
    }
    close(ends[0]);
    close(ends[1]);
    return copied;
}

bool stm_shmem_put(void *to, const void *from, size_t size)
{
    return copy(to, from, size, false);
}

bool stm_shmem_get(void *to, const void *from, size_t size)
{
    return copy(to, from, size, false);
}

bool stm_shmem_clear(void *to, size_t size)
{
    static const char zeros[CHUNK];

    return copy(to, zeros, size, true);
}

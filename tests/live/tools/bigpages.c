/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a server, it makes it believe in pages of STM_TEST_PAGE bytes, as some kernels of
 * aarch64 and ppc64le have them: sysconf() says so, mmap() gives what is aligned to them, and what
 * changes memory refuses addresses that are not, and rounds lengths up. Used by
 * tests/live/test_bigpages.py.
 *
 * Only the objects themselves stay as they are: they were linked for pages of 4 KB. The library is
 * named like Valgrind's, since STIOL leaves the calls of those alone.
 */
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SMALL = 4096, VECTOR = 4096 };

/* The constructors of libraries run first, and must not learn of these pages too late. */
static uintptr_t page_size(void)
{
    static uintptr_t page;
    const char *text = page == 0 ? getenv("STM_TEST_PAGE") : NULL;

    if (page == 0)
        page = text ? strtoul(text, NULL, 10) : SMALL;
    return page;
}

static size_t rounded(size_t size)
{
    return (size + page_size() - 1) & ~(page_size() - 1);
}

static int is_misaligned(const void *address)
{
    if (((uintptr_t)address & (page_size() - 1)) == 0)
        return 0;
    errno = EINVAL;
    return 1;
}

static int lies_in(struct dl_phdr_info *info, size_t size, void *data)
{
    uintptr_t address = (uintptr_t)data;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t low = (info->dlpi_addr + segment->p_vaddr) & ~(page_size() - 1);

        if (segment->p_type == PT_LOAD && address >= low &&
            address < info->dlpi_addr + segment->p_vaddr + segment->p_memsz)
            return 1;
    }
    return 0;
}

static int is_an_objects(const void *address)
{
    return dl_iterate_phdr(lies_in, (void *)(uintptr_t)address);
}

/* What is protected in pages of 4 KB cannot be opened in larger ones. */
static int open_object(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    (void)data;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t low = (info->dlpi_addr + segment->p_vaddr) & ~(uintptr_t)(SMALL - 1);
        uintptr_t high =
            (info->dlpi_addr + segment->p_vaddr + segment->p_memsz) & ~(uintptr_t)(SMALL - 1);

        if (segment->p_type == PT_GNU_RELRO && high > low)
            (void)syscall(SYS_mprotect, low, high - low, PROT_READ | PROT_WRITE);
    }
    return 0;
}

long sysconf(int name)
{
    extern long __sysconf(int);

    if (name != _SC_PAGESIZE)
        return __sysconf(name);
    (void)dl_iterate_phdr(open_object, NULL);
    return (long)page_size();
}

int getpagesize(void)
{
    return (int)page_size();
}

static void *really_map(void *at, size_t size, int access, int flags, int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, at, size, access, flags, fd, offset); // NOLINT
}

void *mmap(void *at, size_t size, int access, int flags, int fd, off_t offset)
{
    size_t room = rounded(size) + page_size();
    char *memory, *start;

    if (flags & MAP_FIXED)
        return is_misaligned(at) ? MAP_FAILED
                                 : really_map(at, rounded(size), access, flags, fd, offset);
    if ((uintptr_t)offset % page_size() != 0) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    memory = really_map(NULL, room, fd < 0 ? access : PROT_NONE,
                        fd < 0 ? flags : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return MAP_FAILED;
    start = (char *)(((uintptr_t)memory + page_size() - 1) & ~(page_size() - 1));
    if (start > memory)
        (void)syscall(SYS_munmap, memory, start - memory);
    (void)syscall(SYS_munmap, start + rounded(size),
                  room - rounded(size) - (size_t)(start - memory));
    if (fd >= 0 && really_map(start, size, access, flags | MAP_FIXED, fd, offset) == MAP_FAILED) {
        int error = errno;

        (void)syscall(SYS_munmap, start, rounded(size));
        errno = error;
        return MAP_FAILED;
    }
    return start;
}

void *mmap64(void *at, size_t size, int access, int flags, int fd, off_t offset)
{
    return mmap(at, size, access, flags, fd, offset);
}

int munmap(void *address, size_t size)
{
    return is_misaligned(address) ? -1 : (int)syscall(SYS_munmap, address, rounded(size));
}

int mprotect(void *address, size_t size, int access)
{
    if (is_misaligned(address))
        return -1;
    return is_an_objects(address) ? 0 : (int)syscall(SYS_mprotect, address, rounded(size), access);
}

int madvise(void *address, size_t size, int advice)
{
    return is_misaligned(address) ? -1 : (int)syscall(SYS_madvise, address, rounded(size), advice);
}

/* One byte for each of the large pages: whether any part of it is there. */
int mincore(void *address, size_t size, unsigned char *present)
{
    size_t pieces = page_size() / SMALL;
    unsigned char parts[VECTOR];

    if (is_misaligned(address))
        return -1;
    for (size_t done = 0; done < rounded(size); done += page_size(), present++) {
        if (syscall(SYS_mincore, (char *)address + done, page_size(), parts) != 0)
            return -1;
        *present = !!memchr(parts, 1, pieces);
    }
    return 0;
}

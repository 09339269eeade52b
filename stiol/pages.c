/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mmap() and munmap() as libapr's allocators call them. Debian's libapr maps each block of a pool
 * and unmaps it again; for mod_http2, which gives each request an allocator of its own, that took a
 * third of all CPU time. Here, blocks of the common size come from a space of the process's own,
 * last freed first, without a system call. file_map.c handles files. Called through the
 * replacements and by stiol.c.
 */
#include "stiol/file.h"

enum { BLOCK = 8192 };             /* bytes; APR's smallest block where pages have 4 KB */
#define SPACE  ((size_t)256 << 20) /* bytes of address space; beyond it: the real calls */
#define STEP   ((size_t)1 << 20)   /* bytes made usable at a time */
#define BLOCKS ((uint32_t)(SPACE / BLOCK))

/* A block that another kernel thread has freed. */
typedef struct returned {
    struct returned *next;
} returned_t;

/* One for the process; it belongs to the VP that started first. */
static struct {
    char *base; /* NULL: none */
    const stiol__vp_t *owner;
    size_t usable;  /* bytes from base; the rest is not accessible yet */
    size_t used;    /* bytes from base that were ever given out */
    uint32_t *free; /* numbers of free blocks, a stack of BLOCKS places */
    uint32_t count; /* free blocks */
    uint32_t cold;  /* the lowest of the stack, whose memory was given back */
    uint32_t warm;  /* maximum number of free blocks that keep their memory */
    _Atomic(returned_t *) returned;
} space;

static char *block_at(uint32_t number)
{
    return space.base + (size_t)number * BLOCK;
}

static bool is_ours(const void *address, size_t length)
{
    return space.base && length == BLOCK && (uintptr_t)address - (uintptr_t)space.base < SPACE;
}

void stiol__pages_start(const stiol__vp_t *vp)
{
    size_t places = BLOCKS * sizeof(*space.free);
    char *base;

    /* What is given back of a block that is smaller than a page would take its neighbours along. On
     * such kernels libapr asks for larger blocks anyway. */
    if (space.base || vp->config.max_free < 0 || sysconf(_SC_PAGESIZE) > BLOCK)
        return;
    /* The stack is behind the space; only touched pages use memory. */
    base =
        mmap(NULL, SPACE + places, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return;
    if (mprotect(base + SPACE, places, PROT_READ | PROT_WRITE) != 0) {
        (void)munmap(base, SPACE + places);
        return;
    }
    (void)madvise(base, SPACE, MADV_NOHUGEPAGE);
    space.free = (uint32_t *)(void *)(base + SPACE);
    space.usable = space.used = 0;
    space.count = space.cold = 0;
    space.warm = (size_t)vp->config.max_free < SPACE
                     ? (uint32_t)((size_t)vp->config.max_free / BLOCK)
                     : BLOCKS;
    space.owner = vp;
    space.base = base;
}

/* Blocks in use stay mapped, and from now on the real call unmaps them. */
void stiol__pages_stop(const stiol__vp_t *vp)
{
    if (!space.base || space.owner != vp)
        return;
    for (uint32_t i = 0; i < space.count; i++)
        (void)munmap(block_at(space.free[i]), BLOCK);
    (void)munmap(space.base + space.used, SPACE - space.used + BLOCKS * sizeof(*space.free));
    space.base = NULL;
    space.owner = NULL;
}

/* --- the stack of free blocks --- */

static void push(void *block)
{
    space.free[space.count++] = (uint32_t)((size_t)((char *)block - space.base) / BLOCK);
    if (STIOL_UNLIKELY(space.count - space.cold > space.warm))
        (void)madvise(block_at(space.free[space.cold++]), BLOCK, MADV_DONTNEED);
}

static void *pop(void)
{
    char *block = block_at(space.free[--space.count]);

    if (space.cold > space.count)
        space.cold = space.count;
    return block;
}

static void take_returned(void)
{
    returned_t *block = atomic_exchange(&space.returned, NULL), *next;

    for (; block; block = next) {
        next = block->next;
        push(block);
    }
}

static void *fresh(void)
{
    char *block;

    if (space.used == space.usable) {
        if (space.usable == SPACE ||
            mprotect(space.base + space.usable, STEP, PROT_READ | PROT_WRITE) != 0)
            return NULL;
        space.usable += STEP;
    }
    block = space.base + space.used;
    space.used += BLOCK;
    return block;
}

static void *take(void)
{
    if (STIOL_UNLIKELY(space.count == 0))
        take_returned();
    return STIOL_LIKELY(space.count > 0) ? pop() : fresh();
}

/* Called by a kernel thread that is not the owner, so it must not touch the stack. */
static void give_back(void *address)
{
    returned_t *block = address;

    block->next = atomic_load(&space.returned);
    while (!atomic_compare_exchange_weak(&space.returned, &block->next, block))
        continue;
}

/* --- the replacements --- */

static void *map(stiol__vp_t *vp, void *address, size_t length, int protection, int flags, int fd,
                 off_t offset)
{
    if (vp && fd >= 0 && (flags & (MAP_ANONYMOUS | MAP_FIXED)) == 0)
        return stiol__map_file(vp, address, length, protection, flags, fd, offset);
    return mmap(address, length, protection, flags, fd, offset);
}

void *stiol__mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    stiol__vp_t *vp = STIOL_ENTER(memory, mmap, length);
    void *block;

    if (length == BLOCK && !address && protection == (PROT_READ | PROT_WRITE) &&
        flags == (MAP_PRIVATE | MAP_ANONYMOUS) && stiol__vp && stiol__vp == space.owner &&
        (block = take()))
        return block;
    return map(vp, address, length, protection, flags, fd, offset);
}

/* For objects that do not unmap through the replacement of munmap(). */
void *stiol__elsewhere_mmap(void *address, size_t length, int protection, int flags, int fd,
                            off_t offset)
{
    return map(STIOL_ENTER(memory, mmap, length), address, length, protection, flags, fd, offset);
}

void *stiol__mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
    return map(STIOL_ENTER(memory, mmap64, length), address, length, protection, flags, fd, offset);
}

int stiol__munmap(void *address, size_t length)
{
    (void)STIOL_ENTER(memory, munmap, length);
    if (!is_ours(address, length))
        return munmap(address, length);
    if (STIOL_LIKELY(stiol__vp == space.owner))
        push(address);
    else
        give_back(address);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of another process's pages. Each page is read when it is first asked for, and then not
 * again; dump_pages_refresh() reads all of them again in a few system calls. So the pages that a
 * first pass over the running process needed are copied within moments once it has been stopped.
 * dump_copy.c and libdw's callbacks read through it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "stmstat/dump.h"

enum {
    PAGES = 1 << 17, /* 512 MB */
    TABLE = 2 * PAGES,
    VECTORS = 512, /* per system call */
};

typedef struct {
    uint64_t number; /* its address / DUMP_PAGE */
    bool there;
} page_t;

static struct {
    page_t *page;
    size_t count;
    unsigned char *copies; /* in the order of page[] */
    uint32_t *table;       /* 1 + index into page[], by a hash of the number; 0: free */
    bool final;
} pages;

bool dump_pages_open(void)
{
    pages.page = calloc(PAGES, sizeof(*pages.page));
    pages.table = calloc(TABLE, sizeof(*pages.table));
    pages.copies = mmap(NULL, (size_t)PAGES * DUMP_PAGE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages.copies == MAP_FAILED)
        pages.copies = NULL;
    return pages.page && pages.table && pages.copies;
}

void dump_pages_close(void)
{
    free(pages.page);
    free(pages.table);
    if (pages.copies)
        munmap(pages.copies, (size_t)PAGES * DUMP_PAGE);
    memset(&pages, 0, sizeof(pages));
}

void dump_pages_finish(void)
{
    pages.final = true;
}

static uint32_t *place_of(uint64_t number)
{
    size_t at = (size_t)(number * UINT64_C(0x9e3779b97f4a7c15) >> 40) % TABLE;

    while (pages.table[at] && pages.page[pages.table[at] - 1].number != number)
        at = (at + 1) % TABLE;
    return &pages.table[at];
}

/* --- writing: the process does not have there what belongs there --- */

static unsigned char *copy_of(uint64_t address)
{
    uint32_t place = *place_of(address / DUMP_PAGE);

    return place ? pages.copies + (size_t)(place - 1) * DUMP_PAGE + address % DUMP_PAGE : NULL;
}

void dump_pages_blank(const dump_t *dump, uint64_t address, size_t size)
{
    dump_pages_want(dump, address, size);
    for (uint64_t at = address; at - address < size; at += DUMP_PAGE) {
        unsigned char *copy = copy_of(at);

        if (!copy)
            break;
        memset(copy, 0, DUMP_PAGE);
        pages.page[*place_of(at / DUMP_PAGE) - 1].there = true;
    }
}

bool dump_pages_put(uint64_t address, uint64_t word)
{
    unsigned char *copy = address % sizeof(word) == 0 ? copy_of(address) : NULL;

    if (copy)
        memcpy(copy, &word, sizeof(word));
    return copy;
}

/* --- reading --- */

/* Fills in the vectors for reading pages, one for each run of neighbours. Returns the index of the
 * first page that did not fit. */
static size_t gather(size_t from, size_t to, struct iovec *vector, unsigned long *count)
{
    size_t i;

    *count = 0;
    for (i = from; i < to; i++) {
        if (*count && pages.page[i].number == pages.page[i - 1].number + 1) {
            vector[*count - 1].iov_len += DUMP_PAGE;
            continue;
        }
        if (*count == VECTORS)
            break;
        vector[(*count)++] =
            (struct iovec){(void *)(uintptr_t)(pages.page[i].number * DUMP_PAGE), DUMP_PAGE};
    }
    return i;
}

/* Reads the pages with these indices. A call stops at the first page that cannot be read. */
static void fetch(const dump_t *dump, size_t from, size_t to)
{
    struct iovec there[VECTORS];

    while (from < to) {
        unsigned long count;
        size_t last = gather(from, to, there, &count), got;
        struct iovec here = {pages.copies + from * DUMP_PAGE, (last - from) * DUMP_PAGE};
        ssize_t n = process_vm_readv(dump->pid, &here, 1, there, count, 0);

        got = n > 0 ? (size_t)n / DUMP_PAGE : 0;
        for (size_t i = from; i < last && i <= from + got; i++)
            pages.page[i].there = i < from + got;
        from += got < last - from ? got + 1 : got;
    }
}

void dump_pages_refresh(const dump_t *dump)
{
    fetch(dump, 0, pages.count);
}

void dump_pages_want(const dump_t *dump, uint64_t address, size_t size)
{
    uint64_t first = address / DUMP_PAGE, last = (address + size - 1) / DUMP_PAGE;
    size_t before = pages.count;

    for (uint64_t number = first; number <= last && size && !pages.final; number++) {
        uint32_t *place = place_of(number);

        if (*place)
            continue;
        if (pages.count == PAGES)
            break;
        pages.page[pages.count].number = number;
        *place = (uint32_t)++pages.count;
    }
    fetch(dump, before, pages.count);
}

size_t dump_read_up(const dump_t *dump, uint64_t address, void *to, size_t size)
{
    size_t done = 0;

    if (!size || address > UINT64_MAX - size)
        return 0;
    dump_pages_want(dump, address, size);
    while (done < size) {
        uint64_t at = address + done;
        uint32_t place = *place_of(at / DUMP_PAGE);
        size_t piece = DUMP_PAGE - (size_t)(at % DUMP_PAGE);

        if (!place || !pages.page[place - 1].there)
            break;
        if (piece > size - done)
            piece = size - done;
        if (to)
            memcpy((char *)to + done,
                   pages.copies + (size_t)(place - 1) * DUMP_PAGE + at % DUMP_PAGE, piece);
        done += piece;
    }
    if (done < size)
        errno = EFAULT;
    return done;
}

bool dump_read(const dump_t *dump, uint64_t address, void *to, size_t size)
{
    return dump_read_up(dump, address, to, size) == size;
}

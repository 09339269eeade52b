/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of descriptors, indexed by number and grown in chunks so that entries stay where they
 * are, and the list of waiters of each.
 */
#include <string.h>

#include "st/st_internal.h"

struct st__fd *st__fd_find(const struct st_vp *vp, int osfd)
{
    unsigned chunk = (unsigned)osfd >> ST__FD_CHUNK_SHIFT;

    /* A negative number yields a very large chunk index. */
    if (ST__UNLIKELY(chunk >= vp->fds.chunk_count || !vp->fds.chunks[chunk]))
        return NULL;
    return &vp->fds.chunks[chunk][osfd & (ST__FD_CHUNK - 1)];
}

static int grow_directory(struct st__fd_table *table, unsigned chunk)
{
    unsigned count = table->chunk_count == 0 ? 8 : table->chunk_count;
    struct st__fd **chunks;

    while (count <= chunk)
        count *= 2;
    if (!(chunks = st__realloc(table->chunks, count * sizeof(*chunks))))
        return -1;
    memset(chunks + table->chunk_count, 0, (count - table->chunk_count) * sizeof(*chunks));
    table->chunks = chunks;
    table->chunk_count = count;
    return 0;
}

struct st__fd *st__fd_entry(struct st_vp *vp, int osfd)
{
    struct st__fd_table *table = &vp->fds;
    struct st__fd *fd = st__fd_find(vp, osfd);
    unsigned chunk = (unsigned)osfd >> ST__FD_CHUNK_SHIFT;

    if (ST__LIKELY(fd))
        return fd;
    if (osfd < 0) {
        errno = EBADF;
        return NULL;
    }
    if (chunk >= table->chunk_count && grow_directory(table, chunk) < 0)
        return NULL;
    if (!(table->chunks[chunk] = st__calloc(ST__FD_CHUNK, sizeof(struct st__fd))))
        return NULL;
    return st__fd_find(vp, osfd);
}

void st__fd_table_destroy(struct st_vp *vp)
{
    for (unsigned chunk = 0; chunk < vp->fds.chunk_count; chunk++)
        free(vp->fds.chunks[chunk]);
    free(vp->fds.chunks);
    vp->fds = (struct st__fd_table){0};
}

void st__fd_link(struct st_vp *vp, struct st__fd *fd, struct st_fd_link *link)
{
    ST__ASSERT(!link->pprev);
    link->next = fd->links;
    link->pprev = &fd->links;
    if (link->next)
        link->next->pprev = &link->next;
    fd->links = link;
    vp->stats.waiting_fds++;
}

void st__fd_unlink(struct st_vp *vp, struct st_fd_link *link)
{
    ST__ASSERT(link->pprev);
    *link->pprev = link->next;
    if (link->next)
        link->next->pprev = link->pprev;
    link->pprev = NULL;
    vp->stats.waiting_fds--;
}

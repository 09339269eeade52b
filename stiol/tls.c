/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread-local variables: each state thread has its own contents of them, at addresses that stay.
 * libst calls exchange() between two state threads; what the one has is kept, as far as it differs
 * from what a new thread has, and what the other has is put in place. Used by stiol.c and tsd.c.
 * See docs/internals/thread-locals.md.
 */
#include "stiol_int.h"

struct stiol__contents {
    uint32_t used, room; /* bytes of entries */
    char entries[];
};

/* One block that differs from its image; in the order of their serials. */
typedef struct entry {
    uint32_t serial;
    uint32_t size; /* of data, a multiple of 8 bytes */
    char data[];
} entry_t;

static void fail(void) __attribute__((noreturn, cold));

/* A state thread cannot go on without what is its own, nor with another's. */
static void fail(void)
{
    static const char message[] = "stiol: no memory for a state thread's thread-local variables\n";
    ssize_t ignored = write(STDERR_FILENO, message, sizeof(message) - 1);

    (void)ignored;
    abort();
}

static inline uint32_t entry_size(const stiol__block_t *block)
{
    return (uint32_t)sizeof(entry_t) + ((block->size + 7) & ~7u);
}

static inline uint64_t word_at(const char *place)
{
    uint64_t word;

    memcpy(&word, place, sizeof(word));
    return word;
}

static inline bool differs(const stiol__block_t *block)
{
    const char *address = block->address, *image = block->image;
    uint32_t size = block->size;

    if (size > 64 || size < 8)
        return memcmp(address, image, size) != 0;
    for (uint32_t at = 0; at + 8 < size; at += 8)
        if (word_at(address + at) != word_at(image + at))
            return true;
    return word_at(address + size - 8) != word_at(image + size - 8);
}

static inline void copy(char *to, const char *from, uint32_t size)
{
    if (size == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, size);
}

/* Looks which blocks are to be kept; bytes that their entries take. */
static inline uint32_t look(const stiol__tls_t *tls)
{
    uint32_t bytes = 0;

    for (int i = 0; i < tls->count; i++) {
        stiol__block_t *block = &tls->blocks[i];

        block->dirty = differs(block);
        if (block->dirty)
            bytes += entry_size(block);
    }
    return bytes;
}

/* Room for so many bytes of entries. Old entries are lost. */
static __attribute__((noinline)) stiol__contents_t *make_room(stiol__contents_t *contents,
                                                              uint32_t bytes)
{
    free(contents);
    contents = malloc(sizeof(*contents) + bytes);
    if (contents != NULL)
        *contents = (stiol__contents_t){.room = bytes};
    return contents;
}

/* Keeps what is in place; the blocks are marked. All memory is had before anything is copied: an
 * allocator has thread-local variables, too. */
static inline int save(const stiol__tls_t *tls, stiol__contents_t **place)
{
    uint32_t bytes;
    char *at;

    while ((bytes = look(tls)) > (*place != NULL ? (*place)->room : 0))
        if ((*place = make_room(*place, bytes)) == NULL)
            return -1;
    if (*place == NULL)
        return 0;
    (*place)->used = bytes;
    at = (*place)->entries;
    for (int i = 0; bytes > 0 && i < tls->count; i++) {
        const stiol__block_t *block = &tls->blocks[i];
        entry_t *entry = (entry_t *)at;

        if (!block->dirty)
            continue;
        *entry = (entry_t){block->serial, entry_size(block) - (uint32_t)sizeof(entry_t)};
        copy(entry->data, block->address, block->size);
        at += entry_size(block);
    }
    return 0;
}

/* Puts contents in place of those whose blocks are marked. Entries of objects that are gone are
 * passed over. */
static inline void load(const stiol__tls_t *tls, const stiol__contents_t *contents)
{
    const char *at = contents != NULL ? contents->entries : NULL;
    const char *end = contents != NULL ? at + contents->used : NULL;

    for (int i = 0; i < tls->count; i++) {
        const stiol__block_t *block = &tls->blocks[i];
        const entry_t *entry = (const entry_t *)at;

        while (at != end && entry->serial < block->serial) {
            at += sizeof(entry_t) + entry->size;
            entry = (const entry_t *)at;
        }
        if (at != end && entry->serial == block->serial)
            copy(block->address, entry->data, block->size);
        else if (block->dirty)
            copy(block->address, block->image, block->size);
    }
}

/* Objects have come or gone. */
static __attribute__((noinline)) void renew(stiol__tls_t *tls)
{
    int count = stiol__locals_here(&tls->blocks, tls->count, &tls->generation);

    if (count < 0)
        fail();
    tls->count = count;
}

static inline void keep_up(stiol__tls_t *tls)
{
    if (STIOL_UNLIKELY(tls->generation !=
                       atomic_load_explicit(&stiol__locals_generation, memory_order_relaxed)))
        renew(tls);
}

static void exchange(void **from, void **to, int ended)
{
    stiol__tls_t *tls = stiol__vp->tls;

    keep_up(tls);
    if (STIOL_UNLIKELY(tls->primordial == NULL)) /* the first one: it has set us */
        tls->primordial = (stiol__contents_t **)from;
    if (STIOL_UNLIKELY(ended)) {
        free(*from);
        *from = NULL;
        (void)look(tls);
    } else if (STIOL_UNLIKELY(save(tls, (stiol__contents_t **)from) != 0)) {
        fail();
    }
    load(tls, *to);
}

/* --- for stiol.c and tsd.c --- */

int stiol__tls_save(stiol__vp_t *vp, stiol__contents_t **contents)
{
    *contents = NULL;
    if (vp->tls == NULL)
        return 0;
    keep_up(vp->tls);
    return save(vp->tls, contents);
}

void stiol__tls_load(stiol__vp_t *vp, const stiol__contents_t *contents)
{
    if (vp->tls == NULL)
        return;
    keep_up(vp->tls);
    (void)look(vp->tls);
    load(vp->tls, contents);
}

void stiol__tls_free(stiol__contents_t *contents)
{
    free(contents);
}

int stiol__tls_start(stiol__vp_t *vp)
{
    stiol__tls_t *tls;

    if (STIOL_OFF(STIOL_NO_TLS))
        return 0;
    tls = calloc(1, sizeof(*tls));
    if (tls == NULL || stiol__locals_update() != 0)
        goto error;
    tls->count = stiol__locals_here(&tls->blocks, 0, &tls->generation);
    if (tls->count < 0)
        goto error;
    vp->tls = tls;
    (void)st_set_exchange_cb(exchange);
    return 0;

error:
    free(tls);
    return -1;
}

/* What is in place stays: the primordial thread's, which is the kernel thread's own. */
void stiol__tls_stop(stiol__vp_t *vp)
{
    stiol__tls_t *tls = vp->tls;

    if (tls == NULL)
        return;
    (void)st_set_exchange_cb(NULL);
    vp->tls = NULL;
    stiol__locals_release(tls->blocks, tls->count);
    free(tls);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread-local variables: each state thread has its own contents of them, at addresses that do not
 * change. libst calls exchange() between two state threads; what the first has is saved, as far as
 * it differs from what a new thread has, and what the second has is put in place. Used by stiol.c
 * and tsd.c. See docs/internals/thread-locals.md.
 */
#include "stiol/carry.h"
#include "stiol/stiol_int.h"
#include "stiol/tls.h"

struct stiol__contents {
    stiol__settings_t *settings; /* owned while they are not in place; NULL: the usual ones */
    uint32_t used, room;         /* bytes of entries */
    char entries[];
};

/* One block that differs from its image; in the order of their serials. */
typedef struct entry {
    uint32_t serial;
    uint32_t size; /* of data, a multiple of 8 bytes */
    char data[];
} entry_t;

static void fail(void) __attribute__((noreturn, cold));

/* A state thread can continue neither without its own variables nor with another's. */
static void fail(void)
{
    static const char message[] =
        STMNO(0092) "no memory for a state thread's thread-local variables\n";
    ssize_t ignored = write(STDERR_FILENO, message, sizeof(message) - 1);

    (void)ignored;
    abort();
}

static inline uint32_t entry_size(const stiol__block_t *block)
{
    return (uint32_t)sizeof(entry_t) + ((block->size + 7) & ~7u);
}

/* Read at any address; aliases everything. */
typedef uint32_t word32_t __attribute__((aligned(1), may_alias));
typedef uint64_t word64_t __attribute__((aligned(1), may_alias));

#define WORD64(place) (*(const word64_t *)(place))
#define WORD32(place) (*(const word32_t *)(place))

/* Most blocks are a pointer or two. */
static inline bool differs(const stiol__block_t *block)
{
    const char *address = block->address, *image = block->image;

    if (block->size == 8)
        return WORD64(address) != WORD64(image);
    if (block->size == 16)
        return WORD64(address) != WORD64(image) || WORD64(address + 8) != WORD64(image + 8);
    if (block->size == 4)
        return WORD32(address) != WORD32(image);
    return memcmp(address, image, block->size) != 0;
}

static inline void copy(char *to, const char *from, uint32_t size)
{
    if (size == 8)
        memcpy(to, from, 8);
    else
        memcpy(to, from, size);
}

/* Lists the blocks that differ from what a new thread has. Returns the bytes that their entries
 * take. */
static inline uint32_t look(stiol__tls_t *tls)
{
    stiol__block_t *end = tls->blocks + tls->count, **dirty = tls->dirty;
    uint32_t bytes = 0;

    for (stiol__block_t *block = tls->blocks; block != end; block++) {
        if (!differs(block))
            continue;
        *dirty++ = block;
        bytes += entry_size(block);
    }
    *dirty = NULL;
    return bytes;
}

/* Makes room for what is in place, after look(). All memory is allocated before anything is copied:
 * an allocator may have thread-local variables that are exchanged, too. Returns bytes, or
 * UINT32_MAX: there is no memory. */
static __attribute__((noinline)) uint32_t make_room(stiol__tls_t *tls, stiol__contents_t **place,
                                                    uint32_t bytes)
{
    while (!*place || bytes > (*place)->room) {
        free(*place);
        *place = malloc(sizeof(**place) + bytes);
        if (!*place)
            return UINT32_MAX;
        **place = (stiol__contents_t){.room = bytes};
        bytes = look(tls);
    }
    return bytes;
}

/* Copies the listed blocks. */
static inline void keep(const stiol__tls_t *tls, char *entries)
{
    const stiol__block_t *block;

    for (stiol__block_t *const *dirty = tls->dirty; (block = *dirty); dirty++) {
        entry_t *entry = (entry_t *)entries;

        entry->serial = block->serial;
        entry->size = entry_size(block) - (uint32_t)sizeof(entry_t);
        copy(entry->data, block->address, block->size);
        entries += sizeof(entry_t) + entry->size;
    }
}

/* Puts in place an entry whose block equals the image; if its object is gone, there is no such
 * block. */
static void put_alone(const stiol__tls_t *tls, const entry_t *entry)
{
    for (int i = 0; i < tls->count; i++)
        if (tls->blocks[i].serial == entry->serial)
            copy(tls->blocks[i].address, entry->data, tls->blocks[i].size);
}

/* Puts contents in place. The listed blocks now hold something else; both lists are sorted by
 * serial. */
static inline void put(const stiol__tls_t *tls, const stiol__contents_t *contents)
{
    const char *at = contents ? contents->entries : NULL;
    const char *end = contents ? at + contents->used : NULL;
    stiol__block_t *const *dirty = tls->dirty;
    const stiol__block_t *block;

    while ((block = *dirty) || at != end) {
        const entry_t *entry = (const entry_t *)at;

        if (!block || (at != end && entry->serial < block->serial)) {
            put_alone(tls, entry);
        } else if (at == end || entry->serial > block->serial) {
            copy(block->address, block->image, block->size);
            dirty++;
            continue;
        } else {
            copy(block->address, entry->data, block->size);
            dirty++;
        }
        at += sizeof(entry_t) + entry->size;
    }
}

/* Puts the settings of contents in place; the previous ones belong to the caller. */
static inline void go_over(stiol__tls_t *tls, stiol__contents_t *contents)
{
    stiol__settings_t *settings = contents ? contents->settings : NULL;

    if (STIOL_LIKELY(settings == tls->settings))
        return;
    stiol__settings_change(tls, settings);
    if (contents)
        contents->settings = NULL;
}

/* Objects were loaded or unloaded, or this is the first time. */
static __attribute__((noinline)) void renew(stiol__tls_t *tls)
{
    int count = stiol__locals_here(&tls->blocks, tls->count, &tls->generation);

    free(tls->dirty);
    tls->dirty = count < 0 ? NULL : malloc(((size_t)count + 1) * sizeof(stiol__block_t *));
    if (!tls->dirty)
        fail();
    tls->count = count;
}

static inline bool is_old(const stiol__tls_t *tls)
{
    return STIOL_UNLIKELY(tls->generation !=
                          atomic_load_explicit(&stiol__locals_generation, memory_order_relaxed));
}

/* What is in place no longer belongs to anyone. */
static __attribute__((noinline)) void end(stiol__tls_t *tls, stiol__contents_t **from,
                                          stiol__contents_t *to)
{
    stiol__settings_t *settings = tls->settings;

    if (settings)
        stiol__settings_change(tls, NULL);
    stiol__settings_free(settings);
    stiol__tls_free(*from);
    *from = NULL;
    (void)look(tls);
    put(tls, to);
    go_over(tls, to);
}

static inline bool lacks_room(const stiol__tls_t *tls, const stiol__contents_t *contents,
                              uint32_t bytes)
{
    if (!contents)
        return bytes != 0 || tls->settings;
    return bytes > contents->room;
}

static inline void exchange_contents(stiol__tls_t *tls, stiol__contents_t **from,
                                     stiol__contents_t *to)
{
    uint32_t bytes = look(tls);

    if (STIOL_UNLIKELY(lacks_room(tls, *from, bytes)))
        if ((bytes = make_room(tls, from, bytes)) == UINT32_MAX)
            fail();
    if (*from) {
        (*from)->used = bytes;
        (*from)->settings = tls->settings;
        keep(tls, (*from)->entries);
    }
    put(tls, to);
    go_over(tls, to);
}

/* Not through stiol__vp: a signal handler that was left by a jump has cleared that. */
static __thread stiol__tls_t *tls_here __attribute__((tls_model("initial-exec")));

static void exchange(void **from, void **to, int ended)
{
    stiol__tls_t *tls = tls_here;

    if (is_old(tls)) {
        renew(tls);
        if (!tls->primordial) /* the thread that installed us is the first to be exchanged */
            tls->primordial = (stiol__contents_t **)from;
    }
    tls->in_place = (stiol__contents_t **)to;
    if (STIOL_UNLIKELY(ended))
        end(tls, (stiol__contents_t **)from, *to);
    else
        exchange_contents(tls, (stiol__contents_t **)from, *to);
}

/* --- for stiol.c and tsd.c --- */

bool stiol__tls_primordial(const stiol__vp_t *vp)
{
    return vp->tls && vp->tls->in_place == vp->tls->primordial;
}

/* What is in place now, for the caller to keep; -1: no memory. */
static int keep_here(stiol__tls_t *tls, stiol__contents_t **contents)
{
    uint32_t bytes;

    *contents = NULL;
    if (is_old(tls))
        renew(tls);
    bytes = make_room(tls, contents, look(tls));
    if (bytes == UINT32_MAX)
        return -1;
    (*contents)->used = bytes;
    keep(tls, (*contents)->entries);
    (*contents)->settings = tls->settings;
    if (tls->settings)
        stiol__settings_change(tls, NULL);
    return 0;
}

int stiol__tls_save(stiol__vp_t *vp, stiol__contents_t **contents)
{
    *contents = NULL;
    return vp->tls ? keep_here(vp->tls, contents) : 0;
}

void stiol__tls_put(stiol__tls_t *tls, stiol__contents_t *contents)
{
    stiol__settings_t *before;

    if (is_old(tls))
        renew(tls);
    (void)look(tls);
    put(tls, contents);
    before = tls->settings;
    go_over(tls, contents);
    if (before != tls->settings)
        stiol__settings_free(before);
}

void stiol__tls_load(stiol__vp_t *vp, stiol__contents_t *contents)
{
    if (vp->tls)
        stiol__tls_put(vp->tls, contents);
}

void stiol__tls_keep_all(stiol__tls_t *tls, stiol__contents_t **contents, stiol__places_t **places)
{
    if (keep_here(tls, contents) != 0 || !(*places = stiol__places_of(tls)))
        fail();
}

void stiol__tls_free(stiol__contents_t *contents)
{
    if (contents)
        stiol__settings_free(contents->settings);
    free(contents);
}

int stiol__tls_start(stiol__vp_t *vp)
{
    stiol__tls_t *tls;

    if (STIOL_OFF(STIOL_NO_TLS))
        return 0;
    tls = calloc(1, sizeof(*tls));
    if (!tls || stiol__locals_update() != 0 || stiol__settings_start(tls) != 0)
        goto error;
    vp->tls = tls_here = tls;
    (void)st_set_exchange_cb(exchange);
    return 0;

error:
    if (tls)
        stiol__settings_free(tls->usual);
    free(tls);
    return -1;
}

stiol__tls_t *stiol__tls_carrier(void)
{
    stiol__tls_t *tls = calloc(1, sizeof(*tls));

    if (!tls || stiol__settings_start(tls) != 0)
        fail();
    renew(tls);
    return tls;
}

static void free_blocks(stiol__tls_t *tls)
{
    stiol__settings_free(tls->settings);
    stiol__settings_free(tls->usual);
    stiol__locals_release(tls->blocks, tls->count);
    free(tls->dirty);
    free(tls);
}

void stiol__tls_carrier_ends(stiol__tls_t *tls)
{
    free_blocks(tls);
}

/* What is in place stays: the primordial thread's, which is the kernel thread's own. */
void stiol__tls_stop(stiol__vp_t *vp)
{
    stiol__tls_t *tls = vp->tls;

    if (!tls)
        return;
    (void)st_set_exchange_cb(NULL);
    if (tls->primordial) {
        stiol__tls_free(*tls->primordial);
        *tls->primordial = NULL;
    }
    vp->tls = tls_here = NULL;
    free_blocks(tls);
}

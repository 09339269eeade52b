/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rest: what a connection holds while it is idle is mostly zeros. The contents of its large chunks
 * are kept without these, and their pages are given back; before anything may touch the chunks,
 * everything is where it was. Guests are what libraries have allocated for a connection with
 * malloc(), and which rests with the connection's pool: such an allocation gets a chunk if it is
 * made while guests are invited. See docs/internals/idle.md.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aprmem/aprmem_int.h"
#include "st/words.h"

enum {
    PAGE = 4096,
    WORD = sizeof(uint64_t),
};

/* What is kept of a chunk: its words that are not zero. */
struct aprmem_rest {
    struct aprmem_rest *next;
    void *chunk; /* NULL: a pool's rooms */
    uint64_t words[];
};

/* Where a pool would have allocated next; a guard against allocating in a chunk that rests. */
typedef struct rooms {
    aprmem_room_t room, second;
    aprmem_cleanup_t *free_cleanups;
} rooms_t;

struct aprmem_guest {
    aprmem_guest_t *next, **ref; /* in a list; ref NULL: in none */
    size_t size;                 /* bytes that were asked for */
    size_t wholly;               /* whether it rests only with pools that do so wholly */
};
_Static_assert(sizeof(aprmem_guest_t) % 16 == 0, "guests are aligned");

static __thread bool inviting __attribute__((tls_model("initial-exec")));
static aprmem_guest_t *arrived;

/* --- pages --- */

static unsigned index_of(const aprmem_block_t *block, const void *chunk)
{
    return (unsigned)(((uintptr_t)chunk - aprmem__range.low) % APRMEM_BLOCK / block->size);
}

/* Whether all chunks that have a part of the block's page rest. */
static bool page_rests(const aprmem_block_t *block, unsigned page)
{
    for (unsigned i = page * PAGE / block->size;
         i < block->room && (size_t)i * block->size < (page + 1) * (size_t)PAGE; i++)
        if (!(block->resting & UINT64_C(1) << i))
            return false;
    return true;
}

/* Calls give(address, bytes) for the pages of the chunk that hold nothing awake. */
static void for_pages(const aprmem_block_t *block, const void *chunk,
                      void (*give)(void *memory, size_t bytes))
{
    size_t first = (size_t)index_of(block, chunk) * block->size;
    unsigned page = (unsigned)(first / PAGE);
    unsigned end = (unsigned)((first + block->size + PAGE - 1) / PAGE);
    char *memory = (char *)chunk - first;

    if (!page_rests(block, page))
        page++;
    if (end > page && !page_rests(block, end - 1))
        end--;
    if (end > page)
        give(memory + (size_t)page * PAGE, (end - page) * (size_t)PAGE);
}

static void give_back(void *memory, size_t bytes)
{
    (void)madvise(memory, bytes, MADV_DONTNEED);
#ifdef STM_DEBUG
    (void)mprotect(memory, bytes, PROT_NONE); /* who touches it is found */
#endif
}

#ifdef STM_DEBUG
static void open_up(void *memory, size_t bytes)
{
    (void)mprotect(memory, bytes, PROT_READ | PROT_WRITE);
}
#endif

/* --- a chunk --- */

/* Adds the chunk to the list, and gives its pages back; or leaves it as it is, if little would be
 * gained. */
static void put_to_rest(aprmem_rest_t **list, void *chunk, size_t least)
{
    aprmem_block_t *block = aprmem__block_of(chunk);
    aprmem_rest_t *rest;
    size_t bytes;

    if (block->arena != aprmem__mine || block->size < least)
        return;
    bytes = sizeof(*rest) + WORD * st_words_pack(chunk, block->size / WORD, NULL);
    if (bytes > block->size / 4 * 3)
        return;
    rest = aprmem__take(aprmem__class_of(bytes));
    if (!rest)
        return;
    rest->next = *list;
    rest->chunk = chunk;
    (void)st_words_pack(chunk, block->size / WORD, rest->words);
    *list = rest;
    block->resting |= UINT64_C(1) << index_of(block, chunk);
    for_pages(block, chunk, give_back);
}

/* Zeros need not be written: the pages were given back, or still have them. */
static void restore(const aprmem_rest_t *rest)
{
    aprmem_block_t *block = aprmem__block_of(rest->chunk);

#ifdef STM_DEBUG
    for_pages(block, rest->chunk, open_up);
#endif
    block->resting &= ~(UINT64_C(1) << index_of(block, rest->chunk));
    st_words_unpack(rest->words, block->size / WORD, rest->chunk);
}

/* --- a pool --- */

static bool keep_rooms(aprmem_pool_t *pool)
{
    const aprmem_room_t none = {(char *)(pool + 1), (char *)(pool + 1)};
    aprmem_rest_t *rest = aprmem__take(aprmem__class_of(sizeof(*rest) + sizeof(rooms_t)));

    if (!rest)
        return false;
    rest->next = NULL;
    rest->chunk = NULL;
    *(rooms_t *)(rest + 1) = (rooms_t){pool->room, pool->second, pool->free_cleanups};
    pool->room = pool->second = none;
    pool->free_cleanups = NULL;
    pool->resting = rest;
    return true;
}

static void restore_rooms(aprmem_pool_t *pool, const aprmem_rest_t *rest)
{
    const rooms_t *rooms = (const rooms_t *)(rest + 1);

    pool->room = rooms->room;
    pool->second = rooms->second;
    pool->free_cleanups = rooms->free_cleanups;
}

void aprmem__restore(aprmem_pool_t *pool)
{
    aprmem_rest_t *rest = pool->resting, *next;

    pool->resting = NULL;
    for (; rest; rest = next) {
        next = rest->next;
        if (rest->chunk)
            restore(rest);
        else
            restore_rooms(pool, rest);
        aprmem__give(rest);
    }
}

static void rest_pool(aprmem_pool_t *pool, bool whole)
{
    size_t least = whole ? APRMEM_RESTS : APRMEM_FINE + 1;

    void *piece, *next;

    if (pool->resting || !keep_rooms(pool))
        return;
    for (piece = pool->pieces; piece; piece = next) {
        next = *(void **)piece;
        if (aprmem__ours(piece))
            put_to_rest(&pool->resting, piece, least);
    }
    for (aprmem_guest_t *guest = pool->guests, *after; guest; guest = after) {
        after = guest->next;
        if (whole || !guest->wholly)
            put_to_rest(&pool->resting, guest, APRMEM_RESTS);
    }
    if (!pool->resting->next)
        aprmem__restore(pool); /* nothing was worth it */
}

bool aprmem_rest(apr_pool_t *pool, bool whole, const char *child_tag)
{
    aprmem_pool_t *own = aprmem__pool(pool), *child;
    bool rests;

    if (!aprmem__mine || !aprmem__ours(pool) || sysconf(_SC_PAGESIZE) != PAGE)
        return false;
    rest_pool(own, whole);
    rests = own->resting;
    child = child_tag ? aprmem__child_tagged(own, child_tag) : NULL;
    if (child) {
        rest_pool(child, false);
        rests = rests || child->resting;
    }
    return rests;
}

void aprmem_rouse(apr_pool_t *pool, const char *child_tag)
{
    aprmem_pool_t *own = aprmem__pool(pool), *child;

    aprmem__rouse(own);
    child = child_tag ? aprmem__child_tagged(own, child_tag) : NULL;
    if (child)
        aprmem__rouse(child);
}

/* --- guests --- */

static void link_guest(aprmem_guest_t **list, aprmem_guest_t *guest)
{
    guest->next = *list;
    if (guest->next)
        guest->next->ref = &guest->next;
    guest->ref = list;
    *list = guest;
}

static void unlink_guest(aprmem_guest_t *guest)
{
    if (!guest->ref)
        return;
    *guest->ref = guest->next;
    if (guest->next)
        guest->next->ref = guest->ref;
    guest->ref = NULL;
}

void aprmem_invite(void)
{
    inviting = aprmem__mine;
}

void aprmem_invited(apr_pool_t *host, const void *only)
{
    if (!inviting)
        return;
    inviting = false;
    while (arrived) {
        aprmem_guest_t *guest = arrived;

        unlink_guest(guest);
        if (host && aprmem__ours(host) && (!only || only == guest + 1)) {
            guest->wholly = only ? 1 : 0;
            link_guest(&aprmem__pool(host)->guests, guest);
        }
    }
}

void aprmem__leave_guests(aprmem_pool_t *pool)
{
    while (pool->guests)
        unlink_guest(pool->guests);
}

static void *guest_of(size_t size)
{
    size_t bytes = size + sizeof(aprmem_guest_t);
    aprmem_guest_t *guest = aprmem__take_zeros(aprmem__class_of(bytes));

    if (!guest)
        return NULL;
    *guest = (aprmem_guest_t){.size = size};
    link_guest(&arrived, guest);
    return guest + 1;
}

static inline bool may_come(size_t size)
{
    return !APRMEM_LIKELY(!inviting) && size >= APRMEM_RESTS &&
           size <= APRMEM_BLOCK - sizeof(aprmem_guest_t);
}

void *aprmem_malloc(size_t size)
{
    void *memory = may_come(size) ? guest_of(size) : NULL;

    return memory ? memory : malloc(size);
}

void *aprmem_calloc(size_t count, size_t size)
{
    size_t bytes;
    void *memory = NULL;

    if (!__builtin_mul_overflow(count, size, &bytes) && may_come(bytes))
        memory = guest_of(bytes);
    return memory ? memory : calloc(count, size);
}

void aprmem_free(void *memory)
{
    aprmem_guest_t *guest;

    if (APRMEM_LIKELY(!aprmem__ours(memory))) {
        free(memory);
        return;
    }
    guest = (aprmem_guest_t *)memory - 1;
    unlink_guest(guest);
    aprmem__give(guest);
}

void *aprmem_realloc(void *memory, size_t size)
{
    void *other;
    size_t old;

    if (!memory)
        return aprmem_malloc(size);
    if (APRMEM_LIKELY(!aprmem__ours(memory)))
        return realloc(memory, size);
    if (size == 0) {
        aprmem_free(memory);
        return NULL;
    }
    old = ((const aprmem_guest_t *)memory - 1)->size;
    other = malloc(size);
    if (other) {
        memcpy(other, memory, size < old ? size : old);
        aprmem_free(memory);
    }
    return other;
}

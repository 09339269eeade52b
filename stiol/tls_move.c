/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Thread-local variables that have moved from another kernel thread had other addresses there.
 * Pointers from one of them to another, and to the objects that destructors are registered for, are
 * adjusted to the current addresses. Used by carry.c.
 */
#include "stiol/carry.h"
#include "stiol/stiol_int.h"

typedef struct place {
    uint32_t serial, size;
    uintptr_t at;
} place_t;

struct stiol__places {
    uintptr_t low, high; /* all lie in between */
    int count;
    place_t place[];
};

/** Where the blocks are; NULL: no memory. */
stiol__places_t *stiol__places_of(const stiol__tls_t *tls)
{
    stiol__places_t *places = malloc(sizeof(*places) + (size_t)tls->count * sizeof(place_t));

    if (!places)
        return NULL;
    *places = (stiol__places_t){.low = UINTPTR_MAX, .count = tls->count};
    for (int i = 0; i < tls->count; i++) {
        const stiol__block_t *block = &tls->blocks[i];
        uintptr_t at = (uintptr_t)block->address;

        places->place[i] = (place_t){block->serial, block->size, at};
        if (at < places->low)
            places->low = at;
        if (at + block->size > places->high)
            places->high = at + block->size;
    }
    return places;
}

static const stiol__block_t *block_of(const stiol__tls_t *tls, uint32_t serial)
{
    for (int i = 0; i < tls->count; i++)
        if (tls->blocks[i].serial == serial)
            return &tls->blocks[i];
    return NULL;
}

/* The current value of an address. */
static uintptr_t moved(const stiol__tls_t *tls, const stiol__places_t *from, uintptr_t address)
{
    if (STIOL_LIKELY(address < from->low || address >= from->high))
        return address;
    for (int i = 0; i < from->count; i++) {
        const place_t *place = &from->place[i];
        const stiol__block_t *block;

        if (address - place->at >= place->size)
            continue;
        block = block_of(tls, place->serial);
        return block ? (uintptr_t)block->address + (address - place->at) : address;
    }
    return address;
}

static void move_pointers_in(const stiol__block_t *block, const stiol__tls_t *tls,
                             const stiol__places_t *from)
{
    char *at = (char *)(((uintptr_t)block->address + 7) & ~(uintptr_t)7);
    const char *end = block->address + block->size;

    for (; at + sizeof(uintptr_t) <= end; at += sizeof(uintptr_t)) {
        uintptr_t *word = (uintptr_t *)at, now = moved(tls, from, *word);

        if (now != *word)
            *word = now;
    }
}

/** Adjusts what is in place, which has come from there with that thread. */
void stiol__tls_move(const stiol__tls_t *tls, const stiol__places_t *from, stiol__thread_t *self)
{
    for (int i = 0; i < tls->count; i++)
        move_pointers_in(&tls->blocks[i], tls, from);
    for (stiol__farewell_t *farewell = self->farewells; farewell; farewell = farewell->next)
        farewell->object = (void *)moved(tls, from, (uintptr_t)farewell->object);
}

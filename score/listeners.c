/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners of a view (listeners.h): one entry for each address that the sums or any block
 * name, and an index of them with open addressing.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "score/listeners.h"

enum { FIRST_SIZE = 64 };

void stm_view_make_plain(char *name)
{
    for (; *name; name++) {
        if (*name <= ' ' || *name >= 0x7f || strchr("\"\\',;<>&=", *name))
            *name = '?';
    }
}

/* --- the index --- */

static uint64_t hash_of(const stm_view_index_t *index, const char *address)
{
    uint64_t hash = 0xcbf29ce484222325u ^ index->key; /* FNV-1a */

    for (; *address; address++)
        hash = (hash ^ (unsigned char)*address) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

/* The slot that contains the address, or the free one where it belongs. */
static uint32_t *slot_of(const stm_view_index_t *index, const stm_score_listener_t *listeners,
                         const char *address)
{
    uint64_t at = hash_of(index, address);

    for (;; at++) {
        uint32_t *slot = &index->slots[at & (index->size - 1)];

        if (!*slot || strcmp(listeners[*slot - 1].address, address) == 0)
            return slot;
    }
}

/* Makes room for one more in both the list and the index, which is kept at most half full. */
static bool grow(stm_view_t *view, stm_view_index_t *index)
{
    unsigned size = index->size ? index->size * 2 : FIRST_SIZE;
    stm_score_listener_t *listeners;
    stm_view_index_t larger = {.size = size, .key = index->key};

    if (view->listener_count < index->size / 2)
        return true;
    listeners = realloc(view->listeners, sizeof(*listeners) * (size / 2));
    if (!listeners)
        return false;
    view->listeners = listeners;
    larger.slots = calloc(size, sizeof(*larger.slots));
    if (!larger.slots)
        return false;
    for (unsigned i = 0; i < view->listener_count; i++)
        *slot_of(&larger, listeners, listeners[i].address) = i + 1;
    free(index->slots);
    *index = larger;
    return true;
}

void stm_view_drop_listeners(stm_view_t *view, stm_view_index_t *index)
{
    free(view->listeners);
    free(index->slots);
    view->listeners = NULL;
    view->listener_count = 0;
    *index = (stm_view_index_t){.key = index->key};
}

/* --- adding up --- */

static stm_score_listener_t *find(stm_view_t *view, stm_view_index_t *index, const char *address)
{
    stm_score_listener_t *listener;
    uint32_t *slot;

    if (!grow(view, index))
        return NULL;
    slot = slot_of(index, view->listeners, address);
    if (*slot)
        return &view->listeners[*slot - 1];
    listener = &view->listeners[view->listener_count++];
    memset(listener, 0, sizeof(*listener));
    memcpy(listener->address, address, STM_SCORE_ADDRESS);
    *slot = view->listener_count;
    return listener;
}

void stm_view_add_listeners(stm_view_t *view, stm_view_index_t *index,
                            const stm_score_listener_t *from, uint64_t count, bool alive)
{
    if (!index->key)
        index->key = ((uint64_t)(uintptr_t)view ^ ((uint64_t)getpid() << 40)) | 1;
    for (uint64_t i = 0; i < count; i++) {
        char address[STM_SCORE_ADDRESS] = "";
        stm_score_listener_t *sum;

        memcpy(address, from[i].address, sizeof(address) - 1);
        stm_view_make_plain(address);
        sum = *address ? find(view, index, address) : NULL;
        if (!sum)
            continue;
        stm_score_add(STM_SCORE_OF_LISTENER, sum, &from[i]);
        if (alive)
            stm_score_add_gauges(STM_SCORE_OF_LISTENER, sum, &from[i]);
    }
}

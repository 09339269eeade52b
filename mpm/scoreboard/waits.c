/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries in a VP's block in which its state threads record what they wait for. A thread gets
 * one before it first serves something, and keeps it until it ends; conn/waits.c writes to it.
 */
#include <stdlib.h>

#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/shmem.h"

/* Entries for which space is reserved at a time. */
enum { WAITS_A_TIME = 16 };

static const stm_score_header_t *header;
static stm_score_block_t *block;
static stm_score_wait_t **free_waits; /* private, because shared memory cannot be trusted */
static unsigned free_count, free_room, reserved, taken;
static stm_score_wait_t nowhere; /* for threads that get none; nobody reads it */

void stm_score_waits_open(const stm_score_header_t *layout, stm_score_block_t *mine)
{
    header = layout;
    block = mine;
}

static stm_score_wait_t *wait_at(unsigned index)
{
    return (stm_score_wait_t *)((char *)block + header->waits_at) + index;
}

/* On a full file system, storing to a page that does not exist yet would raise a fatal signal. */
static bool reserve_space(unsigned index)
{
    unsigned count = WAITS_A_TIME;

    if (index < reserved)
        return true;
    if (count > header->waits_max - reserved)
        count = header->waits_max - reserved;
    if (!stm_shmem_clear(wait_at(reserved), count * sizeof(stm_score_wait_t)))
        return false;
    reserved += count;
    return true;
}

stm_score_wait_t *stm_score_wait_take(void)
{
    if (free_count > 0)
        return free_waits[--free_count];
    if (!header)
        return &nowhere;
    if (taken >= header->waits_max || !reserve_space(taken))
        return &nowhere;
    __atomic_store_n(&block->waits, (uint64_t)taken + 1, __ATOMIC_RELEASE);
    return wait_at(taken++);
}

void stm_score_wait_give(stm_score_wait_t *wait)
{
    if (wait == &nowhere)
        return;
    if (free_count == free_room) {
        unsigned room = free_room ? free_room * 2 : 64;
        stm_score_wait_t **more = realloc(free_waits, room * sizeof(*more));

        if (!more)
            return;
        free_waits = more;
        free_room = room;
    }
    free_waits[free_count++] = wait;
}

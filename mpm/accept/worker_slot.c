/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Worker slots of httpd's scoreboard: each state thread has one as long as there are free ones
 * (STM_SLOTS_ALL); an idle connection has none. A leaving VP and its successor share one process
 * slot; a worker slot belongs to the process whose pid is in it.
 */
#include <stdlib.h>

#include "mpm/accept/accept.h"

/* Slots that are ours but not in use, and the first one that has not been examined. */
static int *spare, spare_count, fresh;

static bool claim(int slot)
{
    worker_score *score = ap_get_scoreboard_worker_from_indexes(stm.vp.ordinal, slot);
    pid_t nobody = 0;

    if (!score || !__atomic_compare_exchange_n(&score->pid, &nobody, stm.vp.pid, false,
                                               __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return false;
    score->generation = stm.mpm->my_generation;
    score->thread_num = stm.vp.ordinal * stm.limits->slots + slot;
    return true;
}

/* After a restart the predecessor holds slots for a while: search from the start again when all
 * seem taken. */
static int claim_fresh(void)
{
    int limit = stm.limits->slots;

    for (int tried = 0; tried < limit; tried++) {
        int slot = fresh;

        fresh = (fresh + 1) % limit;
        if (claim(slot))
            return slot;
    }
    return -1;
}

int stm_slot_take(void)
{
    if (!spare) {
        spare = ap_malloc(sizeof(*spare) * (size_t)stm.limits->slots);
        fresh = 0;
    }
    return spare_count > 0 ? spare[--spare_count] : claim_fresh();
}

void stm_slot_status(int slot, int status)
{
    if (slot >= 0)
        ap_update_child_status_from_indexes(stm.vp.ordinal, slot, status, NULL);
}

void stm_slot_give(int slot)
{
    if (slot < 0)
        return;
    stm_slot_status(slot, SERVER_DEAD);
    spare[spare_count++] = slot;
}

void stm_slots_clear_dead(int ordinal, pid_t pid)
{
    for (int slot = 0; slot < stm.limits->slots; slot++) {
        worker_score *score = ap_get_scoreboard_worker_from_indexes(ordinal, slot);

        if (!score || score->pid != pid)
            continue;
        ap_update_child_status_from_indexes(ordinal, slot, SERVER_DEAD, NULL);
        __atomic_store_n(&score->pid, 0, __ATOMIC_RELEASE);
    }
}

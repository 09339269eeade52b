/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this build of the module has in the master and another build cannot use: mappings of shared
 * memory and the master's records. Listed for the stamp (stamp.c) when a restart begins; the build
 * that takes over frees it all without knowing what it was.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "mpm/process/process.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/share.h"

/* Adds to the list, which grows; a piece for which there is no memory stays in the master for
 * good. */
static void add(stm_stamp_t *stamp, void *at, size_t size)
{
    const uint32_t step = 64;
    stm_leftover_t *list = stamp->leftovers;

    if (!at)
        return;
    if (stamp->leftover_count % step == 0) {
        list = realloc(list, (stamp->leftover_count + step) * sizeof(*list));
        if (!list)
            return;
        stamp->leftovers = list;
    }
    list[stamp->leftover_count++] = (stm_leftover_t){at, size};
}

static void add_record(stm_stamp_t *stamp, void *record)
{
    add(stamp, record, 0);
}

static void add_memory(stm_stamp_t *stamp, const stm_shmem_t *memory)
{
    add(stamp, memory->writable, memory->size);
    add(stamp, (void *)(uintptr_t)memory->readable, memory->size);
}

static void add_child(stm_stamp_t *stamp, const stm_child_t *child)
{
    add(stamp, child->pulse, stm_shmem_round(sizeof(*child->pulse)));
}

static void add_share(stm_stamp_t *stamp, stm_share_t *share)
{
    add_memory(stamp, &share->seats);
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        for (int n = 0; n < STM_SHARE_PAGES; n++)
            add_memory(stamp, &share->page[i][n]);
    }
    add_record(stamp, share);
}

static void add_scoreboards(stm_stamp_t *stamp, stm_score_files_t *files)
{
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        add_memory(stamp, &files->vp[i].shown);
        for (int n = 0; n < STM_SCORE_BLOCKS; n++)
            add_memory(stamp, &files->vp[i].block[n]);
        add_record(stamp, files->vp[i].header);
    }
    add_record(stamp, files);
}

void stm_leftovers_list(stm_stamp_t *stamp, stm_retained_t *retained)
{
    for (int i = 0; i < STM_VP_LIMIT; i++)
        add_child(stamp, &retained->seats[i].child);
    for (stm_child_t *child = retained->leaving; child; child = child->next) {
        add_child(stamp, child);
        add_record(stamp, child);
    }
    if (retained->share)
        add_share(stamp, retained->share);
    if (retained->score)
        add_scoreboards(stamp, retained->score);
    add_record(stamp, retained);
}

void stm_leftovers_forget(stm_stamp_t *stamp)
{
    free(stamp->leftovers);
    stamp->leftovers = NULL;
    stamp->leftover_count = 0;
}

void stm_leftovers_free(stm_stamp_t *stamp)
{
    for (uint32_t i = 0; i < stamp->leftover_count; i++) {
        const stm_leftover_t *piece = &stamp->leftovers[i];

        if (piece->size)
            munmap(piece->at, piece->size);
        else
            free(piece->at);
    }
    stm_leftovers_forget(stamp);
}

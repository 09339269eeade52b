/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another build of this module in a running master, after an upgrade: what the master has retained
 * carries a stamp, and data with another layout is not read. The stamp is the only part that all
 * builds with the same STM_HANDOVER understand: through it the old build hands over its VPs, so
 * that the new one can tell them to leave and start its own. Called by retained.c and master.c.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mpm/process/process.h"
#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/share.h"

static const char magic[8] = {'S', 'T', 'M', 's', 't', 'a', 'm', 'p'};

/* --- the layout --- */

/* What two builds must have in common to share retained data and memory. If only the meaning of
 * something changes, STM_LAYOUT has to be changed. */
static const size_t layout[] = {
    STM_LAYOUT,
    sizeof(stm_retained_t),
    offsetof(stm_retained_t, seats),
    offsetof(stm_retained_t, leaving),
    offsetof(stm_retained_t, limits),
    offsetof(stm_retained_t, share),
    offsetof(stm_retained_t, score),
    sizeof(stm_seat_t),
    sizeof(stm_child_t),
    offsetof(stm_child_t, control),
    offsetof(stm_child_t, cutoff),
    offsetof(stm_child_t, pulse),
    offsetof(stm_child_t, score),
    offsetof(stm_child_t, next),
    sizeof(stm_share_t),
    sizeof(stm_share_vp_t),
    sizeof(stm_score_files_t),
    sizeof(stm_share_seat_t),
    STM_SHARE_PAGES,
    sizeof(stm_score_seat_t),
    sizeof(stm_score_header_t),
    sizeof(stm_score_block_t),
    STM_SCORE_VERSION,
    STM_SCORE_KEY_SIZE,
    STM_SCORE_VALUE_SIZE,
    STM_SCORE_LIMIT,
    STM_LISTENER_LIMIT,
    STM_VP_LIMIT,
};

static uint64_t layout_of_this_build(void)
{
    uint64_t hash = 14695981039346656037u ^ stm_score_fingerprint(); /* FNV-1a */

    for (size_t i = 0; i < sizeof(layout) / sizeof(*layout); i++)
        hash = (hash ^ layout[i]) * 1099511628211u;
    return hash;
}

void stm_stamp_put(stm_retained_t *retained, stm_stamp_t *stamp)
{
    *stamp = (stm_stamp_t){.handover = STM_HANDOVER,
                           .size = sizeof(*retained),
                           .layout = layout_of_this_build(),
                           .data = retained,
                           .directory = -1};
    memcpy(stamp->magic, magic, sizeof(stamp->magic));
    retained->stamp = stamp;
}

static bool is_known(const stm_stamp_t *stamp)
{
    return memcmp(stamp->magic, magic, sizeof(stamp->magic)) == 0 &&
           stamp->handover == STM_HANDOVER;
}

bool stm_stamp_fits(const stm_stamp_t *stamp)
{
    return is_known(stamp) && stamp->size == sizeof(stm_retained_t) &&
           stamp->layout == layout_of_this_build();
}

/* --- handing over --- */

static void hand(stm_handed_t *to, const stm_child_t *child)
{
    to->pid = child->pid;
    to->ordinal = child->ordinal;
    to->control = child->control;
    to->generation = child->generation;
    to->cutoff = child->cutoff;
}

static void hand_vps(stm_stamp_t *stamp)
{
    uint32_t count = 0;

    stamp->vps = calloc((size_t)stm_children_all() + 1, sizeof(*stamp->vps));
    for (int i = 0; stamp->vps && i < STM_VP_LIMIT; i++) {
        if (stm_retained->seats[i].child.pid)
            hand(&stamp->vps[count++], &stm_retained->seats[i].child);
    }
    for (stm_child_t *child = stm_retained->leaving; stamp->vps && child; child = child->next)
        hand(&stamp->vps[count++], child);
    stamp->count = count;
}

void stm_stamp_hand_over(void)
{
    hand_vps(stm_retained->stamp);
    stm_leftovers_list(stm_retained->stamp, stm_retained);
}

void stm_stamp_forget(stm_stamp_t *stamp)
{
    free(stamp->vps);
    stamp->vps = NULL;
    stamp->count = 0;
    stm_leftovers_forget(stamp);
}

static void adopt(stm_retained_t *retained, const stm_handed_t *vp)
{
    stm_child_t *child = ap_calloc(1, sizeof(*child));

    child->pid = vp->pid;
    child->ordinal = vp->ordinal;
    child->control = vp->control;
    child->generation = vp->generation;
    child->cutoff = vp->cutoff;
    child->score = child->page = -1;
    child->leaving = child->foreign = true;
    child->next = retained->leaving;
    retained->leaving = child;
}

bool stm_stamp_take_over(stm_retained_t *retained, stm_stamp_t *stamp)
{
    if (!is_known(stamp)) {
        ap_log_error(
            APLOG_MARK, APLOG_ALERT, 0, NULL,
            STMNO(0075) "this build of the module cannot take over from the one that was running: "
                        "its VPs continue with the old configuration; stop and start the server");
        return false;
    }
    for (uint32_t i = 0; i < stamp->count; i++)
        adopt(retained, &stamp->vps[i]);
    ap_log_error(
        APLOG_MARK, APLOG_NOTICE, 0, NULL,
        STMNO(0076) "a different build of the module takes over from the one that was running: "
                    "%u VPs leave",
        stamp->count);
    if (stamp->directory >= 0)
        close(stamp->directory);
    stm_leftovers_free(stamp);
    stm_stamp_forget(stamp);
    return true;
}

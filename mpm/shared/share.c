/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VPs' lines and the table of the seats. A line is a page of memory that one process has mapped
 * writable and all others can only read; the master makes some more than there are VPs, so that
 * those which run already have their successors' lines mapped, too.
 */
#include <errno.h>

#include "mpm/shared/share.h"
#include "mpm/stm.h"

/* Lines of a seat that nobody uses when VPs are started. */
#define SPARE 3

/* The line of a process that has none. */
static stm_share_vp_t alone;
stm_share_vp_t *stm_share = &alone;

static stm_share_seat_t *seats(void)
{
    return stm.retained->share->seats.writable;
}

static bool taken(int ordinal, int line)
{
    return (stm.retained->share->taken[ordinal] >> line) & 1;
}

/* --- in the master --- */

static bool complain(void)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
                 "stm: no memory to share with the virtual processors");
    return false;
}

static bool make_line(int ordinal, int line)
{
    stm_shmem_t *memory = &stm.retained->share->line[ordinal][line];

    return memory->writable || stm_shmem_make(memory, "stm-vp", sizeof(stm_share_vp_t));
}

static bool make_spares(int ordinal)
{
    int spare = 0;

    for (int line = 0; line < STM_SHARE_LINES && spare < SPARE; line++) {
        if (taken(ordinal, line))
            continue;
        if (!make_line(ordinal, line))
            return complain();
        spare++;
    }
    return true;
}

bool stm_share_open(void)
{
    STM_ENTER();
    if (!stm.retained->share)
        stm.retained->share = ap_calloc(1, sizeof *stm.retained->share);
    if (!stm.retained->share->seats.writable &&
        (!stm_shmem_make(&stm.retained->share->seats, "stm-seats",
                         sizeof(stm_share_seat_t) * STM_VP_LIMIT) ||
         !stm_shmem_clear(stm.retained->share->seats.writable, stm.retained->share->seats.size)))
        return complain();
    for (int i = 0; i < stm.config.num_vps; i++) {
        if (!make_spares(i))
            break; /* without a line a VP is alone, but serves */
    }
    return true;
}

int stm_share_reserve(int ordinal)
{
    STM_ENTER();
    stm_share_t *share = stm.retained->share;

    for (int line = 0; line < STM_SHARE_LINES; line++) {
        if (taken(ordinal, line) || !make_line(ordinal, line) ||
            !stm_shmem_clear(share->line[ordinal][line].writable, sizeof(stm_share_vp_t)))
            continue;
        share->taken[ordinal] |= UINT64_C(1) << line;
        return line;
    }
    return -1;
}

void stm_share_inherit(const stm_child_t *child, bool inherited)
{
    STM_ENTER();
    if (child->line >= 0)
        stm_shmem_inherit(&stm.retained->share->line[child->ordinal][child->line], inherited);
}

void stm_share_release(const stm_child_t *child)
{
    STM_ENTER();
    if (child->line < 0)
        return;
    stm.retained->share->taken[child->ordinal] &= ~(UINT64_C(1) << child->line);
    if (seats()[child->ordinal].line == (uint32_t)child->line + 1)
        stm_share_seat(child->ordinal, NULL);
}

void stm_share_seat(int ordinal, const stm_child_t *holder)
{
    STM_ENTER();
    stm_share_seat_t *seat = &seats()[ordinal];

    if (holder)
        seat->incarnation = holder->incarnation;
    seat->line = holder ? (uint32_t)(holder->line + 1) : 0;
}

const stm_share_vp_t *stm_share_of(const stm_child_t *child)
{
    return child->line < 0 ? NULL : stm.retained->share->line[child->ordinal][child->line].readable;
}

/* --- in a VP --- */

void stm_share_attach(const stm_child_t *child)
{
    STM_ENTER();
    if (child->line >= 0)
        stm_share = stm.retained->share->line[child->ordinal][child->line].writable;
}

const stm_share_vp_t *stm_share_holder(int ordinal)
{
    const stm_share_t *share = stm.retained->share;
    uint32_t line = ((const stm_share_seat_t *)share->seats.readable)[ordinal].line;

    return line - 1 < STM_SHARE_LINES ? share->line[ordinal][line - 1].readable : NULL;
}

bool stm_share_holds_seat(void)
{
    const stm_share_seat_t *table = stm.retained->share->seats.readable;

    return table[stm.vp.ordinal].incarnation == stm.vp.incarnation;
}

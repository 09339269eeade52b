/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VPs' lines and the table of the seats. A line is a page of memory that one process has mapped
 * writable and all others can only read; the master makes some more than there are VPs, so that
 * those which run already have their successors' lines mapped, too.
 */
#include <errno.h>

#include "mpm/shared/share.h"
#include "mpm/shared/shmem.h"
#include "mpm/stm.h"

/* Lines of a seat that nobody uses when VPs are started. */
#define SPARE 3

static stm_share_t *table; /* kept over restarts */
/* In a VP: whose line is its own. */
static int own_ordinal;
static unsigned own_incarnation;

/* The line of a process that has none. */
static stm_share_vp_t alone;
stm_share_vp_t *stm_share = &alone;

static stm_share_seat_t *seats(void)
{
    return table->seats.writable;
}

static bool taken(int ordinal, int line)
{
    return (table->taken[ordinal] >> line) & 1;
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
    stm_shmem_t *memory = &table->line[ordinal][line];

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

bool stm_share_open(stm_share_t **kept, int vps)
{
    if (!*kept)
        *kept = ap_calloc(1, sizeof **kept);
    table = *kept;
    if (!table->seats.writable &&
        (!stm_shmem_make(&table->seats, "stm-seats", sizeof(stm_share_seat_t) * STM_VP_LIMIT) ||
         !stm_shmem_clear(table->seats.writable, table->seats.size)))
        return complain();
    for (int i = 0; i < vps; i++) {
        if (!make_spares(i))
            break; /* without a line a VP is alone, but serves */
    }
    return true;
}

int stm_share_reserve(int ordinal)
{
    for (int line = 0; line < STM_SHARE_LINES; line++) {
        if (taken(ordinal, line) || !make_line(ordinal, line) ||
            !stm_shmem_clear(table->line[ordinal][line].writable, sizeof(stm_share_vp_t)))
            continue;
        table->taken[ordinal] |= UINT64_C(1) << line;
        return line;
    }
    return -1;
}

void stm_share_inherit(int ordinal, int line, bool inherited)
{
    if (line >= 0)
        stm_shmem_inherit(&table->line[ordinal][line], inherited);
}

void stm_share_release(int ordinal, int line)
{
    if (line < 0)
        return;
    table->taken[ordinal] &= ~(UINT64_C(1) << line);
    if (seats()[ordinal].line == (uint32_t)line + 1)
        seats()[ordinal].line = 0;
}

void stm_share_seat(int ordinal, int line, unsigned incarnation)
{
    stm_share_seat_t *seat = &seats()[ordinal];

    seat->incarnation = incarnation;
    seat->line = (uint32_t)(line + 1);
}

const stm_share_vp_t *stm_share_of(int ordinal, int line)
{
    return line < 0 ? NULL : table->line[ordinal][line].readable;
}

/* --- in a VP --- */

void stm_share_attach(int ordinal, int line, unsigned incarnation)
{
    own_ordinal = ordinal;
    own_incarnation = incarnation;
    if (line >= 0)
        stm_share = table->line[ordinal][line].writable;
}

const stm_share_vp_t *stm_share_holder(int ordinal)
{
    uint32_t line = ((const stm_share_seat_t *)table->seats.readable)[ordinal].line;

    return line - 1 < STM_SHARE_LINES ? table->line[ordinal][line - 1].readable : NULL;
}

bool stm_share_holds_seat(void)
{
    const stm_share_seat_t *all = table->seats.readable;

    return all[own_ordinal].incarnation == own_incarnation;
}

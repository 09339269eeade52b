/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VPs' pages and the table of the seats. A page is memory that one process has mapped writable
 * and all others can only read; the master makes a few more than there are VPs, so that running VPs
 * have their successors' pages mapped, too.
 */
#include <errno.h>

#include "mpm/shared/share.h"
#include "mpm/shared/shmem.h"
#include "mpm/stm.h"

/* Unused pages of a seat when VPs are started. */
enum { SPARE = 3 };

static stm_share_t *table; /* retained over restarts */
/* In a VP: which page is its own. */
static int own_ordinal;
static unsigned own_incarnation;

/* The page of a process that has none. */
static stm_share_vp_t alone;
stm_share_vp_t *stm_share = &alone;

static stm_share_seat_t *seats(void)
{
    return table->seats.writable;
}

static bool taken(int ordinal, int page)
{
    return (table->taken[ordinal] >> page) & 1;
}

/* --- in the master --- */

static bool complain(void)
{
    ap_log_error(APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
                 STMNO(0002) "no memory to share with the virtual processors");
    return false;
}

static bool make_page(int ordinal, int page)
{
    stm_shmem_t *memory = &table->page[ordinal][page];

    return memory->writable || stm_shmem_make(memory, "stm-vp", sizeof(stm_share_vp_t));
}

static bool make_spares(int ordinal)
{
    int spare = 0;

    for (int page = 0; page < STM_SHARE_PAGES && spare < SPARE; page++) {
        if (taken(ordinal, page))
            continue;
        if (!make_page(ordinal, page))
            return complain();
        spare++;
    }
    return true;
}

bool stm_share_open(stm_share_t **kept, int vps)
{
    if (!*kept)
        *kept = ap_calloc(1, sizeof(**kept));
    table = *kept;
    if (!table->seats.writable &&
        (!stm_shmem_make(&table->seats, "stm-seats", sizeof(stm_share_seat_t) * STM_VP_LIMIT) ||
         !stm_shmem_clear(table->seats.writable, table->seats.size)))
        return complain();
    for (int i = 0; i < vps; i++) {
        if (!make_spares(i))
            break; /* without a page, a VP sees no others, but serves */
    }
    return true;
}

int stm_share_reserve(int ordinal)
{
    for (int page = 0; page < STM_SHARE_PAGES; page++) {
        if (taken(ordinal, page) || !make_page(ordinal, page) ||
            !stm_shmem_clear(table->page[ordinal][page].writable, sizeof(stm_share_vp_t)))
            continue;
        table->taken[ordinal] |= UINT64_C(1) << page;
        return page;
    }
    return -1;
}

void stm_share_inherit(int ordinal, int page, bool inherited)
{
    if (page >= 0)
        stm_shmem_inherit(&table->page[ordinal][page], inherited);
}

void stm_share_release(int ordinal, int page)
{
    if (page < 0)
        return;
    table->taken[ordinal] &= ~(UINT64_C(1) << page);
    if (seats()[ordinal].page == (uint32_t)page + 1)
        seats()[ordinal].page = 0;
}

void stm_share_seat(int ordinal, int page, unsigned incarnation)
{
    stm_share_seat_t *seat = &seats()[ordinal];

    seat->incarnation = incarnation;
    seat->page = (uint32_t)(page + 1);
}

const stm_share_vp_t *stm_share_of(int ordinal, int page)
{
    return page < 0 ? NULL : table->page[ordinal][page].readable;
}

/* --- in a VP --- */

void stm_share_attach(int ordinal, int page, unsigned incarnation)
{
    own_ordinal = ordinal;
    own_incarnation = incarnation;
    if (page >= 0)
        stm_share = table->page[ordinal][page].writable;
}

const stm_share_vp_t *stm_share_holder(int ordinal)
{
    uint32_t page = ((const stm_share_seat_t *)table->seats.readable)[ordinal].page;

    return page - 1 < STM_SHARE_PAGES ? table->page[ordinal][page - 1].readable : NULL;
}

bool stm_share_holds_seat(void)
{
    const stm_share_seat_t *all = table->seats.readable;

    return all[own_ordinal].incarnation == own_incarnation;
}

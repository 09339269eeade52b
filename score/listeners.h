/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sums of listeners' counters in a view, found by their address. Used by view.c only. There may be
 * thousands of listeners, and a VP can write any names it likes, so a look-up takes the same time
 * whatever the names are and however many.
 */
#ifndef STM_SCORE_LISTENERS_H
#define STM_SCORE_LISTENERS_H

#include "score/view.h"

/** Finds a view's listeners by address. All zero: empty. */
typedef struct stm_view_index {
    uint32_t *slots; /**< 1 + a position in view->listeners; 0: free */
    unsigned size;   /**< a power of two */
    uint64_t key;    /**< secret of the hash, so that nobody can choose names that collide */
} stm_view_index_t;

/** Adds the counters of `count` listeners to the view's; if they are a living process's (alive),
 * also the gauges. Entries without an address are left out. */
void stm_view_add_listeners(stm_view_t *view, stm_view_index_t *index,
                            const stm_score_listener_t *from, uint64_t count, bool alive);
/** Empties the view's list and the index. */
void stm_view_drop_listeners(stm_view_t *view, stm_view_index_t *index);

/** Names are shown to people and read by programs: replaces each byte that means something to a
 * terminal, a page or a table of values. */
void stm_view_make_plain(char *name);

#endif

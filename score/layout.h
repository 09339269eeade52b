/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The layout of a scoreboard, one for each virtual processor (VP), and the table of its counters.
 * The master and the VPs write it (mpm/scoreboard/file.c, mpm/scoreboard/counters.c,
 * mpm/scoreboard/rows.c), stmstat and the status pages read it, at any moment:
 * docs/internals/scoreboard.md says why that is safe.
 *
 * A scoreboard consists of a header, which only the master writes, and blocks, each in its own
 * file: a process that holds the VP's place, or has left it and still serves connections, writes
 * one of them and nothing else. All numbers are 64-bit words in the host's byte order.
 */
#ifndef STM_SCORE_LAYOUT_H
#define STM_SCORE_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define STM_SCORE_MAGIC      "STMSCORE" /* without its final null */
#define STM_SCORE_BYTE_ORDER 0x01020304u
#define STM_SCORE_VERSION    8u
#define STM_SCORE_PAGE       4096u /* the sizes of headers and blocks are multiples of this */
#define STM_SCORE_ADDRESS    64    /* bytes of a listener's address, including the final null */
#define STM_SCORE_BLOCKS     64    /* maximum number of blocks: bits of header.taken */
#define STM_SCORE_NAME       32    /* bytes of a file's name */

/** The histogram: [i] counts what is under 64 us << i, the last bucket the rest; then the sum. */
#define STM_SCORE_BUCKETS      16
#define STM_SCORE_BUCKET_FIRST 64u /* us */

/** Counters of a VP. */
typedef struct stm_score_vp {
#define STM_SCORE_VP(name, type, unit, level, brief, help)     uint64_t name;
#define STM_SCORE_VP_HISTOGRAM(name, unit, level, brief, help) uint64_t name[STM_SCORE_BUCKETS + 1];
#define STM_SCORE_LISTENER(name, type, unit, level, brief, help)
#define STM_SCORE_THREAD(name, type, unit, level, brief, help)
#include "score/score.def"
} stm_score_vp_t;

/** Counters of a listening socket in a VP. */
typedef struct stm_score_listener {
    char address[STM_SCORE_ADDRESS]; /**< "127.0.0.1:80"; empty: unused */
#define STM_SCORE_VP(name, type, unit, level, brief, help)
#define STM_SCORE_VP_HISTOGRAM(name, unit, level, brief, help)
#define STM_SCORE_LISTENER(name, type, unit, level, brief, help) uint64_t name;
#define STM_SCORE_THREAD(name, type, unit, level, brief, help)
#include "score/score.def"
} stm_score_listener_t;

/** Counters of a thread slot. */
typedef struct stm_score_thread {
#define STM_SCORE_VP(name, type, unit, level, brief, help)
#define STM_SCORE_VP_HISTOGRAM(name, unit, level, brief, help)
#define STM_SCORE_LISTENER(name, type, unit, level, brief, help)
#define STM_SCORE_THREAD(name, type, unit, level, brief, help) uint64_t name;
#include "score/score.def"
} stm_score_thread_t;

/**
 * A row of the connection table: `pairs` keys and values, each of header.key_size and
 * header.value_size bytes, follow. Written under a sequence lock: odd while being written.
 */
typedef struct stm_score_row {
    uint64_t sequence;
    uint64_t pairs;  /**< 0: the row is free */
    uint64_t serial; /**< of the connection in its VP, from 1 */
    uint64_t busy;   /**< 1 while it has a state thread */
} stm_score_row_t;

/** The sizes of a wait's texts in bytes, including the final null. */
#define STM_SCORE_CLIENT  48
#define STM_SCORE_VHOST   64
#define STM_SCORE_REQUEST 128
#define STM_SCORE_HANDLER 32
#define STM_SCORE_NAMED   128
#define STM_SCORE_HOLDER  96

/** What state threads wait for: score/waits.def. */
typedef enum {
#define STM_WAIT(name, class, words, help) STM_WAIT_##name,
#include "score/waits.def"
    STM_WAIT_COUNT
} stm_wait_e;

/**
 * What a state thread that has served something is doing now. Written under a sequence lock
 * whenever it parks, without a system call. The texts are empty until a wait has lasted for a
 * while, and are filled in then.
 */
typedef struct stm_score_wait {
    uint64_t sequence;
    uint64_t busy;   /**< 0: it serves nothing, and the rest is meaningless */
    uint64_t serial; /**< of the connection in its VP; 0: a module's thread, not a connection's */
    uint64_t began;  /**< when the request or, if none has come yet, the work on the connection
                          began, us of the block's clock */
    uint64_t kind;   /**< stm_wait_e */
    uint64_t since;  /**< us of the block's clock */
    uint64_t number; /**< a descriptor or a process; -1: none */
    uint64_t object; /**< an address */
    char client[STM_SCORE_CLIENT];
    char vhost[STM_SCORE_VHOST];
    char request[STM_SCORE_REQUEST];
    char handler[STM_SCORE_HANDLER];
    char name[STM_SCORE_NAMED];    /**< an address, a path, a lock, a host */
    char holder[STM_SCORE_HOLDER]; /**< who has the lock */
} stm_score_wait_t;

/** The start of a block; its tables are at the offsets given in the header. */
typedef struct stm_score_block {
    uint64_t listeners;   /**< entries used in the listeners' table */
    uint64_t threads;     /**< in the thread slots' table */
    uint64_t connections; /**< in the connections' table: those beyond were never written */
    uint64_t waits;       /**< likewise in the table of waits */
    uint64_t clock;       /**< added to the waits' times, gives us since 1970 */
    stm_score_vp_t vp;
} stm_score_block_t;

/** The header. */
typedef struct stm_score_header {
    char magic[8];
    uint32_t byte_order;
    uint32_t version;
    uint64_t fingerprint; /**< of the table of counters: stm_score_fingerprint() */
    uint32_t header_size;
    uint32_t ordinal;
    uint64_t block_size;
    uint32_t key_size, value_size, pairs_max;
    /** Sizes of a block's tables in entries, and their offsets in the block. */
    uint32_t listeners_max, threads_max, connections_max, waits_max;
    uint32_t wait_size; /**< bytes of a wait */
    uint64_t listeners_at, threads_at, connections_at, waits_at;
    uint64_t row_size;
    uint64_t master_pid;
    uint64_t server_started; /**< us since 1970 */
    char options[1024];      /**< the build's compile options, one per line */

    /* What follows is written by the master while the server runs, under the sequence lock. */
    uint64_t sequence;
    uint64_t blocks;       /**< blocks created so far */
    uint64_t taken;        /**< bit n: a process has block n */
    uint64_t current;      /**< 1 + the block of the process that holds the place; 0: none */
    uint64_t incarnations; /**< processes that have held the place */
    uint64_t generation;
    uint64_t running;                       /**< 0 once the server has stopped */
    uint64_t listeners;                     /**< entries used in prior_listeners */
    stm_score_vp_t prior;                   /**< sums over the processes that have ended */
    stm_score_listener_t prior_listeners[]; /**< listeners_max entries */
} stm_score_header_t;

_Static_assert(offsetof(stm_score_header_t, options) % 8 == 0, "words must be aligned");
_Static_assert(sizeof(stm_score_listener_t) % 8 == 0, "words must be aligned");
_Static_assert(sizeof(stm_score_wait_t) % 8 == 0, "words must be aligned");

/** The file name of a scoreboard's header in ScoreboardDir or, with block >= 0, of that block. */
static inline void stm_score_name(char name[STM_SCORE_NAME], int ordinal, int block)
{
    if (block < 0)
        snprintf(name, STM_SCORE_NAME, "%d", ordinal);
    else
        snprintf(name, STM_SCORE_NAME, "%d.%d.block", ordinal, block);
}

/** A kind of wait, as score/waits.def declares it. */
typedef struct stm_wait_kind {
    const char *name, *class, *words;
} stm_wait_kind_t;

extern const stm_wait_kind_t stm_wait_kinds[STM_WAIT_COUNT];

/* --- the table of counters (score/fields.c) --- */

typedef enum { STM_SCORE_OF_VP, STM_SCORE_OF_LISTENER, STM_SCORE_OF_THREAD } stm_score_group_e;
typedef enum {
    STM_SCORE_TYPE_counter,
    STM_SCORE_TYPE_gauge,
    STM_SCORE_TYPE_peak,
    STM_SCORE_TYPE_info,
    STM_SCORE_TYPE_time,
    STM_SCORE_TYPE_histogram
} stm_score_type_e;
typedef enum { STM_SCORE_UNIT_none, STM_SCORE_UNIT_bytes, STM_SCORE_UNIT_seconds } stm_score_unit_e;
typedef enum {
    STM_SCORE_LEVEL_main,
    STM_SCORE_LEVEL_detail,
    STM_SCORE_LEVEL_debug
} stm_score_level_e;

/** One counter, as score.def declares it. */
typedef struct stm_score_field {
    const char *name;
    stm_score_group_e group;
    stm_score_type_e type;
    stm_score_unit_e unit;
    stm_score_level_e level;
    const char *brief, *help;
    size_t offset; /**< in its group's struct */
} stm_score_field_t;

extern const stm_score_field_t stm_score_fields[];
extern const int stm_score_field_count;

/** The names of the types, units, levels and groups, as tools print them. */
extern const char *const stm_score_type_names[],
    *const stm_score_unit_names[], *const stm_score_level_names[], *const stm_score_group_names[];

/** A number that is different for different tables of counters. */
uint64_t stm_score_fingerprint(void);

/** Adds what `from` has counted to `sum`: counters are added, the higher peaks kept, the rest left
 * alone. */
void stm_score_add(stm_score_group_e group, void *sum, const void *from);

/** Adds the gauges of `from` to those of `sum`. */
void stm_score_add_gauges(stm_score_group_e group, void *sum, const void *from);

/** Whether a value for all VPs together is meaningful; it is not if the field identifies one
 * process. */
static inline bool stm_score_adds_up(const stm_score_field_t *field)
{
    return field->type != STM_SCORE_TYPE_info && field->type != STM_SCORE_TYPE_time;
}

/** Upper bound of a histogram's bucket, us; 0 for the last, which has none. */
uint64_t stm_score_bucket_bound(int bucket);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What httpd's versions since 2.4.52 have under different names, or lack. Everything in the MPM
 * that depends on the version of httpd's headers is here; the rest uses the newest names.
 * Included by stm.h after httpd's headers.
 */
#ifndef STM_HTTPD_VERSIONS_H
#define STM_HTTPD_VERSIONS_H

#if AP_SERVER_MAJORVERSION_NUMBER != 2 || AP_SERVER_MINORVERSION_NUMBER != 4 ||                    \
    !AP_MODULE_MAGIC_AT_LEAST(20120211, 121)
#error "STM needs the headers of Apache httpd 2.4.52 or a newer 2.4"
#endif

/* --- since 2.4.53: the thread that runs, for modules to ask for --- */

#ifndef AP_HAS_THREAD_LOCAL
#define AP_HAS_THREAD_LOCAL 0
#endif

/* --- since 2.4.63: new names of two states, and waiting for the socket --- */

#if AP_MODULE_MAGIC_AT_LEAST(20120211, 135)

/** The hooks' verdict "keep-alive" means that what is left is sent first. */
#define STM_KEEPALIVE_FLUSHES 1

/** @return whether a module asks to wait for the connection's socket */
static inline bool stm_state_waits_for_io(conn_state_e state)
{
    return state == CONN_STATE_ASYNC_WAITIO;
}

#else

#define CONN_STATE_KEEPALIVE  CONN_STATE_CHECK_REQUEST_LINE_READABLE
#define CONN_STATE_PROCESSING CONN_STATE_READ_REQUEST_LINE
/* event waits for the next request at once, and does not look at conn_rec::keepalive. */
#define STM_KEEPALIVE_FLUSHES 0

static inline bool stm_state_waits_for_io(conn_state_e state)
{
    (void)state;
    return false; /* a module sets CONN_SENSE_WANT_READ with write completion instead */
}

#endif

/** Shows on httpd's scoreboard how many connections wait for their sockets. */
static inline void stm_score_set_wait_io(process_score *score, int count)
{
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 136)
    score->wait_io = (apr_uint32_t)count;
#else
    (void)score; /* mod_status has no column for them */
    (void)count;
#endif
}

/** @return whether a module asks if it may have connections wait for their sockets */
static inline bool stm_query_is_can_waitio(int query_code)
{
#ifdef AP_MPMQ_CAN_WAITIO
    return query_code == AP_MPMQ_CAN_WAITIO;
#else
    (void)query_code; /* answered like any other unknown query, as event of that version does */
    return false;
#endif
}

/* --- the httpd that loads the module --- */

/** MODULE_MAGIC_NUMBER_MINOR of the oldest httpd that this build works with: what it writes to and
 * calls is there. */
#ifdef DEFAULT_TCP_DEFER_ACCEPT
#define STM_HTTPD_NEEDED "2.4.64"
#define STM_MAGIC_NEEDED 140
#elif AP_MODULE_MAGIC_AT_LEAST(20120211, 135)
#define STM_HTTPD_NEEDED "2.4.63"
#define STM_MAGIC_NEEDED 137
#elif AP_HAS_THREAD_LOCAL
#define STM_HTTPD_NEEDED "2.4.53"
#define STM_MAGIC_NEEDED 122
#else
#define STM_HTTPD_NEEDED "2.4.52"
#define STM_MAGIC_NEEDED 121
#endif

#endif /* STM_HTTPD_VERSIONS_H */

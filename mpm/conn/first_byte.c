/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a new connection may take to send its first byte. It waits without a state thread and
 * without httpd's conn_rec, so that mod_reqtimeout cannot watch it yet; its limits for the request
 * header are honoured here. Also decides who has to wait after it has arrived: a VP that replaces
 * one killed by a request is cautious for a while.
 */
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

#include <apr_lib.h>

#include "mpm/conn/conn.h"

/* --- how long it may take --- */

/* mod_reqtimeout's default, which applies if the module is loaded and no directive says
 * otherwise. */
#define REQTIMEOUT_HEADER apr_time_from_sec(20)

static apr_interval_time_t limit;

apr_interval_time_t stm_first_byte_timeout(void)
{
    return limit;
}

/* Gives the first number of header=20-40,MinRate=500. True if the stage is named. */
static bool stage_seconds(const char *args, const char *stage, apr_interval_time_t *timeout)
{
    const char *found = ap_strcasestr(args, stage);
    long seconds;

    if (!found)
        return false;
    seconds = strtol(found + strlen(stage), NULL, 10);
    /* Timeout is shorter than that, and more would overflow in microseconds. */
    *timeout = apr_time_from_sec(seconds < 0 ? 0 : seconds < INT_MAX ? seconds : INT_MAX);
    return true;
}

/* The last RequestReadTimeout of the main server counts, stage by stage. */
static void read_directives(const ap_directive_t *directive, apr_interval_time_t *header,
                            apr_interval_time_t *handshake)
{
    for (; directive; directive = directive->next) {
        if (strcasecmp(directive->directive, "<IfModule") == 0 ||
            strcasecmp(directive->directive, "<IfDefine") == 0)
            read_directives(directive->first_child, header, handshake);
        if (strcasecmp(directive->directive, "RequestReadTimeout") != 0)
            continue;
        stage_seconds(directive->args, "header=", header);
        stage_seconds(directive->args, "handshake=", handshake);
    }
}

static void shorten(apr_interval_time_t other)
{
    if (other > 0 && other < limit)
        limit = other;
}

void stm_first_byte_configure(server_rec *s)
{
    apr_interval_time_t header = REQTIMEOUT_HEADER, handshake = 0;

    limit = s->timeout;
    if (!ap_find_linked_module("mod_reqtimeout.c"))
        return;
    read_directives(ap_conftree, &header, &handshake);
    shorten(header);
    shorten(handshake);
}

/* --- caution --- */

/*
 * In a crash loop, clients whose requests kill VPs have often given up by the time their connection
 * is accepted, and their connections are the oldest in the listen queue. So clients that have
 * closed their side are served after all others: they are answered (a client may close its side and
 * wait), but the one that kills this VP, too, takes no other client down with it.
 */

/* How long a VP is cautious (us, libst's clock), and how long it lets the others go first. */
enum {
    CAUTIOUS = 10000000,
    DELAY = 500000,
};

static st_utime_t cautious_until; /* 0: no reason to be cautious */

void stm_caution_begin(void)
{
    cautious_until = st_utime() + CAUTIOUS;
}

static bool client_has_closed(int fd)
{
    struct pollfd pollfd = {.fd = fd, .events = POLLRDHUP};

    return poll(&pollfd, 1, 0) > 0;
}

bool stm_caution_delays(stm_conn_t *conn)
{
    if (!cautious_until)
        return false;
    if (st_utime_last_clock() > cautious_until) {
        cautious_until = 0;
        return false;
    }
    if (conn->delayed || !client_has_closed(conn->fd))
        return false;
    conn->delayed = true;
    stm_conn_park(conn, STM_CONN_FIRST_BYTE, 0, DELAY);
    return true;
}

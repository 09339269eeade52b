/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a new connection may take to send its first byte. It waits without a state thread and
 * without httpd's conn_rec, so that mod_reqtimeout cannot watch it yet; its limits for the request
 * header are honoured here.
 */
#include <limits.h>
#include <stdlib.h>

#include <apr_lib.h>

#include "mpm/conn/conn.h"

/* mod_reqtimeout's default, where the module is loaded and no directive says otherwise. */
#define REQTIMEOUT_HEADER apr_time_from_sec(20)

static apr_interval_time_t limit;

apr_interval_time_t stm_first_byte_timeout(void)
{
    return limit;
}

/* header=20-40,MinRate=500: the first number. True if the stage is named. */
static bool stage_seconds(const char *args, const char *stage, apr_interval_time_t *timeout)
{
    const char *found = ap_strcasestr(args, stage);
    long seconds;

    if (!found)
        return false;
    seconds = strtol(found + strlen(stage), NULL, 10);
    /* Timeout is shorter than so much, and in microseconds more would not fit. */
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

/** In the master, once the configuration is read. */
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mod_heartbeat tells a front server (mod_heartmonitor, lbmethod_heartbeat): how many requests
 * this server could take now, and how many are in progress. The module counts the slots of httpd's
 * scoreboard, in which an idle state thread is a slot that is ready. But a state thread that does
 * not exist yet can serve as well, as long as MaxThreads is not reached: the true number is not in
 * the scoreboard, and mod_status needs what is there. So in mod_heartbeat.so, and only there,
 * apr_snprintf() is replaced: it prints our numbers into the message. A message of another form is
 * printed as it is, and so is any if STIOL cannot reach the module (httpd with static modules).
 */
#include <dlfcn.h>
#include <stdarg.h>

#include "mpm/scoreboard/scoreboard.h"
#include "mpm/shared/share.h"
#include "score/limits.h"
#include "stiol/stiol.h"

typedef struct capacity {
    unsigned ready, busy;
} capacity_t;

static int between(int low, int value, int high)
{
    return value < low ? low : value > high ? high : value;
}

/* As in httpd's own count, processes that are leaving are left out. */
static capacity_t capacity(void)
{
    capacity_t sum = {0, 0};

    for (int i = 0; i < STM_VP_LIMIT; i++) {
        const stm_share_vp_t *vp = stm_share_holder(i);
        int limit, busy;

        if (!vp)
            continue;
        limit = between(0, vp->limit, STM_ST_LIMIT);
        busy = between(0, vp->busy, limit);
        sum.busy += (unsigned)busy;
        if (vp->accepting)
            sum.ready += (unsigned)(limit - busy);
    }
    return sum;
}

/* In mod_heartbeat, instead of apr_snprintf(). */
static int print_message(char *to, apr_size_t size, const char *format, ...)
{
    va_list args;
    int length;

    va_start(args, format);
    if (strcmp(format, "v=%u&ready=%u&busy=%u") == 0) {
        capacity_t now = capacity();

        length = apr_snprintf(to, size, format, va_arg(args, unsigned), now.ready, now.busy);
    } else {
        length = apr_vsnprintf(to, size, format, args);
    }
    va_end(args);
    return length;
}

void stm_heartbeat_prepare(void)
{
    const stiol_extra_t call = {.symbol = "apr_snprintf",
                                .real = dlsym(RTLD_DEFAULT, "apr_snprintf"),
                                .replacement = (void *)print_message,
                                .object = "mod_heartbeat.so"};

    (void)stiol_add_calls(&call, 1); /* there is room for it; else the message is httpd's own */
}

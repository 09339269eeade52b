/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A module with large frames, for tests/live/test_stacks.py.
 *
 *   SetHandler frames, then GET ...?keep=MS   keeps a pattern on its stack over a wait, and says
 * how many bytes of it have changed ?frame=KB     writes to the far end of a frame of so many KB,
 * of which it touches nothing else ?deep=KB      uses so much of the stack first, and then the same
 *                                   frame: ?deep=KB,KB
 */
#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>

#include <stdlib.h>
#include <string.h>

enum { PATTERN = 24 * 1024 };

static __attribute__((noinline)) void keep(request_rec *r, int milliseconds)
{
    volatile unsigned char mine[PATTERN];
    int changed = 0;

    memset((void *)(uintptr_t)mine, 'm', sizeof(mine));
    apr_sleep(milliseconds * (apr_interval_time_t)1000);
    for (size_t i = 0; i < sizeof(mine); i++)
        changed += mine[i] != 'm';
    ap_rprintf(r, "changed: %d", changed);
}

/* Not an array: a compiler that probes its frames would hide what is tested. */
static __attribute__((noinline)) int frame(size_t kilobytes)
{
    volatile char here = 0;
    volatile char *far_end = &here - kilobytes * 1024;

    __asm__("" : "+r"(far_end));
    for (int i = 0; i < 1000; i++)
        far_end[i] = 'S';
    return far_end[999] + here;
}

static __attribute__((noinline)) int deep(int kilobytes, int then)
{
    volatile char mine[1024 - 64];

    mine[0] = 1;
    if (kilobytes > 0)
        return deep(kilobytes - 1, then) + mine[0];
    return frame((size_t)then);
}

static int handler(request_rec *r)
{
    const char *args = r->args ? r->args : "", *comma;

    if (!r->handler || strcmp(r->handler, "frames") != 0)
        return DECLINED;
    ap_set_content_type(r, "text/plain");
    if (strncmp(args, "keep=", 5) == 0)
        keep(r, atoi(args + 5));
    else if (strncmp(args, "frame=", 6) == 0)
        ap_rprintf(r, "wrote %d", frame((size_t)atoi(args + 6)));
    else if (strncmp(args, "deep=", 5) == 0 && (comma = strchr(args, ',')))
        ap_rprintf(r, "wrote %d", deep(atoi(args + 5), atoi(comma + 1)));
    else
        return HTTP_BAD_REQUEST;
    return OK;
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(frames) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks,
                             AP_MODULE_FLAG_NONE};

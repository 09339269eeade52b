/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ordinary httpd module for the live tests, with thread-local variables: says whether a request
 * still sees its own thread's copies after it has waited. Loaded by
 * tests/live/test_thread_locals.py only.
 *
 *   SetHandler locals, then GET ...?MS   waits by apr_sleep for that many ms, and answers "right",
 *                                        or what was wrong
 */
#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>
#include <apr_strings.h>
#include <apr_thread_proc.h>

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "current_thread.h"

/* What a module stores with its thread, for as long as the apr_thread_t and its pool exist. */
typedef struct kept {
    uint64_t canary;
    apr_thread_t *thread;
    uintptr_t *address; /* of the thread-local variable */
} kept_t;

#define CANARY UINT64_C(0x6c6f63616c732121)

static __thread uintptr_t mine;
static __thread char text[40] = "image";

static apr_status_t forget(void *data)
{
    ((kept_t *)data)->canary = 0;
    return APR_SUCCESS;
}

static kept_t *kept_by(apr_thread_t *thread)
{
    apr_pool_t *pool = apr_thread_pool_get(thread);
    void *data = NULL;
    kept_t *kept;

    apr_thread_data_get(&data, "locals", thread);
    if (data)
        return data;
    kept = apr_pcalloc(pool, sizeof(*kept));
    *kept = (kept_t){CANARY, thread, &mine};
    apr_pool_cleanup_register(pool, kept, forget, apr_pool_cleanup_null);
    apr_thread_data_set(kept, "locals", NULL, thread);
    return kept;
}

static const char *wrong_current(apr_thread_t *thread)
{
    apr_os_thread_t *id = NULL;

    if (!thread)
        return "no current thread";
    if (apr_os_thread_get(&id, thread) != APR_SUCCESS || !id ||
        !apr_os_thread_equal(*id, apr_os_thread_current()))
        return "the current thread is another one";
    if (kept_by(thread)->canary != CANARY || kept_by(thread)->thread != thread ||
        kept_by(thread)->address != &mine)
        return "the current thread's data are another's, or gone";
    return NULL;
}

static const char *wrong_after(const request_rec *r, apr_thread_t *thread, const char *own)
{
    ap_regmatch_t matches[5];
    ap_regex_t *regex;

    if (mine != (uintptr_t)r || strcmp(text, own) != 0 || errno != EXDEV)
        return "the thread-local variables are another's";
    if (current_thread(r) != thread)
        return "the current thread has changed";
    regex = ap_pregcomp(r->pool, "^(/)(l)(.)(.*)$", AP_REG_EXTENDED);
    if (!regex || ap_regexec(regex, r->uri, 5, matches, 0) != 0 || matches[2].rm_so != 1)
        return "the regular expression does not match";
    return wrong_current(thread);
}

static int handle(request_rec *r)
{
    apr_thread_t *thread = current_thread(r);
    const char *own, *wrong;

    if (!r->handler || strcmp(r->handler, "locals") != 0)
        return DECLINED;
    own = apr_psprintf(r->pool, "%pp", (void *)r);
    wrong = strcmp(text, "image") != 0 ? "the variable does not begin as it should" : NULL;
    if (!wrong)
        wrong = wrong_current(thread);
    mine = (uintptr_t)r;
    apr_cpystrn(text, own, sizeof(text));
    errno = EXDEV;
    apr_sleep(apr_time_from_msec(r->args ? atoi(r->args) : 0));
    if (!wrong)
        wrong = wrong_after(r, thread, own);
    apr_cpystrn(text, "image", sizeof(text));
    ap_set_content_type(r, "text/plain");
    ap_rputs(wrong ? wrong : "right", r);
    return OK;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(locals) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks,
                             AP_MODULE_FLAG_NONE};

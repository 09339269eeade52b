/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolver's own calls: res_query() and the like, on a helper. If a module has asked for the
 * state thread's resolver settings, the helper works on a copy of them: meanwhile the originals
 * belong to another state thread (tls.c).
 */
#include <resolv.h>

#include "stiol/stiol_int.h"
#include "stiol/tls.h"

/* The arguments of each of them. */
typedef struct dns_ask {
    stiol__job_t job;
    res_state settings; /* NULL: the helper's own */
    const char *name, *domain;
    int class, type;
    const unsigned char *message;
    int length;
    unsigned char *answer;
    int size, rc;
} dns_ask_t;

enum { DNS = 6 }; /* the group: one name server answers all of them, or none */

/* A job's run(), for a call and for its form with settings. */
#define DNS_RUN(name, n_name, ...)                                                                 \
    static void run_##name(stiol__job_t *job)                                                      \
    {                                                                                              \
        dns_ask_t *ask = (dns_ask_t *)job;                                                         \
                                                                                                   \
        ask->rc = ask->settings ? n_name(ask->settings, __VA_ARGS__) : name(__VA_ARGS__);          \
    }

DNS_RUN(res_query, res_nquery, ask->name, ask->class, ask->type, ask->answer, ask->size)
DNS_RUN(res_search, res_nsearch, ask->name, ask->class, ask->type, ask->answer, ask->size)
DNS_RUN(res_querydomain, res_nquerydomain, ask->name, ask->domain, ask->class, ask->type,
        ask->answer, ask->size)
DNS_RUN(res_send, res_nsend, ask->message, ask->length, ask->answer, ask->size)

/* Uses the caller's own settings or, if they are NULL or the state thread's, a copy. */
static int ask_dns(stiol__vp_t *vp, res_state settings, dns_ask_t *ask)
{
    struct __res_state copy;
    bool own = !settings || settings == &_res;

    ask->job.group = DNS;
    ask->job.about = ask->name;
    if (!own) {
        ask->settings = settings;
    } else if (stiol__locals_have(STIOL_LOCAL_RESOLVER) || settings) {
        copy = _res;
        ask->settings = &copy;
    }
    STIOL_HELP(vp, resolve, STIOL_HELP_RESOLVE, &ask->job);
    if (ask->settings == &copy)
        _res = copy;
    return ask->rc;
}

/* --- with the thread's settings --- */

int stiol__res_query(const char *name, int class, int type, unsigned char *answer, int size)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, res_query, type);
    dns_ask_t ask = {.job.run = run_res_query,
                     .name = name,
                     .class = class,
                     .type = type,
                     .answer = answer,
                     .size = size};

    return !vp ? res_query(name, class, type, answer, size) : ask_dns(vp, NULL, &ask);
}

int stiol__res_search(const char *name, int class, int type, unsigned char *answer, int size)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, res_search, type);
    dns_ask_t ask = {.job.run = run_res_search,
                     .name = name,
                     .class = class,
                     .type = type,
                     .answer = answer,
                     .size = size};

    return !vp ? res_search(name, class, type, answer, size) : ask_dns(vp, NULL, &ask);
}

int stiol__res_querydomain(const char *name, const char *domain, int class, int type,
                           unsigned char *answer, int size)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, res_querydomain, type);
    dns_ask_t ask = {.job.run = run_res_querydomain,
                     .name = name,
                     .domain = domain,
                     .class = class,
                     .type = type,
                     .answer = answer,
                     .size = size};

    return !vp ? res_querydomain(name, domain, class, type, answer, size) : ask_dns(vp, NULL, &ask);
}

int stiol__res_send(const unsigned char *message, int length, unsigned char *answer, int size)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, res_send, length);
    dns_ask_t ask = {.job.run = run_res_send,
                     .message = message,
                     .length = length,
                     .answer = answer,
                     .size = size};

    return !vp ? res_send(message, length, answer, size) : ask_dns(vp, NULL, &ask);
}

/* --- with the caller's --- */

int stiol__res_nquery(res_state settings, const char *name, int class, int type,
                      unsigned char *answer, int size)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, res_nquery, type);
    dns_ask_t ask = {.job.run = run_res_query,
                     .name = name,
                     .class = class,
                     .type = type,
                     .answer = answer,
                     .size = size};

    return !vp ? res_nquery(settings, name, class, type, answer, size)
               : ask_dns(vp, settings, &ask);
}

int stiol__res_nsearch(res_state settings, const char *name, int class, int type,
                       unsigned char *answer, int size)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, res_nsearch, type);
    dns_ask_t ask = {.job.run = run_res_search,
                     .name = name,
                     .class = class,
                     .type = type,
                     .answer = answer,
                     .size = size};

    return !vp ? res_nsearch(settings, name, class, type, answer, size)
               : ask_dns(vp, settings, &ask);
}

int stiol__res_nquerydomain(res_state settings, const char *name, const char *domain, int class,
                            int type, unsigned char *answer, int size)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, res_nquerydomain, type);
    dns_ask_t ask = {.job.run = run_res_querydomain,
                     .name = name,
                     .domain = domain,
                     .class = class,
                     .type = type,
                     .answer = answer,
                     .size = size};

    return !vp ? res_nquerydomain(settings, name, domain, class, type, answer, size)
               : ask_dns(vp, settings, &ask);
}

int stiol__res_nsend(res_state settings, const unsigned char *message, int length,
                     unsigned char *answer, int size)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, res_nsend, length);
    dns_ask_t ask = {.job.run = run_res_send,
                     .message = message,
                     .length = length,
                     .answer = answer,
                     .size = size};

    return !vp ? res_nsend(settings, message, length, answer, size) : ask_dns(vp, settings, &ask);
}

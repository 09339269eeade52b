/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Name look-ups: libc waits for the name server by itself, so they run on a helper kernel thread
 * while the state thread is parked. What needs no name server (numeric addresses) is done at once.
 */
#include <arpa/inet.h>

#include "stiol/stiol_int.h"
#include "stiol/tls.h"

#define HOST_BUFFER 8192 /* bytes; addresses and aliases of one host */

/* gethostbyname()'s result, which the calling thread owns until its next call. */
struct stiol__host {
    struct hostent entry;
    char buffer[HOST_BUFFER];
};

void stiol__host_free(stiol__thread_t *self)
{
    free(self->host);
    self->host = NULL;
}

static bool is_numeric(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* --- getaddrinfo and getnameinfo --- */

typedef struct forward_job {
    stiol__job_t job;
    const char *name, *service;
    const struct addrinfo *hints;
    struct addrinfo **result;
    int rc;
} forward_job_t;

static void run_forward(stiol__job_t *job)
{
    forward_job_t *forward = (forward_job_t *)job;

    forward->rc = getaddrinfo(forward->name, forward->service, forward->hints, forward->result);
}

int stiol__getaddrinfo(const char *restrict name, const char *restrict service,
                       const struct addrinfo *restrict hints, struct addrinfo **restrict result)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, getaddrinfo, name != NULL);
    forward_job_t forward = {.job = {.run = run_forward},
                             .name = name,
                             .service = service,
                             .hints = hints,
                             .result = result};

    if (vp == NULL || name == NULL || is_numeric(name) ||
        (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0))
        return getaddrinfo(name, service, hints, result);
    STIOL_HELP(vp, resolve, STIOL_HELP_RESOLVE, &forward.job);
    return forward.rc;
}

typedef struct reverse_job {
    stiol__job_t job;
    const struct sockaddr *address;
    char *host, *service;
    socklen_t length, host_size, service_size;
    int flags, rc;
} reverse_job_t;

static void run_reverse(stiol__job_t *job)
{
    reverse_job_t *reverse = (reverse_job_t *)job;

    reverse->rc = getnameinfo(reverse->address, reverse->length, reverse->host, reverse->host_size,
                              reverse->service, reverse->service_size, reverse->flags);
}

int stiol__getnameinfo(const struct sockaddr *restrict address, socklen_t length,
                       char *restrict host, socklen_t host_size, char *restrict service,
                       socklen_t service_size, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, getnameinfo, flags);
    reverse_job_t reverse = {.job = {.run = run_reverse},
                             .address = address,
                             .host = host,
                             .service = service,
                             .length = length,
                             .host_size = host_size,
                             .service_size = service_size,
                             .flags = flags};

    if (vp == NULL || host == NULL || (flags & NI_NUMERICHOST) != 0)
        return getnameinfo(address, length, host, host_size, service, service_size, flags);
    STIOL_HELP(vp, resolve, STIOL_HELP_RESOLVE, &reverse.job);
    return reverse.rc;
}

/* --- the gethostby family --- */

typedef struct host_job {
    stiol__job_t job;
    enum { BY_NAME, BY_NAME2, BY_ADDRESS } how;
    const void *what;
    socklen_t length; /* of an address, bytes */
    int family;
    struct hostent *entry;
    char *buffer;
    size_t size;
    struct hostent **result;
    int *herror;
    int rc;
} host_job_t;

static void run_host(stiol__job_t *job)
{
    host_job_t *host = (host_job_t *)job;

    switch (host->how) {
    case BY_NAME:
        host->rc = gethostbyname_r(host->what, host->entry, host->buffer, host->size, host->result,
                                   host->herror);
        break;
    case BY_NAME2:
        host->rc = gethostbyname2_r(host->what, host->family, host->entry, host->buffer, host->size,
                                    host->result, host->herror);
        break;
    case BY_ADDRESS:
        host->rc = gethostbyaddr_r(host->what, host->length, host->family, host->entry,
                                   host->buffer, host->size, host->result, host->herror);
        break;
    }
}

/* The result goes to the caller's memory. */
static int find_into(stiol__vp_t *vp, host_job_t *host, struct hostent *entry, char *buffer,
                     size_t size, struct hostent **result, int *herror)
{
    host->job.run = run_host;
    host->entry = entry;
    host->buffer = buffer;
    host->size = size;
    host->result = result;
    host->herror = herror;
    STIOL_HELP(vp, resolve, STIOL_HELP_RESOLVE, &host->job);
    return host->rc;
}

/* For the calls whose result is not in the caller's memory. */
static struct hostent *find_own_host(stiol__vp_t *vp, host_job_t *host)
{
    stiol__thread_t *self = stiol__self(vp);
    struct hostent *result = NULL;
    int herror = NETDB_INTERNAL;

    if (self != NULL && self->host == NULL)
        self->host = malloc(sizeof(*self->host));
    if (self == NULL || self->host == NULL) {
        h_errno = NETDB_INTERNAL;
        return NULL;
    }
    if (find_into(vp, host, &self->host->entry, self->host->buffer, sizeof(self->host->buffer),
                  &result, &herror) != 0)
        result = NULL;
    h_errno = herror;
    return result;
}

struct hostent *stiol__gethostbyname(const char *name)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyname, 0);
    host_job_t host = {.how = BY_NAME, .what = name};

    return vp == NULL ? gethostbyname(name) : find_own_host(vp, &host);
}

struct hostent *stiol__gethostbyname2(const char *name, int family)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyname2, family);
    host_job_t host = {.how = BY_NAME2, .what = name, .family = family};

    return vp == NULL ? gethostbyname2(name, family) : find_own_host(vp, &host);
}

struct hostent *stiol__gethostbyaddr(const void *address, socklen_t length, int family)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyaddr, family);
    host_job_t host = {.how = BY_ADDRESS, .what = address, .length = length, .family = family};

    return vp == NULL ? gethostbyaddr(address, length, family) : find_own_host(vp, &host);
}

int stiol__gethostbyname_r(const char *restrict name, struct hostent *restrict entry,
                           char *restrict buffer, size_t size, struct hostent **restrict result,
                           int *restrict herror)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyname_r, 0);
    host_job_t host = {.how = BY_NAME, .what = name};

    if (vp == NULL)
        return gethostbyname_r(name, entry, buffer, size, result, herror);
    return find_into(vp, &host, entry, buffer, size, result, herror);
}

int stiol__gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict entry,
                            char *restrict buffer, size_t size, struct hostent **restrict result,
                            int *restrict herror)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyname2_r, family);
    host_job_t host = {.how = BY_NAME2, .what = name, .family = family};

    if (vp == NULL)
        return gethostbyname2_r(name, family, entry, buffer, size, result, herror);
    return find_into(vp, &host, entry, buffer, size, result, herror);
}

int stiol__gethostbyaddr_r(const void *restrict address, socklen_t length, int family,
                           struct hostent *restrict entry, char *restrict buffer, size_t size,
                           struct hostent **restrict result, int *restrict herror)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyaddr_r, family);
    host_job_t host = {.how = BY_ADDRESS, .what = address, .length = length, .family = family};

    if (vp == NULL)
        return gethostbyaddr_r(address, length, family, entry, buffer, size, result, herror);
    return find_into(vp, &host, entry, buffer, size, result, herror);
}

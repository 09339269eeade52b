/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Look-ups of hosts: libc itself waits for the name server, so they run on a helper kernel thread
 * while the state thread is parked; getaddrinfo() and getnameinfo() ask equal questions only once.
 * What needs no name server (numeric addresses) is done directly.
 */
#include "stiol/stiol_int.h"

#include "stiol/entry.h"
#include "stiol/nss.h"
#include "stiol/question.h"

enum { FIRST_HOST_SIZE = 8192 }; /* bytes; addresses and aliases of one host */

static bool is_numeric(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* What may make the look-up of a name slow is its domain's name server: the last two labels. */
static uint64_t domain_of(const char *name)
{
    size_t length = strlen(name), dots = 0, at = length;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    while (at > 0 && (name[at - 1] != '.' || at == length || ++dots < 2))
        at--;
    for (; at < length; at++)
        hash = (hash ^ (uint64_t)(unsigned char)(name[at] | 0x20)) * UINT64_C(0x100000001b3);
    return hash | 1;
}

/* Other groups; those of names are odd numbers. */
enum {
    ADDRESSES = 2,
    SERVICES = 8,
};

/* --- getaddrinfo --- */

typedef struct forward {
    stiol__question_t question;
    struct addrinfo *answer;
    int rc;
    /* the question's key: from here on */
    int has_hints, has_name, has_service;
    int flags, family, type, protocol;
    char name[]; /* and the service, if there is one */
} forward_t;

static const char *service_of(const forward_t *forward)
{
    return forward->has_service ? forward->name + strlen(forward->name) + 1 : NULL;
}

static void run_forward(stiol__job_t *job)
{
    forward_t *forward = (forward_t *)job;
    struct addrinfo hints = {.ai_flags = forward->flags,
                             .ai_family = forward->family,
                             .ai_socktype = forward->type,
                             .ai_protocol = forward->protocol};

    forward->rc = getaddrinfo(forward->has_name ? forward->name : NULL, service_of(forward),
                              forward->has_hints ? &hints : NULL, &forward->answer);
}

static void free_forward(stiol__question_t *question)
{
    forward_t *forward = (forward_t *)question;

    if (forward->rc == 0)
        freeaddrinfo(forward->answer);
    free(forward);
}

static forward_t *new_forward(const char *name, const char *service, const struct addrinfo *hints)
{
    size_t name_size = (name ? strlen(name) : 0) + 1;
    size_t service_size = service ? strlen(service) + 1 : 0;
    forward_t *forward = calloc(1, sizeof(*forward) + name_size + service_size);

    if (!forward)
        return NULL;
    forward->rc = EAI_AGAIN; /* no answer yet */
    if (hints) {
        forward->has_hints = 1;
        forward->flags = hints->ai_flags;
        forward->family = hints->ai_family;
        forward->type = hints->ai_socktype;
        forward->protocol = hints->ai_protocol;
    }
    forward->has_name = !!name;
    forward->has_service = !!service;
    if (name)
        memcpy(forward->name, name, name_size);
    if (service)
        memcpy(forward->name + name_size, service, service_size);
    forward->question.job.run = run_forward;
    forward->question.job.group = name ? domain_of(name) : SERVICES;
    forward->question.job.about = name ? forward->name : service_of(forward);
    forward->question.free = free_forward;
    forward->question.key = &forward->has_hints;
    forward->question.key_size =
        offsetof(forward_t, name) - offsetof(forward_t, has_hints) + name_size + service_size;
    return forward;
}

/* Laid out as the C library does, for its freeaddrinfo(): an address follows its entry. */
static struct addrinfo *copy_address(const struct addrinfo *from)
{
    struct addrinfo *copy = malloc(sizeof(*copy) + from->ai_addrlen);

    if (!copy)
        return NULL;
    *copy = *from;
    copy->ai_next = NULL;
    copy->ai_canonname = NULL;
    copy->ai_addr = memcpy(copy + 1, from->ai_addr, from->ai_addrlen);
    if (from->ai_canonname && !(copy->ai_canonname = strdup(from->ai_canonname))) {
        free(copy);
        return NULL;
    }
    return copy;
}

/* 0 or EAI_MEMORY. */
static int copy_addresses(const struct addrinfo *from, struct addrinfo **result)
{
    struct addrinfo *first = NULL, **last = &first;

    for (; from; from = from->ai_next) {
        *last = copy_address(from);
        if (!*last) {
            if (first)
                freeaddrinfo(first);
            return EAI_MEMORY;
        }
        last = &(*last)->ai_next;
    }
    *result = first;
    return 0;
}

static int take_addresses(forward_t *forward, struct addrinfo **result)
{
    int rc = forward->rc;

    if (rc != 0) {
        h_errno = forward->question.job.herror;
        if (rc == EAI_SYSTEM)
            errno = forward->question.job.error;
    } else if (stiol__question_last(&forward->question)) {
        *result = forward->answer;
        forward->rc = EAI_AGAIN; /* it no longer belongs to the question */
    } else {
        rc = copy_addresses(forward->answer, result);
    }
    stiol__question_end(&forward->question);
    return rc;
}

static int look_up(stiol__vp_t *vp, const char *name, const char *service,
                   const struct addrinfo *hints, struct addrinfo **result)
{
    forward_t *forward = new_forward(name, service, hints);
    stiol__question_t *open;

    if (!forward)
        return EAI_MEMORY;
    open = stiol__question_find(forward->question.key, forward->question.key_size);
    if (open) {
        free(forward);
        forward = (forward_t *)open;
    } else if (stiol__help_crowded(STIOL_HELP_RESOLVE)) {
        forward->question.job.quick = name && stiol__in_hosts_file(name);
    }
    if (stiol__question_wait(vp, &forward->question) != 0) {
        stiol__cancellation();
        return EAI_SYSTEM;
    }
    return take_addresses(forward, result);
}

/* Numbers, and what is in local files, can be looked up without asking anyone. */
static bool is_known_service(const char *service, int numeric)
{
    return !service || numeric || service[strspn(service, "0123456789")] == '\0' ||
           stiol__nss_is_local(STIOL_NSS_SERVICES);
}

int stiol__getaddrinfo(const char *restrict name, const char *restrict service,
                       const struct addrinfo *restrict hints, struct addrinfo **restrict result)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, getaddrinfo, !!name);
    int flags = hints ? hints->ai_flags : 0;

    if (!vp || ((!name || is_numeric(name) || (flags & AI_NUMERICHOST) != 0) &&
                is_known_service(service, flags & AI_NUMERICSERV)))
        return getaddrinfo(name, service, hints, result);
    return look_up(vp, name, service, hints, result);
}

/* --- getnameinfo --- */

typedef struct reverse {
    stiol__question_t question;
    char host[NI_MAXHOST], service[NI_MAXSERV], text[INET6_ADDRSTRLEN];
    int rc;
    /* the question's key: from here on */
    int flags, wants_host, wants_service;
    socklen_t length;
    struct sockaddr_storage address;
} reverse_t;

static void run_reverse(stiol__job_t *job)
{
    reverse_t *reverse = (reverse_t *)job;

    reverse->rc = getnameinfo((struct sockaddr *)&reverse->address, reverse->length,
                              reverse->wants_host ? reverse->host : NULL,
                              reverse->wants_host ? NI_MAXHOST : 0,
                              reverse->wants_service ? reverse->service : NULL,
                              reverse->wants_service ? NI_MAXSERV : 0, reverse->flags);
}

static void free_reverse(stiol__question_t *question)
{
    free(question);
}

/* The address in a numeric form; NULL if it is of another family. */
static const char *address_text(const struct sockaddr *address, char text[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

    if (address->sa_family == AF_INET)
        return inet_ntop(AF_INET, &v4->sin_addr, text, INET6_ADDRSTRLEN);
    if (address->sa_family == AF_INET6)
        return inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
    return NULL;
}

static bool is_in_hosts_file(const struct sockaddr *address)
{
    char text[INET6_ADDRSTRLEN];

    return address_text(address, text) && stiol__in_hosts_file(text);
}

static reverse_t *new_reverse(const struct sockaddr *address, socklen_t length, bool wants_host,
                              bool wants_service, int flags)
{
    reverse_t *reverse = calloc(1, sizeof(*reverse));

    if (!reverse)
        return NULL;
    reverse->flags = flags;
    reverse->wants_host = wants_host;
    reverse->wants_service = wants_service;
    reverse->length = length;
    memcpy(&reverse->address, address, length);
    reverse->question.job.run = run_reverse;
    reverse->question.job.group = ADDRESSES;
    reverse->question.job.about = address_text((struct sockaddr *)&reverse->address, reverse->text);
    reverse->question.free = free_reverse;
    reverse->question.key = &reverse->flags;
    reverse->question.key_size = sizeof(*reverse) - offsetof(reverse_t, flags);
    return reverse;
}

static int copy_text(char *to, socklen_t size, const char *from)
{
    size_t length = strlen(from);

    if (length >= size)
        return EAI_OVERFLOW;
    memcpy(to, from, length + 1); /* NOLINT(clang-analyzer-core.NonNullParamChecker): if wanted */
    return 0;
}

static int look_up_address(stiol__vp_t *vp, reverse_t *reverse, char *host, socklen_t host_size,
                           char *service, socklen_t service_size)
{
    stiol__question_t *open =
        stiol__question_find(reverse->question.key, reverse->question.key_size);
    int rc;

    if (open) {
        free(reverse);
        reverse = (reverse_t *)open;
    } else if (stiol__help_crowded(STIOL_HELP_RESOLVE)) {
        reverse->question.job.quick = is_in_hosts_file((struct sockaddr *)&reverse->address);
    }
    if (stiol__question_wait(vp, &reverse->question) != 0) {
        stiol__cancellation();
        return EAI_SYSTEM;
    }
    rc = reverse->rc;
    if (rc == EAI_SYSTEM)
        errno = reverse->question.job.error;
    if (rc == 0 && reverse->wants_host)
        rc = copy_text(host, host_size, reverse->host);
    if (rc == 0 && reverse->wants_service)
        rc = copy_text(service, service_size, reverse->service);
    stiol__question_end(&reverse->question);
    return rc;
}

int stiol__getnameinfo(const struct sockaddr *restrict address, socklen_t length,
                       char *restrict host, socklen_t host_size, char *restrict service,
                       socklen_t service_size, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, getnameinfo, flags);
    reverse_t *reverse;
    bool wants_host = host && host_size > 0 && (flags & NI_NUMERICHOST) == 0;
    bool wants_service = service && service_size > 0 && (flags & NI_NUMERICSERV) == 0;

    if (!vp || (!wants_host && (!wants_service || stiol__nss_is_local(STIOL_NSS_SERVICES))) ||
        length < sizeof(sa_family_t) || length > sizeof(struct sockaddr_storage))
        return getnameinfo(address, length, host, host_size, service, service_size, flags);
    reverse =
        new_reverse(address, length, host && host_size > 0, service && service_size > 0, flags);
    if (!reverse)
        return EAI_MEMORY;
    return look_up_address(vp, reverse, host, host_size, service, service_size);
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
    host->job.about = host->how == BY_ADDRESS ? NULL : host->what;
    host->job.group = host->how == BY_ADDRESS ? ADDRESSES : domain_of(host->what);
    if (host->how != BY_ADDRESS && stiol__help_crowded(STIOL_HELP_RESOLVE))
        host->job.quick = stiol__in_hosts_file(host->what);
    host->entry = entry;
    host->buffer = buffer;
    host->size = size;
    host->result = result;
    host->herror = herror;
    STIOL_HELP(vp, resolve, STIOL_HELP_RESOLVE, &host->job);
    return host->rc;
}

/* For calls whose result is not in the caller's memory: each function has one for each state
 * thread, valid until its next call. The entry is at the beginning of the buffer, which grows until
 * there is room for all addresses. */
static struct hostent *find_own_host(stiol__vp_t *vp, stiol__own_t place, host_job_t *host)
{
    struct hostent *result = NULL;
    size_t size = FIRST_HOST_SIZE;
    int herror = NETDB_INTERNAL, rc = ERANGE;
    char *memory;

    while (rc == ERANGE && (memory = stiol__own_buffer(vp, place, size))) {
        rc = find_into(vp, host, (struct hostent *)(void *)memory, memory + sizeof(*result),
                       size - sizeof(*result), &result, &herror);
        size *= 2;
    }
    h_errno = herror;
    return rc == 0 ? result : NULL;
}

struct hostent *stiol__gethostbyname(const char *name)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyname, 0);
    host_job_t host = {.how = BY_NAME, .what = name};

    return !vp ? gethostbyname(name) : find_own_host(vp, STIOL_OWN_GETHOSTBYNAME, &host);
}

struct hostent *stiol__gethostbyname2(const char *name, int family)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyname2, family);
    host_job_t host = {.how = BY_NAME2, .what = name, .family = family};

    return !vp ? gethostbyname2(name, family) : find_own_host(vp, STIOL_OWN_GETHOSTBYNAME2, &host);
}

struct hostent *stiol__gethostbyaddr(const void *address, socklen_t length, int family)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyaddr, family);
    host_job_t host = {.how = BY_ADDRESS, .what = address, .length = length, .family = family};

    return !vp ? gethostbyaddr(address, length, family)
               : find_own_host(vp, STIOL_OWN_GETHOSTBYADDR, &host);
}

int stiol__gethostbyname_r(const char *restrict name, struct hostent *restrict entry,
                           char *restrict buffer, size_t size, struct hostent **restrict result,
                           int *restrict herror)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyname_r, 0);
    host_job_t host = {.how = BY_NAME, .what = name};

    if (!vp)
        return gethostbyname_r(name, entry, buffer, size, result, herror);
    return find_into(vp, &host, entry, buffer, size, result, herror);
}

int stiol__gethostbyname2_r(const char *restrict name, int family, struct hostent *restrict entry,
                            char *restrict buffer, size_t size, struct hostent **restrict result,
                            int *restrict herror)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyname2_r, family);
    host_job_t host = {.how = BY_NAME2, .what = name, .family = family};

    if (!vp)
        return gethostbyname2_r(name, family, entry, buffer, size, result, herror);
    return find_into(vp, &host, entry, buffer, size, result, herror);
}

int stiol__gethostbyaddr_r(const void *restrict address, socklen_t length, int family,
                           struct hostent *restrict entry, char *restrict buffer, size_t size,
                           struct hostent **restrict result, int *restrict herror)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, gethostbyaddr_r, family);
    host_job_t host = {.how = BY_ADDRESS, .what = address, .length = length, .family = family};

    if (!vp)
        return gethostbyaddr_r(address, length, family, entry, buffer, size, result, herror);
    return find_into(vp, &host, entry, buffer, size, result, herror);
}

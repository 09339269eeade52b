/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a server by tests/live/waits/test_wait_names.py: name look-ups that last until the
 * test says so. As in libc, the wait is inside the call, where nothing can rebind it. Names
 * that end in ".slow" are 127.0.0.1, whose name is "client.slow"; other look-ups are libc's.
 *   SLOW_NAMES_ARRIVALS  file to which each look-up adds a byte
 *   SLOW_NAMES_LOCK      file whose lock it waits for
 */
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

#define GATE "SLOW_NAMES"
#include "tests/stiol/objects/gate.h"

typedef int (*getaddrinfo_t)(const char *, const char *, const struct addrinfo *,
                             struct addrinfo **);
typedef int (*getnameinfo_t)(const struct sockaddr *, socklen_t, char *, socklen_t, char *,
                             socklen_t, int);

static int is_slow(const char *name)
{
    size_t length = name ? strlen(name) : 0;
    return length > 5 && strcmp(name + length - 5, ".slow") == 0;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    getaddrinfo_t real = (getaddrinfo_t)dlsym(RTLD_NEXT, "getaddrinfo");
    if (!is_slow(name))
        return real(name, service, hints, result);
    wait_at_gate();
    return real("127.0.0.1", service, hints, result);
}

int getnameinfo(const struct sockaddr *address, socklen_t length, char *host, socklen_t host_size,
                char *service, socklen_t service_size, int flags)
{
    getnameinfo_t real = (getnameinfo_t)dlsym(RTLD_NEXT, "getnameinfo");
    if ((flags & NI_NUMERICHOST) != 0 || !host || host_size < 12)
        return real(address, length, host, host_size, service, service_size, flags);
    wait_at_gate();
    memcpy(host, "client.slow", 12);
    return 0;
}

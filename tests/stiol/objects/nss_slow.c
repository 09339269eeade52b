/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A name service for tests, "slow" in nsswitch.conf: users, groups and hosts whose look-up lasts
 * until the test says so. As in the C library's own services, nothing can rebind the call that
 * waits. The user slow-7 has the id 50007, and so does the group slow-7; host-7.slow is 127.0.0.7.
 *   NSS_SLOW_ARRIVALS  file to which each look-up adds a byte
 *   NSS_SLOW_LOCK      file whose lock it waits for
 */
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <nss.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GATE "NSS_SLOW"
#include "tests/stiol/objects/gate.h"

enum {
    FIRST_ID = 50000,
    IDS = 10000,
};

/* Declared here, as nobody else calls them. */
enum nss_status _nss_slow_getpwnam_r(const char *, struct passwd *, char *, size_t, int *);
enum nss_status _nss_slow_getpwuid_r(uid_t, struct passwd *, char *, size_t, int *);
enum nss_status _nss_slow_getgrnam_r(const char *, struct group *, char *, size_t, int *);
enum nss_status _nss_slow_getgrgid_r(gid_t, struct group *, char *, size_t, int *);
enum nss_status _nss_slow_gethostbyname4_r(const char *, struct gaih_addrtuple **, char *, size_t,
                                           int *, int *, int32_t *);

/* The number after a name's prefix; -1: the name is not one of ours. */
static int number_of(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);

    return strncmp(name, prefix, length) == 0 ? atoi(name + length) : -1;
}

static enum nss_status too_small(int *error)
{
    *error = ERANGE;
    return NSS_STATUS_TRYAGAIN;
}

static enum nss_status user(int number, struct passwd *entry, char *buffer, size_t size, int *error)
{
    static char none[] = "", folder[] = "/nowhere", shell[] = "/bin/false";

    wait_at_gate();
    if ((size_t)snprintf(buffer, size, "slow-%d", number) >= size)
        return too_small(error);
    *entry = (struct passwd){.pw_name = buffer,
                             .pw_passwd = none,
                             .pw_uid = (uid_t)(FIRST_ID + number),
                             .pw_gid = (gid_t)(FIRST_ID + number),
                             .pw_gecos = none,
                             .pw_dir = folder,
                             .pw_shell = shell};
    return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_slow_getpwnam_r(const char *name, struct passwd *entry, char *buffer,
                                     size_t size, int *error)
{
    int number = number_of(name, "slow-");

    return number < 0 ? NSS_STATUS_NOTFOUND : user(number, entry, buffer, size, error);
}

enum nss_status _nss_slow_getpwuid_r(uid_t id, struct passwd *entry, char *buffer, size_t size,
                                     int *error)
{
    if (id < FIRST_ID || id >= FIRST_ID + IDS)
        return NSS_STATUS_NOTFOUND;
    return user((int)id - FIRST_ID, entry, buffer, size, error);
}

static enum nss_status group(int number, struct group *entry, char *buffer, size_t size, int *error)
{
    static char none[] = "", *nobody[] = {NULL};

    wait_at_gate();
    if ((size_t)snprintf(buffer, size, "slow-%d", number) >= size)
        return too_small(error);
    *entry = (struct group){.gr_name = buffer,
                            .gr_passwd = none,
                            .gr_gid = (gid_t)(FIRST_ID + number),
                            .gr_mem = nobody};
    return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_slow_getgrnam_r(const char *name, struct group *entry, char *buffer,
                                     size_t size, int *error)
{
    int number = number_of(name, "slow-");

    return number < 0 ? NSS_STATUS_NOTFOUND : group(number, entry, buffer, size, error);
}

enum nss_status _nss_slow_getgrgid_r(gid_t id, struct group *entry, char *buffer, size_t size,
                                     int *error)
{
    if (id < FIRST_ID || id >= FIRST_ID + IDS)
        return NSS_STATUS_NOTFOUND;
    return group((int)id - FIRST_ID, entry, buffer, size, error);
}

enum nss_status _nss_slow_gethostbyname4_r(const char *name, struct gaih_addrtuple **result,
                                           char *buffer, size_t size, int *error, int *herror,
                                           int32_t *ttl)
{
    struct gaih_addrtuple *entry = *result;
    size_t length = strlen(name) + 1;
    int number = number_of(name, "host-");

    (void)ttl;
    if (number < 0) {
        *herror = HOST_NOT_FOUND;
        return NSS_STATUS_NOTFOUND;
    }
    wait_at_gate();
    if (!entry) {
        if (size < sizeof(*entry))
            return too_small(error);
        entry = (struct gaih_addrtuple *)(void *)buffer;
        buffer += sizeof(*entry);
        size -= sizeof(*entry);
    }
    if (size < length)
        return too_small(error);
    *entry = (struct gaih_addrtuple){.family = AF_INET,
                                     .name = memcpy(buffer, name, length),
                                     .addr = {htonl(INADDR_LOOPBACK - 1 + (in_addr_t)number)}};
    *result = entry;
    *herror = 0;
    return NSS_STATUS_SUCCESS;
}

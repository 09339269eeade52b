/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be known in advance about the C library's name services: nss.c. Used by resolve.c and
 * the files that look up users, groups and the like.
 */
#ifndef STIOL_NSS_H
#define STIOL_NSS_H

#include <stdbool.h>

#pragma GCC visibility push(hidden)

/** A database of nsswitch.conf(5). */
typedef enum {
    STIOL_NSS_PASSWD,
    STIOL_NSS_GROUP,
    STIOL_NSS_SHADOW,
    STIOL_NSS_SERVICES,
    STIOL_NSS_PROTOCOLS,
    STIOL_NSS_NETWORKS,
    STIOL_NSS_NETGROUP,
    STIOL_NSS_HOSTS,
    STIOL_NSS_DATABASES
} stiol__nss_t;

/** Whether the database is in local files only, so that no other machine has to be asked. Checks
 * whether /etc/nsswitch.conf has changed: two system calls. */
bool stiol__nss_is_local(stiol__nss_t database);

/** In a child after fork. */
void stiol__nss_forked(void);

/** Whether a name or address is in /etc/hosts. Reads the file, so use it only when it matters. */
bool stiol__in_hosts_file(const char *word);

#pragma GCC visibility pop

#endif /* STIOL_NSS_H */

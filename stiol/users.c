/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users, groups and netgroups: getpwnam() and the like, which ask whatever nsswitch.conf(5) names,
 * such as an LDAP server. Those without _r have a result for each state thread.
 */
#include "stiol/stiol_int.h"

#include "stiol/entry.h"

STIOL_ASK(getpwnam, getpwnam_r(ask->name, STIOL_ASK_ENTRY))
STIOL_ASK(getpwuid, getpwuid_r((uid_t)ask->number, STIOL_ASK_ENTRY))
STIOL_ASK(getpwent, getpwent_r(STIOL_ASK_ENTRY))
STIOL_ASK(getgrnam, getgrnam_r(ask->name, STIOL_ASK_ENTRY))
STIOL_ASK(getgrgid, getgrgid_r((gid_t)ask->number, STIOL_ASK_ENTRY))
STIOL_ASK(getgrent, getgrent_r(STIOL_ASK_ENTRY))
STIOL_ASK(getspnam, getspnam_r(ask->name, STIOL_ASK_ENTRY))
STIOL_ASK(getspent, getspent_r(STIOL_ASK_ENTRY))

STIOL_ASK_BY(passwd, getpwnam, STIOL_OWN_GETPWNAM, STIOL_NSS_PASSWD, (const char *name), (name),
             (.name = name))
STIOL_ASK_BY(passwd, getpwuid, STIOL_OWN_GETPWUID, STIOL_NSS_PASSWD, (uid_t id), (id),
             (.number = (long)id))
STIOL_ASK_BY(group, getgrnam, STIOL_OWN_GETGRNAM, STIOL_NSS_GROUP, (const char *name), (name),
             (.name = name))
STIOL_ASK_BY(group, getgrgid, STIOL_OWN_GETGRGID, STIOL_NSS_GROUP, (gid_t id), (id),
             (.number = (long)id))
STIOL_ASK_BY(spwd, getspnam, STIOL_OWN_GETSPNAM, STIOL_NSS_SHADOW, (const char *name), (name),
             (.name = name))

STIOL_ASK_NEXT(passwd, getpwent, STIOL_OWN_GETPWENT, STIOL_NSS_PASSWD)
STIOL_ASK_NEXT(group, getgrent, STIOL_OWN_GETGRENT, STIOL_NSS_GROUP)
STIOL_ASK_NEXT(spwd, getspent, STIOL_OWN_GETSPENT, STIOL_NSS_SHADOW)

STIOL_ASK_AROUND(setpwent, STIOL_NSS_PASSWD)
STIOL_ASK_AROUND(endpwent, STIOL_NSS_PASSWD)
STIOL_ASK_AROUND(setgrent, STIOL_NSS_GROUP)
STIOL_ASK_AROUND(endgrent, STIOL_NSS_GROUP)
STIOL_ASK_AROUND(setspent, STIOL_NSS_SHADOW)
STIOL_ASK_AROUND(endspent, STIOL_NSS_SHADOW)

/* --- a user's groups --- */

typedef struct groups_ask {
    stiol__ask_t ask;
    gid_t *groups;
    int *count;
} groups_ask_t;

static void run_getgrouplist(stiol__job_t *job)
{
    groups_ask_t *all = (groups_ask_t *)job;

    all->ask.rc = getgrouplist(all->ask.name, (gid_t)all->ask.number, all->groups, all->count);
}

static int list_groups(stiol__vp_t *vp, const char *user, gid_t group, gid_t *groups, int *count)
{
    groups_ask_t all = {
        .ask = {.job.run = run_getgrouplist, .name = user, .number = (long)group},
        .groups = groups,
        .count = count,
    };

    return stiol__ask_into(vp, STIOL_NSS_GROUP, &all.ask);
}

int stiol__getgrouplist(const char *user, gid_t group, gid_t *groups, int *count)
{
    return list_groups(STIOL_ENTER(resolve, getgrouplist, group), user, group, groups, count);
}

enum { FEW_GROUPS = 64 };

/* Like the C library: of more groups than the kernel allows, uses the first ones. */
static int init_groups(stiol__vp_t *vp, const char *user, gid_t group)
{
    long limit = sysconf(_SC_NGROUPS_MAX);
    int count = FEW_GROUPS, rc, error;
    gid_t *groups = malloc(sizeof(*groups) * FEW_GROUPS), *more;

    while (groups) {
        int had = count;

        if (list_groups(vp, user, group, groups, &count) >= 0)
            break;
        count = count > had ? count : 2 * had;
        more = realloc(groups, sizeof(*groups) * (size_t)count);
        if (!more)
            free(groups);
        groups = more;
    }
    if (!groups)
        return -1;
    if (limit > 0 && count > limit)
        count = (int)limit;
    rc = setgroups((size_t)count, groups);
    error = errno;
    free(groups);
    errno = error;
    return rc;
}

int stiol__initgroups(const char *user, gid_t group)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, initgroups, group);

    return !vp ? initgroups(user, group) : init_groups(vp, user, group);
}

/* --- netgroups --- */

STIOL_ASK(setnetgrent, setnetgrent(ask->name))
STIOL_ASK_AROUND(endnetgrent, STIOL_NSS_NETGROUP)

int stiol__setnetgrent(const char *group)
{
    stiol__ask_t ask = {.job.run = run_setnetgrent, .name = group};

    return stiol__ask_into(STIOL_ENTER(resolve, setnetgrent, 0), STIOL_NSS_NETGROUP, &ask);
}

typedef struct triple {
    char **host, **user, **domain;
} triple_t;

static void run_getnetgrent(stiol__job_t *job)
{
    stiol__ask_t *ask = (stiol__ask_t *)job;
    const triple_t *triple = ask->entry;

    ask->rc = getnetgrent_r(triple->host, triple->user, triple->domain, ask->buffer, ask->size);
}

int stiol__getnetgrent_r(char **restrict host, char **restrict user, char **restrict domain,
                         char *restrict buffer, size_t size)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, getnetgrent_r, 0);
    triple_t triple = {host, user, domain};
    stiol__ask_t ask = {
        .job.run = run_getnetgrent, .entry = &triple, .buffer = buffer, .size = size};

    return stiol__ask_into(vp, STIOL_NSS_NETGROUP, &ask);
}

/* Three texts, each at most a line of a file. */
enum { MEMBER_SIZE = 4096 };

int stiol__getnetgrent(char **restrict host, char **restrict user, char **restrict domain)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, getnetgrent, 0);
    triple_t triple = {host, user, domain};
    stiol__ask_t ask = {.job.run = run_getnetgrent, .entry = &triple, .size = MEMBER_SIZE};

    if (!vp)
        return getnetgrent(host, user, domain);
    ask.buffer = stiol__own_buffer(vp, STIOL_OWN_GETNETGRENT, MEMBER_SIZE);
    return ask.buffer ? stiol__ask_into(vp, STIOL_NSS_NETGROUP, &ask) : 0;
}

static void run_innetgr(stiol__job_t *job)
{
    stiol__ask_t *ask = (stiol__ask_t *)job;

    ask->rc = innetgr(ask->name, ask->names[0], ask->names[1], ask->names[2]);
}

int stiol__innetgr(const char *group, const char *host, const char *user, const char *domain)
{
    stiol__vp_t *vp = STIOL_ENTER(resolve, innetgr, 0);
    stiol__ask_t ask = {.job.run = run_innetgr, .name = group, .names = {host, user, domain}};

    return stiol__ask_into(vp, STIOL_NSS_NETGROUP, &ask);
}

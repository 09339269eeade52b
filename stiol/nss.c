/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be known in advance about the C library's name services: whether a database uses only
 * local files, by /etc/nsswitch.conf, and whether a host is in /etc/hosts. Both are hints: a wrong
 * one costs time, not correctness.
 */
#include <ctype.h>
#include <strings.h>
#include <sys/stat.h>

#include "stiol/stiol_int.h"

#include "stiol/nss.h"

#define SWITCH_FILE "/etc/nsswitch.conf"
#define HOSTS_FILE  "/etc/hosts"
#define CACHE_DAEMON                                                                               \
    "/var/run/nscd/socket" /* if it exists, it is asked first, whatever the file says */
enum { LINE_SIZE = 1024 };

static const char *const databases[STIOL_NSS_DATABASES] = {
    [STIOL_NSS_PASSWD] = "passwd",       [STIOL_NSS_GROUP] = "group",
    [STIOL_NSS_SHADOW] = "shadow",       [STIOL_NSS_SERVICES] = "services",
    [STIOL_NSS_PROTOCOLS] = "protocols", [STIOL_NSS_NETWORKS] = "networks",
    [STIOL_NSS_NETGROUP] = "netgroup",   [STIOL_NSS_HOSTS] = "hosts",
};

/* The file as last seen. */
static struct {
    pthread_mutex_t lock;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
    bool local[STIOL_NSS_DATABASES];
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The services of a line, without their [actions]: "files" and "db" read local files. */
static bool all_local(char *services)
{
    char *rest = services, *word;
    bool any = false;

    for (char *action = strchr(services, '['); action; action = strchr(action, '['))
        while (*action != '\0' && *action != ']')
            *action++ = ' ';
    while ((word = strsep(&rest, " \t\n]"))) {
        if (*word == '\0')
            continue;
        any = true;
        if (strcmp(word, "files") != 0 && strcmp(word, "db") != 0)
            return false;
    }
    return any;
}

static void note_line(char *line)
{
    char *colon;

    line[strcspn(line, "#")] = '\0';
    line += strspn(line, " \t");
    colon = strchr(line, ':');
    if (!colon)
        return;
    *colon = '\0';
    line[strcspn(line, " \t")] = '\0';
    for (int i = 0; i < STIOL_NSS_DATABASES; i++)
        if (strcmp(line, databases[i]) == 0)
            seen.local[i] = all_local(colon + 1);
}

/* Called with the lock held. What cannot be read, or is not in the file, is assumed to be
 * remote. */
static void read_switch_file(const struct stat *now)
{
    char line[LINE_SIZE];
    FILE *file;

    memset(seen.local, 0, sizeof(seen.local));
    seen.device = now->st_dev;
    seen.inode = now->st_ino;
    seen.size = now->st_size;
    seen.changed = now->st_mtim;
    file = fopen(SWITCH_FILE, "re");
    if (!file)
        return;
    while (fgets(line, sizeof(line), file))
        note_line(line);
    (void)fclose(file);
}

static bool is_as_seen(const struct stat *now)
{
    return seen.inode == now->st_ino && seen.device == now->st_dev && seen.size == now->st_size &&
           seen.changed.tv_sec == now->st_mtim.tv_sec &&
           seen.changed.tv_nsec == now->st_mtim.tv_nsec;
}

bool stiol__nss_is_local(stiol__nss_t database)
{
    struct stat now;
    int error = errno;
    bool local = false;

    if (stat(SWITCH_FILE, &now) == 0) {
        pthread_mutex_lock(&seen.lock);
        if (!is_as_seen(&now))
            read_switch_file(&now);
        local = seen.local[database];
        pthread_mutex_unlock(&seen.lock);
    }
    local = local && access(CACHE_DAEMON, F_OK) != 0;
    errno = error;
    return local;
}

static bool has_word(char *line, const char *wanted)
{
    char *rest = line, *word;

    line[strcspn(line, "#")] = '\0';
    while ((word = strsep(&rest, " \t\n")))
        if (strcasecmp(word, wanted) == 0)
            return true;
    return false;
}

bool stiol__in_hosts_file(const char *word)
{
    char line[LINE_SIZE];
    int error = errno;
    bool found = false;
    FILE *file = fopen(HOSTS_FILE, "re");

    if (file) {
        while (!found && fgets(line, sizeof(line), file))
            found = has_word(line, word);
        (void)fclose(file);
    }
    errno = error;
    return found;
}

/* Another thread may have held it. */
void stiol__nss_forked(void)
{
    pthread_mutex_init(&seen.lock, NULL);
}

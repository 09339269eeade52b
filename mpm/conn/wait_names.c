/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for what a state thread waits for, looked up once a wait has lasted for a while: a socket's
 * peer, a file's path, a program, a lock and its holder. Called by waits.c in the scheduler, so it
 * makes only system calls that do not wait, and takes no lock of the dynamic linker.
 */
#include <arpa/inet.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "mpm/conn/waits.h"
#include "stiol/stiol.h"

#ifndef SO_PEERNAME
#define SO_PEERNAME 28
#endif

enum {
    MOST_CHILDREN = 64,   /* programs whose pipes are compared */
    MOST_LOCKS = 4096,    /* lines of /proc/locks that are read: 5 ms */
    MOST_MAPS = 4096,     /* lines of /proc/self/maps that are read */
    MOST_SEGMENTS = 32,   /* of an object */
    PLACE = 96,           /* bytes for an object's name with an offset */
    REMEMBERED = 1000000, /* us for which the last place found is remembered */
};

/* --- sockets --- */

typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un local;
} address_t;

static void print_address(const address_t *address, socklen_t length, char name[STM_SCORE_NAMED])
{
    char text[INET6_ADDRSTRLEN] = "?";
    size_t path;

    switch (address->any.sa_family) {
    case AF_INET:
        inet_ntop(AF_INET, &address->v4.sin_addr, text, sizeof(text));
        snprintf(name, STM_SCORE_NAMED, "%s:%u", text, ntohs(address->v4.sin_port));
        break;
    case AF_INET6:
        inet_ntop(AF_INET6, &address->v6.sin6_addr, text, sizeof(text));
        snprintf(name, STM_SCORE_NAMED, "[%s]:%u", text, ntohs(address->v6.sin6_port));
        break;
    case AF_UNIX:
        path = length > offsetof(struct sockaddr_un, sun_path)
                   ? length - offsetof(struct sockaddr_un, sun_path)
                   : 0;
        snprintf(name, STM_SCORE_NAMED, "unix:%.*s", (int)path, address->local.sun_path);
        break;
    default:
        break;
    }
}

/* The address that a socket is connecting to. Only SO_PEERNAME has it, for the exact length. */
static socklen_t peer_to_be(int fd, address_t *address)
{
    int family = 0;
    socklen_t length = sizeof(family);

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) != 0)
        return 0;
    length = family == AF_INET ? sizeof(address->v4) : sizeof(address->v6);
    return getsockopt(fd, SOL_SOCKET, SO_PEERNAME, address, &length) == 0 ? length : 0;
}

static stm_wait_e look_at_socket(int fd, int events, stm_wait_names_t *names)
{
    address_t address;
    socklen_t length = sizeof(address);
    bool connected = getpeername(fd, &address.any, &length) == 0;

    if (!connected)
        length = peer_to_be(fd, &address);
    if (names && length > 0)
        print_address(&address, length, names->name);
    if (!connected)
        return (events & POLLOUT) != 0 ? STM_WAIT_backend_connect : STM_WAIT_descriptor;
    return (events & POLLIN) != 0 ? STM_WAIT_backend_read : STM_WAIT_backend_write;
}

/* --- programs --- */

static void name_process(long pid, char *name, size_t size)
{
    char path[64], line[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%ld/comm", pid);
    file = fopen(path, "re");
    if (file) {
        if (!fgets(line, sizeof(line), file))
            *line = '\0';
        fclose(file);
    }
    line[strcspn(line, "\n")] = '\0';
    snprintf(name, size, *line ? "%ld (%s)" : "%ld", pid, line);
}

static bool has_pipe(long pid, const struct stat *pipe)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        char path[64];
        struct stat info;

        snprintf(path, sizeof(path), "/proc/%ld/fd/%d", pid, fd);
        if (stat(path, &info) == 0 && info.st_ino == pipe->st_ino && info.st_dev == pipe->st_dev)
            return true;
    }
    return false;
}

/* The child of a process that has this pipe open; 0: none, or none that we may inspect. */
static long child_with(long parent, const struct stat *pipe)
{
    char path[64], pids[MOST_CHILDREN * sizeof("4194303")], *at = pids, *end;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%ld/task/%ld/children", parent, parent);
    file = fopen(path, "re");
    if (!file || !fgets(pids, sizeof(pids), file))
        *pids = '\0';
    if (file)
        fclose(file);
    for (int i = 0; i < MOST_CHILDREN; i++, at = end) {
        long pid = strtol(at, &end, 10);

        if (end == at)
            return 0;
        if (has_pipe(pid, pipe))
            return pid;
    }
    return 0;
}

static void look_at_pipe(const struct stat *pipe, stm_wait_names_t *names)
{
    long pid = child_with((long)stm.vp.pid, pipe);

    if (pid == 0) /* rewrite maps and piped loggers are children of the master */
        pid = child_with((long)getppid(), pipe);
    names->number = pid > 0 ? (int)pid : -1;
    if (pid > 0)
        name_process(pid, names->name, sizeof(names->name));
}

/* --- descriptors --- */

static bool link_of(int fd, char name[STM_SCORE_NAMED])
{
    char path[32];
    ssize_t length;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    length = readlink(path, name, STM_SCORE_NAMED - 1);
    name[length > 0 ? length : 0] = '\0';
    return length > 0;
}

/* The first number after `key` in the descriptor's fdinfo, other than `other_than`; -1: none. */
static int number_in_info(int fd, const char *key, int other_than)
{
    char path[48], line[160], *end;
    int number = -1;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
    file = fopen(path, "re");
    while (file && number < 0 && fgets(line, sizeof(line), file))
        if (strncmp(line, key, strlen(key)) == 0) {
            number = (int)strtol(line + strlen(key), &end, 10);
            if (end == line + strlen(key) || number == other_than)
                number = -1;
        }
    if (file)
        fclose(file);
    return number;
}

static stm_wait_e look_at_one(int fd, int events, stm_wait_names_t *names)
{
    struct stat info;

    if (fstat(fd, &info) != 0)
        return STM_WAIT_descriptor;
    if (S_ISSOCK(info.st_mode))
        return look_at_socket(fd, events, names);
    if (S_ISFIFO(info.st_mode)) {
        if (names)
            look_at_pipe(&info, names);
        return STM_WAIT_program;
    }
    return STM_WAIT_descriptor;
}

/* An epoll descriptor stands for the first descriptor that it watches other than the client's. */
static stm_wait_e look_at_other(int fd, int client, stm_wait_names_t *names)
{
    char name[STM_SCORE_NAMED];
    int number;

    if (!link_of(fd, name))
        return STM_WAIT_descriptor;
    if (strcmp(name, "anon_inode:[eventpoll]") == 0) {
        number = number_in_info(fd, "tfd:", client);
        if (number >= 0)
            return look_at_one(number, POLLIN, names);
        return number_in_info(fd, "tfd:", -1) == client && client >= 0 ? STM_WAIT_client_read
                                                                       : STM_WAIT_descriptor;
    }
    if (names)
        memcpy(names->name, name, sizeof(names->name));
    return STM_WAIT_descriptor;
}

stm_wait_e stm_wait_kind_of_fd(int fd, int events, int client, stm_wait_names_t *names)
{
    stm_wait_e kind;

    if (fd == client && fd >= 0)
        return (events & POLLIN) != 0 ? STM_WAIT_client_read : STM_WAIT_client_write;
    kind = look_at_one(fd, events, names);
    return kind != STM_WAIT_descriptor ? kind : look_at_other(fd, client, names);
}

/* --- files --- */

static void name_file(const st_wait_t *wait, char name[STM_SCORE_NAMED])
{
    char directory[STM_SCORE_NAMED];

    if (!wait->name)
        link_of(wait->number, name);
    else if (*wait->name == '/' || wait->number < 0 || !link_of(wait->number, directory))
        snprintf(name, STM_SCORE_NAMED, "%s", wait->name);
    else
        snprintf(name, STM_SCORE_NAMED, "%.*s/%.*s", STM_SCORE_NAMED / 2, directory,
                 STM_SCORE_NAMED / 2 - 2, wait->name);
}

/* The process that holds a lock on the file, according to a line of /proc/locks, where the file is
 * called `file`: "1: POSIX  ADVISORY  WRITE 733 fe:01:12 0 EOF". -1: the lock belongs to an open
 * file. 0: the line is about another file, or about a process that waits: "1: -> POSIX ...". */
static long holder_in(const char *line, const char *file)
{
    const char *at = strstr(line, file);
    char *end;
    long pid;

    if (!at || strstr(line, ": -> "))
        return 0;
    while (at > line && at[-1] != ' ')
        at--;
    pid = strtol(at, &end, 10);
    return end > at && *end == ' ' ? pid : 0;
}

static void describe_process(long pid, char holder[STM_SCORE_HOLDER])
{
    char name[64];

    name_process(pid, name, sizeof(name));
    snprintf(holder, STM_SCORE_HOLDER, "%s %s", pid == stm.vp.pid ? "this VP, process" : "process",
             name);
}

static void find_file_holder(int fd, char holder[STM_SCORE_HOLDER])
{
    struct stat info;
    char line[256], name[64];
    FILE *file = fstat(fd, &info) == 0 ? fopen("/proc/locks", "re") : NULL;
    long pid = 0;
    int lines = 0;

    snprintf(name, sizeof(name), " %02x:%02x:%lu ", major(info.st_dev), minor(info.st_dev),
             (unsigned long)info.st_ino);
    for (; file && pid == 0 && lines < MOST_LOCKS && fgets(line, sizeof(line), file); lines++)
        pid = holder_in(line, name);
    if (file)
        fclose(file);
    if (pid > 0)
        describe_process(pid, holder);
    else if (pid < 0)
        snprintf(holder, STM_SCORE_HOLDER, "another open file");
    else if (lines == MOST_LOCKS)
        snprintf(holder, STM_SCORE_HOLDER, "unknown (the machine has too many file locks)");
}

/* --- locks in memory --- */

/* A mapping may be shorter than its headers claim, or be unmapped meanwhile by a kernel thread. So
 * the kernel does the reading: it fails where a load would crash. */
static bool copy_memory(uintptr_t from, void *to, size_t size)
{
    const struct iovec here = {to, size}, there = {(void *)from, size};

    return process_vm_readv(stm.vp.pid, &here, 1, &there, 1, 0) == (ssize_t)size;
}

/* Where the object whose header is mapped at `base` ends, including its .bss; 0: no object. */
static uintptr_t end_of_object(uintptr_t base)
{
    ElfW(Ehdr) header;
    ElfW(Phdr) segments[MOST_SEGMENTS];
    uintptr_t end = 0;

    if (!copy_memory(base, &header, sizeof(header)) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_type != ET_DYN ||
        header.e_phentsize != sizeof(*segments) || header.e_phnum > MOST_SEGMENTS ||
        !copy_memory(base + header.e_phoff, segments, header.e_phnum * sizeof(*segments)))
        return 0;
    for (int i = 0; i < header.e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && base + segments[i].p_vaddr + segments[i].p_memsz > end)
            end = base + segments[i].p_vaddr + segments[i].p_memsz;
    return end;
}

/* If the object in a line of /proc/self/maps contains the address, writes its name and offset. The
 * line is "7f0c4a600000-7f0c4a628000 r--p 00000000 fe:01 123    /lib/libc.so.6": an object starts
 * where its offset in the file is 0. */
static bool is_in_object(const char *line, uintptr_t address, char *place, size_t size)
{
    char *end;
    unsigned long base = strtoul(line, &end, 16);
    const char *slash = strrchr(line, '/'), *rights = strchr(line, ' ');

    if (!slash || !strstr(slash, ".so") || *end != '-' || !rights || rights[1] != 'r')
        return false;
    if (strtoul(rights + strlen(" r--p "), &end, 16) != 0 || *end != ' ' || address < base ||
        address >= end_of_object(base))
        return false;
    snprintf(place, size, "%.*s+0x%lx", (int)strcspn(slash + 1, "\n"), slash + 1,
             (unsigned long)address - base);
    return true;
}

static void find_place(uintptr_t address, char *place, size_t size)
{
    char line[512];
    FILE *file = fopen("/proc/self/maps", "re");

    snprintf(place, size, "0x%lx", (unsigned long)address);
    for (int i = 0; file && i < MOST_MAPS && fgets(line, sizeof(line), file); i++)
        if (is_in_object(line, address, place, size))
            break;
    if (file)
        fclose(file);
}

/* Where an address is: an object and the offset in it, or just the address. The last result is
 * remembered, because many threads may wait for the same lock. */
static void print_place(uintptr_t address, char *place, size_t size)
{
    static struct {
        uintptr_t address;
        st_utime_t until;
        char place[PLACE];
    } last;

    if (last.address != address || st_utime() >= last.until) {
        find_place(address, last.place, sizeof(last.place));
        last.address = address;
        last.until = st_utime() + REMEMBERED;
    }
    snprintf(place, size, "%s", last.place);
}

static void describe_holder(const st_wait_t *wait, char text[STM_SCORE_HOLDER])
{
    char path[48];
    stiol_holder_t holder;
    const stm_busy_t *busy;

    if (!stiol_lock_holder(wait, &holder))
        return;
    busy = holder.thread ? stm_busy_of(holder.thread) : NULL;
    snprintf(path, sizeof(path), "/proc/self/task/%d", holder.tid);
    if (busy && busy->r && busy->r->the_request)
        snprintf(text, STM_SCORE_HOLDER, "connection %lu: %.64s", (unsigned long)busy->cell->serial,
                 busy->r->the_request);
    else if (holder.thread)
        snprintf(text, STM_SCORE_HOLDER, "another state thread");
    else if (access(path, F_OK) == 0)
        snprintf(text, STM_SCORE_HOLDER, "kernel thread %d of this VP", holder.tid);
    else
        describe_process(holder.tid, text);
}

static void look_at_lock(const st_wait_t *wait, bool costly, stm_wait_names_t *names)
{
    uintptr_t key = (uintptr_t)wait->object;
    char place[PLACE];

    describe_holder(wait, names->holder);
    if ((key & 7) == 1 || (key & 7) == 5) {
        snprintf(names->name, sizeof(names->name), "%s %lu",
                 (key & 7) == 1 ? "semaphore set" : "message queue", (unsigned long)(key >> 3));
        return;
    }
    if (costly) {
        print_place(key, place, sizeof(place));
        snprintf(names->name, sizeof(names->name), "%s %s", wait->name ? wait->name : "at", place);
    }
}

/* --- any wait --- */

void stm_wait_name(const st_wait_t *wait, int client, bool costly, stm_wait_names_t *names)
{
    *names->name = *names->holder = '\0';
    switch (wait->kind) {
    case ST_WAIT_FD:
        names->kind = stm_wait_kind_of_fd(wait->number, wait->events, client, names);
        break;
    case ST_WAIT_PROCESS:
        if (wait->number > 0)
            name_process(wait->number, names->name, sizeof(names->name));
        break;
    case ST_WAIT_DISK:
        name_file(wait, names->name);
        break;
    case ST_WAIT_FILELOCK:
        link_of(wait->number, names->name);
        if (costly)
            find_file_holder(wait->number, names->holder);
        break;
    case ST_WAIT_LOCK:
        look_at_lock(wait, costly, names);
        break;
    case ST_WAIT_COND:
        print_place((uintptr_t)wait->object, names->name, sizeof(names->name));
        break;
    case ST_WAIT_NAME:
        snprintf(names->name, sizeof(names->name), "%s", wait->name ? wait->name : "");
        break;
    default:
        break;
    }
}

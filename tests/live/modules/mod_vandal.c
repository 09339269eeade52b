/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For test_trust.py: what an attacker does who runs code in a VP through a hole in some module. The
 * process is permitted to do all of it with what it has; nothing here uses a hole in the kernel.
 *
 *   SetHandler vandal, then GET ...?look          tries to get write access to what it only may
 *                                   read: a line "gained WHAT" for each success; and a line
 *                                   "writable BYTES NAME" for each shared mapping that it may write
 *                             ?scribble=SEED      random bytes over all of these
 *                             ?scribble-ours=SEED the same, but for httpd's own scoreboard
 *                             ?fill=N             the number N, as an int, all over these
 *                             ?cut                cuts off every file that it has open, but for
 * logs ?talk=SEED          fills every pipe and local socket that it has, and makes them block
 *                             ?orphan=SECONDS     leaves a process behind that scribbles and talks
 *                                   on for so long, whatever happens to its parent
 *                             ?hangup             closes every pipe and local socket that it has
 *                             ?halfclose          the same by half: it says no more, and listens
 *                             ?block              makes every socket block that it has
 *                             ?exit=STATUS        ends with that status
 *                             ?headless           its main kernel thread ends, another one stays
 */
#include <httpd.h>
#include <http_config.h>
#include <http_protocol.h>
#include <scoreboard.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096 }; /* mappings */

typedef struct {
    uintptr_t start, end;
    bool writable;
    char name[200];
} mapping_t;

static mapping_t mappings[MOST];
static int mapping_count;

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* All shared mappings that may be read. */
static void read_mappings(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512], access[8];

    mapping_count = 0;
    while (maps && mapping_count < MOST && fgets(line, sizeof(line), maps)) {
        mapping_t *mapping = &mappings[mapping_count];
        mapping->name[0] = '\0';
        if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %199s", &mapping->start, &mapping->end, access,
                   mapping->name) < 3 ||
            access[0] != 'r' || access[3] != 's')
            continue;
        mapping->writable = access[1] == 'w';
        mapping_count++;
    }
    if (maps)
        fclose(maps);
}

static bool is_httpds(const mapping_t *mapping)
{
    uintptr_t global = (uintptr_t)ap_scoreboard_image->global;
    return global >= mapping->start && global < mapping->end;
}

/* --- what must not be possible --- */

static void gained(request_rec *r, const char *what, const char *name)
{
    ap_rprintf(r, "gained %s %s\n", what, name);
}

static void try_memory_file(request_rec *r, const mapping_t *mapping)
{
    int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    char byte = *(volatile char *)mapping->start;
    if (fd >= 0 && pwrite(fd, &byte, 1, (off_t)mapping->start) == 1)
        gained(r, "/proc/self/mem", mapping->name);
    if (fd >= 0)
        close(fd);
}

static void try_mapping(request_rec *r, const mapping_t *mapping)
{
    void *start = (void *)mapping->start;
    size_t size = mapping->end - mapping->start;
    char path[64];
    int fd;
    if (mprotect(start, size, PROT_READ | PROT_WRITE) == 0)
        gained(r, "mprotect", mapping->name);
    if (syscall(SYS_remap_file_pages, start, size, 0, 0, 0) == 0 &&
        mprotect(start, size, PROT_READ | PROT_WRITE) == 0)
        gained(r, "remap_file_pages", mapping->name);
    if (madvise(start, size, MADV_REMOVE) == 0)
        gained(r, "MADV_REMOVE", mapping->name);
    snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", mapping->start, mapping->end);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        gained(r, "map_files", mapping->name);
        close(fd);
    }
    if (mapping->name[0] == '/' && (fd = open(mapping->name, O_RDWR | O_CLOEXEC)) >= 0) {
        gained(r, "open", mapping->name);
        close(fd);
    }
    try_memory_file(r, mapping);
}

/* Shared memory has no descriptor that is still open here. */
static void try_descriptors(request_rec *r)
{
    char path[64], name[256];
    for (int fd = 3; fd < 1024; fd++) {
        ssize_t n;
        int again;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, name, sizeof(name) - 1);
        if (n <= 0)
            continue;
        name[n] = '\0';
        if (!strstr(name, "memfd:") && !strstr(name, "scoreboards"))
            continue;
        gained(r, "descriptor", name);
        again = open(path, O_RDWR | O_CLOEXEC);
        if (again >= 0)
            gained(r, "descriptor for writing", name);
    }
}

static void look(request_rec *r)
{
    for (int i = 0; i < mapping_count; i++) {
        const mapping_t *mapping = &mappings[i];
        if (mapping->writable)
            ap_rprintf(r, "writable %lu %s%s\n", mapping->end - mapping->start, mapping->name,
                       is_httpds(mapping) ? " (httpd's scoreboard)" : "");
        else
            try_mapping(r, mapping);
    }
    try_descriptors(r);
}

/* --- what is possible, and must harm nobody else --- */

static void scribble(uint64_t seed, bool httpds)
{
    uint64_t state = seed * 2654435761u + 88172645463325252u;
    for (int i = 0; i < mapping_count; i++) {
        const mapping_t *mapping = &mappings[i];
        if (!mapping->writable || (!httpds && is_httpds(mapping)))
            continue;
        for (volatile uint64_t *at = (void *)mapping->start; (uintptr_t)at < mapping->end; at++)
            *at = next_random(&state);
    }
}

static void fill(int number)
{
    for (int i = 0; i < mapping_count; i++) {
        if (!mappings[i].writable)
            continue;
        for (volatile int *at = (void *)mappings[i].start; (uintptr_t)at < mappings[i].end; at++)
            *at = number;
    }
}

/* Anonymous memory can always be given back: it then reads as zeros, with no end of file. */
static int cut(void)
{
    char path[64], name[256] = "";
    struct stat info;
    int done = 0;
    for (int i = 0; i < mapping_count; i++)
        if (mappings[i].writable)
            done += madvise((void *)mappings[i].start, mappings[i].end - mappings[i].start,
                            MADV_REMOVE) == 0 &&
                    strncmp(mappings[i].name, "/dev/zero", 9) != 0;
    for (int fd = 3; fd < 1024; fd++) {
        if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
            continue;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (readlink(path, name, sizeof(name) - 1) > 0 && strstr(name, "/logs/"))
            continue;
        done += ftruncate(fd, 0) == 0;
        done += truncate(path, 0) == 0;
    }
    return done;
}

static bool may_talk(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    struct stat info;
    if (fstat(fd, &info) != 0)
        return false;
    if (S_ISFIFO(info.st_mode))
        return true;
    return S_ISSOCK(info.st_mode) && getsockname(fd, (struct sockaddr *)&address, &size) == 0 &&
           address.ss_family == AF_UNIX;
}

static int talk(uint64_t seed)
{
    uint64_t state = seed | 1, bytes[64];
    int done = 0;
    for (int fd = 3; fd < 1024; fd++) {
        if (!may_talk(fd))
            continue;
        fcntl(fd, F_SETFL, O_NONBLOCK);
        do
            for (size_t i = 0; i < sizeof(bytes) / sizeof(*bytes); i++)
                bytes[i] = next_random(&state);
        while (write(fd, bytes, sizeof(bytes)) > 0 && ++done < 100000);
        fcntl(fd, F_SETFL, 0);
    }
    return done;
}

static void orphan(int seconds)
{
    time_t end = time(NULL) + seconds;
    if (fork() != 0)
        return;
    setsid();
    signal(SIGPIPE, SIG_IGN);
    for (int fd = 0; fd < 1024; fd++)
        if (!may_talk(fd))
            close(fd); /* the port must be free when the server has stopped */
    for (uint64_t seed = 1; time(NULL) < end; seed++) {
        scribble(seed, true);
        talk(seed);
        usleep(1000);
    }
    _exit(0);
}

static void hang_up(bool half)
{
    for (int fd = 3; fd < 1024; fd++) {
        if (!may_talk(fd))
            continue;
        if (half)
            shutdown(fd, SHUT_WR);
        else
            close(fd);
    }
}

static void make_sockets_block(void)
{
    struct stat info;
    for (int fd = 3; fd < 1024; fd++)
        if (fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode))
            fcntl(fd, F_SETFL, 0);
}

static int stay(void *unused)
{
    (void)unused;
    for (;;)
        syscall(SYS_pause);
    return 0;
}

/* A process whose first thread has ended is a zombie that nobody can wait for. */
static void lose_head(void)
{
    static char stack[65536] __attribute__((aligned(16)));
    if (clone(stay, stack + sizeof(stack),
              CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
              NULL) > 0)
        syscall(SYS_exit, 0);
}

static bool asks(const char *args, const char *name, long *number)
{
    size_t length = strlen(name);
    if (strncmp(args, name, length) != 0)
        return false;
    *number = strtol(args + length, NULL, 10);
    return true;
}

static int handler(request_rec *r)
{
    const char *args = r->args ? r->args : "";
    long number;
    if (strcmp(r->handler, "vandal") != 0)
        return DECLINED;
    ap_set_content_type(r, "text/plain");
    ap_rprintf(r, "pid %ld uid %ld\n", (long)getpid(), (long)geteuid());
    ap_rflush(r); /* this may be the last thing it sends */
    read_mappings();
    if (asks(args, "look", &number))
        look(r);
    else if (asks(args, "scribble=", &number))
        scribble((uint64_t)number, true);
    else if (asks(args, "scribble-ours=", &number))
        scribble((uint64_t)number, false);
    else if (asks(args, "fill=", &number))
        fill((int)number);
    else if (asks(args, "cut", &number))
        ap_rprintf(r, "cut %d\n", cut());
    else if (asks(args, "talk=", &number))
        ap_rprintf(r, "talked %d\n", talk((uint64_t)number) > 0);
    else if (asks(args, "orphan=", &number))
        orphan((int)number);
    else if (asks(args, "hangup", &number))
        hang_up(false);
    else if (asks(args, "halfclose", &number))
        hang_up(true);
    else if (asks(args, "block", &number))
        make_sockets_block();
    else if (asks(args, "exit=", &number))
        _exit((int)number);
    else if (asks(args, "headless", &number))
        lose_head();
    return OK;
}

static void register_hooks(apr_pool_t *pool)
{
    (void)pool;
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(vandal) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks,
                             AP_MODULE_FLAG_NONE};

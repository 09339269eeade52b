/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which file systems can make a call wait, and for how long: by their type, from the table of
 * mounts, and as learned from calls that recently took long. Each VP has its own table, so nothing
 * here takes a lock or waits. Asked by file.c, file_open.c and file_path.c before they make a call.
 */
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>

#include "stiol/file.h"
#include "stiol/server.h"

enum { LONG = 10000 };                  /* us; longer than a VP should be held */
#define SUSPICIOUS  (10 * STIOL_SECOND) /* after a long call */
#define SLOW_FOR    (10 * STIOL_SECOND) /* after a call that has waited */
#define ANSWER_GOOD STIOL_SECOND        /* how long a finding about a path is valid */
enum {
    DEVICES = 256,  /* remembered; a power of 2 */
    ANSWERS = 1024, /* paths remembered; a power of 2 */
    NAMES = 128,    /* likewise, of paths that need not be asked about */
};

/* What is known about a device. */
typedef enum {
    KIND_UNKNOWN, /* assumed to be a disk: the kernel tells what is in memory */
    KIND_MEMORY,  /* tmpfs, proc and the like: never waits for a device */
    KIND_MUTE,    /* cannot say what is in memory: calls are made, and timed */
    KIND_REMOTE   /* another machine's or process's: may take forever */
} kind_t;

typedef struct device {
    dev_t number; /* 0: free */
    kind_t kind;
    bool mounted;              /* in the table of mounts */
    bool known;                /* without a table: statfs() has told what it is, */
    struct question *question; /* or a helper is asking that */
    st_utime_t slow_until;     /* learned; 0: not slow */
    bool asked, local; /* statfs() has been asked whether it is a local disk, and its answer */
} device_t;

typedef struct answer {
    uint64_t hash; /* of the path; 0: none */
    st_utime_t until;
    uint64_t group;
    stiol__fs_verdict_t verdict;
} answer_t;

/* A path for which openat2() cannot say whether it is in memory: it is not asked again for a
 * second. */
typedef struct name {
    uint64_t noted; /* ticks */
    char path[184];
} name_t;

struct stiol__filesystems {
    uint64_t ticks_at_start;
    st_utime_t started;
    st_utime_t slow_until; /* the latest of any device */
    int mounts; /* /proc/self/mountinfo, for which poll() reports POLLPRI when it changes; -1: no
                 * table */
    device_t devices[DEVICES];
    answer_t answers[ANSWERS];
    uint64_t unaskable; /* ticks, when a name was last noted; 0: never */
    name_t names[NAMES];
};

uint64_t stiol__many_ticks;
bool stiol__no_end_is_sure;
static uint64_t ticks_a_second; /* a guess that is not too high: for what need not be exact */

/* --- types --- */

/* File systems served by another machine, or by a program. */
static bool is_remote_type(const char *type)
{
    static const char *const types[] = {"9p",        "afs",  "autofs", "beegfs",   "ceph",
                                        "cifs",      "coda", "fuse",   "fuseblk",  "gfs2",
                                        "glusterfs", "gpfs", "hgfs",   "lustre",   "ncpfs",
                                        "nfs",       "nfs4", "ocfs2",  "orangefs", "panfs",
                                        "prl_fs",    "smb3", "smbfs",  "vboxsf",   "virtiofs"};

    if (strncmp(type, "fuse.", 5) == 0)
        return true;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

static bool is_memory_type(const char *type)
{
    static const char *const types[] = {"tmpfs",   "ramfs",   "proc",     "sysfs",      "devtmpfs",
                                        "devpts",  "cgroup",  "cgroup2",  "securityfs", "debugfs",
                                        "tracefs", "mqueue",  "configfs", "hugetlbfs",  "bpf",
                                        "pstore",  "efivarfs"};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

/* --- devices --- */

static device_t *find_device(stiol__filesystems_t *fs, dev_t number, bool make)
{
    size_t at = (size_t)(number * UINT64_C(0x9E3779B97F4A7C15) >> 32) & (DEVICES - 1);
    device_t *oldest = NULL;

    for (size_t i = 0; i < DEVICES; i++) {
        device_t *device = &fs->devices[(at + i) & (DEVICES - 1)];

        if (device->number == number)
            return device;
        if (device->number == 0) {
            oldest = device;
            break;
        }
        if ((!device->mounted || device->kind == KIND_MEMORY) &&
            (!oldest || device->slow_until < oldest->slow_until))
            oldest = device;
    }
    if (!make || !oldest)
        return NULL;
    *oldest = (device_t){.number = number};
    return oldest;
}

static bool is_slow(const device_t *device)
{
    return device->slow_until != 0 && st_utime() < device->slow_until;
}

static bool is_unknown(const stiol__filesystems_t *fs, const device_t *device)
{
    return STIOL_UNLIKELY(fs->mounts < 0) && (!device || !device->known);
}

static stiol__fs_verdict_t verdict_of(stiol__filesystems_t *fs, dev_t number)
{
    const device_t *device = find_device(fs, number, false);

    if (is_unknown(fs, device))
        return STIOL_FS_PATIENT;
    if (!device)
        return STIOL_FS_NOW;
    if (device->kind == KIND_MEMORY)
        return STIOL_FS_MEMORY;
    return device->kind == KIND_REMOTE || is_slow(device) ? STIOL_FS_PATIENT : STIOL_FS_NOW;
}

/* --- the table of mounts --- */

/* The third word of a line: "98:0". 0 if there is none. */
static dev_t device_in(const char *line)
{
    unsigned long major, minor;
    char *end;

    (void)strtoul(line, &end, 10);
    (void)strtoul(end, &end, 10);
    major = strtoul(end, &end, 10);
    if (*end != ':')
        return 0;
    minor = strtoul(end + 1, &end, 10);
    return makedev((unsigned)major, (unsigned)minor);
}

/* Whether the fifth word of a line is a place in the kernel's own file systems. systemd has an
 * autofs on /proc/sys/fs/binfmt_misc of every host, which no request leads to. */
static bool is_below_proc(const char *line)
{
    for (int words = 0; words < 4 && line; words++)
        if ((line = strchr(line, ' ')))
            line++;
    return line && (strncmp(line, "/proc/", 6) == 0 || strncmp(line, "/sys/", 5) == 0);
}

/* One line: "36 35 98:0 /root /mount/point options ... - type source options". */
static void take_line(stiol__vp_t *vp, char *line)
{
    char *type = strstr(line, " - ");
    dev_t number = device_in(line);
    device_t *device;
    kind_t kind;

    if (!type || number == 0)
        return;
    type += 3;
    type[strcspn(type, " \n")] = '\0';
    kind = is_remote_type(type) ? KIND_REMOTE : is_memory_type(type) ? KIND_MEMORY : KIND_UNKNOWN;
    if (kind == KIND_UNKNOWN)
        return;
    device = find_device(vp->filesystems, number, true);
    if (!device)
        return;
    device->kind = kind;
    device->mounted = true;
    if (kind == KIND_REMOTE && !is_below_proc(line))
        vp->wary = true;
}

static bool refill(int fd, char *buffer, size_t size, size_t *used)
{
    ssize_t n = read(fd, buffer + *used, size - 1 - *used);

    if (n <= 0)
        return false;
    *used += (size_t)n;
    buffer[*used] = '\0';
    return true;
}

static void read_mounts(stiol__vp_t *vp)
{
    stiol__filesystems_t *fs = vp->filesystems;
    char buffer[8192], *end;
    size_t used = 0;

    vp->wary = fs->mounts < 0 || st_utime() < fs->slow_until;
    for (size_t i = 0; i < DEVICES; i++) {
        fs->devices[i].asked = false; /* its number may be another one's now */
        if (fs->devices[i].mounted)
            fs->devices[i].mounted = false, fs->devices[i].kind = KIND_UNKNOWN;
    }
    if (fs->mounts < 0 || lseek(fs->mounts, 0, SEEK_SET) != 0)
        return;
    while (refill(fs->mounts, buffer, sizeof(buffer), &used)) {
        while ((end = memchr(buffer, '\n', used))) {
            *end = '\0';
            take_line(vp, buffer);
            used -= (size_t)(end + 1 - buffer);
            memmove(buffer, end + 1, used);
        }
        if (used == sizeof(buffer) - 1)
            used = 0; /* no line of interest is that long */
    }
}

static void forget_answers(stiol__filesystems_t *fs)
{
    memset(fs->answers, 0, sizeof(fs->answers));
}

/* About once a second: checks whether something was mounted or unmounted, or no device is slow any
 * more. */
static void look_again(stiol__vp_t *vp, uint64_t now)
{
    stiol__filesystems_t *fs = vp->filesystems;
    struct pollfd one = {.fd = fs->mounts, .events = POLLPRI};
    int error = errno;

    vp->looked_ticks = now;
    if ((fs->mounts >= 0 && poll(&one, 1, 0) > 0 && (one.revents & (POLLPRI | POLLERR)) != 0) ||
        (fs->slow_until != 0 && st_utime() >= fs->slow_until)) {
        if (st_utime() >= fs->slow_until)
            fs->slow_until = 0;
        read_mounts(vp);
        forget_answers(fs);
    }
    errno = error;
}

static void measure_ticks(void)
{
#ifdef __x86_64__
    ticks_a_second = UINT64_C(1000000000); /* the slowest counter in use */
#else
    __asm__ volatile("mrs %0, cntfrq_el0" : "=r"(ticks_a_second));
#endif
    stiol__many_ticks = ticks_a_second / (STIOL_SECOND / LONG);
}

static void look_at_kernel(void)
{
    struct utsname kernel;

    if (uname(&kernel) == 0)
        stiol__no_end_is_sure =
            strncmp(kernel.release, "5.9.", 4) == 0 || strncmp(kernel.release, "5.10.", 5) == 0;
}

/* --- time --- */

/* The counter's speed is determined only when it matters: when a call has taken more ticks than a
 * slow counter makes in that time. */
st_utime_t stiol__ticks_time(const stiol__vp_t *vp, uint64_t ticks)
{
    const stiol__filesystems_t *fs = vp->filesystems;
    uint64_t passed = stiol__ticks() - fs->ticks_at_start;
    st_utime_t time = st_utime() - fs->started;

    return passed > 0 ? (st_utime_t)((double)ticks * (double)time / (double)passed) : 0;
}

bool stiol__is_long(const stiol__vp_t *vp, uint64_t ticks)
{
    return ticks > stiol__many_ticks && stiol__ticks_time(vp, ticks) >= LONG;
}

long stiol__switches(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nvcsw : -1;
}

/* Counting takes a system call each time, so it is done only for a while. */
long stiol__count_switches(stiol__vp_t *vp)
{
    if (st_utime() >= vp->suspicious_until) {
        vp->suspicious = false;
        return -1;
    }
    return stiol__switches();
}

bool stiol__took_long(stiol__vp_t *vp, const stiol__begun_t *begun)
{
    int error = errno;
    bool waited = false;

    if (!stiol__is_long(vp, stiol__ticks() - begun->ticks))
        return false;
    vp->suspicious = true;
    vp->suspicious_until = st_utime() + SUSPICIOUS;
    if (begun->switches >= 0)
        waited = stiol__count_switches(vp) > begun->switches;
    errno = error;
    return waited;
}

/* --- descriptors --- */

int stiol__look_at(int fd, struct statx *st)
{
    int error = errno;

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE | STATX_MODE, st) == 0)
        return 0;
    errno = error;
    return -1;
}

uint64_t stiol__fd_group(int fd)
{
    struct statx st;

    return stiol__look_at(fd, &st) == 0 ? makedev(st.stx_dev_major, st.stx_dev_minor) : 0;
}

stiol__fd_class_t stiol__device_class(unsigned major, unsigned minor, bool directory)
{
    const stiol__vp_t *vp = stiol__mine();
    const device_t *device = NULL;

    if (vp && vp->filesystems)
        device = find_device(vp->filesystems, makedev(major, minor), false);
    if ((device && (device->kind == KIND_REMOTE || is_slow(device))) ||
        (vp && vp->filesystems && is_unknown(vp->filesystems, device)))
        return STIOL_FD_SLOW_FILE;
    if (directory || (device && device->kind == KIND_MEMORY))
        return STIOL_FD_PASS;
    return device && device->kind == KIND_MUTE ? STIOL_FD_MUTE_FILE : STIOL_FD_FILE;
}

stiol__fd_class_t stiol__fd_is_mute(int fd)
{
    const stiol__vp_t *vp = stiol__mine();
    device_t *device;
    struct statx st;

    if (vp && vp->filesystems && stiol__look_at(fd, &st) == 0 && S_ISREG(st.stx_mode)) {
        device = find_device(vp->filesystems, makedev(st.stx_dev_major, st.stx_dev_minor), true);
        if (device && device->kind == KIND_UNKNOWN)
            device->kind = KIND_MUTE;
    }
    return stiol__fd_look(fd);
}

/* --- without a table of mounts: a helper asks what a device is --- */

/* Identified by the numbers that statfs() returns. */
static kind_t kind_of_magic(unsigned long magic)
{
    static const unsigned long remote[] = {FUSE_SUPER_MAGIC,
                                           NFS_SUPER_MAGIC,
                                           SMB_SUPER_MAGIC,
                                           CIFS_SUPER_MAGIC,
                                           SMB2_SUPER_MAGIC,
                                           CEPH_SUPER_MAGIC,
                                           V9FS_MAGIC,
                                           AFS_SUPER_MAGIC,
                                           AFS_FS_MAGIC,
                                           CODA_SUPER_MAGIC,
                                           AUTOFS_SUPER_MAGIC,
                                           OCFS2_SUPER_MAGIC,
                                           NCP_SUPER_MAGIC,
                                           0x01161970 /* GFS2 */,
                                           0x0BD00BD0 /* Lustre */,
                                           0x47504653 /* GPFS */,
                                           0x19830326 /* BeeGFS */,
                                           0x786F4256 /* VirtualBox */};
    static const unsigned long memory[] = {
        TMPFS_MAGIC,        RAMFS_MAGIC,        PROC_SUPER_MAGIC,   SYSFS_MAGIC,
        DEVPTS_SUPER_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC};

    for (size_t i = 0; i < sizeof(remote) / sizeof(remote[0]); i++)
        if (magic == remote[i])
            return KIND_REMOTE;
    for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); i++)
        if (magic == memory[i])
            return KIND_MEMORY;
    return KIND_UNKNOWN;
}

typedef struct question {
    stiol__job_t job;
    int fd; /* owned */
    dev_t number;
    int rc;
    struct statfs answer;
} question_t;

static void run_question(stiol__job_t *job)
{
    question_t *question = (question_t *)job;

    question->rc = fstatfs(question->fd, &question->answer);
}

static void drop_question(stiol__job_t *job)
{
    (void)close(((question_t *)job)->fd);
    free(job);
}

/* Runs on the VP, in its scheduler. */
static void take_answer(stiol__job_t *job)
{
    question_t *question = (question_t *)job;
    const stiol__vp_t *vp = stiol__mine();
    device_t *device =
        vp && vp->filesystems ? find_device(vp->filesystems, question->number, true) : NULL;
    kind_t kind = kind_of_magic((unsigned long)question->answer.f_type);

    if (device) {
        device->question = NULL;
        device->known = question->rc == 0;
        if (device->known && (kind != KIND_UNKNOWN || device->kind != KIND_MUTE))
            device->kind = kind;
        forget_answers(vp->filesystems);
    }
    drop_question(job);
}

/* True: the descriptor now belongs to the helper. Until that has an answer, calls there run on
 * helpers. */
static bool ask_about(int fd, dev_t number)
{
    stiol__vp_t *vp = stiol__mine();
    device_t *device;
    question_t *question;

    if (STIOL_LIKELY(!vp || !vp->filesystems || vp->filesystems->mounts >= 0))
        return false;
    device = find_device(vp->filesystems, number, true);
    if (!device || device->known || device->question || !(question = calloc(1, sizeof(*question))))
        return false;
    *question = (question_t){
        .job = {.run = run_question, .finished = take_answer, .group = number},
        .fd = fd,
        .number = number,
    };
    if (!stiol__help_start(vp, STIOL_HELP_FILE, &question->job)) {
        free(question);
        return false;
    }
    device->question = question;
    return true;
}

/* --- local disks --- */

/* File systems whose files Linux sends without copying, by the numbers that statfs() returns. What
 * is not listed here is not known to be one. */
static bool is_local_magic(unsigned long magic)
{
    static const unsigned long local[] = {EXT4_SUPER_MAGIC,      BTRFS_SUPER_MAGIC,
                                          F2FS_SUPER_MAGIC,      TMPFS_MAGIC,
                                          OVERLAYFS_SUPER_MAGIC, SQUASHFS_MAGIC,
                                          ISOFS_SUPER_MAGIC,     0x58465342 /* XFS */,
                                          0x2FC12FC1 /* ZFS */,  0xCA451A4E /* bcachefs */,
                                          0x3153464A /* JFS */,  0xE0F5E1E2 /* EROFS */};

    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
        if (magic == local[i])
            return true;
    return false;
}

bool stiol_is_local(const char *path, dev_t number)
{
    stiol__vp_t *vp = stiol__mine();
    device_t *device;
    struct statfs answer;

    if (!vp || !vp->filesystems)
        return false;
    if (stiol__ticks() - vp->looked_ticks > vp->look_ticks)
        look_again(vp, stiol__ticks());
    device = find_device(vp->filesystems, number, true);
    if (!device || is_unknown(vp->filesystems, device) || device->kind == KIND_REMOTE)
        return false;
    if (!device->asked && !is_slow(device)) {
        device->local = statfs(path, &answer) == 0 && is_local_magic((unsigned long)answer.f_type);
        device->asked = true;
    }
    return device->asked && device->local;
}

/* --- paths --- */

/* The kernel reads a set of signals before it refuses to do anything with it. */
bool stiol__is_readable(const char *path)
{
    const void *word = (const void *)((uintptr_t)path & ~(uintptr_t)7); /* in one page */
    int error = errno;
    bool bad = syscall(SYS_rt_sigprocmask, -1, word, NULL, 8L) != 0 && errno == EFAULT;

    errno = error;
    return path && !bad;
}

static int open_by_name(int dir, const char *path)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_CACHED};

    if (stiol__openat2_barred) {
        errno = ENOSYS;
        return -1;
    }
    return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* The device of what the path names, if that is in memory. */
static bool device_of(int dir, const char *path, dev_t *device)
{
    int fd = open_by_name(dir, path);
    struct statx st;
    bool known;

    if (fd < 0)
        return false;
    known = stiol__look_at(fd, &st) == 0;
    if (known)
        *device = makedev(st.stx_dev_major, st.stx_dev_minor);
    if (STIOL_LIKELY(!known || !ask_about(fd, *device)))
        (void)close(fd);
    return known;
}

/* Removes the last component; false: there is none. */
static bool to_parent(char *path)
{
    char *end = path + strlen(path);

    while (end > path + 1 && end[-1] == '/')
        end--;
    while (end > path && end[-1] != '/')
        end--;
    if (end == path) {
        if (strcmp(path, ".") == 0)
            return false;
        strcpy(path, ".");
        return true;
    }
    while (end > path + 1 && end[-1] == '/')
        end--;
    if (end == path + 1 && path[1] == '\0')
        return false;
    *end = '\0';
    return true;
}

/* The device of the nearest directory above that is in memory. *away: it is not the next one, as
 * that is not in memory. */
static bool device_above(int dir, const char *path, dev_t *device, bool *away)
{
    char above[PATH_MAX];

    if (strlen(path) >= sizeof(above))
        return false;
    strcpy(above, path);
    while (to_parent(above)) {
        if (device_of(dir, above, device))
            return true;
        if (errno == EAGAIN)
            *away = true;
        else if (errno != ENOENT && errno != ENOTDIR)
            return false;
    }
    return false;
}

static uint64_t hash_of(int dir, const char *path, bool made)
{
    size_t length = strlen(path), at;
    uint64_t word,
        hash = (length << 1 | made) ^ (path[0] != '/' ? (uint64_t)(unsigned)dir << 32 : 0);

    for (at = 0; at + sizeof(word) <= length; at += sizeof(word)) {
        memcpy(&word, path + at, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
        hash ^= hash >> 29;
    }
    for (; at < length; at++)
        hash = (hash ^ (unsigned char)path[at]) * UINT64_C(0x100000001b3);
    return (hash ^ hash >> 32) | 1;
}

static answer_t *place_of(stiol__filesystems_t *fs, uint64_t hash)
{
    return &fs->answers[hash >> 20 & (ANSWERS - 1)];
}

static void remember(stiol__filesystems_t *fs, uint64_t hash, stiol__fs_verdict_t verdict,
                     uint64_t group)
{
    *place_of(fs, hash) = (answer_t){hash, st_utime() + ANSWER_GOOD, group, verdict};
}

static bool recall(stiol__filesystems_t *fs, uint64_t hash, stiol__fs_verdict_t *verdict,
                   uint64_t *group)
{
    const answer_t *answer = place_of(fs, hash);

    if (answer->hash != hash || st_utime() >= answer->until)
        return false;
    *verdict = answer->verdict;
    *group = answer->group;
    return true;
}

/* *keep: the finding is valid for a while. */
static stiol__fs_verdict_t find_out(stiol__filesystems_t *fs, int dir, const char *path, bool made,
                                    uint64_t *group, bool *keep)
{
    dev_t number = 0;
    stiol__fs_verdict_t verdict;
    bool cached = !made && device_of(dir, path, &number), away = errno == EAGAIN;

    *keep = true;
    *group = 0;
    if (!cached && !device_above(dir, path, &number, &away))
        return STIOL_FS_NOW;
    *group = number;
    verdict = verdict_of(fs, number);
    if (verdict != STIOL_FS_NOW || cached || !away)
        return verdict;
    /* The name is to be read from a disk, or a link on the way leads to who knows where. */
    *keep = false;
    return STIOL_FS_PATIENT;
}

static stiol__fs_verdict_t look_up(stiol__filesystems_t *fs, int dir, const char *path, bool made,
                                   uint64_t *group)
{
    uint64_t hash = hash_of(dir, path, made);
    stiol__fs_verdict_t verdict;
    int error = errno;
    bool keep;

    if (recall(fs, hash, &verdict, group))
        return verdict;
    errno = 0;
    verdict = find_out(fs, dir, path, made, group, &keep);
    if (keep)
        remember(fs, hash, verdict, *group);
    errno = error;
    return verdict;
}

stiol__fs_verdict_t stiol__path_look(stiol__vp_t *vp, int dir, const char *path, bool made,
                                     uint64_t *group)
{
    uint64_t now = stiol__ticks();

    *group = 0;
    if (now - vp->looked_ticks > vp->look_ticks)
        look_again(vp, now);
    if (!vp->wary || !stiol__is_readable(path))
        return STIOL_FS_NOW;
    return look_up(vp->filesystems, dir, path, made, group);
}

stiol__fs_verdict_t stiol__change_verdict(stiol__vp_t *vp, int dir, const char *path,
                                          uint64_t *group)
{
    stiol__fs_verdict_t verdict;
    dev_t number = 0;
    bool away = false;
    int error = errno;

    *group = 0;
    if (!stiol__is_readable(path) || *path == '\0') /* it fails at once, or is about `dir` */
        return STIOL_FS_NOW;
    verdict = stiol__path_verdict(vp, dir, path, true, group);
    if (verdict != STIOL_FS_NOW)
        return verdict;
    if (*group == 0 && device_above(dir, path, &number, &away))
        *group = number;
    else if (*group == 0)
        away |= stiol__is_refused(errno) || errno == EINVAL; /* openat2() is not usable here */
    errno = error;
    /* Nothing above it exists: the call fails at once. */
    return verdict_of(vp->filesystems, (dev_t)*group) == STIOL_FS_MEMORY ? STIOL_FS_MEMORY
           : *group != 0 || away                                         ? STIOL_FS_PATIENT
                                                                         : STIOL_FS_NOW;
}

/* --- names that openat2() cannot tell from memory --- */

/* A cheap hash, since it is computed for each open() while there are such names. */
static unsigned place_of_name(const char *path, size_t length)
{
    uint64_t word, hash = length;

    for (size_t back = 8; back <= 32 && back <= length; back += 8) {
        memcpy(&word, path + length - back, sizeof(word));
        hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    }
    return (unsigned)(hash >> 32) & (NAMES - 1);
}

static void note_unaskable(stiol__filesystems_t *fs, const char *path)
{
    size_t length = strlen(path);
    name_t *name = &fs->names[place_of_name(path, length)];

    if (length >= sizeof(name->path))
        return;
    memcpy(name->path, path, length + 1);
    name->noted = fs->unaskable = stiol__ticks();
}

bool stiol__is_unaskable(const stiol__vp_t *vp, int dir, const char *path)
{
    const stiol__filesystems_t *fs = vp->filesystems;
    const name_t *name;
    uint64_t now;
    size_t length;

    if (STIOL_LIKELY(fs->unaskable == 0) || (dir != AT_FDCWD && path[0] != '/'))
        return false;
    now = stiol__ticks();
    if (now - fs->unaskable > ticks_a_second)
        return false;
    length = strlen(path);
    name = &fs->names[place_of_name(path, length)];
    return length < sizeof(name->path) && now - name->noted <= ticks_a_second &&
           strcmp(name->path, path) == 0;
}

/* Examines the directory that the last component is in: 1 and its device; 0: it is not in memory
 * either; -1: it is not a directory (errno is ENOTDIR). */
static int look_at_parent(int dir, const char *path, dev_t *device)
{
    struct open_how how = {.flags = O_PATH | O_CLOEXEC | O_DIRECTORY, .resolve = RESOLVE_CACHED};
    char parent[PATH_MAX];
    struct statx st;
    int fd;

    if (strlen(path) >= sizeof(parent))
        return 0;
    strcpy(parent, path);
    if (!to_parent(parent))
        return 0;
    fd = (int)syscall(SYS_openat2, dir, parent, &how, sizeof(how));
    if (fd < 0)
        return errno == ENOTDIR ? -1 : 0;
    if (stiol__look_at(fd, &st) == 0)
        *device = makedev(st.stx_dev_major, st.stx_dev_minor);
    (void)close(fd);
    return 1;
}

/* The kernel leaves its fast path if a component is not a directory, as it does for proc; the disk
 * is not asked. */
stiol__fs_verdict_t stiol__uncached_verdict(stiol__vp_t *vp, int dir, const char *path,
                                            uint64_t *group)
{
    stiol__filesystems_t *fs = vp->filesystems;
    stiol__fs_verdict_t verdict = STIOL_FS_PATIENT;
    dev_t number = 0;
    bool away = false;
    int error = errno, parent = look_at_parent(dir, path, &number);

    *group = 0;
    if (parent < 0) {
        verdict = STIOL_FS_NOT_THERE;
    } else if (parent > 0 || device_above(dir, path, &number, &away)) {
        *group = number;
        verdict = verdict_of(fs, number) == STIOL_FS_MEMORY ? STIOL_FS_MEMORY : STIOL_FS_PATIENT;
    }
    if (verdict != STIOL_FS_PATIENT && (dir == AT_FDCWD || path[0] == '/'))
        note_unaskable(fs, path);
    errno = error;
    return verdict;
}

/* --- learning --- */

static void strike(stiol__vp_t *vp, dev_t number)
{
    stiol__filesystems_t *fs = vp->filesystems;
    device_t *device = find_device(fs, number, true);
    st_utime_t now = st_utime();

    if (!device || device->kind == KIND_MEMORY || device->kind == KIND_REMOTE)
        return;
    device->slow_until = fs->slow_until = now + SLOW_FOR;
    vp->wary = true;
    forget_answers(fs);
}

void stiol__path_was_slow(stiol__vp_t *vp, int dir, const char *path)
{
    dev_t number = 0;
    bool away = false;
    int error = errno;

    if (device_of(dir, path, &number) || device_above(dir, path, &number, &away))
        strike(vp, number);
    errno = error;
}

void stiol__fd_was_slow(stiol__vp_t *vp, int fd)
{
    uint64_t number = stiol__fd_group(fd);

    if (number != 0)
        strike(vp, number);
}

/* --- start and end --- */

int stiol_open_mounts(void)
{
    return open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
}

int stiol__filesystems_start(stiol__vp_t *vp)
{
    stiol__filesystems_t *fs = calloc(1, sizeof(*fs));

    if (!fs)
        return -1;
    measure_ticks();
    look_at_kernel();
    fs->mounts = vp->config.mounts != 0 ? vp->config.mounts : stiol_open_mounts();
    vp->looked_ticks = fs->ticks_at_start = stiol__ticks();
    vp->look_ticks = ticks_a_second;
    fs->started = st_utime();
    vp->filesystems = fs;
    read_mounts(vp);
    return 0;
}

void stiol__filesystems_stop(stiol__vp_t *vp)
{
    if (!vp->filesystems)
        return;
    for (size_t i = 0; i < DEVICES; i++)
        if (vp->filesystems->devices[i].question)
            (void)stiol__help_abandon(&vp->filesystems->devices[i].question->job, drop_question);
    if (vp->filesystems->mounts >= 0)
        (void)close(vp->filesystems->mounts);
    if (vp->config.mounts > 0)
        vp->config.mounts = 0; /* it was that one */
    free(vp->filesystems);
    vp->filesystems = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The master's side of the scoreboards: it makes the files, before privileges are dropped; gives a
 * block to each process that becomes a VP, and adds up what those have counted that have ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "score.h"
#include "score_options.h"

static uint64_t round_up(uint64_t size, uint64_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static bool complain(const char *what, const char *path, int error)
{
    STM_ENTER();
    ap_log_error(APLOG_MARK, APLOG_CRIT, error, ap_server_conf, "ScoreboardDir: %s: %s", path,
                 what);
    return false;
}

/* --- the layout --- */

static void lay_out(stm_score_header_t *header, int ordinal)
{
    STM_ENTER();
    memcpy(header->magic, STM_SCORE_MAGIC, sizeof header->magic);
    header->byte_order = STM_SCORE_BYTE_ORDER;
    header->version = STM_SCORE_VERSION;
    header->fingerprint = stm_score_fingerprint();
    header->ordinal = (uint32_t)ordinal;
    header->key_size = STM_SCORE_KEY_SIZE;
    header->value_size = STM_SCORE_VALUE_SIZE;
    header->pairs_max = STM_SCORE_LIMIT;
    header->listeners_max = STM_LISTENER_LIMIT;
    header->threads_max = (uint32_t)stm.retained->threads_limit;
    header->connections_max = header->threads_max;
    header->row_size =
        round_up(sizeof(stm_score_row_t) +
                     (STM_SCORE_KEY_SIZE + STM_SCORE_VALUE_SIZE) * (uint64_t)STM_SCORE_LIMIT,
                 64);
    header->header_size = (uint32_t)round_up(sizeof *header + sizeof(stm_score_listener_t) *
                                                                  (uint64_t)header->listeners_max,
                                             STM_SCORE_PAGE);
    header->listeners_at = round_up(sizeof(stm_score_block_t), 64);
    header->threads_at =
        header->listeners_at + sizeof(stm_score_listener_t) * (uint64_t)header->listeners_max;
    header->connections_at =
        round_up(header->threads_at + sizeof(stm_score_thread_t) * (uint64_t)header->threads_max,
                 STM_SCORE_PAGE);
    header->block_size = round_up(
        header->connections_at + header->row_size * header->connections_max, STM_SCORE_PAGE);
    header->master_pid = (uint64_t)getpid();
    header->server_started = (uint64_t)apr_time_now();
    apr_cpystrn(header->options, stm_score_options, sizeof header->options);
}

/* --- the sequence lock of the header: the master is its only writer --- */

static void begin_change(stm_score_header_t *header)
{
    __atomic_store_n(&header->sequence, header->sequence | 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

static void end_change(stm_score_header_t *header)
{
    __atomic_store_n(&header->sequence, (header->sequence | 1) + 1, __ATOMIC_RELEASE);
}

/* --- files --- */

/* Space is reserved before it is written to: on a full file system a store into the mapping would
 * be a fatal signal. The rows of connections are reserved as they come to be used. */
static bool reserve_block_space(const stm_score_header_t *header, int fd, int block)
{
    uint64_t start = header->header_size + (uint64_t)block * header->block_size;
    int error;

    STM_ENTER();
    if (ftruncate(fd, (off_t)(start + header->block_size)) != 0)
        return false;
    error = posix_fallocate(fd, (off_t)start, (off_t)header->connections_at);
    errno = error;
    return error == 0;
}

static bool map_file(stm_score_file_t *file, const stm_score_header_t *layout, int fd)
{
    size_t size = layout->header_size + (size_t)layout->block_size * STM_SCORE_BLOCKS;
    int error = posix_fallocate(fd, 0, (off_t)layout->header_size);
    void *memory;

    STM_ENTER();
    if (error) {
        errno = error;
        return false;
    }
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (memory == MAP_FAILED)
        return false;
    madvise(memory, size, MADV_DONTDUMP);
    /* Who reads it meanwhile sees no magic, or an odd sequence. */
    memcpy((char *)memory + sizeof layout->magic, (const char *)layout + sizeof layout->magic,
           sizeof *layout - sizeof layout->magic);
    file->header = memory;
    file->mapped = size;
    file->fd = fd;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    memcpy(file->header->magic, STM_SCORE_MAGIC, sizeof layout->magic);
    return true;
}

/* NULL if the file may be replaced: ours, or empty, and no trap. */
static const char *why_not_ours(int directory, const char *name)
{
    char magic[sizeof STM_SCORE_MAGIC - 1];
    const char *reason = NULL;
    struct stat info;
    ssize_t n;
    int fd;

    STM_ENTER();
    if (fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? NULL : strerror(errno);
    if (S_ISLNK(info.st_mode))
        return "is a symbolic link, which is refused: remove it";
    if (!S_ISREG(info.st_mode) || info.st_nlink != 1)
        return "is no ordinary file, or has another name: refused";
    if (info.st_uid != geteuid())
        return "belongs to another user: refused";
    fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return strerror(errno);
    n = read(fd, magic, sizeof magic);
    if (n != 0 && (n != sizeof magic || memcmp(magic, STM_SCORE_MAGIC, sizeof magic) != 0))
        reason = "is no scoreboard file of STM, and is left alone: remove it, or choose another "
                 "directory";
    close(fd);
    return reason;
}

/* A new file each time: who still reads the old one keeps it whole. */
static int create_named(int directory, const char *path, const char *name)
{
    const char *reason = why_not_ours(directory, name);
    int fd;

    STM_ENTER();
    if (reason) {
        complain(reason, path, 0);
        return -1;
    }
    if (unlinkat(directory, name, 0) != 0 && errno != ENOENT) {
        complain("cannot be replaced", path, errno);
        return -1;
    }
    fd = openat(directory, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        complain("cannot be created", path, errno);
    return fd;
}

static bool make_file(int ordinal, int directory)
{
    stm_score_files_t *files = stm.retained->score;
    stm_score_header_t *layout = ap_malloc(sizeof *layout);
    char name[16], path[sizeof files->directory + sizeof name];
    bool made = false;
    int fd;

    STM_ENTER();
    memset(layout, 0, sizeof *layout);
    lay_out(layout, ordinal);
    layout->running = 1;
    apr_snprintf(name, sizeof name, "%d", ordinal);
    apr_snprintf(path, sizeof path, "%s/%s", files->directory, name);
    if (directory >= 0)
        fd = create_named(directory, path, name);
    else if ((fd = memfd_create("stm-scoreboard", MFD_CLOEXEC)) < 0)
        complain("no memory for a scoreboard", "(none)", errno);
    if (fd >= 0) {
        made = map_file(&files->vp[ordinal], layout, fd);
        if (!made) {
            complain("cannot be filled or mapped", directory >= 0 ? path : "(none)", errno);
            if (directory >= 0)
                unlinkat(directory, name, 0);
            close(fd);
        }
    }
    free(layout);
    return made;
}

/* NULL if the directory may be used; it is then open. */
static const char *why_no_directory(const char *path, int *directory)
{
    struct stat info;

    STM_ENTER();
    *directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*directory < 0 || fstat(*directory, &info) != 0)
        return strerror(errno);
    if (info.st_mode & S_IWOTH)
        return "everybody may write to this directory, which is refused";
    return NULL;
}

static bool open_directory(const char *path, int *directory)
{
    const char *reason = why_no_directory(path, directory);

    STM_ENTER();
    return !reason || complain(reason, path, 0);
}

const char *stm_score_check(const char *path, int vps, apr_pool_t *pool)
{
    int directory;
    const char *reason = why_no_directory(path, &directory), *message = NULL;
    char name[16];

    STM_ENTER();
    if (reason)
        message = apr_psprintf(pool, "ScoreboardDir: %s: %s", path, reason);
    for (int i = 0; !message && i < vps; i++) {
        apr_snprintf(name, sizeof name, "%d", i);
        reason = why_not_ours(directory, name);
        if (reason)
            message = apr_psprintf(pool, "ScoreboardDir: %s/%s: %s", path, name, reason);
    }
    if (directory >= 0)
        close(directory);
    return message;
}

/* The directory stays what it was at the first start: running VPs write there. */
static void choose_directory(stm_score_files_t *files, bool first)
{
    const char *path = stm.config.scoreboard_dir
                           ? ap_server_root_relative(stm.pconf, stm.config.scoreboard_dir)
                           : "";

    STM_ENTER();
    if (!path)
        path = "";
    if (first)
        apr_cpystrn(files->directory, path, sizeof files->directory);
    else if (strcmp(files->directory, path) != 0)
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                     "ScoreboardDir: a change takes a stop and a start; the scoreboards stay in %s",
                     *files->directory ? files->directory : "memory");
}

/* Scoreboards of an earlier server that had more VPs would be taken for this one's. */
static void remove_leftovers(int directory)
{
    char name[16];

    STM_ENTER();
    for (int i = stm.config.num_vps; i < STM_VP_LIMIT; i++) {
        apr_snprintf(name, sizeof name, "%d", i);
        if (!why_not_ours(directory, name))
            unlinkat(directory, name, 0);
    }
}

static void new_generation(stm_score_header_t *header)
{
    begin_change(header);
    header->generation = (uint64_t)stm.retained->mpm->my_generation;
    header->running = 1;
    end_change(header);
}

bool stm_score_open(void)
{
    bool first = stm.retained->score == NULL, opened = true;
    stm_score_files_t *files;
    int directory = -1;

    STM_ENTER();
    if (first) {
        stm.retained->score = files = ap_calloc(1, sizeof *files);
        for (int i = 0; i < STM_VP_LIMIT; i++)
            files->vp[i].fd = -1;
    }
    files = stm.retained->score;
    choose_directory(files, first);
    if (*files->directory && !open_directory(files->directory, &directory))
        opened = false;
    for (int i = 0; opened && i < stm.config.num_vps; i++) {
        if (!files->vp[i].header)
            opened = make_file(i, directory);
        if (files->vp[i].header)
            new_generation(files->vp[i].header);
    }
    if (opened && first && directory >= 0)
        remove_leftovers(directory);
    if (directory >= 0)
        close(directory);
    return opened;
}

/* --- blocks --- */

static int free_block(const stm_score_header_t *header)
{
    int blocks = (int)header->blocks;

    for (int i = 0; i < blocks; i++) {
        if (!stm_score_block(header, i)->in_use)
            return i;
    }
    return blocks;
}

static void clear_block(const stm_score_header_t *header, stm_score_block_t *block)
{
    STM_ENTER();
    /* Rows beyond `connections` were never written; those below are cleared as they are taken. */
    block->listeners = block->threads = block->connections = 0;
    memset(&block->vp, 0, sizeof block->vp);
    memset((char *)block + header->listeners_at, 0,
           (size_t)(header->connections_at - header->listeners_at));
}

int stm_score_reserve(int ordinal, unsigned incarnation)
{
    stm_score_file_t *file = &stm.retained->score->vp[ordinal];
    stm_score_header_t *header = file->header;
    stm_score_block_t *block;
    int i = free_block(header);

    STM_ENTER();
    if (i == STM_SCORE_BLOCKS ||
        (i == (int)header->blocks && !reserve_block_space(header, file->fd, i))) {
        ap_log_error(APLOG_MARK, APLOG_ERR, i == STM_SCORE_BLOCKS ? 0 : errno, ap_server_conf,
                     "stm: no room in the scoreboard of VP %d (%d of %d blocks in use): this "
                     "process's counters are not shown",
                     ordinal, i, STM_SCORE_BLOCKS);
        i = -1;
    }
    begin_change(header);
    if (i >= 0) {
        block = stm_score_block(header, i);
        clear_block(header, block);
        block->in_use = 1;
        if (i == (int)header->blocks)
            header->blocks = (uint64_t)i + 1;
    }
    header->current = i >= 0 ? (uint64_t)i + 1 : 0;
    header->incarnations = incarnation;
    header->generation = (uint64_t)stm.retained->mpm->my_generation;
    end_change(header);
    return i;
}

static stm_score_listener_t *prior_listener(stm_score_header_t *header, const char *address)
{
    for (unsigned i = 0; i < STM_LISTENER_LIMIT; i++) {
        stm_score_listener_t *prior = &header->prior_listeners[i];

        if (!*prior->address)
            memcpy(prior->address, address, sizeof prior->address);
        if (strncmp(prior->address, address, sizeof prior->address) == 0)
            return prior;
    }
    return NULL;
}

static void add_listeners(stm_score_header_t *header, const stm_score_block_t *block)
{
    const stm_score_listener_t *listener =
        (const stm_score_listener_t *)((const char *)block + header->listeners_at);

    STM_ENTER();
    /* A VP wrote this: nothing in it is taken for granted. */
    for (unsigned i = 0; i < STM_LISTENER_LIMIT && *listener[i].address; i++) {
        stm_score_listener_t *prior = prior_listener(header, listener[i].address);

        if (prior)
            stm_score_add(STM_SCORE_OF_LISTENER, prior, &listener[i]);
    }
}

void stm_score_release(int ordinal, int index)
{
    stm_score_header_t *header = stm.retained->score->vp[ordinal].header;
    stm_score_block_t *block;

    STM_ENTER();
    if (index < 0 || !header)
        return;
    block = stm_score_block(header, index);
    begin_change(header);
    stm_score_add(STM_SCORE_OF_VP, &header->prior, &block->vp);
    add_listeners(header, block);
    block->in_use = 0;
    if (header->current == (uint64_t)index + 1)
        header->current = 0;
    end_change(header);
}

void stm_score_stopped(void)
{
    STM_ENTER();
    for (int i = 0; i < STM_VP_LIMIT; i++) {
        stm_score_header_t *header = stm.retained->score->vp[i].header;

        if (!header)
            continue;
        begin_change(header);
        header->running = 0;
        end_change(header);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loaded objects that have thread-local variables, one list for the process: their contents in
 * a new thread, and where they are on a kernel thread. dl.c keeps it up to date; tls.c asks for the
 * blocks of its VP. See docs/internals/thread-locals.md.
 */
#include <link.h>

#include "stiol/rebind.h"
#include "stiol/stiol_int.h"
#include "stiol/tls.h"

/* How often, and for how many us, to wait for another kernel thread's dlclose(). */
enum {
    PATIENCE = 1000,
    PAUSE = 100,
};

struct stiol__local {
    stiol__local_t *next;
    unsigned refs; /* the list's, and one for each block */
    uint32_t serial;
    size_t module; /* ld.so's number, which another object may have later */
    uintptr_t base;
    size_t size;
    bool seen;  /* in the current walk */
    char *here; /* for the calling kernel thread, while its blocks are listed */
    char *name;
    char image[];
};

/* What __tls_get_addr() takes on x86-64 and aarch64. */
typedef struct place {
    unsigned long module, offset;
} place_t;
void *__tls_get_addr(place_t *place);

_Atomic unsigned long stiol__locals_generation = 1;

static struct {
    pthread_mutex_t lock;
    stiol__local_t *first;
    uint32_t serial;
    int closing;              /* calls of dlclose() in progress */
    bool slow;                /* waiting for one of them has timed out */
    _Atomic unsigned library; /* bits: those of the C library's that modules know */
    stiol__counts_t listed;   /* objects at the last walk */
} locals = {.lock = PTHREAD_MUTEX_INITIALIZER};

static __thread int closing_here __attribute__((tls_model("initial-exec")));

/* --- the list --- */

static void drop(stiol__local_t *local)
{
    if (--local->refs > 0)
        return;
    free(local->name);
    free(local);
}

static const ElfW(Phdr) * tls_segment(const struct dl_phdr_info *info)
{
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS)
            return &info->dlpi_phdr[i];
    return NULL;
}

/* The variables of the C library and the like belong to the kernel thread, and our own to the
 * VP. */
static bool counts(const struct dl_phdr_info *info)
{
    return info->dlpi_tls_modid != 0 && !stiol__is_system(info) && !stiol__is_own(info);
}

static stiol__local_t *find(const struct dl_phdr_info *info)
{
    stiol__local_t *local = locals.first;

    while (local && (local->module != info->dlpi_tls_modid || local->base != info->dlpi_addr ||
                     strcmp(local->name, info->dlpi_name) != 0))
        local = local->next;
    return local;
}

static stiol__local_t *make(const struct dl_phdr_info *info, const ElfW(Phdr) * segment)
{
    stiol__local_t *local = calloc(1, sizeof(*local) + segment->p_memsz);
    stiol__local_t **place = &locals.first;

    if (!local)
        return NULL;
    local->name = strdup(info->dlpi_name);
    if (!local->name) {
        free(local);
        return NULL;
    }
    local->refs = 1;
    local->serial = STIOL_LOCAL_OBJECTS + locals.serial++;
    local->module = info->dlpi_tls_modid;
    local->base = info->dlpi_addr;
    local->size = segment->p_memsz;
    memcpy(local->image, (const char *)info->dlpi_addr + segment->p_vaddr, segment->p_filesz);
    while (*place)
        place = &(*place)->next;
    *place = local;
    return local;
}

static int see(struct dl_phdr_info *info, size_t size, void *data)
{
    const ElfW(Phdr) *segment = tls_segment(info);
    stiol__local_t *local;

    (void)size;
    (void)data;
    if (!segment || segment->p_memsz == 0 || segment->p_memsz > INT32_MAX || !counts(info))
        return 0;
    local = find(info);
    if (!local)
        local = make(info, segment);
    if (!local)
        return -1;
    local->seen = true;
    return 0;
}

/* Looks up only objects that are listed already, as they are on the calling kernel thread. */
static int see_again(struct dl_phdr_info *info, size_t size, void *data)
{
    stiol__local_t *local = counts(info) ? find(info) : NULL;

    (void)size;
    (void)data;
    if (!local)
        return 0;
    local->seen = true;
    if (!local->here)
        local->here = info->dlpi_tls_data;
    return 0;
}

static void unsee(void)
{
    for (stiol__local_t *local = locals.first; local; local = local->next)
        local->seen = false;
}

static void drop_unseen(void)
{
    stiol__local_t **place = &locals.first, *local;

    while ((local = *place)) {
        if (local->seen) {
            place = &local->next;
        } else {
            *place = local->next;
            drop(local);
        }
    }
}

/* Called with the lock and ld.so's own lock held. */
static int update(void)
{
    stiol__counts_t now = stiol__count_objects();

    if (now.adds == locals.listed.adds && now.subs == locals.listed.subs)
        return 0;
    unsee();
    atomic_fetch_add(&stiol__locals_generation, 1);
    if (dl_iterate_phdr(see, NULL) != 0)
        return -1;
    drop_unseen();
    locals.listed = now;
    return 0;
}

static int update_locals(void *data)
{
    int rc;

    (void)data;
    pthread_mutex_lock(&locals.lock);
    rc = update();
    pthread_mutex_unlock(&locals.lock);
    return rc;
}

int stiol__locals_update(void)
{
    return stiol__with_loader_locked(update_locals, NULL);
}

void stiol__locals_close(void)
{
    pthread_mutex_lock(&locals.lock);
    locals.closing++;
    closing_here++;
    atomic_fetch_add(&stiol__locals_generation, 1);
    pthread_mutex_unlock(&locals.lock);
}

/* Unloaded objects are forgotten at once, even while ld.so is busy with another object: other
 * threads may be waiting for that. */
void stiol__locals_closed(void)
{
    pthread_mutex_lock(&locals.lock);
    unsee();
    (void)dl_iterate_phdr(see_again, NULL);
    drop_unseen();
    if (--locals.closing == 0)
        locals.slow = false;
    closing_here--;
    atomic_fetch_add(&stiol__locals_generation, 1);
    pthread_mutex_unlock(&locals.lock);
}

/* In a child after fork: another kernel thread may have held it. */
void stiol__locals_forked(void)
{
    pthread_mutex_init(&locals.lock, NULL);
    locals.closing = closing_here;
    locals.slow = false;
}

/* --- a kernel thread's blocks --- */

/* While the calling kernel thread is in the middle of a dlclose(), or another's takes long: a block
 * that we have exists as long as its object is listed. One that ld.so has not made or reported yet
 * has to wait. */
static void locate_what_stays(const stiol__block_t *blocks, int count)
{
    unsee();
    for (stiol__local_t *local = locals.first; local; local = local->next)
        local->here = NULL;
    for (int i = 0; i < count; i++)
        if (blocks[i].local)
            blocks[i].local->here = blocks[i].address;
    (void)dl_iterate_phdr(see_again, NULL);
    for (stiol__local_t *local = locals.first; local; local = local->next)
        if (!local->seen)
            local->here = NULL;
}

/* No object is being unloaded: makes ld.so allocate the blocks that it has not made yet. */
static void locate_all(void)
{
    for (stiol__local_t *local = locals.first; local; local = local->next)
        local->here = __tls_get_addr(&(place_t){local->module, 0});
}

static int count_located(void)
{
    int count = 0;

    for (const stiol__local_t *local = locals.first; local; local = local->next)
        count += !!local->here;
    return count;
}

static void release(stiol__block_t *blocks, int count)
{
    for (int i = 0; i < count; i++)
        if (blocks[i].local)
            drop(blocks[i].local);
    free(blocks);
}

static stiol__block_t *fill_library(stiol__block_t *block)
{
    for (unsigned serial = 0; serial < STIOL_LOCAL_OBJECTS; serial++) {
        if (!stiol__locals_have(serial))
            continue;
        *block = (stiol__block_t){.serial = serial};
        stiol__library_block(block++);
    }
    return block;
}

static void fill(stiol__block_t *block)
{
    block = fill_library(block);
    for (stiol__local_t *local = locals.first; local; local = local->next) {
        if (!local->here)
            continue;
        local->refs++;
        *block++ = (stiol__block_t){.address = local->here,
                                    .image = local->image,
                                    .size = (uint32_t)local->size,
                                    .serial = local->serial,
                                    .local = local};
    }
}

/* Called with the lock held. Normally another kernel thread's dlclose() is soon done. If not, that
 * is found out only once, and not at each switch. */
static void wait_for_others(void)
{
    for (int i = 0; i < PATIENCE && locals.closing > closing_here && !locals.slow; i++) {
        pthread_mutex_unlock(&locals.lock);
        (void)usleep(PAUSE);
        pthread_mutex_lock(&locals.lock);
    }
    locals.slow = locals.closing > closing_here;
}

int stiol__locals_here(stiol__block_t **blocks, int count, unsigned long *generation)
{
    stiol__block_t *now;
    int made;

    pthread_mutex_lock(&locals.lock);
    wait_for_others();
    if (locals.closing == 0)
        locate_all();
    else
        locate_what_stays(*blocks, count);
    made = __builtin_popcount(locals.library) + count_located();
    now = calloc((size_t)made + 1, sizeof(*now));
    if (now) {
        fill(now);
        release(*blocks, count);
        *blocks = now;
        *generation = atomic_load(&stiol__locals_generation) - (locals.closing > 0);
    }
    pthread_mutex_unlock(&locals.lock);
    return now ? made : -1;
}

void stiol__locals_release(stiol__block_t *blocks, int count)
{
    pthread_mutex_lock(&locals.lock);
    release(blocks, count);
    pthread_mutex_unlock(&locals.lock);
}

void stiol__locals_add(unsigned serial)
{
    if (stiol__locals_have(serial))
        return;
    pthread_mutex_lock(&locals.lock);
    atomic_fetch_or(&locals.library, 1u << serial);
    atomic_fetch_add(&stiol__locals_generation, 1);
    pthread_mutex_unlock(&locals.lock);
}

bool stiol__locals_have(unsigned serial)
{
    return (atomic_load_explicit(&locals.library, memory_order_relaxed) & 1u << serial) != 0;
}

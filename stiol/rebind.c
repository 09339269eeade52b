/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebinding: writes the replacements' addresses into the slots that elf.c finds, remembers what was
 * there, and puts it back. One for the process; stiol.c calls it for the first VP and after the
 * last, dl.c when objects are loaded or unloaded.
 */
#include <link.h>
#include <stdarg.h>

#include "stiol/rebind.h"
#include "stiol/stiol_int.h"

typedef struct record {
    stiol__found_t found; /* slot.object is ours */
    void *original;
} record_t;

static struct {
    pthread_mutex_t lock; /* objects come and go on any kernel thread; inside ld.so's */
    const char *const *thread_objects; /* NULL: nothing is rebound */
    record_t *records;
    size_t count, size;
    void *open_page; /* currently writable, or NULL */
    size_t page_size;
    unsigned long long adds, subs; /* ld.so's counts of objects at the last walk */
    stiol_complaint_t complaint;
    char error[512];
} bindings = {.lock = PTHREAD_MUTEX_INITIALIZER};

void stiol__fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(bindings.error, sizeof(bindings.error), format, args);
    va_end(args);
}

const char *stiol_error(void)
{
    return bindings.error;
}

void stiol_set_complaint(stiol_complaint_t complaint)
{
    bindings.complaint = complaint;
}

static void complain(const char *error)
{
    if (bindings.complaint)
        bindings.complaint(error);
    else
        (void)fprintf(stderr, "stiol: %s\n", error);
}

static const char *shown(const char *object)
{
    return object[0] != '\0' ? object : "the program itself";
}

/* --- writing --- */

static bool is_protected(const stiol__found_t *found)
{
    uintptr_t address = (uintptr_t)found->address;

    return address >= found->protected_low && address < found->protected_high;
}

/* Makes the page read-only again that was read-only after relocation and is now writable. */
static void close_page(void)
{
    if (bindings.open_page)
        (void)mprotect(bindings.open_page, bindings.page_size, PROT_READ);
    bindings.open_page = NULL;
}

static int open_page(uintptr_t address)
{
    void *page;

    bindings.page_size = (size_t)sysconf(_SC_PAGESIZE);
    page = (void *)(address & ~((uintptr_t)bindings.page_size - 1));
    if (page == bindings.open_page)
        return 0;
    close_page();
    if (mprotect(page, bindings.page_size, PROT_READ | PROT_WRITE) != 0)
        return -1;
    bindings.open_page = page;
    return 0;
}

/* Writes one slot; close_page() after the last one. */
static int store(const stiol__found_t *found, void *value)
{
    if (is_protected(found) && open_page((uintptr_t)found->address) != 0)
        return -1;
    __atomic_store_n(found->address, value, __ATOMIC_RELEASE);
    return 0;
}

static record_t *new_record(const stiol__found_t *found)
{
    record_t *record;

    if (bindings.count == bindings.size) {
        size_t size = bindings.size != 0 ? 2 * bindings.size : 1024;
        record_t *records = realloc(bindings.records, size * sizeof(*records));

        if (!records)
            return NULL;
        bindings.records = records;
        bindings.size = size;
    }
    record = &bindings.records[bindings.count];
    *record = (record_t){.found = *found, .original = *found->address};
    record->found.slot.object = strdup(found->slot.object);
    return record->found.slot.object ? record : NULL;
}

static void forget_record(size_t i)
{
    free((char *)(uintptr_t)bindings.records[i].found.slot.object);
    bindings.records[i] = bindings.records[--bindings.count];
}

static int check_slot(const stiol__found_t *found, void *data)
{
    (void)data;
    if (!found->slot.problem)
        return 0;
    stiol__fail("cannot rebind %s in %s: %s", found->slot.symbol, shown(found->slot.object),
                found->slot.problem);
    return -1;
}

static int rebind_slot(const stiol__found_t *found, void *data)
{
    (void)data;
    if (found->slot.problem || *found->address == found->replacement)
        return 0;
    if (!new_record(found)) {
        stiol__fail("cannot rebind %s in %s: no memory", found->slot.symbol,
                    shown(found->slot.object));
        return -1;
    }
    if (store(found, found->replacement) != 0) {
        stiol__fail("cannot rebind %s in %s: cannot make its page writable: %s", found->slot.symbol,
                    shown(found->slot.object), strerror(errno));
        forget_record(bindings.count);
        return -1;
    }
    bindings.count++;
    return 0;
}

/* --- all objects --- */

typedef struct additions {
    const stiol_extra_t *extras;
    int count;
} additions_t;

static int add_calls(void *data)
{
    const additions_t *additions = data;
    int rc = -1;

    pthread_mutex_lock(&bindings.lock);
    if (!bindings.thread_objects)
        rc = stiol__add_extras(additions->extras, additions->count);
    pthread_mutex_unlock(&bindings.lock);
    return rc;
}

static int remove_calls(void *data)
{
    const additions_t *additions = data;
    int rc = -1;

    pthread_mutex_lock(&bindings.lock);
    if (!bindings.thread_objects) {
        stiol__remove_extras(additions->extras, additions->count);
        rc = 0;
    }
    pthread_mutex_unlock(&bindings.lock);
    return rc;
}

int stiol_add_calls(const stiol_extra_t *extras, int count)
{
    return stiol__with_loader_locked(add_calls, &(additions_t){extras, count});
}

int stiol_remove_calls(const stiol_extra_t *extras, int count)
{
    return stiol__with_loader_locked(remove_calls, &(additions_t){extras, count});
}

static int count_objects(struct dl_phdr_info *info, size_t size, void *data)
{
    unsigned long long *counts = data;

    (void)size;
    counts[0] = info->dlpi_adds;
    counts[1] = info->dlpi_subs;
    return 1;
}

/* Whether objects were loaded or unloaded since the last time. */
static bool objects_changed(void)
{
    unsigned long long counts[2] = {0, 0};

    (void)dl_iterate_phdr(count_objects, counts);
    if (counts[0] == bindings.adds && counts[1] == bindings.subs)
        return false;
    bindings.adds = counts[0];
    bindings.subs = counts[1];
    return true;
}

static void restore_all(void)
{
    for (size_t i = 0; i < bindings.count; i++) {
        const record_t *record = &bindings.records[i];

        if (*record->found.address == record->found.replacement)
            (void)store(&record->found, record->original);
    }
    close_page();
    while (bindings.count > 0)
        forget_record(bindings.count - 1);
    free(bindings.records);
    bindings.records = NULL;
    bindings.size = 0;
    bindings.thread_objects = NULL;
}

static int rebind_all(void *data)
{
    const char *const *thread_objects = *(const char *const **)data;
    int rc;

    pthread_mutex_lock(&bindings.lock);
    bindings.error[0] = '\0';
    (void)objects_changed();
    rc = stiol__walk(thread_objects, check_slot, NULL);
    if (rc == 0) {
        bindings.thread_objects = thread_objects;
        rc = stiol__walk(thread_objects, rebind_slot, NULL);
        close_page();
        if (rc != 0)
            restore_all();
    }
    pthread_mutex_unlock(&bindings.lock);
    return rc;
}

int stiol__rebind(const char *const *thread_objects)
{
    return stiol__with_loader_locked(rebind_all, &thread_objects);
}

static int restore(void *data)
{
    (void)data;
    pthread_mutex_lock(&bindings.lock);
    restore_all();
    pthread_mutex_unlock(&bindings.lock);
    return 0;
}

void stiol__restore(void)
{
    (void)stiol__with_loader_locked(restore, NULL);
}

/* --- objects that come and go --- */

static int is_loaded(struct dl_phdr_info *info, size_t size, void *data)
{
    const stiol__found_t *found = data;

    (void)size;
    if (info->dlpi_addr != found->base)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC &&
            (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr) == found->dynamic)
            return strcmp(info->dlpi_name, found->slot.object) == 0;
    return 0;
}

/* Forgets the slots of objects that are gone. */
static void prune(void)
{
    for (size_t i = bindings.count; i-- > 0;)
        if (dl_iterate_phdr(is_loaded, &bindings.records[i].found) == 0)
            forget_record(i);
}

/* An object loaded where another one of the same name was is detected by its slots: they do not
 * lead to us. */
static int drop_stale(const stiol__found_t *found, void *data)
{
    (void)data;
    if (found->slot.problem || *found->address == found->replacement)
        return 0;
    for (size_t i = bindings.count; i-- > 0;)
        if (bindings.records[i].found.address == found->address)
            forget_record(i);
    return 0;
}

/* On failure, data receives what stiol_error() says. */
static int rebind_more(void *data)
{
    int rc = 0;

    pthread_mutex_lock(&bindings.lock);
    if (bindings.thread_objects && objects_changed()) {
        prune();
        (void)stiol__walk(bindings.thread_objects, drop_stale, NULL);
        rc = stiol__walk(bindings.thread_objects, rebind_slot, NULL);
        close_page();
        if (rc == 0)
            rc = stiol__walk(bindings.thread_objects, check_slot, NULL);
        if (rc != 0)
            memcpy(data, bindings.error, sizeof(bindings.error));
    }
    pthread_mutex_unlock(&bindings.lock);
    return rc;
}

void stiol__rebind_more(void)
{
    char why[sizeof(bindings.error)];
    int error = errno;

    if (stiol__with_loader_locked(rebind_more, why) != 0)
        complain(why);
    errno = error;
}

void stiol__rebind_less(void)
{
    int error = errno;

    pthread_mutex_lock(&bindings.lock);
    if (bindings.thread_objects && objects_changed())
        prune();
    pthread_mutex_unlock(&bindings.lock);
    errno = error;
}

/* --- for those who want to know --- */

int stiol_each(stiol_slot_cb_t cb, void *data)
{
    int count;

    pthread_mutex_lock(&bindings.lock);
    for (size_t i = 0; i < bindings.count; i++)
        cb(&bindings.records[i].found.slot, data);
    count = (int)bindings.count;
    pthread_mutex_unlock(&bindings.lock);
    return count;
}

typedef struct telling {
    stiol_slot_cb_t cb;
    void *data;
    int count, problems;
} telling_t;

static int tell(const stiol__found_t *found, void *data)
{
    telling_t *telling = data;

    telling->cb(&found->slot, telling->data);
    telling->count++;
    telling->problems += !!found->slot.problem;
    return 0;
}

int stiol_would_rebind(stiol_slot_cb_t cb, void *data)
{
    telling_t telling = {.cb = cb, .data = data};

    (void)stiol__walk(stiol__default_thread_objects, tell, &telling);
    return telling.problems == 0 ? telling.count : -1;
}

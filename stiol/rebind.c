/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebinding: writes the replacements' addresses into the slots that elf.c finds, remembers what was
 * there, and puts it back. One for the process; stiol.c calls it for the first VP and after the
 * last, dl.c when objects are loaded or unloaded. Each object is looked through once, when it is
 * met.
 */
#include <link.h>
#include <stdarg.h>

#include "stiol/rebind.h"
#include "stiol/stiol_int.h"

/* A loaded object. */
typedef struct known {
    uintptr_t base;
    const void *dynamic;
    char *name;
    bool seen;      /* in the current walk */
    bool inspected; /* its slots are rebound */
} known_t;

typedef struct record {
    stiol__found_t found; /* slot.object is the known object's name, the same pointer */
    void *original;
} record_t;

static struct {
    pthread_mutex_t lock; /* objects come and go on any kernel thread; inside ld.so's */
    const char *const *thread_objects; /* NULL: nothing is rebound */
    record_t *records;
    size_t count, size;
    known_t *objects;
    size_t objects_count, objects_size;
    void *open_page; /* currently writable, or NULL */
    size_t page_size;
    stiol__counts_t seen; /* up to which all that came and went is known */
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

/* The known object that has the slot. */
static const known_t *holder_of(const stiol__found_t *found)
{
    for (size_t i = bindings.objects_count; i-- > 0;) /* the newest is asked about most often */
        if (bindings.objects[i].dynamic == found->dynamic &&
            bindings.objects[i].base == found->base)
            return &bindings.objects[i];
    return NULL;
}

/* An array with room for one more entry; NULL: no memory. */
static void *room_for_one(void *array, size_t count, size_t *size, size_t first, size_t entry)
{
    size_t more = *size != 0 ? 2 * *size : first;

    if (count < *size)
        return array;
    array = realloc(array, more * entry);
    if (array)
        *size = more;
    return array;
}

static record_t *new_record(const stiol__found_t *found)
{
    const known_t *holder = holder_of(found);
    record_t *records;

    if (!holder)
        return NULL;
    records =
        room_for_one(bindings.records, bindings.count, &bindings.size, 1024, sizeof(*records));
    if (!records)
        return NULL;
    bindings.records = records;
    records[bindings.count] = (record_t){.found = *found, .original = *found->address};
    records[bindings.count].found.slot.object = holder->name;
    return &records[bindings.count];
}

static void forget_record(size_t i)
{
    bindings.records[i] = bindings.records[--bindings.count];
}

static void note_problem(const stiol__found_t *found)
{
    stiol__fail("cannot rebind %s in %s: %s", found->slot.symbol, shown(found->slot.object),
                found->slot.problem);
}

static int check_slot(const stiol__found_t *found, void *data)
{
    (void)data;
    if (!found->slot.problem)
        return 0;
    note_problem(found);
    return -1;
}

/* *problem: whether there is a slot that cannot be rebound; the others are. */
static int rebind_slot(const stiol__found_t *found, void *problem)
{
    if (found->slot.problem && !*(bool *)problem) {
        *(bool *)problem = true;
        note_problem(found);
    }
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
        return -1;
    }
    bindings.count++;
    return 0;
}

/* --- the objects --- */

static const void *dynamic_of(const struct dl_phdr_info *info)
{
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
            return (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
    return NULL;
}

static known_t *known(const struct dl_phdr_info *info)
{
    const void *dynamic = dynamic_of(info);

    for (size_t i = 0; i < bindings.objects_count; i++) {
        known_t *object = &bindings.objects[i];

        if (object->base == info->dlpi_addr && object->dynamic == dynamic &&
            strcmp(object->name, info->dlpi_name) == 0)
            return object;
    }
    return NULL;
}

static int see_known(struct dl_phdr_info *info, size_t size, void *data)
{
    known_t *object = known(info);

    (void)size;
    (void)data;
    if (object)
        object->seen = true;
    return 0;
}

static void forget_object(size_t i)
{
    for (size_t j = bindings.count; j-- > 0;)
        if (bindings.records[j].found.slot.object == bindings.objects[i].name)
            forget_record(j);
    free(bindings.objects[i].name);
    bindings.objects[i] = bindings.objects[--bindings.objects_count];
}

/* Forgets the objects that are gone, with their slots. */
static void forget_unloaded(void)
{
    for (size_t i = 0; i < bindings.objects_count; i++)
        bindings.objects[i].seen = false;
    (void)dl_iterate_phdr(see_known, NULL);
    for (size_t i = bindings.objects_count; i-- > 0;)
        if (!bindings.objects[i].seen)
            forget_object(i);
}

/* Enters the object if it is a new one; -1: no memory. */
static int meet(struct dl_phdr_info *info, size_t size, void *data)
{
    known_t *objects;
    char *name;

    (void)size;
    (void)data;
    if (known(info))
        return 0;
    objects = room_for_one(bindings.objects, bindings.objects_count, &bindings.objects_size, 64,
                           sizeof(*objects));
    if (!objects)
        return -1;
    bindings.objects = objects;
    name = strdup(info->dlpi_name);
    if (!name)
        return -1;
    objects[bindings.objects_count++] =
        (known_t){.base = info->dlpi_addr, .dynamic = dynamic_of(info), .name = name};
    return 0;
}

static bool is_new(const struct dl_phdr_info *info)
{
    const known_t *object = known(info);

    return !object || !object->inspected;
}

/* Looks through the objects that have not been yet. -1: stiol_error() says why; they will be looked
 * through again if the reason may be gone by then. */
static int rebind_new(void)
{
    bool problem = false;
    int rc = dl_iterate_phdr(meet, NULL);

    if (rc != 0)
        stiol__fail("cannot rebind the objects that were loaded: no memory");
    else
        rc = stiol__walk(bindings.thread_objects, is_new, rebind_slot, &problem);
    close_page();
    for (size_t i = 0; rc == 0 && i < bindings.objects_count; i++)
        bindings.objects[i].inspected = true;
    return problem ? -1 : rc;
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

static void restore_all(void)
{
    for (size_t i = 0; i < bindings.count; i++) {
        const record_t *record = &bindings.records[i];

        if (*record->found.address == record->found.replacement)
            (void)store(&record->found, record->original);
    }
    close_page();
    bindings.count = 0;
    while (bindings.objects_count > 0)
        forget_object(bindings.objects_count - 1);
    free(bindings.records);
    free(bindings.objects);
    bindings.records = NULL;
    bindings.objects = NULL;
    bindings.size = bindings.objects_size = 0;
    bindings.thread_objects = NULL;
}

static int rebind_all(void *data)
{
    const char *const *thread_objects = *(const char *const **)data;
    int rc;

    pthread_mutex_lock(&bindings.lock);
    bindings.error[0] = '\0';
    bindings.seen = stiol__count_objects();
    rc = stiol__walk(thread_objects, NULL, check_slot, NULL);
    if (rc == 0) {
        bindings.thread_objects = thread_objects;
        rc = rebind_new();
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

/* Something was unloaded that dl.c has not told us of: what looks like a known object may be
 * another one in the same place. */
static void doubt_all(void)
{
    (void)stiol__walk(bindings.thread_objects, NULL, drop_stale, NULL);
    for (size_t i = 0; i < bindings.objects_count; i++)
        bindings.objects[i].inspected = false;
}

/* On failure, data receives what stiol_error() says. */
static int rebind_more(void *data)
{
    stiol__counts_t now = stiol__count_objects();
    int rc = 0;

    pthread_mutex_lock(&bindings.lock);
    if (bindings.thread_objects && memcmp(&now, &bindings.seen, sizeof(now)) != 0) {
        forget_unloaded();
        if (now.subs != bindings.seen.subs)
            doubt_all();
        bindings.seen = now;
        rc = rebind_new();
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
    stiol__counts_t now;

    pthread_mutex_lock(&bindings.lock);
    now = stiol__count_objects();
    if (bindings.thread_objects && now.subs != bindings.seen.subs) {
        forget_unloaded();
        /* If something was loaded by now, it may be the same object, in the same place. */
        if (stiol__count_objects().adds == bindings.seen.adds)
            bindings.seen.subs = now.subs;
    }
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

    (void)stiol__walk(stiol__default_thread_objects, NULL, tell, &telling);
    return telling.problems == 0 ? telling.count : -1;
}

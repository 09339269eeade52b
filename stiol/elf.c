/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk through the loaded objects: finds the slots (entries of global offset tables, pointers
 * in data) through which they reach the calls of the table. Changes nothing; used by rebind.c.
 */
#include <elf.h>
#include <link.h>

#include <sys/single_threaded.h>

#include "stiol/rebind.h"
#include "stiol/stiol_int.h"

#if defined(__x86_64__)
#define RELOC_JUMP_SLOT R_X86_64_JUMP_SLOT
#define RELOC_GLOB_DAT  R_X86_64_GLOB_DAT
#define RELOC_POINTER   R_X86_64_64
#define RELOC_COPY      R_X86_64_COPY
#elif defined(__aarch64__)
#define RELOC_JUMP_SLOT R_AARCH64_JUMP_SLOT
#define RELOC_GLOB_DAT  R_AARCH64_GLOB_DAT
#define RELOC_POINTER   R_AARCH64_ABS64
#define RELOC_COPY      R_AARCH64_COPY
#else
#error "STIOL knows the relocations of x86-64 and aarch64 only"
#endif

enum {
    SYSTEM_MAX = 16, /* objects that are never rebound and have their own ranges */
    HASH_SIZE = 2048,
    EXTRAS_MAX = 64,
};

const char *const stiol__default_thread_objects[] = {"libapr-1.so", "libapr-2.so", NULL};
/* What tells libapr where it has no file of its own: httpd may be linked with it statically. */
static const char thread_symbol[] = "apr_thread_create";

/* Never rebound: what the replacements themselves call, and tools that watch the process. The C
 * library calls its name service's objects with locks held, so they must not park. */
static const char *const system_objects[] = {
    "libc.so.",   "libc-2.",      "ld-linux",   "ld-2.",      "ld.so",
    "libpthread", "librt.so.",    "libdl.so.",  "linux-vdso", "linux-gate",
    "libst.so",   "libasan.so",   "libubsan.",  "liblsan.so", "libtsan.so",
    "libhwasan.", "libclang_rt.", "vgpreload_", "libnss_",    NULL};

typedef struct object {
    const struct dl_phdr_info *info;
    const char *path;
    const ElfW(Dyn) * dynamic;
    const ElfW(Sym) * symbols;
    const char *strings;
    const ElfW(Rela) * rela, *plt;
    size_t rela_count, plt_count;
    uintptr_t protected_low, protected_high;
    bool own;     /* the object that holds STIOL */
    bool threads; /* its threads are state threads */
} object_t;

typedef struct range {
    uintptr_t low, high;
} range_t;

typedef struct walk {
    const char *const *thread_objects;
    const void *thread_function; /* lies in a thread object, whatever its name; NULL: unknown */
    stiol__chosen_t chosen;      /* NULL: all */
    stiol__found_cb_t cb;
    void *data;
    range_t system[SYSTEM_MAX];
    int systems;
} walk_t;

#ifdef STIOL_TESTING
unsigned stiol__looked_through;
#endif

/* --- the table, by name --- */

static uint16_t by_name[HASH_SIZE]; /* index + 1; the extras' come after the table's */
_Static_assert(2 * (STIOL_CALLS + EXTRAS_MAX) <= HASH_SIZE, "searches in by_name stay short");
static stiol__call_t extra_calls[EXTRAS_MAX];
static int extra_count;

static stiol__call_t *call_at(unsigned i)
{
    return i < STIOL_CALLS ? &stiol__calls[i] : &extra_calls[i - STIOL_CALLS];
}

static unsigned hash_of(const char *name)
{
    unsigned hash = 5381;

    for (; *name != '\0'; name++)
        hash = hash * 33 + (unsigned char)*name;
    return hash % HASH_SIZE;
}

static void index_call(unsigned i)
{
    stiol__call_t *call = call_at(i);
    unsigned h = hash_of(call->symbol);

    while (by_name[h] != 0)
        h = (h + 1) % HASH_SIZE;
    by_name[h] = (uint16_t)(i + 1);
    call->global = dlsym(RTLD_DEFAULT, call->symbol);
}

static void *allocator; /* malloc(), wherever it is */

static void __attribute__((constructor)) index_calls(void)
{
    for (unsigned i = 0; i < STIOL_CALLS; i++)
        index_call(i);
    allocator = dlsym(RTLD_DEFAULT, "malloc");
}

static void index_all(void)
{
    memset(by_name, 0, sizeof(by_name));
    index_calls();
    for (int i = 0; i < extra_count; i++)
        index_call(STIOL_CALLS + (unsigned)i);
}

static void drop_extra(const char *symbol)
{
    for (int i = extra_count; i-- > 0;)
        if (strcmp(extra_calls[i].symbol, symbol) == 0)
            extra_calls[i] = extra_calls[--extra_count];
}

void stiol__remove_extras(const stiol_extra_t *extras, int count)
{
    for (int i = 0; i < count; i++)
        drop_extra(extras[i].symbol);
    index_all();
}

int stiol__add_extras(const stiol_extra_t *extras, int count)
{
    stiol__remove_extras(extras, count);
    if (count > EXTRAS_MAX - extra_count)
        return -1;
    for (int i = 0; i < count; i++)
        extra_calls[extra_count++] =
            (stiol__call_t){.symbol = extras[i].symbol,
                            .scope = extras[i].object ? STIOL_ONE : STIOL_EVERY,
                            .real = extras[i].real,
                            .replacement = extras[i].replacement,
                            .object = extras[i].object};
    index_all();
    return 0;
}

static const stiol__call_t *call_named(const char *name)
{
    for (unsigned h = hash_of(name); by_name[h] != 0; h = (h + 1) % HASH_SIZE)
        if (strcmp(call_at(by_name[h] - 1u)->symbol, name) == 0)
            return call_at(by_name[h] - 1u);
    return NULL;
}

/* glibc says that the process is single-threaded as long as a VP is its only kernel thread.
 * libstdc++ then initialises without pthread_once() and counts references without atomics. All
 * objects see this variable instead, except glibc itself, whose own calls are faster that way. */
static char single_threaded = 0;
static const stiol__call_t datum = {.symbol = "__libc_single_threaded",
                                    .scope = STIOL_ANY,
                                    .real = &__libc_single_threaded,
                                    .replacement = &single_threaded};

static const stiol__call_t *datum_named(const char *name)
{
    return strcmp(name, datum.symbol) == 0 ? &datum : NULL;
}

/* --- objects --- */

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool begins_with_one(const char *path, const char *const *starts)
{
    const char *name = name_of(path);

    for (; *starts; starts++)
        if (strncmp(name, *starts, strlen(*starts)) == 0)
            return true;
    return false;
}

static range_t range_of(const struct dl_phdr_info *info)
{
    range_t range = {UINTPTR_MAX, 0};

    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t low = info->dlpi_addr + segment->p_vaddr;

        if (segment->p_type != PT_LOAD)
            continue;
        if (low < range.low)
            range.low = low;
        if (low + segment->p_memsz > range.high)
            range.high = low + segment->p_memsz;
    }
    return range;
}

static bool within(range_t range, const void *address)
{
    return (uintptr_t)address >= range.low && (uintptr_t)address < range.high;
}

static bool is_own(const struct dl_phdr_info *info)
{
    return within(range_of(info), (const void *)&stiol__calls);
}

/* An allocator that replaces the C library's is treated alike: it never waits for a state thread,
 * and its per-thread data belong to the kernel thread. */
static bool is_allocator(const struct dl_phdr_info *info)
{
    return info->dlpi_name[0] != '\0' && within(range_of(info), allocator);
}

bool stiol__is_system(const struct dl_phdr_info *info)
{
    return begins_with_one(info->dlpi_name, system_objects) || is_allocator(info);
}

bool stiol__is_own(const struct dl_phdr_info *info)
{
    return is_own(info);
}

static int note_system(struct dl_phdr_info *info, size_t size, void *data)
{
    walk_t *walk = data;

    (void)size;
    if (walk->systems < SYSTEM_MAX && info->dlpi_name[0] != '\0' && stiol__is_system(info))
        walk->system[walk->systems++] = range_of(info);
    return 0;
}

/* The segment of the object that contains the address. */
static const ElfW(Phdr) * segment_of(const struct dl_phdr_info *info, uintptr_t address)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t low = info->dlpi_addr + segment->p_vaddr;

        if (segment->p_type == PT_LOAD && address >= low && address - low < segment->p_memsz)
            return segment;
    }
    return NULL;
}

/* glibc has added the base to the pointers of a dynamic section, except where that is read-only. */
static const void *pointer(const struct dl_phdr_info *info, ElfW(Addr) value)
{
    return (const void *)(value < info->dlpi_addr ? value + info->dlpi_addr : value);
}

static void read_dynamic(object_t *object)
{
    for (const ElfW(Dyn) *entry = object->dynamic; entry->d_tag != DT_NULL; entry++) {
        switch (entry->d_tag) {
        case DT_SYMTAB:
            object->symbols = pointer(object->info, entry->d_un.d_ptr);
            break;
        case DT_STRTAB:
            object->strings = pointer(object->info, entry->d_un.d_ptr);
            break;
        case DT_RELA:
            object->rela = pointer(object->info, entry->d_un.d_ptr);
            break;
        case DT_RELASZ:
            object->rela_count = entry->d_un.d_val / sizeof(*object->rela);
            break;
        case DT_JMPREL:
            object->plt = pointer(object->info, entry->d_un.d_ptr);
            break;
        case DT_PLTRELSZ:
            object->plt_count = entry->d_un.d_val / sizeof(*object->plt);
            break;
        default:
            break;
        }
    }
}

/* False if it has no usable dynamic section. */
static bool read_object(object_t *object, const struct dl_phdr_info *info)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    *object = (object_t){.info = info, .path = info->dlpi_name, .own = is_own(info)};
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t low = info->dlpi_addr + segment->p_vaddr;

        if (segment->p_type == PT_DYNAMIC) {
            object->dynamic = (const void *)low;
        } else if (segment->p_type == PT_GNU_RELRO) { /* rounded as ld.so does */
            object->protected_low = low & ~(page - 1);
            object->protected_high = (low + segment->p_memsz) & ~(page - 1);
        }
    }
    if (!object->dynamic)
        return false;
    read_dynamic(object);
    return object->symbols && object->strings;
}

/* --- slots --- */

static const char *name_of_relocation(unsigned long type)
{
    switch (type) {
    case RELOC_JUMP_SLOT:
        return "JUMP_SLOT";
    case RELOC_GLOB_DAT:
        return "GLOB_DAT";
    case RELOC_POINTER:
        return "64";
    default:
        return "other";
    }
}

/* A name that the C++ ABI reserves and defines: it is the call we mean, whichever object it comes
 * from (the C++ runtime is loaded with the modules, or linked into one of them). */
static bool is_reserved(const stiol__call_t *call)
{
    return call->version && strncmp(call->version, "CXXABI_", 7) == 0;
}

/* Whether the object's symbol is not a function of its own, or is the one that we mean. */
static bool is_elsewhere(const stiol__call_t *call, const object_t *object,
                         const ElfW(Sym) * symbol)
{
    return symbol->st_shndx == SHN_UNDEF ||
           object->info->dlpi_addr + symbol->st_value == (uintptr_t)call->real;
}

/* Whether the slot leads to the call that we mean, and not to another function of that name: the
 * object's own, an interposed library's, or an older version with another meaning. */
static bool leads_to(const walk_t *walk, const stiol__found_t *found, const object_t *object,
                     const ElfW(Rela) * rela, const ElfW(Sym) * symbol)
{
    const stiol__call_t *call = found->call;
    const void *target = *found->address;

    if (!target)
        return false; /* a weak reference that nothing satisfied */
    if (target == call->real || target == found->replacement || is_reserved(call))
        return true;
    if (target == call->global && !call->version)
        return true;
    if (ELF64_R_TYPE(rela->r_info) == RELOC_JUMP_SLOT && is_elsewhere(call, object, symbol) &&
        within(range_of(object->info), target))
        return true; /* not bound yet: it leads to the object's own PLT */
    for (int i = 0; !call->version && i < walk->systems; i++)
        if (within(walk->system[i], target))
            return true;
    return false;
}

/* Whether the name is one of those in the list, which spaces separate. The program itself has
 * none. */
static bool is_listed(const char *name, const char *list)
{
    size_t length = strlen(name);

    for (const char *at = list; length != 0 && (at = strstr(at, name)); at += length) {
        if ((at == list || at[-1] == ' ') && (at[length] == '\0' || at[length] == ' '))
            return true;
    }
    return false;
}

/* NULL: in this object the call is not replaced. */
static void *replacement_in(const object_t *object, const stiol__call_t *call)
{
    if (call->scope == STIOL_EVERY)
        return call->replacement;
    if (call->scope == STIOL_ONE)
        return is_listed(name_of(object->path), call->object) ? call->replacement : NULL;
    if (object->own)
        return NULL; /* it makes the real calls of the table */
    if (call->scope == STIOL_ANY || object->threads)
        return call->replacement;
    return call->elsewhere;
}

static const char *problem_of(const object_t *object, unsigned long type, uintptr_t address)
{
    const ElfW(Phdr) *segment = segment_of(object->info, address);

    if (type != RELOC_JUMP_SLOT && type != RELOC_GLOB_DAT && type != RELOC_POINTER)
        return "the reference is of a kind that cannot be changed (code not built with -fPIC?)";
    if (!segment)
        return "the reference lies outside the object";
    if ((segment->p_flags & PF_W) == 0)
        return "the reference lies in read-only code (code not built with -fPIC?)";
    return NULL;
}

static int visit_slot(const walk_t *walk, const object_t *object, const ElfW(Rela) * rela)
{
    const unsigned long type = ELF64_R_TYPE(rela->r_info);
    const ElfW(Sym) *symbol = &object->symbols[ELF64_R_SYM(rela->r_info)];
    uintptr_t address = object->info->dlpi_addr + rela->r_offset;
    const char *name = object->strings + symbol->st_name;
    const stiol__call_t *call;
    stiol__found_t found;
    void *replacement;

    if (ELF64_R_SYM(rela->r_info) == 0 || type == RELOC_COPY ||
        (type == RELOC_POINTER && rela->r_addend != 0))
        return 0;
    call = ELF64_ST_TYPE(symbol->st_info) == STT_OBJECT ? datum_named(name) : call_named(name);
    replacement = call ? replacement_in(object, call) : NULL;
    if (!replacement)
        return 0;
    found = (stiol__found_t){.slot = {object->path, call->symbol, name_of_relocation(type),
                                      problem_of(object, type, address), object->threads},
                             .call = call,
                             .replacement = replacement,
                             .address = (void **)address,
                             .base = object->info->dlpi_addr,
                             .dynamic = object->dynamic,
                             .protected_low = object->protected_low,
                             .protected_high = object->protected_high};
    if (found.slot.problem ? symbol->st_shndx != SHN_UNDEF
                           : !leads_to(walk, &found, object, rela, symbol))
        return 0;
    return walk->cb(&found, walk->data);
}

/* The function itself: a program that is not PIE has an entry of the same name for it. */
static const void *thread_function(void)
{
    const void *function = dlsym(RTLD_DEFAULT, thread_symbol);
    const ElfW(Sym) *symbol = NULL;
    Dl_info info;

    if (!function || !dladdr1(function, &info, (void **)&symbol, RTLD_DL_SYMENT) || !symbol)
        return NULL;
    return symbol->st_shndx != SHN_UNDEF ? function : NULL;
}

static bool has_threads(const walk_t *walk, const struct dl_phdr_info *info)
{
    return begins_with_one(info->dlpi_name, walk->thread_objects) ||
           (walk->thread_function && within(range_of(info), walk->thread_function));
}

static int visit_object(struct dl_phdr_info *info, size_t size, void *data)
{
    const walk_t *walk = data;
    object_t object;
    int rc = 0;

    (void)size;
    if (walk->chosen && !walk->chosen(info))
        return 0;
    if (stiol__is_system(info) || !read_object(&object, info))
        return 0;
    object.threads = has_threads(walk, info);
#ifdef STIOL_TESTING
    stiol__looked_through++;
#endif
    for (size_t i = 0; rc == 0 && i < object.rela_count; i++)
        rc = visit_slot(walk, &object, &object.rela[i]);
    for (size_t i = 0; rc == 0 && i < object.plt_count; i++)
        rc = visit_slot(walk, &object, &object.plt[i]);
    return rc;
}

int stiol__walk(const char *const *thread_objects, stiol__chosen_t chosen, stiol__found_cb_t cb,
                void *data)
{
    walk_t walk = {.thread_objects = thread_objects, .chosen = chosen, .cb = cb, .data = data};

    if (thread_objects == stiol__default_thread_objects)
        walk.thread_function = thread_function();
    (void)dl_iterate_phdr(note_system, &walk);
    return dl_iterate_phdr(visit_object, &walk);
}

static int read_counts(struct dl_phdr_info *info, size_t size, void *data)
{
    (void)size;
    *(stiol__counts_t *)data = (stiol__counts_t){info->dlpi_adds, info->dlpi_subs};
    return 1;
}

stiol__counts_t stiol__count_objects(void)
{
    stiol__counts_t counts = {0, 0};

    (void)dl_iterate_phdr(read_counts, &counts);
    return counts;
}

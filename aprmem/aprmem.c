/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether APR's pools can be replaced here, and the table that STIOL rebinds. Called by the MPM
 * when a VP starts.
 */
#include <apr_version.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

#include "aprmem/aprmem_int.h"
#include "stiol/stiol.h"

#define APR      "libapr-1.so.0"
#define APR_UTIL "libaprutil-1.so.0"

struct aprmem_real aprmem__real;

static stiol_extra_t calls[] = {
#define APRMEM_CALL(name, library) {#name, NULL, (void *)aprmem__##name, NULL},
#define APRMEM_NEED(name, library)
#include "aprmem/calls.def"
#undef APRMEM_CALL
#undef APRMEM_NEED
};
enum { CALLS = sizeof(calls) / sizeof(*calls) };

/* Functions found only in an APR that was built with APR_POOL_DEBUG, which has another kind of
 * pool. */
static const char *const debugging[] = {"apr_pool_num_bytes", "apr_pool_find"};

/* --- the real functions --- */

/* Looked up in the library itself: a non-PIE program has entries of its own. */
static void *find(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    void *function;

    if (!handle)
        return NULL;
    function = dlsym(handle, name);
    dlclose(handle);
    return function;
}

static bool find_real(void)
{
    bool found = true;
    int i = 0;

#define APRMEM_NEED(name, library)                                                                 \
    aprmem__real.name = (__typeof__(name) *)(uintptr_t)find(library, #name);                       \
    found = found && aprmem__real.name;
#define APRMEM_CALL(name, library)                                                                 \
    APRMEM_NEED(name, library)                                                                     \
    calls[i++].real = (void *)(uintptr_t)aprmem__real.name;
#include "aprmem/calls.def"
#undef APRMEM_CALL
#undef APRMEM_NEED
    return found;
}

static bool known_apr(void)
{
    apr_version_t version;

    apr_version(&version);
    if (version.major != 1 || version.minor < 5 || version.minor > 7)
        return false;
    for (size_t i = 0; i < sizeof(debugging) / sizeof(*debugging); i++)
        if (find(APR, debugging[i]))
            return false;
    return true;
}

/* --- whether all callers can be reached --- */

typedef struct seen {
    bool palloc, cleanup, bucket; /* the libraries' own calls go through slots */
} seen_t;

static bool is(const stiol_slot_t *slot, const char *library, const char *symbol)
{
    return strstr(slot->object, library) && strcmp(slot->symbol, symbol) == 0;
}

static void look(const stiol_slot_t *slot, void *data)
{
    seen_t *seen = data;

    seen->palloc |= is(slot, "libapr-1.so", "apr_palloc");
    seen->cleanup |= is(slot, "libapr-1.so", "apr_pool_cleanup_register");
    seen->bucket |= is(slot, "libaprutil-1.so", "apr_bucket_alloc");
}

/* A library that was linked with -Bsymbolic calls its own functions directly. */
static bool reachable(void)
{
    seen_t seen = {false, false, false};

    return stiol_would_rebind(look, &seen) >= 0 && seen.palloc && seen.cleanup && seen.bucket;
}

const char *aprmem_prepare(void)
{
    if (!known_apr())
        return "this version of APR is unknown, or it was built with pool debugging";
    if (!find_real())
        return find(APR, "apr_palloc") ? "APR's libraries lack some of the functions"
                                       : "APR is no shared library here (linked into the server?)";
    if (stiol_add_calls(calls, CALLS) != 0)
        return "there are too many calls to rebind";
    if (!reachable()) {
        (void)stiol_remove_calls(calls, CALLS);
        return "APR's libraries or another object call these functions directly";
    }
    return NULL;
}

int aprmem_start(void)
{
    aprmem_arena_t *arena;

    if (aprmem__range.size == 0 && aprmem__reserve() != 0) {
        errno = ENOMEM;
        return -1;
    }
    arena = aprmem__arena_new();
    if (!arena)
        return -1;
    aprmem__mine = arena;
    return 0;
}

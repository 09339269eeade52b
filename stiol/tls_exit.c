/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Destructors of thread_local objects (C++, Rust): run when their state thread ends, last one first
 * and before those of thread-specific data, as in glibc. tsd.c keeps the lists of the threads whose
 * contents it keeps.
 */
#include "stiol/carry.h"
#include "stiol/rebind.h"
#include "stiol/stiol_int.h"
#include "stiol/tls.h"

static void *keep_loaded(void *dso)
{
    Dl_info info;

    if (!dso || dladdr(dso, &info) == 0 || !info.dli_fname)
        return NULL;
    return dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
}

static stiol__farewell_t *pop(stiol__thread_t *self)
{
    stiol__farewell_t *farewell = self->farewells;

    self->farewells = farewell->next;
    return farewell;
}

static void forget(stiol__farewell_t *farewell)
{
    if (farewell->handle)
        (void)stiol__unload(farewell->handle);
    free(farewell);
}

void stiol__say_farewells(stiol__thread_t *self)
{
    while (self->farewells) {
        stiol__farewell_t *farewell = pop(self);

        farewell->destructor(farewell->object);
        forget(farewell);
    }
}

static void reverse(stiol__thread_t *self)
{
    stiol__farewell_t *reversed = NULL;

    while (self->farewells) {
        stiol__farewell_t *farewell = pop(self);

        farewell->next = reversed;
        reversed = farewell;
    }
    self->farewells = reversed;
}

void stiol__leave_farewells(stiol__thread_t *self)
{
    reverse(self);
    while (self->farewells) {
        stiol__farewell_t *farewell = pop(self);

        (void)__cxa_thread_atexit_impl(farewell->destructor, farewell->object, farewell->dso);
        forget(farewell);
    }
}

/* exit() runs the destructors of the calling thread; glibc calls us as one of the kernel thread's.
 * Those that it runs after us were registered before STIOL started: they belong to the primordial
 * thread. */
static void at_exit(void *unused)
{
    stiol__vp_t *vp = stiol__here();
    stiol__thread_t *self = vp ? stiol__self(vp) : NULL;

    (void)unused;
    if (!self)
        return;
    stiol__say_farewells(self);
    if (!self->primordial && vp->tls && vp->tls->primordial)
        stiol__tls_load(vp, *vp->tls->primordial);
}

static void hook_exit(stiol__vp_t *vp)
{
    if (!vp->exit_hooked)
        (void)__cxa_thread_atexit_impl(at_exit, NULL, (void *)stiol__calls);
    vp->exit_hooked = true;
}

int stiol____cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso)
{
    stiol__vp_t *vp = STIOL_ENTER(tsd, __cxa_thread_atexit_impl, destructor);
    stiol__thread_t *self = vp ? stiol__self(vp) : stiol__carried();
    stiol__farewell_t *farewell;

    if (!self)
        return __cxa_thread_atexit_impl(destructor, object, dso);
    farewell = malloc(sizeof(*farewell));
    if (!farewell)
        return -1;
    if (vp)
        hook_exit(vp);
    *farewell = (stiol__farewell_t){.next = self->farewells,
                                    .destructor = destructor,
                                    .object = object,
                                    .dso = dso,
                                    .handle = keep_loaded(dso)};
    self->farewells = farewell;
    return 0;
}

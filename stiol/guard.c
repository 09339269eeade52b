/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guards of C++'s function-local statics: the first thread to arrive runs the initialiser, the
 * others wait until it is done. The guard's bits are those of libstdc++, so that both sides
 * understand one that is in progress when STIOL starts, or that belongs to an object with its own
 * C++ runtime. Called by compiled code.
 */
#include "stiol/lock.h"
#include "stiol/stiol_int.h"

/* In the guard's first four bytes; the first byte tells compiled code that all is done. */
#define DONE    UINT32_C(0x1)
#define PENDING UINT32_C(0x100)
#define WAITING UINT32_C(0x10000)
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a guard's first byte is its lowest");

/* The state thread that runs the initialiser wants its result. libstdc++ throws
 * recursive_init_error if the process is single-threaded, and otherwise waits forever. Here it is
 * always an exception, which ends the process, as compilers assume that this call cannot throw. It
 * is a different exception because libstdc++'s type is private. */
static void throw_recursive_init(void)
{
    static const char message[] =
        STMNO(0091) "the initialiser of a C++ function's static variable uses that same variable\n";
    void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_NOLOAD);
    void (*throw_system_error)(int error) = NULL;

    if (library) {
        *(void **)&throw_system_error = dlsym(library, "_ZSt20__throw_system_errori");
        (void)dlclose(library); /* it was already loaded */
    }
    if (throw_system_error)
        throw_system_error(EDEADLK);
    (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
    abort();
}

/* The caller may run the initialiser; the VP notes which state thread it is. */
static int begin(stiol__vp_t *vp, int64_t *guard)
{
    if (vp)
        (void)stiol__owner_add(vp, guard, STIOL_GUARD); /* no memory: recursion goes unnoticed */
    return 1;
}

/* The initialiser is running: waits until that has changed. */
static void await(stiol__vp_t *vp, int64_t *guard, uint32_t value)
{
    const stiol__owner_t *owner = vp ? stiol__owner_find(vp, guard) : NULL;
    uint32_t *word = (uint32_t *)guard;

    if (owner && owner->thread == st_thread_self())
        throw_recursive_init();
    if ((value & WAITING) == 0 && !__atomic_compare_exchange_n(word, &value, value | WAITING, false,
                                                               __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return;
    stiol__futex_wait(word, value | WAITING);
}

/* Returns 1: the caller must run the initialiser; 0: that has been done. */
int stiol____cxa_guard_acquire(int64_t *guard)
{
    stiol__vp_t *vp = STIOL_ENTER(mutex, __cxa_guard_acquire, guard);
    uint32_t *word = (uint32_t *)guard;

    for (;;) {
        uint32_t value = 0;

        if (__atomic_compare_exchange_n(word, &value, PENDING, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            return begin(vp, guard);
        if ((value & DONE) != 0)
            return 0;
        await(vp, guard, value);
    }
}

static void finish(stiol__vp_t *vp, int64_t *guard, uint32_t value)
{
    uint32_t *word = (uint32_t *)guard;
    stiol__owner_t *owner = vp ? stiol__owner_find(vp, guard) : NULL;

    if (owner)
        stiol__owner_remove(vp, owner);
    if ((__atomic_exchange_n(word, value, __ATOMIC_ACQ_REL) & WAITING) != 0)
        stiol__futex_wake_all(word);
}

void stiol____cxa_guard_release(int64_t *guard)
{
    finish(STIOL_ENTER(mutex, __cxa_guard_release, guard), guard, DONE);
}

/* The initialiser has thrown: the next thread tries again. */
void stiol____cxa_guard_abort(int64_t *guard)
{
    finish(STIOL_ENTER(mutex, __cxa_guard_abort, guard), guard, 0);
}

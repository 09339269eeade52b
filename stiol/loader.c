/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits for dlopen() and dlclose() on other kernel threads. dl_iterate_phdr() by itself also
 * reports objects that another kernel thread has mapped but not yet relocated: ld.so would
 * overwrite what is written to their slots, and crash if their pages were read-only. Called by
 * rebind.c and tls_objects.c.
 */
#include "stiol/rebind.h"
#include "stiol/stiol_int.h"

/* volatile, because the compiler assumes that dlsym() calls no function of this file. */
static __thread struct {
    int (*volatile act)(void *data);
    void *volatile data;
    volatile int rc;
} errand __attribute__((tls_model("initial-exec")));

typedef void function_t(void);

/* ld.so calls this when it looks up the function below; it then holds the lock under which it loads
 * and unloads objects and runs their constructors. */
__attribute__((used)) static function_t *carry_out(void)
{
    int (*act)(void *data) = errand.act;

    errand.act = NULL;
    if (act)
        errand.rc = act(errand.data);
    return NULL;
}

/* Looked up, but never called. */
void stiol__loader_locked(void) __attribute__((ifunc("carry_out"), used, visibility("default")));

int stiol__with_loader_locked(int (*act)(void *data), void *data)
{
    errand.act = act;
    errand.data = data;
    (void)dlsym(RTLD_DEFAULT, "stiol__loader_locked");
    if (!errand.act)
        return errand.rc;
    errand.act = NULL;
    stiol__fail("cannot find stiol__loader_locked() by name");
    return -1;
}

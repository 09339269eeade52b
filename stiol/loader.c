/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waits for other kernel threads' dlopen() and dlclose(). dl_iterate_phdr() alone reports objects
 * that another kernel thread has mapped but not yet relocated: ld.so overwrites what is written to
 * their slots, and dies if it finds their pages read-only. Called by rebind.c and tls_objects.c.
 */
#include "stiol/rebind.h"
#include "stiol/stiol_int.h"

/* volatile: the compiler knows that dlsym() calls nobody in this file. */
static __thread struct {
    int (*volatile act)(void *data);
    void *volatile data;
    volatile int rc;
} errand __attribute__((tls_model("initial-exec")));

typedef void function_t(void);

/* ld.so calls this to look up the function below, with the lock held under which it loads and
 * unloads objects and runs their constructors. */
static function_t *carry_out(void)
{
    int (*act)(void *data) = errand.act;

    errand.act = NULL;
    if (act)
        errand.rc = act(errand.data);
    return NULL;
}

/* Only ever looked up. */
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

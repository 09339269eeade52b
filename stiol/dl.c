/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dlopen() and dlclose(): objects loaded later are rebound as soon as they are loaded. Their
 * constructors have run by then, with the real calls.
 */
#include "stiol/rebind.h"
#include "stiol/stiol_int.h"
#include "stiol/tls.h"

/* The loaded objects may have thread-local variables; from now on each state thread has its own. */
static void came(void)
{
    int error = errno;

    stiol__rebind_more();
    (void)stiol__locals_update();
    errno = error;
}

int stiol__unload(void *handle)
{
    int rc, error;

    stiol__locals_close();
    rc = dlclose(handle);
    error = errno;
    stiol__rebind_less();
    stiol__locals_closed();
    if (rc == 0) /* otherwise dlerror() still has to say why */
        (void)stiol__locals_update();
    errno = error;
    return rc;
}

void *stiol__dlopen(const char *path, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(dl, dlopen, !!path);
    void *handle;

    handle = dlopen(path, flags);
    if (handle)
        came();
    else
        stiol__note_dlerror(vp);
    return handle;
}

int stiol__dlclose(void *handle)
{
    (void)STIOL_ENTER(dl, dlclose, handle);
    return stiol__unload(handle);
}

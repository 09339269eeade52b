/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dlopen() and dlclose(): what is loaded later is rebound as soon as it is there. Its constructors
 * have run by then, with the real calls.
 */
#include "stiol_int.h"

void *stiol__dlopen(const char *path, int flags)
{
    void *handle;

    (void)STIOL_ENTER(dl, dlopen, path != NULL);
    handle = dlopen(path, flags);
    if (handle != NULL)
        stiol__rebind_more();
    return handle;
}

int stiol__dlclose(void *handle)
{
    int rc;

    (void)STIOL_ENTER(dl, dlclose, handle);
    rc = dlclose(handle);
    stiol__rebind_less();
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object whose reference to poll() lies in its code: built without -fPIC, as careless builds do.
 */
#include <poll.h>

int unbindable_poll(int timeout);

int unbindable_poll(int timeout)
{
    return poll((struct pollfd *)0, 0, timeout);
}

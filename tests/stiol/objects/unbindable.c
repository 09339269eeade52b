/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object whose reference to poll() lies in its code, as careless builds without -fPIC have it.
 */
#include <poll.h>

int unbindable_poll(int timeout);

extern int (*const poll_in_code)(struct pollfd *fds, nfds_t nfds, int timeout)
    __attribute__((visibility("hidden")));

__asm__(".text\n"
        ".balign 8\n"
        ".hidden poll_in_code\n"
        ".globl poll_in_code\n"
        "poll_in_code: .8byte poll\n");

int unbindable_poll(int timeout)
{
    return poll_in_code((struct pollfd *)0, 0, timeout);
}

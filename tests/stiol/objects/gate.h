/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a name look-up of a test waits until the test says so. Included by nss_slow.c, and by
 * slow_names.c of the live tests.
 */
#ifndef GATE_H
#define GATE_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Adds a byte to the file that GATE_ARRIVALS in the environment names, GATE being the string that
 * the includer has defined, then waits for the lock of the file that GATE_LOCK names. Makes only
 * system calls: libc's functions could be rebound here, as in any other object. */
static void wait_at_gate(void)
{
    const char *arrivals = getenv(GATE "_ARRIVALS"), *lock = getenv(GATE "_LOCK");
    long fd;

    if (!arrivals || !lock)
        return;
    fd = syscall(SYS_openat, AT_FDCWD, arrivals, O_WRONLY | O_APPEND);
    (void)syscall(SYS_write, fd, "x", 1);
    (void)syscall(SYS_close, fd);
    fd = syscall(SYS_openat, AT_FDCWD, lock, O_RDONLY);
    (void)syscall(SYS_flock, fd, LOCK_SH);
    (void)syscall(SYS_close, fd);
}

#endif /* GATE_H */

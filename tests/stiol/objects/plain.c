/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unmodified code that calls through its PLT or global offset table. Built in several ways: bound
 * at start with full RELRO, bound lazily without RELRO, without a PLT, and as an object that is
 * loaded late. PREFIX(name) makes their names distinct.
 */
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/select.h>
#include <unistd.h>

#define PASTE_(a, b) a##b
#define PASTE(a, b)  PASTE_(a, b)
#define NAMED(name)  PASTE(PREFIX, name)

int NAMED(_poll)(int fd, int timeout);
int NAMED(_sleep)(int us);
int NAMED(_lock)(pthread_mutex_t *mutex);
int NAMED(_flock)(int a, int b);
int flock(int a, int b);

int NAMED(_poll)(int fd, int timeout)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};

    return poll(&one, fd >= 0, timeout);
}

int NAMED(_sleep)(int us)
{
    struct timeval length = {0, us};

    return select(0, NULL, NULL, NULL, &length);
}

int NAMED(_lock)(pthread_mutex_t *mutex)
{
    return pthread_mutex_lock(mutex) + pthread_mutex_unlock(mutex);
}

#ifdef OWN_FLOCK
/* Its own function, which happens to have the name of a call: STIOL must not touch it. */
int flock(int a, int b)
{
    return a + b;
}

int NAMED(_flock)(int a, int b)
{
    return flock(a, b);
}
#endif

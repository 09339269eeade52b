/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens connections, for lab/target.c and tests/live/tools: see dial.h.
 */
#include "lab/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

static int leave_from(int fd, int source)
{
    int one = 1;
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)source);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    return bind(fd, (struct sockaddr *)&from, sizeof(from));
}

int dial(const struct sockaddr *to, socklen_t size, int source)
{
    int one = 1, error;
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (source > 0 && leave_from(fd, source) != 0)
        goto error;
    if (connect(fd, to, size) == 0 || errno == EINPROGRESS)
        return fd;
error:
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

int dial_outcome(int fd)
{
    int error = 0;
    socklen_t size = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

int raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return -1;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit);
}

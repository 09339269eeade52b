/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening many connections from one machine: make_conn's, and those of the live tests' clients.
 */
#ifndef STM_LAB_DIAL_H
#define STM_LAB_DIAL_H

#include <sys/socket.h>

/**
 * Starts a connection. It leaves from 127.0.0.1 + source, each of which has a range of local ports
 * of its own; source 0: the kernel chooses. Returns a non-blocking socket, or -1 with errno;
 * EADDRNOTAVAIL says that no local port is left there.
 */
int dial(const struct sockaddr *to, socklen_t size, int source);

/** What has become of it, once the socket is writable: 0, or an errno. */
int dial_outcome(int fd);

/** As many open files as may be without asking root. Returns 0, or -1 with errno. */
int raise_file_limit(void);

#endif

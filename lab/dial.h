/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening many connections from one machine: those of make_conn and of the live tests' clients.
 */
#ifndef STM_LAB_DIAL_H
#define STM_LAB_DIAL_H

#include <sys/socket.h>

/**
 * Starts a connection. Its source address is 127.0.0.1 + source, each with its own range of local
 * ports; source 0: the kernel chooses. Returns a non-blocking socket, or -1 with errno;
 * EADDRNOTAVAIL means that no local port is left there.
 */
int dial(const struct sockaddr *to, socklen_t size, int source);

/** The result of the connect, once the socket is writable: 0, or an errno. */
int dial_outcome(int fd);

/** Raises the limit of open files as far as is possible without root. Returns 0, or -1 with
 * errno. */
int raise_file_limit(void);

#endif

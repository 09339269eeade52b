/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STIOL for a server that accepts connections and receives on them itself, as the MPM does: what
 * saves it system calls, and what lets APR and httpd take over a connection as if they had accepted
 * it. Nothing here yields or makes a system call unless it says so.
 */
#ifndef STIOL_SERVER_H
#define STIOL_SERVER_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Tells STIOL that an fd whose creation it did not see is a nonblocking socket without further
 * flags (O_RDWR | O_NONBLOCK), so that it need not ask. */
void stiol_note_nonblocking(int osfd);

/**
 * To be called after a recv() that STIOL does not see has said EAGAIN: tells libst, as
 * st_fd_again() does, and lets the caller's next call report that without asking again if it is a
 * poll() of osfd for POLLIN with timeout 0.
 *
 * @param osfd a stream socket
 */
void stiol_saw_empty(int osfd);

/** A connection that has already been accepted. */
typedef struct stiol_connection {
    int osfd;                       /**< nonblocking */
    const struct sockaddr *address; /**< the client's */
    socklen_t length;               /**< of address, bytes */
} stiol_connection_t;

/**
 * The calling state thread's next accept() or accept4(), on any descriptor, does not wait but
 * returns this connection. This lets apr_socket_accept() make its object of a socket that the MPM
 * has accepted itself, with all that APR knows about a listener's clients.
 *
 * @param connection is read in that call; NULL: cancels an earlier one
 * @return 0, or -1: the caller is not on a state thread, or STIOL was not started
 */
int stiol_pass_accepted(const stiol_connection_t *connection);

/**
 * From now on what writev() on the calling VP writes to this nonblocking stream socket waits in the
 * kernel for what the caller does to it next (MSG_MORE): a full segment, or shutdown(), whose FIN
 * then goes out with the last bytes. Only for a short while: the kernel waits 200 ms at most. One
 * socket at a time.
 *
 * @param osfd the socket; -1: none any more
 */
void stiol_expect_more(int osfd);

/**
 * pread() for the object that holds STIOL, whose own calls are not rebound: what is in memory takes
 * one system call, anything else is read on a helper while the state thread is parked. May yield.
 */
ssize_t stiol_pread(int osfd, void *buffer, size_t count, off_t offset);

/**
 * Whether a file lies on a disk of this machine, or in its memory, on a file system that is known
 * to send files without copying them. Makes one system call for each device and change of the table
 * of mounts, and does not yield.
 *
 * @param path the file's; it was found by stat() a moment ago
 * @param device st_dev of it
 * @return false also for what is not known: other file systems, or without a table of mounts
 */
bool stiol_is_local(const char *path, dev_t device);

#ifdef __cplusplus
}
#endif

#endif /* STIOL_SERVER_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_conn's parts: the options (make_conn.c), where to connect to and from (target.c), and the
 * connections (clients.c).
 */
#ifndef STM_LAB_MAKE_CONN_H
#define STM_LAB_MAKE_CONN_H

#include <netdb.h>
#include <stdbool.h>
#include <sys/socket.h>

/* Exit codes. */
enum { ALL_ACCEPTED = 0, SOME_NOT = 1, TROUBLE = 2 };

#define MOST_CONNECTIONS 1000000

/* What a connection sends once it is accepted. */
enum request { REQUEST_NONE, REQUEST_PART, REQUEST_WHOLE };

struct options {
    const char *host, *port, *path;
    int count;
    enum request request;
    int seconds;       /* to keep the connections; 0: until Enter or the end of the input */
    bool finish;       /* send the rest of half a request before the end */
    bool allow_remote; /* connect to other machines as well */
};

/* --- make_conn.c --- */

/* Reports the reason on stderr and exits with `status`. */
void give_up(int status, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
/* A line on stderr. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- target.c --- */

struct target {
    struct sockaddr_storage address;
    socklen_t size;
    char name[NI_MAXHOST + NI_MAXSERV]; /* "127.0.0.1 port 8080", for messages */
    int ports;                          /* local ports per source address */
    int source;      /* connections leave from 127.0.0.1 + this; 0: the kernel chooses */
    int from_source; /* how many use it as their source */
};

/* Resolves options->host and connects to its addresses in turn, until one of them accepts. Returns
 * that first connection, a non-blocking socket; exits if none does. */
int target_find(struct target *target, const struct options *options);
/* Starts one more connection: a non-blocking socket, or -1 with errno. EADDRNOTAVAIL means that the
 * local ports of all possible source addresses are taken. */
int target_connect(struct target *target);

/* --- clients.c --- */

/* Makes room for options->count connections; exits if there is no memory. */
void clients_init(const struct options *options, struct target *target);
/* Opens them all, the first of them being `first`. Returns when each is accepted or refused (and,
 * if whole requests are sent, answered), or when there has been no progress for two seconds. */
void clients_open(int first);
/* Watches them until options->seconds have passed, Enter is pressed, a terminating signal arrives,
 * or none is left. Prints the counts as they change, at most once a second. */
void clients_watch(void);
/* Sends the second half of each half request and waits for the answers. */
void clients_finish(void);
/* Prints the counts; `when` is put in front. */
void clients_report(const char *when);
/* Whether all of them were accepted. */
bool clients_all_accepted(void);

#endif

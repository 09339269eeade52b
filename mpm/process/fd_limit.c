/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit of open files. libst raises a VP's soft limit as far as possible; the programs that a
 * VP starts (CGI, filters) get the limit that httpd was started with, as in other MPMs. Called by
 * vp.c at a VP's start.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

#include "mpm/process/process.h"

static struct rlimit before;

/* Called by fork() itself, and by STIOL for posix_spawn() and the like. Descriptors above the limit
 * stay open. */
void stm_fd_limit_restore(void)
{
    setrlimit(RLIMIT_NOFILE, &before);
}

void stm_fd_limit_keep(void)
{
    if (getrlimit(RLIMIT_NOFILE, &before) != 0 ||
        pthread_atfork(NULL, NULL, stm_fd_limit_restore) != 0)
        ap_log_error(APLOG_MARK, APLOG_WARNING, errno, ap_server_conf,
                     STMNO(0056) "programs will inherit the VP's limit on open files");
}

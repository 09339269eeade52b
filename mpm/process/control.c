/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control channel: a pair of sockets between the master and each VP. A byte tells the VP to
 * leave or to stop; a byte from it says that it is ready, or that it is leaving. When the master
 * dies, the channel ends, and the VP leaves, too, so that no orphan keeps the port. The ends are
 * independent: what a VP does to its own (fills it, makes it block) does not affect the master's.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mpm/process/process.h"

bool stm_control_open(int *master_end, int *vp_end)
{
    int ends[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
                     STMNO(0051) "cannot create a control channel for a virtual processor");
        return false;
    }
    *vp_end = ends[0];
    *master_end = ends[1];
    return true;
}

bool stm_control_send(int end, char message)
{
    ssize_t n;

    if (end < 0)
        return false;
    do
        n = send(end, &message, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

stm_heard_e stm_control_hear(int master_end, char *message)
{
    ssize_t n;

    if (master_end < 0)
        return STM_HEARD_NOTHING;
    n = recv(master_end, message, 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return STM_HEARD_NOTHING;
    return n == 1 ? STM_HEARD_BYTE : STM_HEARD_END;
}

static int control = -1; /* the VP's end; -1: none */

bool stm_control_tell_master(char message)
{
    return stm_control_send(control, message);
}

static void on_command(st_watch_t *watch, int ready)
{
    char commands[16];
    ssize_t n;

    (void)ready;
    while ((n = recv(control, commands, sizeof(commands), MSG_DONTWAIT)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (commands[i] == STM_CONTROL_STOP)
                stm_vp_stop();
            else if (commands[i] == STM_CONTROL_FINISH)
                stm_vp_finish();
            else
                stm_vp_leave();
        }
    }
    if (n == 0) { /* the master is gone */
        stm_vp_leave();
        return;
    }
    st_fd_again(control, POLLIN);
    st_watch_arm(watch, POLLIN, ST_UTIME_NO_TIMEOUT);
}

void stm_control_listen(int vp_end)
{
    static st_watch_t watch;
    int ready;

    control = vp_end;
    if (vp_end < 0)
        return;
    st_watch_init(&watch, vp_end, 0, on_command);
    ready = st_watch_arm(&watch, POLLIN, ST_UTIME_NO_TIMEOUT);
    if (ready > 0)
        on_command(&watch, ready);
}

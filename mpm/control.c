/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control channel: one pipe from the master to each VP. A byte tells the VP to leave or to
 * stop. When the master dies, the pipe ends, and the VP leaves too: no orphan keeps the port.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "stm.h"

bool stm_control_open(int *master_end, int *vp_end)
{
    STM_ENTER();
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
                     "stm: no pipe for a virtual processor");
        return false;
    }
    *vp_end = ends[0];
    *master_end = ends[1];
    return true;
}

bool stm_control_send(int master_end, char command)
{
    STM_ENTER();
    ssize_t n;

    if (master_end < 0)
        return false;
    do
        n = write(master_end, &command, 1);
    while (n < 0 && errno == EINTR);
    return n == 1;
}

static void obey(char command)
{
    if (command == STM_CONTROL_STOP)
        stm_vp_stop();
    else
        stm_vp_leave();
}

static void on_command(st_watch_t *watch, int ready)
{
    char commands[16];
    ssize_t n;

    (void)ready;
    while ((n = read(stm.vp.control, commands, sizeof commands)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            obey(commands[i]);
    }
    if (n == 0) { /* the master is gone */
        stm_vp_leave();
        return;
    }
    st_fd_again(stm.vp.control, POLLIN);
    st_watch_arm(watch, POLLIN, ST_UTIME_NO_TIMEOUT);
}

/** In the VP: obey what comes from now on. */
void stm_control_listen(int vp_end)
{
    STM_ENTER();
    static st_watch_t watch;
    int ready;

    stm.vp.control = vp_end;
    if (vp_end < 0)
        return;
    st_watch_init(&watch, vp_end, 0, on_command);
    ready = st_watch_arm(&watch, POLLIN, ST_UTIME_NO_TIMEOUT);
    if (ready > 0)
        on_command(&watch, ready);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VPBind: a VP's binding to one CPU.
 */
#include <sched.h>
#include <unistd.h>

#include "mpm/shared/share.h"
#include "mpm/stm.h"

/** NULL if the server may run on that CPU, else why not. */
const char *stm_cpu_check(int cpu, apr_pool_t *pool)
{
    STM_ENTER();
    int cpus = (int)sysconf(_SC_NPROCESSORS_CONF);
    cpu_set_t allowed;

    if (cpu >= cpus)
        return apr_psprintf(pool, "no such CPU: must be between 0 and %d", cpus - 1);
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0 && !CPU_ISSET((size_t)cpu, &allowed))
        return "this CPU is offline, or the server is not allowed to run on it";
    return NULL;
}

/** Binds the calling VP as VPBind says, and records the CPU that it is really bound to (-1: none).
 */
void stm_bind_cpu(int ordinal)
{
    STM_ENTER();
    int cpu = stm.config.cpu[ordinal];
    cpu_set_t set;

    stm_share->cpu = -1;
    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
                     "VPBind: cannot bind VP %d to CPU %d", ordinal, cpu);
        return;
    }
    stm_share->cpu = cpu;
}

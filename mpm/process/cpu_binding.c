/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VPBind: a VP's binding to one CPU.
 */
#include <sched.h>
#include <unistd.h>

#include "mpm/config/config.h"
#include "mpm/process/process.h"
#include "mpm/shared/share.h"

void stm_cpu_bind(int ordinal)
{
    int cpu = stm_config.cpu[ordinal];
    cpu_set_t set;

    stm_share->cpu = -1;
    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, ap_server_conf,
                     STMNO(0052) "VPBind: cannot bind VP %d to CPU %d", ordinal, cpu);
        return;
    }
    stm_share->cpu = cpu;
}

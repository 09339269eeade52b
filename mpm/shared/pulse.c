/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VPs' pulses: the pages, in the master and in the VP. Called by children.c and vp.c.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

#include "mpm/shared/pulse.h"
#include "mpm/shared/shmem.h"
#include "mpm/stm.h"

static stm_pulse_t nobody_looks;
stm_pulse_t *stm_pulse = &nobody_looks;

stm_pulse_t *stm_pulse_make(void)
{
    stm_shmem_t memory;

    if (stm_shmem_make(&memory, "stm-pulse", sizeof(stm_pulse_t)) &&
        stm_shmem_clear(memory.writable, memory.size)) {
        munmap((void *)(uintptr_t)memory.readable, memory.size); /* nobody else reads it */
        return memory.writable;
    }
    stm_shmem_unmake(&memory);
    ap_log_error(APLOG_MARK, APLOG_WARNING, errno, ap_server_conf,
                 STMNO(0001) "no memory for a VP's pulse: if it hangs, that will not be detected");
    return NULL;
}

void stm_pulse_inherit(stm_pulse_t *pulse, bool inherited)
{
    if (pulse)
        madvise(pulse, sizeof(*pulse), inherited ? MADV_DOFORK : MADV_DONTFORK);
}

void stm_pulse_unmake(stm_pulse_t *pulse)
{
    if (pulse)
        munmap(pulse, sizeof(*pulse));
}

void stm_pulse_take(stm_pulse_t *pulse)
{
    if (pulse)
        stm_pulse = pulse;
}

void stm_pulse_answers(bool does)
{
    __atomic_store_n(&stm_pulse->can_answer, does, __ATOMIC_RELEASE);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters of fault injection; empty without -DST_FAULTS. Read by the wrappers of st_sys.h, set
 * by the unit tests.
 */
#include "st/st_internal.h"

#ifdef ST_FAULTS
long st__fault_countdown[ST_FAULT_COUNT];
unsigned long st__fault_calls[ST_FAULT_COUNT];

int st__fault_errno[ST_FAULT_COUNT] = {
#define X(name, error) error,
    ST__FAULT_KINDS(X)
#undef X
};

const char *const st__fault_name[ST_FAULT_COUNT] = {
#define X(name, error) #name,
    ST__FAULT_KINDS(X)
#undef X
};

void st__fault_reset(void)
{
    static const int errors[ST_FAULT_COUNT] = {
#define X(name, error) error,
        ST__FAULT_KINDS(X)
#undef X
    };

    for (int kind = 0; kind < ST_FAULT_COUNT; kind++) {
        st__fault_countdown[kind] = 0;
        st__fault_calls[kind] = 0;
        st__fault_errno[kind] = errors[kind];
    }
}

int st__fault_hit(enum st__fault kind)
{
    st__fault_calls[kind]++;
    if (st__fault_countdown[kind] == 0)
        return 0;
    if (st__fault_countdown[kind] > 0 && --st__fault_countdown[kind] > 0)
        return 0;
    errno = st__fault_errno[kind];
    return 1;
}
#endif

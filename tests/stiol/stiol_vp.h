/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of STIOL share beyond tests/vp.h: a VP_TEST's VP has STIOL started on it, and
 * calls are made by objects of their own.
 */
#ifndef STIOL_VP_H
#define STIOL_VP_H

#include "tests/stiol/objects/table.h"
#include "tests/vp.h"

#ifdef SHIM_CMOCKA_H
#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    cmocka_run_group_tests_name(#tests, tests, setup, teardown)
#endif

extern const stiol_config_t test_config;

enum { HUNG = 124 };

/** Runs body in another child with `off` switched off; its exit status, HUNG if it hung. */
int without(unsigned off, void (*body)(void));

stiol_counters_t counters(void);

/** Mounts a FUSE file system that nobody serves, in a namespace of this process's own. Returns a
 * descriptor; closing it ends the file system. Skips the test where that is not possible. */
int mount_dead(const char *folder);
/** Makes the VP reread the table of mounts. */
stiol__vp_t *look_again_at_mounts(void);

#endif /* STIOL_VP_H */

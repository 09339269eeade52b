/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other programs: spawn.c and vfork.c start them, shell.c runs commands, process.c waits for them.
 */
#ifndef STIOL_PROGRAM_H
#define STIOL_PROGRAM_H

#include "stiol/stiol_int.h"

#pragma GCC visibility push(hidden)

/** stiol_config_t.in_child. */
extern void (*stiol__in_child)(void);
/** Like posix_spawn(): 0 or an error number. Parks if the program is not in memory. */
int stiol__start_program(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                         const posix_spawnattr_t *attr, char *const argv[],
                         char *const environment[]);
/** spawn_look.c: whether executing the file (with a search path, the first one found there) would
 * wait for no disk. `group`: for the helper. */
bool stiol__program_is_near(stiol__vp_t *vp, const char *file, const char *path, uint64_t *group);
/** waitpid() without options; parks. -1 with errno, which is EINTR where the real one would be
 * cancelled. Called by shell.c. */
pid_t stiol__wait_for_child(stiol__vp_t *vp, pid_t pid, int *status);
/** At the first VP's start, before calls are rebound: finds out whether vfork() can be the real
 * one, which depends on the compiler. */
void stiol__vfork_start(void);
/** Whether it is. */
bool stiol__vfork_is_real(void);
/** In a child after fork: another thread may have held shell.c's lock. */
void stiol__shell_forked(void);

#pragma GCC visibility pop

#endif /* STIOL_PROGRAM_H */

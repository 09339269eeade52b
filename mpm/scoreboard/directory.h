/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ScoreboardDir: the directory's checks, and files in it. The master works there as root, so no
 * lesser user may be able to change what it finds.
 */
#ifndef STM_SCORE_DIR_H
#define STM_SCORE_DIR_H

#include <stdbool.h>

/** A new file, opened twice: see stm_shmem_map(). */
typedef struct stm_score_new_file {
    int writable, readable;
} stm_score_new_file_t;

/** Opens the directory. NULL, or why it may not be used; *directory is -1 then. */
const char *stm_score_dir_open(const char *path, int *directory);
/** NULL if a file of that name may be put there: there is none, or a scoreboard of an earlier
 * server; else why not. */
const char *stm_score_dir_refuses(int directory, const char *name);
/** Makes a file of that size, in place of any of that name. NULL, or why it could not. */
const char *stm_score_dir_create(int directory, const char *name, long long size,
                                 stm_score_new_file_t *file);
/** Removes the scoreboards of earlier servers, but not the files of the first `vps` ordinals. */
void stm_score_dir_tidy(int directory, int vps);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ScoreboardDir: checks of the directory, and files in it. The master works there as root, so no
 * less privileged user may be able to change what it finds.
 */
#ifndef STM_SCORE_DIR_H
#define STM_SCORE_DIR_H

#include <stdbool.h>

/** A new file, opened twice: see stm_shmem_map(). */
typedef struct stm_score_new_file {
    int writable, readable;
} stm_score_new_file_t;

/** Opens the directory. Returns NULL, or the reason why it may not be used, with *directory set to
 * -1. */
const char *stm_score_dir_open(const char *path, int *directory);
/** Returns NULL if a file of that name may be created there (there is none, or only an earlier
 * server's scoreboard), else the reason why not. */
const char *stm_score_dir_refuses(int directory, const char *name);
/** Creates a file of that size, replacing any of that name. Returns NULL, or the reason for the
 * failure. */
const char *stm_score_dir_create(int directory, const char *name, long long size,
                                 stm_score_new_file_t *file);
/** Removes the scoreboards of earlier servers, except the files of the first `vps` ordinals. */
void stm_score_dir_tidy(int directory, int vps);

#endif

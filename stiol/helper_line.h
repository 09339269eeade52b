/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines of jobs that wait for a helper, and whose turn it is. Only helper.c uses them. Nothing
 * here locks or waits.
 */
#ifndef STIOL_HELPER_LINE_H
#define STIOL_HELPER_LINE_H

#include "stiol/helper.h"

#pragma GCC visibility push(hidden)

#define STIOL_LINE_BUCKETS 64

typedef struct stiol__help_group stiol__help_group_t;

/** All zero except the limit: nothing is waiting or running. */
typedef struct stiol__line {
    int limit;                                       /* maximum number of jobs running at once */
    int running[STIOL_HELP_CLASSES], all_running;    /* now */
    int waiting[STIOL_HELP_CLASSES];                 /* now */
    int peak;                                        /* highest number that ran at once */
    stiol__help_class_t last;                        /* class of the job that ran last */
    stiol__help_group_t *groups[STIOL_LINE_BUCKETS]; /* those that have jobs here */
    stiol__help_group_t *first[STIOL_HELP_CLASSES],  /* of those that have waiting jobs, */
        *newest[STIOL_HELP_CLASSES];                 /* in the order of their turns */
} stiol__line_t;

/** Puts a job at the end of its group's line. False: no memory. */
bool stiol__line_enter(stiol__line_t *line, stiol__job_t *job);
/** Takes out the job whose turn it is: it counts as running from now on. NULL: no waiting job may
 * run now. */
stiol__job_t *stiol__line_next(stiol__line_t *line);
/** The job of stiol__line_next() could not be run: it waits again, as the first of its group. */
void stiol__line_return(stiol__line_t *line, stiol__job_t *job);
/** A job that ran has ended. */
void stiol__line_leave(stiol__line_t *line, stiol__job_t *job);
/** Takes out a job that waits. */
void stiol__line_cancel(stiol__line_t *line, stiol__job_t *job);
/** Forgets all jobs: they are the parent process's. */
void stiol__line_forked(stiol__line_t *line);
/** The number of waiting jobs. */
int stiol__line_waiting(const stiol__line_t *line);
/** Whether a job of a new group that is not quick would have to wait. */
bool stiol__line_crowded(const stiol__line_t *line, stiol__help_class_t class);

#pragma GCC visibility pop

#endif /* STIOL_HELPER_LINE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which job runs next. A class may not use what is reserved for the others; within a class, a slow
 * group (a device, a domain) gets many of the free helpers but never the last ones, and waiting
 * groups take turns. Used by helper.c, with the pool's lock held.
 */
#include "stiol/stiol_int.h"

#include "stiol/helper_line.h"

enum {
    RESERVED = 16,      /* each class has a 16th of the limit to itself, */
    MOST_RESERVED = 16, /* but no more than this, */
    SMALL_LIMIT = 8,    /* from this limit on; below, there is too little to divide */
    FOR_QUICK = 8,      /* an 8th of a class's share is for quick jobs, */
    MOST_FOR_QUICK = 8, /* but no more than this */
};
/* A group may have this many times the number of helpers that it leaves free for others: with k
 * groups that want all, each gets 16/(16k+1) of them and 1/(16k+1) stays free. */
enum { SHARE = 16 };

struct stiol__help_group {
    struct stiol__help_group *next, *after; /* in its bucket; in line */
    uint64_t key;
    stiol__help_class_t class;
    stiol__job_t *first, **last;
    int running;
};

/* --- groups --- */

static stiol__help_group_t **bucket_of(stiol__line_t *line, uint64_t key)
{
    return &line->groups[(key * UINT64_C(0x9E3779B97F4A7C15)) >> 58];
}

static stiol__help_group_t *group_of(stiol__line_t *line, const stiol__job_t *job)
{
    uint64_t key = job->group != 0 ? job->group : (uintptr_t)job;
    stiol__help_group_t **bucket = bucket_of(line, key), *group = *bucket;

    while (group && (group->key != key || group->class != job->class))
        group = group->next;
    if (group)
        return group;
    group = calloc(1, sizeof(*group));
    if (!group)
        return NULL;
    *group = (stiol__help_group_t){.next = *bucket, .key = key, .class = job->class};
    group->last = &group->first;
    *bucket = group;
    return group;
}

static void forget_if_empty(stiol__line_t *line, stiol__help_group_t *group)
{
    stiol__help_group_t **place = bucket_of(line, group->key);

    if (group->running > 0 || group->first)
        return;
    while (*place != group)
        place = &(*place)->next;
    *place = group->next;
    free(group);
}

static void line_up(stiol__line_t *line, stiol__help_group_t *group)
{
    stiol__help_group_t *newest = line->newest[group->class];

    group->after = NULL;
    if (newest)
        newest->after = group;
    else
        line->first[group->class] = group;
    line->newest[group->class] = group;
}

static void step_out(stiol__line_t *line, stiol__help_group_t *group)
{
    stiol__help_group_t **place = &line->first[group->class], *before = NULL;

    while (*place != group) {
        before = *place;
        place = &before->after;
    }
    *place = group->after;
    if (line->newest[group->class] == group)
        line->newest[group->class] = before;
}

/* --- whose turn it is --- */

static int reserved(const stiol__line_t *line, stiol__help_class_t class)
{
    if (line->limit < SMALL_LIMIT)
        return 0;
    if (class == STIOL_HELP_LOG || line->limit < RESERVED)
        return 1;
    return line->limit / RESERVED < MOST_RESERVED ? line->limit / RESERVED : MOST_RESERVED;
}

static int room_of(const stiol__line_t *line, stiol__help_class_t class)
{
    int room = line->limit - line->all_running;

    for (int other = 0; other < STIOL_HELP_CLASSES; other++)
        if (other != (int)class) {
            int unused = reserved(line, (stiol__help_class_t)other) - line->running[other];

            room -= unused > 0 ? unused : 0;
        }
    if (class == STIOL_HELP_LOG) /* its jobs must stay in order */
        return line->running[class] == 0 && room > 0 ? 1 : 0;
    return room;
}

/* The part of a class's room that is kept for quick jobs. */
static int kept_for_quick(const stiol__line_t *line, stiol__help_class_t class)
{
    int most = line->limit;

    if (line->limit < SMALL_LIMIT || class == STIOL_HELP_LOG)
        return 0;
    for (int other = 0; other < STIOL_HELP_CLASSES; other++)
        if (other != (int)class)
            most -= reserved(line, (stiol__help_class_t)other);
    if (most < FOR_QUICK)
        return 1;
    return most / FOR_QUICK < MOST_FOR_QUICK ? most / FOR_QUICK : MOST_FOR_QUICK;
}

/* A group that already has a helper must leave one free. */
static bool may_run(const stiol__line_t *line, const stiol__help_group_t *group, int room, int kept)
{
    if (!group->first->quick)
        room -= kept;
    if (group->running == 0 || line->limit < SMALL_LIMIT)
        return room > 0;
    return group->running < SHARE * (room - 1);
}

int stiol__line_waiting(const stiol__line_t *line)
{
    int waiting = 0;

    for (int class = 0; class < STIOL_HELP_CLASSES; class ++)
        waiting += line->waiting[class];
    return waiting;
}

bool stiol__line_crowded(const stiol__line_t *line, stiol__help_class_t class)
{
    return room_of(line, class) <= kept_for_quick(line, class);
}

/* Its first job runs from now on; the group goes to the end of the line. */
static stiol__job_t *take_first(stiol__line_t *line, stiol__help_group_t *group)
{
    stiol__job_t *job = group->first;

    step_out(line, group);
    group->first = job->next;
    if (!group->first)
        group->last = &group->first;
    else
        line_up(line, group);
    group->running++;
    line->running[group->class]++;
    if (++line->all_running > line->peak)
        line->peak = line->all_running;
    line->waiting[group->class]--;
    line->last = group->class;
    job->state = STIOL_JOB_RUNS;
    return job;
}

static stiol__job_t *next_of(stiol__line_t *line, stiol__help_class_t class)
{
    int room = room_of(line, class), kept;

    if (room <= 0 || !line->first[class])
        return NULL;
    kept = kept_for_quick(line, class);
    for (stiol__help_group_t *group = line->first[class]; group; group = group->after)
        if (may_run(line, group, room, kept))
            return take_first(line, group);
    return NULL;
}

stiol__job_t *stiol__line_next(stiol__line_t *line)
{
    stiol__job_t *job = NULL;

    for (int i = 1; i <= STIOL_HELP_CLASSES && !job; i++)
        job = next_of(line, (stiol__help_class_t)(((int)line->last + i) % STIOL_HELP_CLASSES));
    return job;
}

/* --- in and out --- */

bool stiol__line_enter(stiol__line_t *line, stiol__job_t *job)
{
    stiol__help_group_t *group = group_of(line, job);

    if (!group)
        return false;
    job->in = group;
    job->next = NULL;
    job->state = STIOL_JOB_WAITS;
    if (!group->first)
        line_up(line, group);
    *group->last = job;
    group->last = &job->next;
    line->waiting[job->class]++;
    return true;
}

void stiol__line_return(stiol__line_t *line, stiol__job_t *job)
{
    stiol__help_group_t *group = job->in;

    job->state = STIOL_JOB_WAITS;
    group->running--;
    line->running[group->class]--;
    line->all_running--;
    line->waiting[group->class]++;
    if (!group->first) {
        group->last = &job->next;
        line_up(line, group);
    }
    job->next = group->first;
    group->first = job;
}

void stiol__line_leave(stiol__line_t *line, stiol__job_t *job)
{
    stiol__help_group_t *group = job->in;

    group->running--;
    line->running[group->class]--;
    line->all_running--;
    forget_if_empty(line, group);
}

void stiol__line_cancel(stiol__line_t *line, stiol__job_t *job)
{
    stiol__help_group_t *group = job->in;
    stiol__job_t **place = &group->first;

    while (*place != job)
        place = &(*place)->next;
    *place = job->next;
    if (group->last == &job->next)
        group->last = place;
    line->waiting[group->class]--;
    if (!group->first)
        step_out(line, group);
    forget_if_empty(line, group);
}

/* The groups are left behind: another thread may have been about to change them. */
void stiol__line_forked(stiol__line_t *line)
{
    *line = (stiol__line_t){.limit = line->limit};
}

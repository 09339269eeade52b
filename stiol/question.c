/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open questions to the name service: a state thread whose question is already open waits along
 * with the others, without a helper of its own. A question is on the heap, so that a thread that
 * cannot wait any longer may leave while a helper is still working on it. Used by resolve.c; each
 * VP has its own questions.
 */
#include "stiol/stiol_int.h"

#include "stiol/question.h"

/* A waiting state thread; on its stack. */
typedef struct stiol__asker {
    struct stiol__asker *next;
    st_thread_t thread;
    bool answered;
} asker_t;

/* The VP's. Questions open at its end stay open: there is nobody left to tell. */
static __thread stiol__question_t *open_questions __attribute__((tls_model("initial-exec")));

stiol__question_t *stiol__question_find(const void *key, size_t key_size)
{
    stiol__question_t *question = open_questions;

    while (question &&
           (question->key_size != key_size || memcmp(question->key, key, key_size) != 0))
        question = question->next;
    return question;
}

static void close_question(stiol__question_t *question)
{
    stiol__question_t **place = &open_questions;

    while (*place != question)
        place = &(*place)->next;
    *place = question->next;
    question->open = false;
}

/* In the scheduler. */
static void answered(stiol__job_t *job)
{
    stiol__question_t *question = (stiol__question_t *)job;

    if (question->open)
        close_question(question);
    if (!question->askers)
        question->free(question); /* the last one has left just now */
    else
        for (asker_t *asker = question->askers; asker; asker = asker->next) {
            asker->answered = true;
            st_thread_unpark(asker->thread);
        }
}

static void release(stiol__job_t *job)
{
    stiol__question_t *question = (stiol__question_t *)job;

    question->free(question);
}

static void take_out(stiol__question_t *question, const asker_t *asker)
{
    asker_t **place = &question->askers;

    while (*place != asker)
        place = &(*place)->next;
    *place = asker->next;
}

/* The last to leave frees the question, unless its answer is just arriving. */
static int leave_unanswered(stiol__vp_t *vp, stiol__question_t *question, const asker_t *asker)
{
    take_out(question, asker);
    if (!question->askers && question->open) {
        close_question(question);
        (void)stiol__help_abandon(&question->job, release);
    }
    errno = EINTR;
    return stiol__failed(vp);
}

static void ask(stiol__vp_t *vp, stiol__question_t *question, bool *interrupted)
{
    question->job.finished = answered;
    question->job.thread = st_thread_self(); /* for stmstat dump */
    question->next = open_questions;
    open_questions = question;
    question->open = true;
    if (stiol__help_start_patiently(vp, STIOL_HELP_RESOLVE, &question->job, interrupted)) {
        vp->counters.resolve.helped++;
        return;
    }
    stiol__help_here(&question->job);
    answered(&question->job);
}

int stiol__question_wait(stiol__vp_t *vp, stiol__question_t *question)
{
    asker_t asker = {.next = question->askers, .thread = st_thread_self()};
    st_wait_t wait = stiol__help_wait(STIOL_HELP_RESOLVE, &question->job);
    bool interrupted = false;

    STIOL_PARKS(vp, resolve);
    st_wait_begin(&wait);
    question->askers = &asker;
    if (!question->open)
        ask(vp, question, &interrupted);
    while (!asker.answered) {
        if (interrupted && (vp->ending || stiol__to_be_cancelled())) {
            st_wait_end(&wait);
            return leave_unanswered(vp, question, &asker);
        }
        if (st_thread_park(STIOL_JOB_PATIENCE) == 0)
            continue;
        if (errno == ETIME)
            stiol__help_try_again();
        else
            interrupted = true;
    }
    st_wait_end(&wait);
    take_out(question, &asker);
    if (interrupted)
        st_thread_interrupt(asker.thread); /* not for this wait: pass it on to the next one */
    return 0;
}

bool stiol__question_last(const stiol__question_t *question)
{
    return !question->askers;
}

void stiol__question_end(stiol__question_t *question)
{
    if (!question->askers)
        question->free(question);
}

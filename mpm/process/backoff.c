/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a seat whose VP has died gets its next one. It depends on the cause: a VP that dies before
 * it has accepted a connection will probably die again, so its successor waits longer each time;
 * one that a request has killed is replaced at once, since the next request may be harmless. Called
 * by children.c.
 */
#include "mpm/process/process.h"

/* A VP that has lived longer than this did not fail during its start. */
#define EARLY           apr_time_from_sec(1)
#define FIRST_BACKOFF   apr_time_from_msec(100)
#define LONGEST_BACKOFF apr_time_from_sec(10)
/* Requests that kill VPs as fast as they start would keep the CPUs busy starting them: each seat
 * has BURST starts to spend, and gets another one every START_EACH. */
#define START_EACH      apr_time_from_msec(100)
enum { BURST = 20 };
/* Deaths closer together than this belong to one crash loop. */
#define CRASH_LOOP apr_time_from_sec(10)
enum { LOOP_DEATHS = 2 };

static void put_off(stm_seat_t *seat, const stm_child_t *last, apr_time_t now)
{
    unsigned doubled = seat->early_deaths < 12 ? seat->early_deaths - 2 : 10;
    apr_interval_time_t delay = FIRST_BACKOFF << doubled;

    if (delay > LONGEST_BACKOFF)
        delay = LONGEST_BACKOFF;
    seat->not_before = now + delay;
    ap_log_error(APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
                 STMNO(0034) "VP %d has died %u times in a row before accepting a connection; next "
                             "start in %d ms",
                 last->ordinal, seat->early_deaths, (int)apr_time_as_msec(delay));
}

/* The start has to wait only if more than BURST were needed in a short time. */
static void spend_start(stm_seat_t *seat, apr_time_t now)
{
    if (seat->starts_paid < now)
        seat->starts_paid = now;
    seat->starts_paid += START_EACH;
    if (seat->starts_paid - BURST * START_EACH > now)
        seat->not_before = seat->starts_paid - BURST * START_EACH;
}

static void count_crash(const stm_child_t *last, apr_time_t now)
{
    stm_retained_t *retained = stm_retained;

    if (!retained->crashes || now - retained->last_crash > CRASH_LOOP)
        retained->crashes = 0;
    retained->last_crash = now;
    if (++retained->crashes == LOOP_DEATHS)
        ap_log_error(
            APLOG_MARK, APLOG_WARNING, 0, ap_server_conf,
            STMNO(0035) "requests kill one VP after another (most recently VP %d, pid %ld): "
                        "new VPs serve clients that have already disconnected after all others",
            last->ordinal, (long)last->pid);
}

void stm_backoff_after_death(stm_seat_t *seat, const stm_child_t *last, bool served, bool crashed)
{
    apr_time_t now = stm_monotonic();

    seat->not_before = 0;
    if (served || now - last->born >= EARLY) {
        seat->early_deaths = 0;
        spend_start(seat, now);
        if (served && crashed)
            count_crash(last, now);
    } else if (++seat->early_deaths >= 2) {
        put_off(seat, last, now);
    }
}

void stm_backoff_after_failure(stm_seat_t *seat)
{
    seat->not_before = stm_monotonic() + LONGEST_BACKOFF;
}

bool stm_backoff_crash_loop(void)
{
    return stm_retained->crashes >= LOOP_DEATHS &&
           stm_monotonic() - stm_retained->last_crash <= CRASH_LOOP;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What state threads wait for, on the terminal (threads.c).
 */
#ifndef STMSTAT_THREADS_H
#define STMSTAT_THREADS_H

#include "score/waits.h"
#include "stmstat/stmstat.h"

/** Prints them, as a table or as JSON, of a scan with STM_VIEW_WAITS. False: no memory. */
bool threads_print(const stmstat_scan_t *scan, bool json);
/** One line for the live view: how many wait for what; "": none. */
void threads_summary(const stmstat_scan_t *scan, char *line, size_t size);

#endif

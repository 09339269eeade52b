/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What state threads wait for, on the terminal (threads.c).
 */
#ifndef STMSTAT_THREADS_H
#define STMSTAT_THREADS_H

#include "score/waits.h"
#include "stmstat/stmstat.h"

/** Prints them, as a table or as JSON; the scan must have been made with STM_VIEW_WAITS. Returns
 * false if there is no memory. */
bool threads_print(const stmstat_scan_t *scan, bool json);
/** Writes a line for the live view: how many wait for what. It is empty if none waits. */
void threads_summary(const stmstat_scan_t *scan, char *line, size_t size);

#endif

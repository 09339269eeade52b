/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of the messages in the error log. Every message has one, and docs/messages.md says
 * what it means and what to do. A number is never reused, even if its message has been removed:
 * people search for it.
 */
#ifndef STMNO_H
#define STMNO_H

/** Begins a message's text, as APLOGNO() begins httpd's: STMNO(0001) "text". */
#define STMNO(number) "STM" #number ": "

#endif

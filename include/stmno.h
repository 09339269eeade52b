/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of the messages in the error log. Every message has one; docs/messages.md says for
 * each what it means and what to do. A number is never given to another message, not even after its
 * own is gone: people search for it.
 */
#ifndef STMNO_H
#define STMNO_H

/** Begins a message's text, as APLOGNO() begins httpd's: STMNO(0001) "text". */
#define STMNO(number) "STM" #number ": "

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compile-time options of STM, with the names from the user's guide of 2000. Set them with
 * CPPFLAGS (make CPPFLAGS="-DSTM_LISTENER_LIMIT=2 -DSTM_DEBUG"). Where the guide's number would be
 * too low today, the default is higher; docs/directives.md lists both.
 */
#ifndef STM_LIMITS_H
#define STM_LIMITS_H

/** Maximum number of listening sockets (Listen or VPListen addresses). The guide: 8. No table has
 * this size: descriptors run out first, unless a build sets a lower limit. */
#ifndef STM_LISTENER_LIMIT
#define STM_LISTENER_LIMIT 65536
#endif

/** Maximum number of state threads of one virtual processor: the upper bound of MaxThreads. The
 * guide: 512. */
#ifndef STM_ST_LIMIT
#define STM_ST_LIMIT 65536
#endif

/** Maximum number of virtual processors. The guide: 8. */
#ifndef STM_VP_LIMIT
#define STM_VP_LIMIT 256
#endif

/** Size of a key in the scoreboards' connection tables, including the final null, bytes. */
#ifndef STM_SCORE_KEY_SIZE
#define STM_SCORE_KEY_SIZE 16
#endif

/** Size of a value in the scoreboards' connection tables, including the final null, bytes. */
#ifndef STM_SCORE_VALUE_SIZE
#define STM_SCORE_VALUE_SIZE 48
#endif

/** Maximum number of key/value pairs of one connection in the scoreboards; further insertions are
 * ignored. */
#ifndef STM_SCORE_LIMIT
#define STM_SCORE_LIMIT 16
#endif

/* Not for users. What a build of the module expects of the one that ran before it under the same
 * master (stamp.c): what retained data means, and how it is handed over if that has changed. */
#ifndef STM_LAYOUT
#define STM_LAYOUT 2
#endif
#ifndef STM_HANDOVER
#define STM_HANDOVER 2
#endif

_Static_assert(STM_LISTENER_LIMIT >= 1 && STM_LISTENER_LIMIT <= 100000,
               "STM_LISTENER_LIMIT must be between 1 and 100000");
_Static_assert(STM_ST_LIMIT >= 1 && STM_ST_LIMIT <= 1000000,
               "STM_ST_LIMIT must be between 1 and 1000000");
_Static_assert(STM_VP_LIMIT >= 1 && STM_VP_LIMIT <= 1024,
               "STM_VP_LIMIT must be between 1 and 1024");
_Static_assert(STM_SCORE_KEY_SIZE >= 2, "STM_SCORE_KEY_SIZE must be at least 2");
_Static_assert(STM_SCORE_VALUE_SIZE >= 2, "STM_SCORE_VALUE_SIZE must be at least 2");
_Static_assert(STM_SCORE_LIMIT >= 1, "STM_SCORE_LIMIT must be at least 1");

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compile options of this build as text, one per line: httpd -t -D DUMP_STM prints them,
 * scoreboard files contain them, and stmstat -V prints its own.
 */
#ifndef STM_SCORE_OPTIONS_H
#define STM_SCORE_OPTIONS_H

#include "score/limits.h"

#define STM_TEXT_OF(value)      #value
#define STM_OPTION(name, value) name " " STM_TEXT_OF(value) "\n"
#define STM_IS_SET              " defined\n"
#define STM_IS_NOT_SET          " not defined\n"

#ifdef STIOL_DEBUG
#define STM_OPTION_IO_DEBUG STM_IS_SET
#else
#define STM_OPTION_IO_DEBUG STM_IS_NOT_SET
#endif
#ifdef STM_DEBUG
#define STM_OPTION_DEBUG STM_IS_SET
#else
#define STM_OPTION_DEBUG STM_IS_NOT_SET
#endif
#ifdef ST_SHUFFLE
#define STM_OPTION_SHUFFLE STM_IS_SET
#else
#define STM_OPTION_SHUFFLE STM_IS_NOT_SET
#endif
#ifdef USE_ST_TIME
#define STM_OPTION_TIME STM_IS_SET
#else
#define STM_OPTION_TIME STM_IS_NOT_SET
#endif

static const char stm_score_options[] =
    /* clang-format off */
    "STIOL_DEBUG" STM_OPTION_IO_DEBUG
    "STM_DEBUG" STM_OPTION_DEBUG
    "ST_SHUFFLE" STM_OPTION_SHUFFLE
    "USE_ST_TIME" STM_OPTION_TIME
    STM_OPTION("STM_LISTENER_LIMIT", STM_LISTENER_LIMIT)
    STM_OPTION("STM_SCORE_KEY_SIZE", STM_SCORE_KEY_SIZE)
    STM_OPTION("STM_SCORE_LIMIT", STM_SCORE_LIMIT)
    STM_OPTION("STM_SCORE_VALUE_SIZE", STM_SCORE_VALUE_SIZE)
    STM_OPTION("STM_ST_LIMIT", STM_ST_LIMIT)
    STM_OPTION("STM_VP_LIMIT", STM_VP_LIMIT);
/* clang-format on */

#endif

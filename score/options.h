/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compile options of this build as text, one a line: scoreboard files hold them, and stmstat -V
 * prints its own.
 */
#ifndef STM_SCORE_OPTIONS_H
#define STM_SCORE_OPTIONS_H

#include "score/limits.h"

#define STM_TEXT_OF(value)       #value
#define STM_OPTION(name, value)  name " " STM_TEXT_OF(value) "\n"
#define STM_OPTION_SET(name)     name " defined\n"
#define STM_OPTION_NOT_SET(name) name " not defined\n"

#ifdef STM_DEBUG
#define STM_OPTION_DEBUG STM_OPTION_SET("STM_DEBUG")
#else
#define STM_OPTION_DEBUG STM_OPTION_NOT_SET("STM_DEBUG")
#endif
#ifdef STIOL_DEBUG
#define STM_OPTION_IO_DEBUG STM_OPTION_SET("STIOL_DEBUG")
#else
#define STM_OPTION_IO_DEBUG STM_OPTION_NOT_SET("STIOL_DEBUG")
#endif
#ifdef USE_ST_TIME
#define STM_OPTION_TIME STM_OPTION_SET("USE_ST_TIME")
#else
#define STM_OPTION_TIME STM_OPTION_NOT_SET("USE_ST_TIME")
#endif

static const char stm_score_options[] =
    STM_OPTION_IO_DEBUG STM_OPTION_DEBUG STM_OPTION_TIME STM_OPTION("STM_LISTENER_LIMIT",
                                                                    STM_LISTENER_LIMIT)
        STM_OPTION("STM_SCORE_KEY_SIZE", STM_SCORE_KEY_SIZE)
            STM_OPTION("STM_SCORE_LIMIT", STM_SCORE_LIMIT)
                STM_OPTION("STM_SCORE_VALUE_SIZE", STM_SCORE_VALUE_SIZE)
                    STM_OPTION("STM_ST_LIMIT", STM_ST_LIMIT)
                        STM_OPTION("STM_VP_LIMIT", STM_VP_LIMIT);

#endif

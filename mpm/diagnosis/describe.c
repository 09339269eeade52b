/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leads readers in another process to libst's description of its structures: the symbol stays in
 * a stripped module, where libst's own are hidden. Nothing in the module reads it.
 */
#include "include/st_description.h"

extern const struct st__layout *const stm_debug_description;
__attribute__((visibility("default"), used)) const struct st__layout *const stm_debug_description =
    &st__description;

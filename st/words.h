/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory without its zeros: of each 64 words, a word with a bit for each that is not zero, and then
 * those. For stacks (rest.c) and for pools (aprmem/rest.c) at rest.
 */
#ifndef ST_WORDS_H
#define ST_WORDS_H

#include <stddef.h>
#include <stdint.h>

enum { ST_WORDS_GROUP = 64 };

/* AddressSanitizer does not watch: what is packed is the memory of others. */
#if defined(__SANITIZE_ADDRESS__)
#define ST_WORDS_CALL static __attribute__((no_sanitize("address"), unused))
#else
#define ST_WORDS_CALL static inline
#endif

/** Packs `count` words to `to`; NULL: only tells how many it would be. Returns that. */
ST_WORDS_CALL size_t st_words_pack(const uint64_t *from, size_t count, uint64_t *to)
{
    size_t used = 0;

    for (size_t at = 0; at < count; at += ST_WORDS_GROUP) {
        size_t here = count - at < ST_WORDS_GROUP ? count - at : ST_WORDS_GROUP, mask_at = used++;
        uint64_t mask = 0;

        for (size_t i = 0; i < here; i++) {
            uint64_t word = from[at + i];

            if (word == 0)
                continue;
            mask |= UINT64_C(1) << i;
            if (to)
                to[used] = word;
            used++;
        }
        if (to)
            to[mask_at] = mask;
    }
    return used;
}

/** Writes the words that are not zero to where they were; the others are left as they are. */
ST_WORDS_CALL void st_words_unpack(const uint64_t *from, size_t count, uint64_t *to)
{
    for (size_t at = 0; at < count; at += ST_WORDS_GROUP)
        for (uint64_t mask = *from++; mask; mask &= mask - 1)
            to[at + (size_t)__builtin_ctzll(mask)] = *from++;
}

#endif /* ST_WORDS_H */

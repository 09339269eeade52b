/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files are read, not mapped: one read into the buffer that goes out beside the header costs
 * less than mapping a page, faulting it in and unmapping it. EnableMMAP keeps its meaning for
 * larger files. A filter next to the handler sees the file first, says so to its bucket, and is
 * gone.
 */
#include <apr_buckets.h>
#include <util_filter.h>

#include "stm.h"

/* Up to here one read is cheaper (bytes). */
#define SMALL 32768

static ap_filter_rec_t *handle;

static void read_not_map(apr_bucket *bucket)
{
    if (!APR_BUCKET_IS_FILE(bucket) || bucket->length > SMALL)
        return;
    apr_bucket_file_enable_mmap(bucket, 0);
    if (bucket->length > APR_BUCKET_BUFF_SIZE)
        apr_bucket_file_set_buf_size(bucket, bucket->length);
}

static apr_status_t small_file_filter(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    ap_filter_t *next = filter->next;

    for (apr_bucket *bucket = APR_BRIGADE_FIRST(brigade); bucket != APR_BRIGADE_SENTINEL(brigade);
         bucket = APR_BUCKET_NEXT(bucket))
        read_not_map(bucket);
    ap_remove_output_filter(filter);
    return ap_pass_brigade(next, brigade);
}

/** Hook: before the handler runs. */
void stm_insert_filter(request_rec *r)
{
    ap_add_output_filter_handle(handle, NULL, r, r->connection);
}

void stm_small_file_register(void)
{
    handle =
        ap_register_output_filter("STM_SMALL_FILE", small_file_filter, NULL, AP_FTYPE_RESOURCE);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * httpd's current thread: every state thread that may run a module's code has an apr_thread_t with
 * a pool of its own, like a worker thread of other MPMs, and ap_thread_current() returns it.
 * Threads that modules create (ap_thread_create()) set their own. Called by thread.c,
 * timed_callback.c and idle.c.
 */
#include <link.h>

#include "mpm/config/config.h"
#include "mpm/conn/conn.h"
#include "aprmem/aprmem.h"
#include "stiol/stiol.h"

static apr_pool_t *root; /* of the threads' pools; permanent: a thread may outlive pchild */

/* ap_thread_current_create() would do, but its pool has an allocator of its own: 8 KB. So we find
 * the thread-local variable that ap_thread_current() reads and set it ourselves. NULL if it was not
 * found. */
static apr_thread_t **place;

#if AP_HAS_THREAD_LOCAL

static bool is_place(apr_thread_t **candidate)
{
    apr_thread_t *before = *candidate, *probe = (apr_thread_t *)&root;
    bool is;

    if (before != ap_thread_current())
        return false;
    *candidate = probe;
    is = ap_thread_current() == probe;
    *candidate = before;
    return is;
}

static bool has_code(const struct dl_phdr_info *info, uintptr_t address)
{
    for (int i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t low = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

        if (info->dlpi_phdr[i].p_type == PT_LOAD && address >= low &&
            address - low < info->dlpi_phdr[i].p_memsz)
            return true;
    }
    return false;
}

static int look_into(struct dl_phdr_info *info, size_t size, void *data)
{
    char *block = info->dlpi_tls_data;

    (void)size;
    (void)data;
    if (!block || !has_code(info, (uintptr_t)ap_thread_current))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_TLS)
            for (size_t at = 0; !place && at + sizeof(*place) <= info->dlpi_phdr[i].p_memsz;
                 at += sizeof(*place))
                if (is_place((apr_thread_t **)(block + at)))
                    place = (apr_thread_t **)(block + at);
    return 1;
}

void stm_current_find(void)
{
    if (ap_thread_current())
        dl_iterate_phdr(look_into, NULL);
}

static apr_thread_t *create_with_httpd(void)
{
    apr_thread_t *thread = NULL;

    return ap_thread_current_create(&thread, NULL, root) == APR_SUCCESS ? thread : NULL;
}

static void forget_current(void)
{
    ap_thread_current_after_fork(); /* which does just that */
}

#else

void stm_current_find(void)
{
}

static apr_thread_t *create_with_httpd(void)
{
    return NULL;
}

static void forget_current(void)
{
}

#endif

static apr_thread_t *create(void)
{
    apr_thread_t *thread = NULL;
    apr_os_thread_t *id;
    apr_pool_t *pool;

    /* Most threads' pools hold no more than the apr_thread_t. */
    if ((stm_config.small_pools ? aprmem_create_least(&pool, root)
                                : apr_pool_create(&pool, root)) != APR_SUCCESS)
        return NULL;
    apr_pool_tag(pool, "state thread");
    id = apr_palloc(pool, sizeof(*id));
    *id = apr_os_thread_current();
    apr_os_thread_put(&thread, id, pool);
    return thread;
}

static bool have_root(void)
{
    if (!root &&
        apr_pool_create_unmanaged_ex(&root, apr_pool_abort_get(stm.vp.pchild), NULL) == APR_SUCCESS)
        apr_pool_tag(root, "state threads");
    return root;
}

apr_thread_t *stm_current_begin(void)
{
    apr_thread_t *thread;

    stiol_inherit();
    if (!stm_config.threaded_io || !have_root())
        return NULL;
    if (AP_HAS_THREAD_LOCAL && !place)
        return create_with_httpd();
    thread = create();
    if (place)
        *place = thread;
    return thread;
}

void stm_current_end(apr_thread_t *thread)
{
    if (!thread)
        return;
    forget_current();
    apr_pool_destroy(apr_thread_pool_get(thread));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What AddressSanitizer and Valgrind need to know about stacks and switches. Empty in normal
 * builds.
 */
#include "st/st_internal.h"

#if ST__ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

void st__asan_init(struct st_thread *primordial)
{
    pthread_attr_t attr;
    void *bottom;

    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return;
    if (pthread_attr_getstack(&attr, &bottom, &primordial->asan_size) == 0)
        primordial->asan_bottom = bottom;
    pthread_attr_destroy(&attr);
}

/* fake: where the thread being switched out keeps its fake stack, NULL if it has ended. */
void st__asan_leave(struct st_thread *to, void **fake)
{
    __sanitizer_start_switch_fiber(fake, to->asan_bottom, to->asan_size);
}

void st__asan_arrive(void *fake)
{
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

void st__asan_unpoison(const void *base, size_t size)
{
    ASAN_UNPOISON_MEMORY_REGION(base, size);
}
#endif

#if ST__VALGRIND
#include <valgrind/memcheck.h>

bool st__valgrind_running(void)
{
    return RUNNING_ON_VALGRIND != 0;
}

void st__valgrind_register(struct st__stack *stack)
{
    char *base = st__stack_base(stack);

    stack->valgrind_id = (unsigned)VALGRIND_STACK_REGISTER(base, base + st__stack_size(stack));
}

void st__valgrind_deregister(struct st__stack *stack)
{
    VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
}

/* To Valgrind, whatever lies below the previous thread's last stack pointer is out of bounds. */
void st__valgrind_renew(struct st__stack *stack)
{
    (void)VALGRIND_MAKE_MEM_UNDEFINED(st__stack_base(stack), st__stack_size(stack));
}

void st__valgrind_reveal(const struct st__stack *stack)
{
    (void)VALGRIND_MAKE_MEM_DEFINED(st__stack_base(stack), st__stack_size(stack));
}
#endif

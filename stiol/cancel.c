/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a state thread ends before its function returns: pthread_exit() and cancellation. As in
 * glibc, the stack is unwound, running destructors of C++ objects and cleanup handlers on the way.
 * A request to cancel a thread ends its current wait, which then ends the thread. Used through the
 * replacements; files that wait call stiol__cancellation().
 */
#include <setjmp.h>
#include <unwind.h>

#include "stiol/carry.h"
#include "stiol/stiol_int.h"
#include "stiol/thread.h"

/* As in glibc, the unwinding library is loaded when needed. */
typedef __typeof__(_Unwind_ForcedUnwind) forced_unwind_t;

struct stiol__unwinding {
    struct _Unwind_Exception exception;
    forced_unwind_t *unwind;
};

/* --- cleanup handlers of C code: one list for each thread, innermost first --- */

#define PREVIOUS(buffer) ((buffer)->__pad[0])
#define TYPE(buffer)     ((buffer)->__pad[2])

void stiol____pthread_register_cancel(__pthread_unwind_buf_t *buffer)
{
    stiol__thread_t *self = stiol__identified();

    (void)STIOL_ENTER(thread, __pthread_register_cancel, buffer);
    if (!self) {
        __pthread_register_cancel(buffer);
        return;
    }
    PREVIOUS(buffer) = self->cleanup;
    self->cleanup = buffer;
}

void stiol____pthread_unregister_cancel(__pthread_unwind_buf_t *buffer)
{
    stiol__thread_t *self = stiol__identified();

    (void)STIOL_ENTER(thread, __pthread_unregister_cancel, buffer);
    if (!self)
        __pthread_unregister_cancel(buffer);
    else
        self->cleanup = PREVIOUS(buffer);
}

void stiol____pthread_register_cancel_defer(__pthread_unwind_buf_t *buffer)
{
    stiol__thread_t *self = stiol__identified();

    if (!self) {
        __pthread_register_cancel_defer(buffer);
        return;
    }
    stiol____pthread_register_cancel(buffer);
    TYPE(buffer) = (void *)(uintptr_t)self->cancel_at_once;
    self->cancel_at_once = false;
}

void stiol____pthread_unregister_cancel_restore(__pthread_unwind_buf_t *buffer)
{
    stiol__thread_t *self = stiol__identified();

    if (!self) {
        __pthread_unregister_cancel_restore(buffer);
        return;
    }
    stiol____pthread_unregister_cancel(buffer);
    (void)stiol__pthread_setcanceltype(
        TYPE(buffer) ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED, NULL);
}

/* --- unwinding --- */

/* Continues in the frame that has the innermost handler, as in glibc: that runs the handler, and
 * then calls __pthread_unwind_next(). */
static void __attribute__((noreturn)) run_handler(stiol__thread_t *self)
{
    void *buffer = self->cleanup; /* it begins with what was saved */

    self->cleanup = PREVIOUS((__pthread_unwind_buf_t *)buffer);
    siglongjmp(buffer, 1);
}

static void __attribute__((noreturn)) leave(stiol__thread_t *self)
{
    if (stiol__carriage)
        stiol__carriage_left();
    st_thread_exit(self->result);
}

/* Called for each frame before it is removed. A handler's buffer is in the frame of the function
 * that set it up: the handler's turn comes once all frames below are gone. */
static _Unwind_Reason_Code stop(int version, _Unwind_Action actions, _Unwind_Exception_Class class,
                                struct _Unwind_Exception *exception,
                                struct _Unwind_Context *context, void *data)
{
    bool end = (actions & _UA_END_OF_STACK) != 0;
    stiol__thread_t *self = data;

    (void)version, (void)class, (void)exception;
    if (self->cleanup && (end || (uintptr_t)self->cleanup < _Unwind_GetCFA(context)))
        run_handler(self);
    if (end)
        leave(self);
    return _URC_NO_REASON;
}

static void not_thrown_again(_Unwind_Reason_Code reason, struct _Unwind_Exception *exception)
{
    static const char message[] =
        STMNO(0090) "the exception that ends a thread was caught and not rethrown\n";

    (void)reason, (void)exception;
    (void)!write(STDERR_FILENO, message, sizeof(message) - 1);
    abort();
}

static struct stiol__unwinding *unwinding_of(stiol__thread_t *self)
{
    void *library, *function;

    if (self->unwinding)
        return self->unwinding;
    library = dlopen("libgcc_s.so.1", RTLD_NOW);
    function = library ? dlsym(library, "_Unwind_ForcedUnwind") : NULL;
    if (!function || posix_memalign((void **)&self->unwinding, _Alignof(max_align_t),
                                    sizeof(*self->unwinding)) != 0)
        return self->unwinding = NULL;
    memset(self->unwinding, 0, sizeof(*self->unwinding));
    self->unwinding->exception.exception_cleanup = not_thrown_again;
    *(void **)&self->unwinding->unwind = function;
    return self->unwinding;
}

/* Without the library, or memory, the thread ends without unwinding. */
static void __attribute__((noreturn)) unwind(stiol__thread_t *self)
{
    struct stiol__unwinding *unwinding = unwinding_of(self);

    if (unwinding)
        (void)unwinding->unwind(&unwinding->exception, stop, self);
    leave(self);
}

void stiol____pthread_unwind_next(__pthread_unwind_buf_t *buffer)
{
    stiol__thread_t *self = stiol__identified();

    if (!self)
        __pthread_unwind_next(buffer);
    unwind(self);
}

void stiol__pthread_exit(void *result)
{
    stiol__thread_t *self = stiol__identified();

    (void)STIOL_ENTER(thread, pthread_exit, result);
    if (!self && stiol__here())
        st_thread_exit(result); /* the primordial thread */
    if (!self || stiol__is_survivor(self))
        pthread_exit(result);
    self->result = result;
    self->cancel_off = true;
    unwind(self);
}

/* --- cancellation --- */

/* A thread that is ending is not cancelled a second time. */
static bool is_due(const stiol__thread_t *self)
{
    return STIOL_UNLIKELY(atomic_load_explicit(&self->cancelled, memory_order_relaxed)) &&
           !self->cancel_off && !self->ending;
}

bool stiol__to_be_cancelled(void)
{
    const stiol__thread_t *self = stiol__identified();

    return self && is_due(self);
}

void stiol__cancellation(void)
{
    stiol__thread_t *self = stiol__identified();

    if (self && is_due(self)) {
        st_wait_end(NULL); /* it was declared in a frame that is being unwound */
        stiol__pthread_exit(PTHREAD_CANCELED);
    }
}

void stiol__pthread_testcancel(void)
{
    (void)STIOL_ENTER(thread, pthread_testcancel, 0);
    if (!stiol__identified())
        pthread_testcancel();
    else
        stiol__cancellation();
}

/* From another kernel thread: asks the VP to interrupt the wait, if the thread still exists. */
typedef struct request {
    st_remote_t remote;
    stiol__thread_t *thread;
} request_t;

static void interrupt_remotely(st_remote_t *remote)
{
    request_t *request = (request_t *)((char *)remote - offsetof(request_t, remote));
    stiol__thread_t *thread = request->thread;

    if (thread->magic == STIOL_THREAD_MAGIC && !thread->ending && thread->cancelled)
        st_thread_interrupt(thread->thread);
    free(request);
}

static void interrupt(stiol__thread_t *thread)
{
    request_t *request;

    if (thread->vp == stiol__vp) {
        if (!thread->cancel_off)
            st_thread_interrupt(thread->thread);
        return;
    }
    request = malloc(sizeof(*request));
    if (!request)
        return; /* not this wait, but the next one */
    *request = (request_t){.remote = {.fn = interrupt_remotely}, .thread = thread};
    st_vp_post(thread->vp->vp, &request->remote);
}

int stiol__pthread_cancel(pthread_t id)
{
    stiol__thread_t *thread = stiol__record_of(id);

    (void)STIOL_ENTER(thread, pthread_cancel, id);
    if (!thread)
        return pthread_cancel(id);
    if (thread->magic == STIOL_THREAD_ENDED)
        return ESRCH;
    if (thread->ending || thread->ended)
        return 0;
    atomic_store(&thread->cancelled, true);
    if (thread != stiol__identified())
        interrupt(thread);
    else if (thread->cancel_at_once)
        stiol__cancellation();
    return 0;
}

int stiol__pthread_setcancelstate(int state, int *before)
{
    stiol__thread_t *self = stiol__identified();

    (void)STIOL_ENTER(thread, pthread_setcancelstate, state);
    if (!self)
        return pthread_setcancelstate(state, before);
    if (state != PTHREAD_CANCEL_ENABLE && state != PTHREAD_CANCEL_DISABLE)
        return EINVAL;
    if (before)
        *before = self->cancel_off ? PTHREAD_CANCEL_DISABLE : PTHREAD_CANCEL_ENABLE;
    self->cancel_off = state == PTHREAD_CANCEL_DISABLE;
    if (!is_due(self))
        return 0;
    if (self->cancel_at_once)
        stiol__cancellation();
    interrupt(self); /* the next wait will be its last */
    return 0;
}

int stiol__pthread_setcanceltype(int type, int *before)
{
    stiol__thread_t *self = stiol__identified();

    (void)STIOL_ENTER(thread, pthread_setcanceltype, type);
    if (!self)
        return pthread_setcanceltype(type, before);
    if (type != PTHREAD_CANCEL_DEFERRED && type != PTHREAD_CANCEL_ASYNCHRONOUS)
        return EINVAL;
    if (before)
        *before = self->cancel_at_once ? PTHREAD_CANCEL_ASYNCHRONOUS : PTHREAD_CANCEL_DEFERRED;
    self->cancel_at_once = type == PTHREAD_CANCEL_ASYNCHRONOUS;
    if (self->cancel_at_once)
        stiol__cancellation();
    return 0;
}

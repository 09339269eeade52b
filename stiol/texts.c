/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls whose result is in a buffer that glibc has for each kernel thread: strerror(), strsignal(),
 * inet_ntoa(). Here each state thread has one. Also h_errno and the resolver's state, _res, which
 * are thread-local variables of glibc: once a module asks for their address, each state thread has
 * its own.
 */
#include <arpa/inet.h>
#include <resolv.h>

#include "stiol/carry.h"
#include "stiol/stiol_int.h"
#include "stiol/tls.h"

struct stiol__texts {
    char error[128], signal[128];
    char address[INET_ADDRSTRLEN];
};

static stiol__texts_t *texts_of(stiol__vp_t *vp)
{
    stiol__thread_t *self = vp ? stiol__self(vp) : stiol__carried();

    if (!self)
        return NULL;
    if (!self->texts)
        self->texts = calloc(1, sizeof(*self->texts));
    return self->texts;
}

/* Known errors and signals have constant texts. */
static char *keep(char *place, size_t size, const char *text)
{
    (void)snprintf(place, size, "%s", text);
    return place;
}

char *stiol__strerror(int error)
{
    stiol__vp_t *vp = STIOL_ENTER(tsd, strerror, error);
    stiol__texts_t *texts = !strerrordesc_np(error) ? texts_of(vp) : NULL;
    char *text = strerror(error);

    return texts ? keep(texts->error, sizeof(texts->error), text) : text;
}

char *stiol__strerror_l(int error, locale_t locale)
{
    stiol__vp_t *vp = STIOL_ENTER(tsd, strerror_l, error);
    stiol__texts_t *texts = !strerrordesc_np(error) ? texts_of(vp) : NULL;
    char *text = strerror_l(error, locale);

    return texts ? keep(texts->error, sizeof(texts->error), text) : text;
}

char *stiol__strsignal(int number)
{
    stiol__vp_t *vp = STIOL_ENTER(tsd, strsignal, number);
    stiol__texts_t *texts = !sigdescr_np(number) ? texts_of(vp) : NULL;
    char *text = strsignal(number);

    return texts ? keep(texts->signal, sizeof(texts->signal), text) : text;
}

char *stiol__inet_ntoa(struct in_addr address)
{
    stiol__texts_t *texts = texts_of(STIOL_ENTER(tsd, inet_ntoa, 0));

    if (!texts)
        return inet_ntoa(address);
    (void)inet_ntop(AF_INET, &address, texts->address, sizeof(texts->address));
    return texts->address;
}

/* --- h_errno and the resolver's state --- */

int *stiol____h_errno_location(void)
{
    if (STIOL_ENTER(tsd, __h_errno_location, 0) || stiol__carriage)
        stiol__locals_add(STIOL_LOCAL_H_ERRNO);
    return &h_errno;
}

struct __res_state *stiol____res_state(void)
{
    stiol__vp_t *vp = STIOL_ENTER(tsd, __res_state, 0);

    if (vp && vp->tls && stiol__self(vp))
        stiol__locals_add(STIOL_LOCAL_RESOLVER);
    return __res_state();
}

int stiol____res_init(void)
{
    (void)stiol____res_state();
    return __res_init();
}

void stiol__library_block(stiol__block_t *block)
{
    static const struct __res_state none;

    if (block->serial == STIOL_LOCAL_H_ERRNO) {
        block->address = (char *)&h_errno;
        block->size = sizeof(h_errno);
    } else {
        block->address = (char *)&_res;
        block->size = sizeof(_res);
    }
    block->image = (const char *)&none;
}

/** Called when a thread ends: closes what the resolver has open for it, as glibc does. */
void stiol__resolver_end(void)
{
    if (!stiol__locals_have(STIOL_LOCAL_RESOLVER) || _res.nscount == 0) /* never used */
        return;
    res_nclose(&_res);
    memset(&_res, 0, sizeof(_res));
}

void stiol__texts_free(stiol__thread_t *self)
{
    free(self->texts);
    self->texts = NULL;
}

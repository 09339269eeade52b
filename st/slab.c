/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where stacks are placed: slabs of guarded stacks of one size, laid out so that no plausible frame
 * reaches from one stack into another, and so that page tables stay small. Called by stack.c. See
 * docs/internals/stacks.md.
 */
#include <string.h>
#include <sys/utsname.h>

#include "st/slab.h"

enum {
    /* No frame of up to this size can jump over it; a thread that puts more than this on its stack
     * at once would overflow the stacks of event, too. */
    GUARD_SIZE = 1024 * 1024,
    FIRST_SLAB = 8, /* stacks; each further slab of a class has twice as many as the one before */
    LARGEST_SLAB = 64,
    MAX_SLAB_BYTES = 1024 * 1024 * 1024,
    LIMIT_SHARE = 64,      /* one slab takes at most this fraction of a limit on address space */
    COLOURED = 960 * 1024, /* the tops of stacks are spread over this many bytes, within one span */
    COLOUR_STEP = 7,
    TABLE_ENTRY = 8, /* size of a page table entry, bytes */
};

int st__force_mprotect_guards;

static inline size_t stride(const struct st__stack_class *class)
{
    return class->size + class->guard;
}

char *st__stack_base(const struct st__stack *stack)
{
    const struct st__slab *slab = stack->slab;

    return slab->memory + (size_t)(stack - slab->stacks) * stride(slab->class) + slab->class->guard;
}

/* If the tops of large stacks were all at the same offset in their spans (see below), they would
 * share the same few sets of the TLB, and their page table entries the same few sets of the cache.
 * So some pages are left out above each. */
static size_t colour(const struct st__stack *stack)
{
    const struct st__stack_class *class = stack->slab->class;
    size_t number = (uintptr_t)st__stack_base(stack) / stride(class);

    return class->align == 0 ? 0 : number * COLOUR_STEP % (COLOURED / class->page) * class->page;
}

size_t st__stack_size(const struct st__stack *stack)
{
    return stack->slab->class->size - colour(stack);
}

size_t st__stack_guard(const struct st__stack *stack)
{
    return stack->slab->class->guard;
}

/* --- Guards --- */

/* An emulator may accept the advice and ignore it: only a page that refuses a write is guarded. */
static bool guard_works(void *page, size_t size)
{
    return madvise(page, size, MADV_GUARD_INSTALL) == 0 && uname(page) < 0 && errno == EFAULT;
}

static bool probe_guard_install(size_t page)
{
    int error = errno;
    bool works;
    void *place;

    place = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED)
        return false;
    works = guard_works(place, page);
    munmap(place, page);
    errno = error;
    return works;
}

int st__slab_guard(struct st_vp *vp, struct st__stack *stack)
{
    size_t size = stack->slab->class->guard;
    char *place = st__stack_base(stack) - size;
    int result;

    if (stack->guarded)
        return 0;
    do
        result = vp->stacks.guard_install ? st__sys_guard(place, size)
                                          : st__sys_mprotect(place, size, PROT_NONE);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return st__fail(ENOMEM);
    stack->guarded = true;
    st__valgrind_register(stack);
    return 0;
}

size_t st_stack_overflow_at(const void *addr)
{
    const struct st_vp *vp = st__vp;
    uintptr_t at = (uintptr_t)addr;

    if (!vp)
        return 0;
    for (struct st__stack_class *class = vp->stacks.classes; class; class = class->next)
        for (struct st__slab *slab = class->slabs; slab; slab = slab->next) {
            uintptr_t start = (uintptr_t)slab->memory;

            if (at >= start && at - start < slab->count * stride(class))
                return (at - start) % stride(class) < class->guard ? class->wanted : 0;
        }
    return 0;
}

/* --- Layout --- */

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

/* One page of page tables maps `span` bytes: 2 MB with 4 KB pages. A stack that is that large
 * together with its guard costs at least one such page, for its top; it costs no second one for its
 * guard if the guard lies in the same span as the top of the stack below. So stacks begin at the
 * start of a span, and guards end there. */
void st__slab_layout(struct st__stack_class *class)
{
    size_t span = class->page / TABLE_ENTRY * class->page;

    class->guard = round_up(GUARD_SIZE, class->page);
    class->size = class->wanted;
    class->align = 0;
    if (stride(class) < span)
        return;
    class->size = round_up(stride(class) + COLOURED, span) - class->guard;
    class->align = span;
}

/* --- Address space --- */

/* If the kernel does not overcommit memory, each byte of a mapping counts. */
static bool strict_overcommit(void)
{
    int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC);
    char mode = '0';

    if (fd < 0)
        return false;
    if (read(fd, &mode, 1) != 1)
        mode = '0';
    close(fd);
    return mode == '2';
}

static size_t largest_slab(void)
{
    struct rlimit limit;

    if (strict_overcommit())
        return 0;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
        limit.rlim_cur / LIMIT_SHARE > MAX_SLAB_BYTES)
        return MAX_SLAB_BYTES;
    return (size_t)limit.rlim_cur / LIMIT_SHARE;
}

void st__slab_init(struct st_vp *vp)
{
    int error = errno;

    vp->stacks.page = (size_t)sysconf(_SC_PAGESIZE);
    vp->stacks.guard_install = !st__force_mprotect_guards && probe_guard_install(vp->stacks.page);
    vp->stacks.slab_bytes = largest_slab();
    errno = error;
}

/* The end of what the kernel gave, of which `room` bytes are kept, so that stacks are aligned. If
 * the rest cannot be unmapped because there are too many mappings, it wastes only address space. */
static char *cut(char *memory, size_t bytes, size_t room, const struct st__stack_class *class)
{
    uintptr_t last = (uintptr_t)memory + bytes - room + class->guard;
    char *start = (char *)(last / class->align * class->align - class->guard);

    if (start > memory)
        (void)munmap(memory, (size_t)(start - memory));
    if (start + room < memory + bytes)
        (void)munmap(start + room, (size_t)(memory + bytes - start - (ptrdiff_t)room));
    return start;
}

/* Adjacent slabs become one mapping, since their attributes are the same. */
static char *reserve(struct st_vp *vp, const struct st__stack_class *class, unsigned count)
{
    size_t room = count * stride(class);
    size_t bytes = class->align != 0 ? room + class->align - vp->stacks.page : room;
    char *memory = st__sys_mmap(bytes, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK);

    if (memory == MAP_FAILED)
        return NULL;
    if (class->align != 0)
        memory = cut(memory, bytes, room, class);
    /* A huge page would make each stack cost its whole size. */
    (void)madvise(memory, room, MADV_NOHUGEPAGE);
    return memory;
}

/* --- Slabs --- */

static void open_slab(struct st__slab *slab)
{
    struct st__stack_class *class = slab->class;

    slab->open = true;
    slab->prev_open = NULL;
    slab->next_open = class->open;
    if (class->open)
        class->open->prev_open = slab;
    class->open = slab;
}

static void shut_slab(struct st__slab *slab)
{
    if (slab->prev_open)
        slab->prev_open->next_open = slab->next_open;
    else
        slab->class->open = slab->next_open;
    if (slab->next_open)
        slab->next_open->prev_open = slab->prev_open;
    slab->open = false;
}

static unsigned next_count(const struct st_vp *vp, const struct st__stack_class *class)
{
    size_t most = vp->stacks.slab_bytes / stride(class);
    unsigned count = FIRST_SLAB;

    for (unsigned i = 0; i < class->slabs_made && count < LARGEST_SLAB; i++)
        count *= 2;
    return most == 0 ? 1 : most < count ? (unsigned)most : count;
}

static void enlist(struct st_vp *vp, struct st__slab *slab)
{
    struct st__stack_class *class = slab->class;

    slab->next = class->slabs;
    if (class->slabs)
        class->slabs->prev = slab;
    class->slabs = slab;
    class->slabs_made++;
    vp->stacks.bytes_reserved += slab->count * stride(class);
    open_slab(slab);
}

/* As many stacks as the address space allows. */
static struct st__slab *slab_new(struct st_vp *vp, struct st__stack_class *class)
{
    unsigned count = next_count(vp, class);
    struct st__slab *slab = st__calloc(1, sizeof(*slab) + count * sizeof(struct st__stack));

    if (!slab)
        return NULL;
    while (!(slab->memory = reserve(vp, class, count)) && count > 1)
        count /= 2;
    if (!slab->memory) {
        free(slab);
        errno = ENOMEM;
        return NULL;
    }
    slab->class = class;
    slab->count = count;
    for (unsigned i = 0; i < count; i++)
        slab->stacks[i].slab = slab;
    enlist(vp, slab);
    return slab;
}

void st__slab_free(struct st_vp *vp, struct st__slab *slab)
{
    struct st__stack_class *class = slab->class;
    size_t bytes = slab->count * stride(class);

    if (vp->stacks.sampled && vp->stacks.sampled->slab == slab)
        vp->stacks.sampled = NULL;
    if (slab->open)
        shut_slab(slab);
    if (slab->prev)
        slab->prev->next = slab->next;
    else
        class->slabs = slab->next;
    if (slab->next)
        slab->next->prev = slab->prev;
    class->slabs_made--;
    for (unsigned i = 0; i < slab->count; i++)
        if (slab->stacks[i].guarded) {
            st__depth_unpoison(&slab->stacks[i]);
            st__valgrind_deregister(&slab->stacks[i]);
        }
    (void)munmap(slab->memory, bytes);
    vp->stacks.bytes_reserved -= bytes;
    free(slab);
}

struct st__stack *st__slab_take(struct st_vp *vp, struct st__stack_class *class)
{
    struct st__slab *slab = class->open ? class->open : slab_new(vp, class);
    struct st__stack *stack;

    if (!slab)
        return NULL;
    stack = slab->free;
    if (stack)
        slab->free = stack->next;
    else
        stack = &slab->stacks[slab->fresh++];
    slab->busy++;
    if (!slab->free && slab->fresh == slab->count)
        shut_slab(slab);
    return stack;
}

void st__slab_give(struct st_vp *vp, struct st__stack *stack)
{
    struct st__slab *slab = stack->slab;

    stack->next = slab->free;
    slab->free = stack;
    if (!slab->open)
        open_slab(slab);
    if (--slab->busy == 0)
        st__slab_free(vp, slab);
}

/* --- fork(): page tables are copied, guards and all, and then each page that is written to --- */

static void advise(struct st_vp *vp, int advice)
{
    for (struct st__stack_class *class = vp->stacks.classes; class; class = class->next)
        for (struct st__slab *slab = class->slabs; slab; slab = slab->next)
            (void)madvise(slab->memory, slab->count * stride(class), advice);
}

/* The stack this runs on: the scheduler's callbacks run on the stack of a waiting thread. And the
 * current thread's, if we are on another: a signal handler's, or a coroutine's. */
static void advise_here(struct st_vp *vp, int advice)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    const struct st__stack *current = vp->current->stack;

    if (current)
        (void)madvise(st__stack_base(current), current->slab->class->size, advice);
    for (struct st__stack_class *class = vp->stacks.classes; class; class = class->next)
        for (struct st__slab *slab = class->slabs; slab; slab = slab->next) {
            size_t offset = here - (uintptr_t)slab->memory;

            if (here < (uintptr_t)slab->memory || offset >= slab->count * stride(class))
                continue;
            offset = offset / stride(class) * stride(class) + class->guard;
            (void)madvise(slab->memory + offset, class->size, advice);
        }
}

/* A stack for which this fails, since there are too many mappings, is copied. */
void st__stacks_hide(struct st_vp *vp)
{
    int error = errno;

    advise(vp, MADV_DONTFORK);
    advise_here(vp, MADV_DOFORK);
    errno = error;
}

void st__stacks_show(struct st_vp *vp)
{
    int error = errno;

    advise(vp, MADV_DOFORK);
    errno = error;
}

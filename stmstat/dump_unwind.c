/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unwinds the copied stacks with elfutils' libdw. Unwinding tables are in each object; symbols come
 * from objects that are not stripped and from installed files of debugging information. Nothing is
 * fetched. Runs in dump_apart()'s child, because the objects may be forged.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "include/stm_description.h"
#include "stmstat/dump.h"
#include "stmstat/stmstat.h"

#ifdef STMSTAT_LIBDW

#include <dwarf.h>
#include <elfutils/libdwfl.h>

enum { FRAMES = 256, KNOWN = 1 << 14 };

/* The name found for a program counter; kept because many threads wait at the same place. */
typedef struct {
    uint64_t pc;
    char *text;
} known_t;

typedef struct {
    const dump_t *dump;
    FILE *out;
    Dwfl *dwfl;
    const dump_stack_t *stack; /* the one being unwound */
    int frames;
    known_t known[KNOWN];
} unwind_t;

bool dump_can_unwind(void)
{
    return true;
}

static Dwfl *begin(const dump_t *dump, const char *only)
{
    static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_linux_proc_find_elf, /* never called: all objects are open already */
        .find_debuginfo = dwfl_standard_find_debuginfo,
    };
    Dwfl *dwfl = dwfl_begin(&callbacks);

    if (!dwfl)
        return NULL;
    dwfl_report_begin(dwfl);
    for (size_t i = 0; i < dump->files; i++) {
        const dump_file_t *file = &dump->file[i];

        if (file->fd >= 0 && (!only || strstr(file->name, only)))
            (void)dwfl_report_elf(dwfl, file->name, file->name, file->fd, file->low, false);
    }
    dwfl_report_end(dwfl, NULL, NULL);
    return dwfl;
}

/* --- the module's description --- */

static int look_for_description(Dwfl_Module *module, void **unused, const char *name,
                                Dwarf_Addr start, void *out)
{
    int count = dwfl_module_getsymtab(module);
    GElf_Sym symbol;

    (void)unused;
    (void)name;
    (void)start;
    for (int i = 1; i < count; i++) {
        GElf_Addr address;
        const char *text = dwfl_module_getsym_info(module, i, &symbol, &address, NULL, NULL, NULL);

        if (text && strcmp(text, STM_DESCRIPTION_SYMBOL) == 0) {
            fprintf(out, "%" PRIx64 "\n", (uint64_t)address);
            return DWARF_CB_ABORT;
        }
    }
    return DWARF_CB_OK;
}

void dump_locate(const dump_t *dump, FILE *out)
{
    Dwfl *dwfl = begin(dump, "mod_mpm_stm");

    if (dwfl)
        (void)dwfl_getmodules(dwfl, look_for_description, out, 0);
}

/* --- a thread's memory and registers, for libdw --- */

static bool read_memory(Dwfl *dwfl, Dwarf_Addr address, Dwarf_Word *result, void *baton)
{
    const unwind_t *unwind = baton;
    const dump_stack_t *stack = unwind->stack;

    (void)dwfl;
    return address >= stack->low && address - stack->low < stack->size &&
           dump_read(unwind->dump, address, result, sizeof(uint64_t));
}

static pid_t no_next_thread(Dwfl *dwfl, void *baton, void **thread)
{
    (void)dwfl;
    (void)baton;
    (void)thread;
    return 0;
}

static bool get_thread(Dwfl *dwfl, pid_t number, void *baton, void **thread)
{
    (void)dwfl;
    (void)number;
    *thread = baton;
    return true;
}

/* A return address may already belong to the next function: the call is just before it. */
static uint64_t shown_pc(const dump_stack_t *stack)
{
    return stack->parked ? stack->registers.pc - 1 : stack->registers.pc;
}

static bool set_registers(Dwfl_Thread *thread, void *baton)
{
    const dump_stack_t *stack = ((const unwind_t *)baton)->stack;
    Dwarf_Word reg[DUMP_REGISTERS];

    for (int i = 0; i < DUMP_REGISTERS; i++)
        reg[i] = stack->registers.reg[i];
#if defined(__x86_64__)
    reg[16] = shown_pc(stack);
    return dwfl_thread_state_registers(thread, 0, 17, reg);
#else
    dwfl_thread_state_register_pc(thread, shown_pc(stack));
    return dwfl_thread_state_registers(thread, 0, 32, reg);
#endif
}

/* --- frames --- */

static void name_source(char *text, size_t size, Dwfl_Module *module, Dwarf_Addr pc)
{
    Dwfl_Line *line = dwfl_module_getsrc(module, pc);
    int number = 0;
    const char *file = line ? dwfl_lineinfo(line, NULL, &number, NULL, NULL, NULL) : NULL;

    if (file)
        snprintf(text, size, " at %s:%d", file, number);
}

/* The length without the symbol version, which begins with an @. */
static int length_of(const char *name)
{
    enum { MAX = 400 };
    size_t length = strcspn(name, "@");

    return length < MAX ? (int)length : MAX;
}

static char *name_place(const unwind_t *unwind, Dwarf_Addr pc)
{
    char text[1024], source[600] = "";
    Dwfl_Module *module = dwfl_addrmodule(unwind->dwfl, pc);
    GElf_Off offset = 0;
    GElf_Sym symbol;
    GElf_Addr bias;
    const char *file =
        module ? dwfl_module_info(module, NULL, NULL, NULL, NULL, NULL, NULL, NULL) : NULL;
    const char *name =
        module ? dwfl_module_addrinfo(module, pc, &offset, &symbol, NULL, NULL, NULL) : NULL;

    if (module)
        name_source(source, sizeof(source), module, pc);
    if (!name && file && dwfl_module_getelf(module, &bias))
        snprintf(text, sizeof(text), "?? from %.500s+0x%" PRIx64, file, (uint64_t)(pc - bias));
    else if (!name)
        snprintf(text, sizeof(text), "?? (in no object)");
    else if (*source)
        snprintf(text, sizeof(text), "%.*s%s", length_of(name), name, source);
    else
        snprintf(text, sizeof(text), "%.*s from %.500s", length_of(name), name, file ? file : "?");
    return strdup(text);
}

static const char *name_known_place(unwind_t *unwind, Dwarf_Addr pc)
{
    size_t at = (size_t)(pc * UINT64_C(0x9e3779b97f4a7c15) >> 50); /* KNOWN is 2^14 */
    known_t *known = &unwind->known[at];

    if (!known->text || known->pc != pc) {
        free(known->text);
        *known = (known_t){pc, name_place(unwind, pc)};
    }
    return known->text ? known->text : "?? (no memory)";
}

static int show_frame(Dwfl_Frame *frame, void *baton)
{
    unwind_t *unwind = baton;
    bool innermost, first = unwind->frames == 0;
    Dwarf_Addr pc, place;

    if (!dwfl_frame_pc(frame, &pc, &innermost))
        return DWARF_CB_ABORT;
    place = innermost ? pc : pc - 1;
    fprintf(unwind->out, "#%-3d 0x%016" PRIx64 " in %s\n", unwind->frames++,
            (uint64_t)pc + (first && unwind->stack->parked), name_known_place(unwind, place));
    return unwind->frames < FRAMES ? DWARF_CB_OK : DWARF_CB_ABORT;
}

static void show_stack(unwind_t *unwind, const dump_stack_t *stack)
{
    if (!stack->size) {
        fprintf(unwind->out, "no backtrace: %s\n", stack->missing ? stack->missing : "no stack");
        return;
    }
    unwind->stack = stack;
    unwind->frames = 0;
    /* libdw wants a thread ID, but does not use it. */
    (void)dwfl_getthread_frames(unwind->dwfl, 1, show_frame, unwind);
    if (unwind->frames == FRAMES)
        fprintf(unwind->out, "(more frames follow)\n");
    else if (unwind->frames == 0)
        fprintf(unwind->out, "no backtrace: %s\n", dwfl_errmsg(-1));
}

/* --- threads --- */

/* Keeps it on one line: the client's text may contain line breaks. */
static void put_text(FILE *out, const char *text)
{
    for (; *text; text++)
        fputc(*text >= ' ' && *text < 0x7f ? *text : '?', out);
}

static void show_thread(unwind_t *unwind, size_t number)
{
    const dump_thread_t *thread = &unwind->dump->thread[number];
    char span[STMSTAT_HUMAN];

    fprintf(unwind->out, "\nstate thread %zu (0x%" PRIx64 "), %s", number, thread->walked.address,
            thread->state);
    if (thread->kernel)
        fputs(", request on a kernel thread", unwind->out);
    if (thread->helper)
        fprintf(unwind->out, ", kernel thread %d works for it", thread->helper);
    if (*thread->client)
        fprintf(unwind->out, ", client %s, connected for %s", thread->client,
                human_span(thread->conn_age, span));
    if (*thread->request) {
        fprintf(unwind->out, ", request for %s: ", human_span(thread->request_age, span));
        put_text(unwind->out, thread->request);
    }
    fputc('\n', unwind->out);
    show_stack(unwind, &thread->stack);
}

static void show_all(unwind_t *unwind)
{
    const dump_t *dump = unwind->dump;

    for (size_t i = 0; i < dump->threads; i++)
        show_thread(unwind, i);
    for (size_t i = 0; i < dump->kernels; i++) {
        const dump_kernel_t *kernel = &dump->kernel[i];

        if (kernel->taken)
            continue;
        fprintf(unwind->out, "\nkernel thread %d (", kernel->tid);
        put_text(unwind->out, kernel->name);
        fputc(')', unwind->out);
        if (kernel->served)
            fprintf(unwind->out, ", works for state thread %d", kernel->served - 1);
        fputc('\n', unwind->out);
        show_stack(unwind, &kernel->stack);
    }
}

void dump_backtraces(const dump_t *dump, FILE *out)
{
    static const Dwfl_Thread_Callbacks callbacks = {
        .next_thread = no_next_thread,
        .get_thread = get_thread,
        .memory_read = read_memory,
        .set_initial_registers = set_registers,
    };
    static unwind_t unwind;

    unwind.dump = dump;
    unwind.out = out;
    unwind.dwfl = begin(dump, NULL);
    if (!unwind.dwfl || !dwfl_attach_state(unwind.dwfl, NULL, dump->pid, &callbacks, &unwind))
        fprintf(out, "no backtraces: %s\n", dwfl_errmsg(-1));
    else
        show_all(&unwind);
}

#else /* without libdw */

bool dump_can_unwind(void)
{
    return false;
}

void dump_locate(const dump_t *dump, FILE *out)
{
    (void)dump;
    (void)out;
}

void dump_backtraces(const dump_t *dump, FILE *out)
{
    (void)dump;
    (void)out;
}

#endif

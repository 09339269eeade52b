/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The context switch for x86-64 (System V ABI): keeps rbx, rbp, r12-r15, MXCSR and the x87 control
 * word. Called by sched.c only. There is no shadow stack support, so the CET note is left out on
 * purpose.
 *
 * A stopped thread's stack, from its saved rsp up:
 *    0 MXCSR  4 x87 control word  8 r15  16 r14  24 r13  32 r12  40 rbx  48 rbp  56 return address
 */
#if defined(__x86_64__)

    .text

/* void st__switch(void **save, void *to) */
    .globl st__switch
    .hidden st__switch
    .type st__switch, @function
    .p2align 4
st__switch:
    .cfi_startproc
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbp, 0
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    pushq %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r12, 0
    pushq %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r13, 0
    pushq %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r14, 0
    pushq %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %r15, 0
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movl (%rsp), %eax
    movzwl 4(%rsp), %ecx
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    /* Loading either is expensive and seldom needed. */
    cmpl (%rsp), %eax
    jne 3f
1:  cmpw 4(%rsp), %cx
    jne 4f
2:  addq $8, %rsp
    .cfi_remember_state
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r15
    popq %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r14
    popq %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r13
    popq %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore %r12
    popq %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    popq %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbp
    /* A ret, and a single call site: the processor can predict where it goes, here and in the
     * frames above, whenever threads stop on the same path. */
    ret
    .cfi_restore_state
3:  ldmxcsr (%rsp)
    jmp 1b
4:  fldcw 4(%rsp)
    jmp 2b
    .cfi_endproc
    .size st__switch, . - st__switch

/* Where a new thread starts, with itself in rbx. The undefined rip ends backtraces here. */
    .globl st__thread_start
    .hidden st__thread_start
    .type st__thread_start, @function
    .p2align 4
    .cfi_startproc
    .cfi_undefined %rip
    nop /* unwinders look one byte before a thread that has not run yet */
st__thread_start:
    .cfi_undefined %rbp
    movq %rbx, %rdi
    call st__thread_main
    ud2
    .cfi_endproc
    .size st__thread_start, . - st__thread_start

/* void *st__switch_frame(void *top, struct st_thread *thread)
 * The new thread inherits the floating point modes of its creator, without the exception flags. */
    .globl st__switch_frame
    .hidden st__switch_frame
    .type st__switch_frame, @function
    .p2align 4
st__switch_frame:
    .cfi_startproc
    leaq -80(%rdi), %rax
    movq $0, 64(%rax) /* a return address of 0, for unwinders that do not know "undefined" */
    stmxcsr (%rax)
    andl $~0x3f, (%rax)
    fnstcw 4(%rax)
    movq %rsi, 40(%rax)
    movq $0, 48(%rax)
    leaq st__thread_start(%rip), %rcx
    movq %rcx, 56(%rax)
    ret
    .cfi_endproc
    .size st__switch_frame, . - st__switch_frame

#endif /* __x86_64__ */

    .section .note.GNU-stack, "", %progbits

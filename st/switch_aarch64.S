/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The context switch for AArch64 (AAPCS64): keeps x19-x30, d8-d15 and FPCR. Called by sched.c only.
 *
 * A stopped thread's stack, from its saved sp up (176 bytes):
 *    0 x19-x28   80 x29 x30   96 d8-d15   160 FPCR
 */
#if defined(__aarch64__)

    .text

/* void st__switch(void **save, void *to) */
    .globl st__switch
    .hidden st__switch
    .type st__switch, %function
    .p2align 4
st__switch:
    .cfi_startproc
    sub sp, sp, #176
    .cfi_def_cfa_offset 176
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    .cfi_offset x19, -176
    .cfi_offset x20, -168
    .cfi_offset x21, -160
    .cfi_offset x22, -152
    .cfi_offset x23, -144
    .cfi_offset x24, -136
    .cfi_offset x25, -128
    .cfi_offset x26, -120
    .cfi_offset x27, -112
    .cfi_offset x28, -104
    .cfi_offset x29, -96
    .cfi_offset x30, -88
    mrs x9, fpcr
    str x9, [sp, #160]
    mov x10, sp
    str x10, [x0]
    mov sp, x1
    /* Writing FPCR is expensive and seldom needed. */
    ldr x10, [sp, #160]
    cmp x9, x10
    b.ne 2f
1:  ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #176
    .cfi_remember_state
    .cfi_def_cfa_offset 0
    .cfi_restore x19
    .cfi_restore x20
    .cfi_restore x21
    .cfi_restore x22
    .cfi_restore x23
    .cfi_restore x24
    .cfi_restore x25
    .cfi_restore x26
    .cfi_restore x27
    .cfi_restore x28
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_restore_state
2:  msr fpcr, x10
    b 1b
    .cfi_endproc
    .size st__switch, . - st__switch

/* Where a new thread starts, with itself in x19. The undefined x30 ends backtraces here. */
    .globl st__thread_start
    .hidden st__thread_start
    .type st__thread_start, %function
    .p2align 4
    .cfi_startproc
    .cfi_undefined x30
    nop /* unwinders look one byte before a thread that has not run yet */
st__thread_start:
    mov x0, x19
    bl st__thread_main
    brk #1
    .cfi_endproc
    .size st__thread_start, . - st__thread_start

/* void *st__switch_frame(void *top, struct st_thread *thread)
 * The new thread inherits the floating point modes of its creator. */
    .globl st__switch_frame
    .hidden st__switch_frame
    .type st__switch_frame, %function
    .p2align 4
st__switch_frame:
    .cfi_startproc
    sub x0, x0, #176
    str x1, [x0, #0]
    adrp x9, st__thread_start
    add x9, x9, :lo12:st__thread_start
    stp xzr, x9, [x0, #80]
    mrs x10, fpcr
    str x10, [x0, #160]
    ret
    .cfi_endproc
    .size st__switch_frame, . - st__switch_frame

#endif /* __aarch64__ */

    .section .note.GNU-stack, "", %progbits

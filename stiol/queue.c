/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message queues. POSIX ones are descriptors, and are watched as such; System V ones cannot be
 * watched, so they are tried at intervals, like semaphores.
 */
#include "stiol/lot.h"
#include "stiol/stiol_int.h"

/* --- POSIX --- */

typedef struct mail {
    mqd_t queue;
    char *text;
    size_t length;
    unsigned *priority; /* where it goes */
    unsigned rank;      /* to send with */
    bool in;
} mail_t;

/* Tries with a time that has passed: ETIMEDOUT if it would wait. The time is in memory that qemu
 * can write to. */
static ssize_t try_mail(const mail_t *mail)
{
    struct timespec past = {0, 0};

    if (mail->in)
        return mq_timedreceive(mail->queue, mail->text, mail->length, mail->priority, &past);
    return mq_timedsend(mail->queue, mail->text, mail->length, mail->rank, &past);
}

/* at: on the realtime clock; NULL: no limit. */
static ssize_t move_mail(stiol__vp_t *vp, const mail_t *mail, const struct timespec *at)
{
    st_utime_t deadline = STIOL_NEVER;
    int error = errno;
    ssize_t n = try_mail(mail);

    if (n >= 0 || errno != ETIMEDOUT) {
        stiol__yield();
        return n;
    }
    if (at && !stiol__valid(at)) {
        errno = EINVAL;
        return -1;
    }
    if (at)
        deadline = stiol__until(CLOCK_REALTIME, at);
    STIOL_PARKS(vp, io);
    do {
        int rc = stiol__wait_fd(mail->queue, mail->in ? POLLIN : POLLOUT, stiol__left(deadline));

        if (rc < 0)
            return stiol__failed(vp);
        n = try_mail(mail);
    } while (n < 0 && errno == ETIMEDOUT && stiol__left(deadline) > 0);
    if (n >= 0)
        errno = error;
    return n;
}

ssize_t stiol__mq_timedreceive(mqd_t queue, char *restrict text, size_t length,
                               unsigned *restrict priority, const struct timespec *restrict at)
{
    stiol__vp_t *vp = STIOL_ENTER(io, mq_timedreceive, queue);
    const mail_t mail = {
        .queue = queue, .text = text, .length = length, .priority = priority, .in = true};

    return !vp ? mq_timedreceive(queue, text, length, priority, at) : move_mail(vp, &mail, at);
}

ssize_t stiol__mq_receive(mqd_t queue, char *text, size_t length, unsigned *priority)
{
    stiol__vp_t *vp = STIOL_ENTER(io, mq_receive, queue);
    const mail_t mail = {
        .queue = queue, .text = text, .length = length, .priority = priority, .in = true};

    return !vp ? mq_receive(queue, text, length, priority) : move_mail(vp, &mail, NULL);
}

int stiol__mq_timedsend(mqd_t queue, const char *text, size_t length, unsigned rank,
                        const struct timespec *at)
{
    stiol__vp_t *vp = STIOL_ENTER(io, mq_timedsend, queue);
    const mail_t mail = {
        .queue = queue, .text = (char *)(uintptr_t)text, .length = length, .rank = rank};

    return !vp ? mq_timedsend(queue, text, length, rank, at) : (int)move_mail(vp, &mail, at);
}

int stiol__mq_send(mqd_t queue, const char *text, size_t length, unsigned rank)
{
    stiol__vp_t *vp = STIOL_ENTER(io, mq_send, queue);
    const mail_t mail = {
        .queue = queue, .text = (char *)(uintptr_t)text, .length = length, .rank = rank};

    return !vp ? mq_send(queue, text, length, rank) : (int)move_mail(vp, &mail, NULL);
}

int stiol__mq_close(mqd_t queue)
{
    (void)STIOL_ENTER(fd, mq_close, queue);
    stiol_forget_fd(queue);
    return mq_close(queue);
}

/* --- System V --- */

typedef struct message_args {
    int id, flags;
    void *message;
    size_t size;
    long type;
    ssize_t n;
} message_args_t;

static int attempt_receive(void *arg)
{
    message_args_t *args = arg;

    args->n = msgrcv(args->id, args->message, args->size, args->type, args->flags | IPC_NOWAIT);
    if (args->n >= 0)
        return 1;
    return errno == ENOMSG || errno == EINTR ? 0 : -1;
}

static int attempt_send(void *arg)
{
    message_args_t *args = arg;

    args->n = msgsnd(args->id, args->message, args->size, args->flags | IPC_NOWAIT);
    if (args->n >= 0)
        return 1;
    return errno == EAGAIN || errno == EINTR ? 0 : -1;
}

/* Receivers make room for senders, and vice versa, so they share one line. */
static ssize_t move_message(stiol__vp_t *vp, int (*attempt)(void *), message_args_t *args)
{
    int had = attempt(args);

    if (had == 0) {
        STIOL_PARKS(vp, sem);
        had = stiol__probe(vp, STIOL_KEY_MSG(args->id), attempt, args, STIOL_NEVER) == 0 ? 1 : -1;
    }
    return had > 0 ? args->n : stiol__failed(vp);
}

ssize_t stiol__msgrcv(int id, void *message, size_t size, long type, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(sem, msgrcv, id);
    message_args_t args = {
        .id = id, .flags = flags, .message = message, .size = size, .type = type};
    ssize_t n;

    if (!vp || (flags & IPC_NOWAIT) != 0)
        n = msgrcv(id, message, size, type, flags);
    else
        n = move_message(vp, attempt_receive, &args);
    if (n >= 0)
        stiol__lot_notify(STIOL_KEY_MSG(id), true);
    return n;
}

int stiol__msgsnd(int id, const void *message, size_t size, int flags)
{
    stiol__vp_t *vp = STIOL_ENTER(sem, msgsnd, id);
    message_args_t args = {
        .id = id, .flags = flags, .message = (void *)(uintptr_t)message, .size = size};
    int rc;

    if (!vp || (flags & IPC_NOWAIT) != 0)
        rc = msgsnd(id, message, size, flags);
    else
        rc = (int)move_message(vp, attempt_send, &args);
    if (rc == 0)
        stiol__lot_notify(STIOL_KEY_MSG(id), true);
    return rc;
}

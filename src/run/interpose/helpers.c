/* SPDX-License-Identifier: MIT */
/*
 * Threads that libc makes by itself, without the interposed pthread_create(). They have all signals blocked. So in
 * signal mode neither a fault nor a trapped call could be served in them.
 *
 *   notifications (SIGEV_THREAD)   The thread runs the program's function. A function here runs first, and prepares
 *                                  the thread like any other.
 *   aio_read and its like          libc's thread uses the program's buffers. With managed memory these calls fail
 *                                  with ENOSYS, as in a libc that does not have them.
 */
#include "run/run.h"

#include <aio.h>
#include <mqueue.h>
#include <time.h>

struct notification {
	void (*function)(union sigval);
	union sigval value;
	bool once;
};

static void notify(union sigval ours)
{
	struct notification notification = *(struct notification *)ours.sival_ptr;
	sigset_t set;

	if (notification.once)
		own_free(ours.sival_ptr);
	sigemptyset(&set);
	sigaddset(&set, SIGBUS);
	sigaddset(&set, SIGSYS);
	REAL(pthread_sigmask)(SIG_UNBLOCK, &set, NULL);
	if (real_thread_enter(run.machine))
		run_die("no memory for a thread's alternate stack");
	notification.function(notification.value);
	real_thread_exit(run.machine);
}

static bool needs_us(const struct sigevent *event)
{
	return run.active && run.signal_mode && event && event->sigev_notify == SIGEV_THREAD;
}

/*
 * Fill @copy so that notify() is called in place of the program's function. The notification of a timer is never
 * freed, because nobody knows when the timer's last call is. NULL: no memory.
 */
static struct notification *take_over(struct sigevent *copy, const struct sigevent *event, bool once)
{
	struct notification *notification = own_alloc(sizeof(*notification));

	if (!notification)
		return NULL;
	*notification = (struct notification){event->sigev_notify_function, event->sigev_value, once};
	*copy = *event;
	copy->sigev_notify_function = notify;
	copy->sigev_value.sival_ptr = notification;
	return notification;
}

EXPORT int timer_create(clockid_t clock, struct sigevent *event, timer_t *timer)
{
	struct sigevent copy;

	if (!needs_us(event))
		return REAL(timer_create)(clock, event, timer);
	if (!take_over(&copy, event, false)) {
		errno = EAGAIN;
		return -1;
	}
	return REAL(timer_create)(clock, &copy, timer);
}

EXPORT int mq_notify(mqd_t queue, const struct sigevent *event)
{
	struct sigevent copy;

	if (!needs_us(event))
		return REAL(mq_notify)(queue, event);
	if (!take_over(&copy, event, true)) {
		errno = ENOMEM;
		return -1;
	}
	return REAL(mq_notify)(queue, &copy);
}

/* ---- Asynchronous I/O --------------------------------------------------------------------------- */

static bool concerns_us(const struct aiocb *request)
{
	return run.guarded && request &&
	       (run_manages(request) || run_manages((const void *)request->aio_buf));
}

static int refuse(void)
{
	errno = ENOSYS;
	return -1;
}

EXPORT int aio_read(struct aiocb *request)
{
	return concerns_us(request) ? refuse() : REAL(aio_read)(request);
}

EXPORT int aio_write(struct aiocb *request)
{
	return concerns_us(request) ? refuse() : REAL(aio_write)(request);
}

EXPORT int lio_listio(int mode, struct aiocb *const list[], int nr, struct sigevent *event)
{
	bool ours = run.guarded && run_manages(list);

	for (int i = 0; i < nr && !ours; i++)
		ours = concerns_us(list[i]);
	return ours ? refuse() : REAL(lio_listio)(mode, list, nr, event);
}

/* The names of programs with 64-bit offsets: the structures are the same where off_t has 64 bits anyway. */
EXPORT int aio_read64(struct aiocb64 *request)
{
	return aio_read((struct aiocb *)request);
}

EXPORT int aio_write64(struct aiocb64 *request)
{
	return aio_write((struct aiocb *)request);
}

EXPORT int lio_listio64(int mode, struct aiocb64 *const list[], int nr, struct sigevent *event)
{
	return lio_listio(mode, (struct aiocb *const *)list, nr, event);
}

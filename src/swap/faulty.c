/* SPDX-License-Identifier: MIT */
/*
 * A wrapper that makes a device fail, return wrong bytes, be full and be late. See faulty.h for its options.
 *
 * A request gets a ticket when it is submitted. The ticket says whether the request will fail, be corrupted or be
 * late. It keeps the request's done() and owner, because the inner device calls the wrapper's done(). A request that
 * fails does not reach the inner device, or only a part of it does (torn). When a late request has ended in the inner
 * device, its ticket stays on the list "late" for a number of polls.
 *
 * All choices depend on the seed and the order of calls. So a run over "mem:" can be repeated exactly.
 *
 * Tickets are made at open, and are few. A request that finds none waits in "queue" until another one ends.
 */
#include "swap/faulty.h"
#include "swap/device.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define TICKETS 1024

/* A poll of the inner device waits no longer: it does not notice requests that another thread makes late. */
#define INNER_WAIT_MS 20

/* Locks: [I] set at open  [F] lock of the device  no mark: the thread that has the ticket */
struct ticket {
	struct swap_io *io;
	void (*done)(struct swap_io *);
	void *owner;
	void *victim; /* the page that gets a wrong bit; NULL: none */
	unsigned bit;
	unsigned late; /* the request ends after so many polls; 0: at once */
	int torn; /* errno of a request that fails after a part of it has moved; 0: it does not */
	uint16_t nr; /* torn: pages of the whole request */
	struct faulty_dev *faulty; /* [I] */
	TAILQ_ENTRY(ticket) link;
};

TAILQ_HEAD(ticket_list, ticket);

/* A fault that waits for its request. All [F] */
struct trap {
	uint64_t nth; /* it hits the nth request from now, 1: the next one; 0: not armed */
	bool forever;
	int error;
};

struct faulty_dev {
	struct swapdev dev; /* first */
	struct swapdev *inner; /* [I] */
	pthread_mutex_t lock;
	struct trap fail[SWAP_DIRS]; /* [F] */
	struct trap corrupt; /* [F] */
	struct trap fork; /* [F] */
	bool fork_fails; /* that of now. Only the thread that forks, and its child */
	bool hold[SWAP_DIRS]; /* [F] */
	unsigned delay; /* [I] */
	bool torn; /* [I] a failing request moves a part of its pages first */
	uint64_t random; /* [F] */
	uint64_t requests[SWAP_DIRS]; /* [F] */
	uint64_t dealt; /* [F] */
	uint32_t limit; /* [F] different slots that can be written */
	uint32_t used; /* [F] slots written and not discarded */
	uint8_t *written; /* [F] a bit for each slot */
	struct swap_io_list queue; /* [F] requests that wait for a ticket */
	struct ticket_list late[SWAP_DIRS]; /* [F] */
	struct ticket_list free; /* [F] */
	struct ticket tickets[TICKETS];
};

static struct faulty_dev *faulty_of(struct swapdev *dev)
{
	assert(swapdev_is_faulty(dev));
	return container_of(dev, struct faulty_dev, dev);
}

/* xorshift64*: small, seeded, good enough to shuffle. => lock held */
static uint64_t random_next(struct faulty_dev *faulty)
{
	faulty->random ^= faulty->random >> 12;
	faulty->random ^= faulty->random << 25;
	faulty->random ^= faulty->random >> 27;
	return faulty->random * UINT64_C(0x2545f4914f6cdd1d);
}

/* Does the fault hit this request? => lock held */
static bool trap_closes(struct faulty_dev *faulty, struct trap *trap)
{
	if (trap->nth == 0)
		return false;
	if (trap->nth > 1) {
		trap->nth--;
		return false;
	}
	if (!trap->forever)
		trap->nth = 0;
	faulty->dealt++;
	return true;
}

/* ---- Being full ----------------------------------------------------------------------- */

static bool slot_written(const struct faulty_dev *faulty, uint32_t slot)
{
	return faulty->written[slot / 8] & (1U << slot % 8);
}

/* 0, or -ENOSPC: @io writes more new slots than there is room for. => lock held */
static int take_room(struct faulty_dev *faulty, const struct swap_io *io)
{
	uint32_t fresh = 0;

	for (uint32_t slot = io->slot; slot < io->slot + io->nr; slot++)
		fresh += !slot_written(faulty, slot);
	if (fresh > 0 && (uint64_t)faulty->used + fresh > faulty->limit) {
		faulty->dealt++;
		return -ENOSPC;
	}
	faulty->used += fresh;
	for (uint32_t slot = io->slot; slot < io->slot + io->nr; slot++)
		faulty->written[slot / 8] |= (uint8_t)(1U << slot % 8);
	return 0;
}

static void faulty_discard(struct swapdev *dev, uint32_t slot, uint32_t nr)
{
	struct faulty_dev *faulty = faulty_of(dev);

	pthread_mutex_lock(&faulty->lock);
	for (uint32_t s = slot; s < slot + nr; s++) {
		faulty->used -= slot_written(faulty, s);
		faulty->written[s / 8] &= (uint8_t) ~(1U << s % 8);
	}
	pthread_mutex_unlock(&faulty->lock);
	faulty->inner->ops->discard(faulty->inner, slot, nr);
}

/* ---- A request's way ------------------------------------------------------------------- */

/* Restore the request's done() and owner and free the ticket. Returns the request. => lock held */
static struct swap_io *ticket_return(struct ticket *ticket)
{
	struct swap_io *io = ticket->io;

	io->done = ticket->done;
	io->owner = ticket->owner;
	TAILQ_INSERT_HEAD(&ticket->faulty->free, ticket, link);
	return io;
}

static void turn_bit(struct ticket *ticket)
{
	if (ticket->victim && ticket->io->result == 0)
		((uint8_t *)ticket->victim)[ticket->bit / 8] ^= (uint8_t)(1U << ticket->bit % 8);
}

/*
 * The inner device has ended the request. The wrapper's poll() will end it, so that the count which poll() returns is
 * right.
 */
static void inner_done(struct swap_io *io)
{
	struct ticket *ticket = io->owner;
	struct faulty_dev *faulty = ticket->faulty;

	turn_bit(ticket);
	if (ticket->torn) {
		io->result = ticket->torn;
		io->nr = ticket->nr;
	}
	pthread_mutex_lock(&faulty->lock);
	TAILQ_INSERT_TAIL(&faulty->late[io->dir], ticket, link);
	pthread_mutex_unlock(&faulty->lock);
}

/* Make @io fail: at once, or, if torn, after its first pages have moved. => lock held */
static int tear(struct faulty_dev *faulty, struct ticket *ticket, struct swap_io *io, int error)
{
	if (!faulty->torn || io->nr == 1)
		return error;
	ticket->torn = error;
	ticket->nr = io->nr;
	io->nr = (uint16_t)(1 + random_next(faulty) % (io->nr - 1));
	return 0;
}

/*
 * Decide what happens to @io. 0: it goes to the inner device, and the ticket says the rest; or the -errno of its
 * failure. => lock held
 */
static int decide(struct faulty_dev *faulty, struct ticket *ticket, struct swap_io *io)
{
	faulty->requests[io->dir]++;
	if (faulty->delay)
		ticket->late = (unsigned)(random_next(faulty) % (faulty->delay + 1));
	if (!swap_io_fits(&faulty->dev, io))
		return -EINVAL;
	if (trap_closes(faulty, &faulty->fail[io->dir]))
		return tear(faulty, ticket, io, -faulty->fail[io->dir].error);
	if (io->dir == SWAP_WRITE)
		return take_room(faulty, io);
	if (trap_closes(faulty, &faulty->corrupt)) {
		ticket->victim = io->iov[random_next(faulty) % io->nr].base;
		ticket->bit = (unsigned)(random_next(faulty) % (PAGE_BYTES * 8));
	}
	return 0;
}

/*
 * Give free tickets to requests of the queue. Those that will not fail go to @inner, the others to "late". => lock
 * held
 */
static void issue(struct faulty_dev *faulty, struct swap_io_list *inner)
{
	struct ticket *ticket;
	struct swap_io *io;

	while ((io = STAILQ_FIRST(&faulty->queue)) && (ticket = TAILQ_FIRST(&faulty->free))) {
		STAILQ_REMOVE_HEAD(&faulty->queue, link);
		TAILQ_REMOVE(&faulty->free, ticket, link);
		*ticket = (struct ticket){.io = io, .done = io->done, .owner = io->owner, .faulty = faulty};
		io->result = decide(faulty, ticket, io);
		io->done = inner_done;
		io->owner = ticket;
		if (io->result)
			TAILQ_INSERT_TAIL(&faulty->late[io->dir], ticket, link);
		else
			STAILQ_INSERT_TAIL(inner, io, link);
	}
}

static void faulty_submit(struct swapdev *dev, struct swap_io_list *list)
{
	struct faulty_dev *faulty = faulty_of(dev);
	struct swap_io_list inner = STAILQ_HEAD_INITIALIZER(inner);

	pthread_mutex_lock(&faulty->lock);
	STAILQ_CONCAT(&faulty->queue, list);
	issue(faulty, &inner);
	pthread_mutex_unlock(&faulty->lock);
	if (!STAILQ_EMPTY(&inner))
		faulty->inner->ops->submit(faulty->inner, &inner);
}

/* @polls polls have passed: move late requests whose time has come to @ended. => lock held */
static void collect(struct faulty_dev *faulty, enum swap_dir dir, unsigned polls, struct swap_io_list *ended)
{
	struct ticket *ticket, *next;
	struct swap_io *io;

	if (faulty->hold[dir])
		return;
	for (ticket = TAILQ_FIRST(&faulty->late[dir]); ticket; ticket = next) {
		next = TAILQ_NEXT(ticket, link);
		ticket->late -= ticket->late < polls ? ticket->late : polls;
		if (ticket->late > 0)
			continue;
		TAILQ_REMOVE(&faulty->late[dir], ticket, link);
		io = ticket_return(ticket);
		STAILQ_INSERT_TAIL(ended, io, link);
	}
}

/* Count one poll for late requests. true: some of them need only more polls to end. */
static bool poll_late(struct faulty_dev *faulty, enum swap_dir dir, struct swap_io_list *ended)
{
	struct swap_io_list inner = STAILQ_HEAD_INITIALIZER(inner);
	bool more;

	pthread_mutex_lock(&faulty->lock);
	collect(faulty, dir, 1, ended);
	issue(faulty, &inner);
	more = !TAILQ_EMPTY(&faulty->late[dir]) && !faulty->hold[dir];
	pthread_mutex_unlock(&faulty->lock);
	if (!STAILQ_EMPTY(&inner))
		faulty->inner->ops->submit(faulty->inner, &inner);
	return more;
}

/* Look at late requests, and if none ends, poll the inner device. Returns how many requests ended, or -EBUSY. */
static int poll_once(struct faulty_dev *faulty, enum swap_dir dir, int timeout_ms, bool *more)
{
	struct swap_io_list ended = STAILQ_HEAD_INITIALIZER(ended);
	int inner;
	int nr;

	*more = poll_late(faulty, dir, &ended);
	nr = (int)swap_io_end(&ended);
	if (nr > 0)
		return nr;
	timeout_ms = *more ? 0 : timeout_ms > INNER_WAIT_MS ? INNER_WAIT_MS : timeout_ms;
	inner = faulty->inner->ops->poll(faulty->inner, dir, timeout_ms);
	pthread_mutex_lock(&faulty->lock);
	collect(faulty, dir, 0, &ended);
	*more = !TAILQ_EMPTY(&faulty->late[dir]) && !faulty->hold[dir];
	pthread_mutex_unlock(&faulty->lock);
	nr = (int)swap_io_end(&ended);
	return nr == 0 && inner == -EBUSY && !*more ? -EBUSY : nr;
}

/* Poll again only while requests need more polls to end. Other requests may be ended by other threads, or be held. */
static int faulty_poll(struct swapdev *dev, enum swap_dir dir, int timeout_ms)
{
	struct faulty_dev *faulty = faulty_of(dev);
	bool more;
	int nr;

	do {
		nr = poll_once(faulty, dir, timeout_ms, &more);
	} while (nr == 0 && more && timeout_ms > 0);
	return nr;
}

/* Late requests end after a number of polls, so a caller must poll, and not sleep on a descriptor. */
static int faulty_poll_fd(struct swapdev *dev, enum swap_dir dir)
{
	(void)dev;
	(void)dir;
	return -1;
}

/* The costs are the inner device's: that a request is late is a fault, and no cost. */
static void faulty_cost(const struct swapdev *dev, struct swap_cost *out)
{
	*out = swapdev_cost(container_of(dev, const struct faulty_dev, dev)->inner);
}

/* ---- What only the inner device can do ---------------------------------------------------- */

static int faulty_fds(struct swapdev *dev, int *fds, int max)
{
	struct swapdev *inner = faulty_of(dev)->inner;

	return inner->ops->fds ? inner->ops->fds(inner, fds, max) : 0;
}

static void faulty_adopt(struct swapdev *dev)
{
	struct swapdev *inner = faulty_of(dev)->inner;

	if (inner->ops->adopt)
		inner->ops->adopt(inner);
}

static int faulty_fork_prepare(struct swapdev *dev)
{
	struct faulty_dev *faulty = faulty_of(dev);
	struct swapdev *inner = faulty->inner;

	pthread_mutex_lock(&faulty->lock);
	faulty->fork_fails = trap_closes(faulty, &faulty->fork);
	pthread_mutex_unlock(&faulty->lock);
	return inner->ops->fork_prepare ? inner->ops->fork_prepare(inner) : 0;
}

static void faulty_fork_parent(struct swapdev *dev)
{
	struct swapdev *inner = faulty_of(dev)->inner;

	if (inner->ops->fork_parent)
		inner->ops->fork_parent(inner);
}

static int faulty_fork_child(struct swapdev *dev)
{
	struct faulty_dev *faulty = faulty_of(dev);

	pthread_mutex_init(&faulty->lock, NULL);
	if (faulty->fork_fails)
		return -faulty->fork.error;
	return faulty->inner->ops->fork_child ? faulty->inner->ops->fork_child(faulty->inner) : -ENOSYS;
}

static size_t written_bytes(const struct faulty_dev *faulty)
{
	return faulty->dev.nr_slots / 8 + 1;
}

static void faulty_close(struct swapdev *dev)
{
	struct faulty_dev *faulty = faulty_of(dev);

	faulty->inner->ops->close(faulty->inner);
	device_free(faulty->written, written_bytes(faulty));
	device_free(faulty, sizeof(*faulty));
}

static const struct swapdev_ops faulty_ops = {
	.scheme = "faulty",
	.submit = faulty_submit,
	.poll = faulty_poll,
	.poll_fd = faulty_poll_fd,
	.discard = faulty_discard,
	.cost = faulty_cost,
	.fds = faulty_fds,
	.adopt = faulty_adopt,
	.fork_prepare = faulty_fork_prepare,
	.fork_parent = faulty_fork_parent,
	.fork_child = faulty_fork_child,
	.close = faulty_close,
};

bool swapdev_is_faulty(const struct swapdev *dev)
{
	return dev->ops == &faulty_ops;
}

/* ---- Arming ----------------------------------------------------------------------------------- */

void faulty_fail(struct swapdev *dev, enum swap_dir dir, uint64_t nth, int error, bool forever)
{
	struct faulty_dev *faulty = faulty_of(dev);

	pthread_mutex_lock(&faulty->lock);
	faulty->fail[dir] = (struct trap){.nth = nth, .forever = forever, .error = error};
	pthread_mutex_unlock(&faulty->lock);
}

void faulty_corrupt(struct swapdev *dev, uint64_t nth, bool forever)
{
	struct faulty_dev *faulty = faulty_of(dev);

	pthread_mutex_lock(&faulty->lock);
	faulty->corrupt = (struct trap){.nth = nth, .forever = forever};
	pthread_mutex_unlock(&faulty->lock);
}

void faulty_full(struct swapdev *dev, uint32_t slots)
{
	struct faulty_dev *faulty = faulty_of(dev);

	pthread_mutex_lock(&faulty->lock);
	faulty->limit = slots;
	pthread_mutex_unlock(&faulty->lock);
}

void faulty_hold(struct swapdev *dev, enum swap_dir dir, bool hold)
{
	struct faulty_dev *faulty = faulty_of(dev);

	pthread_mutex_lock(&faulty->lock);
	faulty->hold[dir] = hold;
	pthread_mutex_unlock(&faulty->lock);
}

uint64_t faulty_requests(struct swapdev *dev, enum swap_dir dir)
{
	struct faulty_dev *faulty = faulty_of(dev);
	uint64_t nr;

	pthread_mutex_lock(&faulty->lock);
	nr = faulty->requests[dir];
	pthread_mutex_unlock(&faulty->lock);
	return nr;
}

uint64_t faulty_dealt(struct swapdev *dev)
{
	struct faulty_dev *faulty = faulty_of(dev);
	uint64_t nr;

	pthread_mutex_lock(&faulty->lock);
	nr = faulty->dealt;
	pthread_mutex_unlock(&faulty->lock);
	return nr;
}

/* ---- Open ---------------------------------------------------------------------------------------- */

static int take_options(struct swap_uri *uri, struct faulty_dev *faulty, struct swap_why *why)
{
	uint64_t fail_read = 0, fail_write = 0, corrupt_read = 0, fail_fork = 0, forever = 0, error = EIO;
	uint64_t full = UINT32_MAX, delay = 0, torn = 0, seed = 1;
	const struct {
		const char *key;
		uint64_t *value, max;
	} numbers[] = {
		{"fail_read", &fail_read, UINT64_MAX},
		{"fail_write", &fail_write, UINT64_MAX},
		{"corrupt_read", &corrupt_read, UINT64_MAX},
		{"fail_fork", &fail_fork, UINT64_MAX},
		{"forever", &forever, 1},
		{"error", &error, 133},
		{"full", &full, UINT32_MAX},
		{"delay", &delay, 1000},
		{"torn", &torn, 1},
		{"seed", &seed, UINT64_MAX},
	};

	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		int failed = swap_uri_take_number(uri, numbers[i].key, numbers[i].value, why);

		if (failed)
			return failed;
		if (*numbers[i].value > numbers[i].max)
			return swap_why(why, -EINVAL, "%s is more than %lu", numbers[i].key, numbers[i].max);
	}
	faulty->fail[SWAP_READ] = (struct trap){fail_read, forever, (int)error};
	faulty->fail[SWAP_WRITE] = (struct trap){fail_write, forever, (int)error};
	faulty->corrupt = (struct trap){corrupt_read, forever, 0};
	faulty->fork = (struct trap){fail_fork, forever, (int)error};
	faulty->limit = (uint32_t)full;
	faulty->delay = (unsigned)delay;
	faulty->torn = torn;
	/* The generator would stay at 0 for ever. */
	faulty->random = seed ? seed : 1;
	return 0;
}

/*
 * Open the inner device: the path of the URI is its name, and the options that the wrapper did not take are its
 * options.
 */
static int open_inner(struct swap_uri *uri, struct faulty_dev *faulty, struct swap_why *why)
{
	char text[sizeof(uri->text)];
	size_t used = (size_t)snprintf(text, sizeof(text), "%s", uri->path);
	char mark = '?';

	for (unsigned i = 0; i < uri->nr_options; i++) {
		if (uri->options[i].taken)
			continue;
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%c%s=%s", mark,
			uri->options[i].key, uri->options[i].value);
		mark = '&';
	}
	return swapdev_open(text, &faulty->inner, why->text, why->len);
}

static int prepare(struct faulty_dev *faulty, struct swap_why *why)
{
	if (faulty->inner->shares_memory) { /* nobody would grant it any */
		faulty->inner->ops->close(faulty->inner);
		return swap_why(
			why, -EINVAL, "compressed memory in it needs memory of its own; add size=16M");
	}
	faulty->dev.ops = &faulty_ops;
	faulty->dev.nr_slots = faulty->inner->nr_slots;
	faulty->dev.stable_writes = faulty->inner->stable_writes;
	faulty->written = device_alloc(written_bytes(faulty));
	if (!faulty->written) {
		faulty->inner->ops->close(faulty->inner);
		return swap_why(why, -ENOMEM, "no memory for the map of slots");
	}
	pthread_mutex_init(&faulty->lock, NULL);
	STAILQ_INIT(&faulty->queue);
	TAILQ_INIT(&faulty->late[SWAP_READ]);
	TAILQ_INIT(&faulty->late[SWAP_WRITE]);
	TAILQ_INIT(&faulty->free);
	for (unsigned i = 0; i < TICKETS; i++)
		TAILQ_INSERT_TAIL(&faulty->free, &faulty->tickets[i], link);
	return 0;
}

int faulty_open(struct swap_uri *uri, struct swapdev **out, struct swap_why *why)
{
	struct faulty_dev *faulty = device_alloc(sizeof(*faulty));
	int error;

	if (!faulty)
		return swap_why(why, -ENOMEM, "no memory for the device itself");
	error = take_options(uri, faulty, why);
	if (!error)
		error = open_inner(uri, faulty, why);
	if (!error)
		error = prepare(faulty, why);
	if (error) {
		device_free(faulty, sizeof(*faulty));
		return error;
	}
	*out = &faulty->dev;
	return 0;
}

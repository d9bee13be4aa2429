/* SPDX-License-Identifier: MIT */
/* A limit that follows the host; see governor.h. */
#include "lib/governor.h"
#include "anonmm.h"
#include "host/memory.h"
#include "machine/uffd/uffd.h"
#include "host/host.h"
#include "host/thread.h"
#include "mm/pager.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>

#define TICK_NS 1000000000LL
#define PAUSE_NS (200 * 1000000LL) /* the least time between two looks */
#define STALL_PERMILLE 75 /* stalled for more than this part of the time: pressure */
#define TRIGGER "some 150000 2000000" /* the same part of 2 s, a window that needs no privilege */
#define MARGIN_MOST (256 * MIB)
#define STACK_BYTES (64 * KIB)

enum { WATCH_STOP, WATCH_PRESSURE, WATCH_GROUP_PRESSURE, WATCH_EVENTS, NR_WATCHES };

/* Locks: [I] set before the thread starts  [a] atomic  [g] the thread's own */
struct governor {
	struct governor_config config; /* [I]; the field most below counts, not the one in here */
	_Atomic(uint64_t) most; /* [a] bytes */
	_Atomic(bool) stop; /* [a] */
	struct governor_state state; /* [g] */
	int64_t stalled_us[2]; /* [g] of host and group, at the last look */
	uint64_t looked_ns; /* [g] time of the last look; 0: none yet */
	struct pollfd watches[NR_WATCHES]; /* [g], WATCH_STOP [I] */
	struct host_thread thread;
	uint8_t *stack; /* [I] */
};

/* ---- Deciding ----------------------------------------------------------------------------- */

static uint64_t without_margin(uint64_t room)
{
	return room - min_u64(room / 16, MARGIN_MOST);
}

static void state_follow(struct governor_state *state, const struct governor_look *look)
{
	if (look->pressed) {
		if (state->share >= GOVERNOR_SHARE_LEAST + GOVERNOR_SHARE_STEP)
			state->share -= GOVERNOR_SHARE_STEP;
		state->calm_since_ns = look->now_ns;
	} else if (look->now_ns - state->calm_since_ns >= GOVERNOR_CALM_S * 1000000000ULL) {
		state->share = (unsigned)min_u64(state->share + GOVERNOR_SHARE_STEP, 100);
		state->calm_since_ns = look->now_ns;
	}
}

uint64_t governor_decide(struct governor_state *state, const struct governor_look *look, uint64_t most)
{
	int64_t room = (int64_t)look->managed + look->slack;

	state_follow(state, look);
	uint64_t limit = room > 0 ? without_margin((uint64_t)room) : 0;

	limit = min_u64(limit / 100 * state->share, most);
	return page_align_down(max_u64(limit, ANONMM_MEMORY_MIN));
}

uint64_t governor_first(const char *root, uint64_t most)
{
	struct governor_state state = {.share = 100};
	struct governor_look look = {0};
	struct hostmem mem;

	hostmem_read(root, &mem);
	look.slack = mem.slack;
	return governor_decide(&state, &look, most);
}

uint64_t governor_most(void)
{
	struct hostmem mem;

	hostmem_read("", &mem);
	return mem.physical;
}

/* ---- Looking ------------------------------------------------------------------------------ */

/* Has @path been stalled for more than its share of the time since the last look? */
static bool stalled_since(const char *path, int64_t *last_us, uint64_t elapsed_ns)
{
	int64_t now_us = path[0] ? hostmem_stalled_us(path) : -ENOENT;
	int64_t before_us = *last_us;

	*last_us = now_us;
	if (now_us < 0 || before_us < 0 || elapsed_ns == 0)
		return false;
	return (uint64_t)(now_us - before_us) * 1000 > elapsed_ns / 1000 * STALL_PERMILLE;
}

static bool told(const struct pollfd *watch)
{
	return watch->fd >= 0 && watch->revents & POLLPRI;
}

static bool is_pressed(struct governor *g, const struct hostmem *mem, uint64_t now_ns)
{
	char path[2 * HOSTMEM_PATH];
	uint64_t elapsed_ns = g->looked_ns ? now_ns - g->looked_ns : 0;

	snprintf(path, sizeof(path), "%s" HOSTMEM_PSI, g->config.root);
	bool host = stalled_since(path, &g->stalled_us[0], elapsed_ns);
	bool group = stalled_since(mem->pressure, &g->stalled_us[1], elapsed_ns);

	g->looked_ns = now_ns;
	return host || group || told(&g->watches[WATCH_PRESSURE]) || told(&g->watches[WATCH_GROUP_PRESSURE]);
}

bool governor_worth_it(uint64_t now, uint64_t wanted)
{
	return wanted < now || wanted - now > now / 50;
}

static uint64_t managed_bytes(const struct governor *g)
{
	struct anonmm_stats stats;
	struct pager_limit limit;

	if (g->config.ops)
		return g->config.ops->managed();
	pager_stats(g->config.pager, &stats);
	pager_limit(g->config.pager, &limit);
	return (uint64_t)limit.frames_used * PAGE_BYTES + stats.metadata_bytes;
}

/* If the limit is refused (locked memory, full swap), the next look asks again. */
static void follow(const struct governor *g, uint64_t wanted)
{
	struct pager_limit limit;
	char why[200];

	if (g->config.ops) {
		g->config.ops->follow(wanted);
		return;
	}
	pager_limit(g->config.pager, &limit);
	if (governor_worth_it(limit.bytes, wanted))
		(void)pager_set_limit(g->config.pager, wanted, why, sizeof(why));
}

static void look(struct governor *g)
{
	struct governor_look seen = {.now_ns = host_now_ns()};
	struct hostmem mem;

	hostmem_read(g->config.root, &mem);
	seen.slack = mem.slack;
	seen.managed = managed_bytes(g);
	seen.pressed = is_pressed(g, &mem, seen.now_ns);
	follow(g, governor_decide(&g->state, &seen, atomic_load(&g->most)));
}

/* ---- The thread ---------------------------------------------------------------------------- */

static int open_trigger(const char *path)
{
	int fd = path[0] ? (int)host_call(SYS_openat, AT_FDCWD, path, O_RDWR | O_NONBLOCK | O_CLOEXEC, 0)
			 : -ENOENT;

	if (fd < 0)
		return -1;
	if (host_write(fd, TRIGGER, sizeof(TRIGGER)) < 0) {
		host_close(fd);
		return -1;
	}
	return fd;
}

static int open_events(const struct hostmem *mem)
{
	char path[2 * HOSTMEM_PATH];

	if (mem->version != 2)
		return -1;
	int fd = (int)host_call(SYS_inotify_init1, IN_NONBLOCK | IN_CLOEXEC);

	snprintf(path, sizeof(path), "%s/memory.events", mem->group);
	if (fd >= 0 && host_call(SYS_inotify_add_watch, fd, path, IN_MODIFY) < 0) {
		host_close(fd);
		return -1;
	}
	return fd < 0 ? -1 : fd;
}

/* Open the watches. Where a trigger is refused, the look of each second reads the same figures. */
static void watch(struct governor *g)
{
	char path[2 * HOSTMEM_PATH];
	struct hostmem mem;

	hostmem_read(g->config.root, &mem);
	snprintf(path, sizeof(path), "%s" HOSTMEM_PSI, g->config.root);
	g->watches[WATCH_PRESSURE] = (struct pollfd){.fd = open_trigger(path), .events = POLLPRI};
	g->watches[WATCH_GROUP_PRESSURE] =
		(struct pollfd){.fd = open_trigger(mem.pressure), .events = POLLPRI};
	g->watches[WATCH_EVENTS] = (struct pollfd){.fd = open_events(&mem), .events = POLLIN};
}

/* Close the triggers of a control group that has ended: they would wake poll for ever. */
static void drop_dead_watches(struct governor *g)
{
	char events[512];

	for (unsigned i = WATCH_PRESSURE; i < NR_WATCHES; i++)
		if (g->watches[i].fd >= 0 && g->watches[i].revents & (POLLERR | POLLHUP | POLLNVAL)) {
			host_close(g->watches[i].fd);
			g->watches[i].fd = -1;
		}
	if (g->watches[WATCH_EVENTS].fd >= 0 && g->watches[WATCH_EVENTS].revents & POLLIN)
		host_read(g->watches[WATCH_EVENTS].fd, events, sizeof(events));
}

static void *governor_main(void *arg)
{
	struct governor *g = arg;

	watch(g);
	while (!atomic_load(&g->stop)) {
		host_thread_serve(&g->thread);
		look(g);
		host_poll(g->watches, 1, PAUSE_NS);
		if (atomic_load(&g->stop))
			break;
		host_thread_serve(&g->thread);
		host_poll(g->watches, NR_WATCHES, TICK_NS - PAUSE_NS);
		drop_dead_watches(g);
	}
	for (unsigned i = WATCH_PRESSURE; i < NR_WATCHES; i++)
		if (g->watches[i].fd >= 0)
			host_close(g->watches[i].fd);
	return NULL;
}

/* ---- Start and stop ------------------------------------------------------------------------ */

static void governor_wake(void *governor)
{
	struct governor *g = governor;

	host_thread_interrupt(&g->thread);
}

static int thread_start(struct governor *g)
{
	g->thread = (struct host_thread){.name = "anonmm-governor",
		.main = governor_main,
		.arg = g,
		.stack = g->stack,
		.stack_bytes = STACK_BYTES,
		.keep = &g->watches[WATCH_STOP].fd,
		.nr_keep = 1,
		.wake = governor_wake};
	return host_thread_start(&g->thread);
}

static void governor_free(struct governor *g)
{
	if (g->watches[WATCH_STOP].fd >= 0)
		host_close(g->watches[WATCH_STOP].fd);
	if (g->stack)
		host_munmap(g->stack, STACK_BYTES);
	host_munmap(g, page_align_up(sizeof(*g)));
}

int governor_start(const struct governor_config *config, struct governor **out)
{
	struct governor *g = host_mmap(0, page_align_up(sizeof(*g)), PROT_READ | PROT_WRITE, 0);
	int error = 0;

	if (!g)
		return -ENOMEM;
	g->config = *config;
	g->state = (struct governor_state){.share = 100, .calm_since_ns = host_now_ns()};
	g->stalled_us[0] = g->stalled_us[1] = -1;
	atomic_store(&g->most, config->most);
	for (unsigned i = 0; i < NR_WATCHES; i++)
		g->watches[i] = (struct pollfd){.fd = -1};
	g->stack = host_mmap(0, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_NORESERVE | MAP_STACK);
	if (!config->hidden)
		g->watches[WATCH_STOP] =
			(struct pollfd){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = POLLIN};
	if (!g->stack || (!config->hidden && g->watches[WATCH_STOP].fd < 0))
		error = -ENOMEM;
	if (!error)
		error = thread_start(g);
	if (error)
		governor_free(g);
	else
		*out = g;
	return error;
}

void governor_stop(struct governor *g)
{
	uint64_t one = 1;

	atomic_store(&g->stop, true);
	host_write(g->watches[WATCH_STOP].fd, &one, sizeof(one));
	host_thread_join(&g->thread);
	governor_free(g);
}

int governor_fork_child(struct governor *g)
{
	return thread_start(g);
}

void governor_set_most(struct governor *g, uint64_t bytes)
{
	atomic_store(&g->most, bytes);
}

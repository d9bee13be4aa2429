/* SPDX-License-Identifier: MIT */
/* Status pages in sim-tree: kswapd, which serves them, and processes that ask, as `anonmm limit` and `anonmm ps` do. */
#include "shims.h"

#define TIMEOUT_MS 100
#define ASK_PID 1000 /* numbers that no other process gets */

bool touch_step(struct status *page, const struct status_question *question, uint32_t asked)
{
	(void)page;
	(void)question;
	(void)asked;
	return true;
}

/* kswapd as it sleeps on the page's kick; what else it does takes no part here. */
static void kswapd_main(void *page)
{
	struct status *status = page;

	for (;;) {
		atomic_store(&status->kick, 0);
		status_serve(status);
		shim_futex_wait(&status->kick, 0, -1);
	}
}

void ask_page(void)
{
	world.now->page = NULL;
	if (world.nr_pages == WORLD_PAGES)
		return;
	world.now->page = &world.pages[world.nr_pages++];
	*world.now->page = (struct page_file){.locked = 0};
	world_start_thread(KSWAPD, kswapd_main, &world.now->page->status);
}

/* ---- Asking ------------------------------------------------------------------------------------------- */

static bool is_alive(pid_t pid)
{
	for (unsigned i = 0; i < WORLD_PROCESSES; i++)
		if (world.processes[i].state == ALIVE && world.processes[i].pid == pid)
			return true;
	return false;
}

/* The kernel drops the lock of a process that has ended. */
static bool lock_file(struct page_file *page)
{
	for (int waited_ms = 0; page->locked && is_alive(page->locked); waited_ms += 10) {
		if (waited_ms >= 2 * TIMEOUT_MS)
			return false;
		world_sleep(world.now_ns + 10 * MS, NULL);
	}
	page->locked = world.now->pid;
	return true;
}

static struct process *somebody_managed(void)
{
	unsigned from = seed_below(&world.programs, WORLD_PROCESSES);

	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[(from + i) % WORLD_PROCESSES];

		if (p->state == ALIVE && p->managed && p->page)
			return p;
	}
	return NULL;
}

/* In the calm nobody is killed, stopped or continued. */
static bool must_answer(const struct process *p, const struct page_file *page)
{
	return p->state == ALIVE && p->page == page && p->managed && !p->stopped && !p->restart;
}

/* false: the asker has given up at once. */
static bool ask_once(struct process *p)
{
	struct page_file *page = p->page;
	struct status_question question = {.request = STATUS_LOOK};
	bool calm = world.calm;
	int timeout_ms =
		calm || seed_once_in(&world.programs, 2) ? TIMEOUT_MS : 0; /* 0: it gives up at once */

	/* A limit below what the host has would hide what the governors do. */
	if (!calm && seed_once_in(&world.programs, 2))
		question = (struct status_question){.request = STATUS_LIMIT,
			.bytes = max_u64(
				world.ledger.most / (1 + seed_below(&world.programs, world.follows ? 1 : 8)),
				4 * MIB)};
	if (!lock_file(page))
		return true;
	uint64_t since_ns = world.now_ns;
	int error = status_ask(&page->status, &question, timeout_ms);

	if (!error && page->status.now_ns < since_ns)
		world_fail("the answer of process %d is older than the question", p->pid);
	if (error && calm && must_answer(p, page))
		world_fail("process %d does not answer", p->pid);
	if (!error)
		world_say("process %d answers %d", p->pid, page->status.result);
	page->locked = 0;
	return !error || timeout_ms;
}

static void ask_main(void *unused)
{
	unsigned rounds = 1 + seed_below(&world.programs, 16);

	(void)unused;
	while (world.calm || rounds-- > 0) {
		struct process *p = somebody_managed();

		/* One that gives up asks again at once: kswapd may be about to read the first question. */
		for (unsigned again = 4; p && again > 0; again--)
			if (!must_answer(p, p->page) || ask_once(p))
				break;
		world_sleep(world.now_ns + (1 + seed_below(&world.programs, 200)) * (world.calm ? MS : 1000),
			NULL);
	}
	process_dies(world.now);
	world_end_thread();
}

void ask_begin(void)
{
	struct process *before = world.now, *p = NULL;

	for (unsigned i = 0; i < WORLD_PROCESSES; i++)
		if (world.processes[i].state == NONE)
			p = &world.processes[i];
	if (!p)
		return;
	*p = (struct process){.state = ALIVE, .pid = ASK_PID + (pid_t)world.last_started, .parent = -1};
	p->started = ++world.last_started;
	world_say("process %d begins to ask", p->pid);
	world.now = p;
	world_start_thread(PROGRAM, ask_main, NULL);
	world.now = before;
}

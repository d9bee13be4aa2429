/* SPDX-License-Identifier: MIT */
/* The kernel of sim-tree: threads, time, and random kills and stops; see world.h. */
#include "world.h"
#include "shims.h"
#include "host/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#undef atomic_load
#undef atomic_store

#define STACK_BYTES (64 * KIB)
#define CALM_NS (4000 * MS) /* after the last chaos, until everything must be in order */
#define FOLLOW_NS                                                                                            \
	(4000 * MS) /* until another process follows the host, where the leader is stopped, and has looked */
#define CHAOS_MOST_NS (3000 * MS)
#define PREEMPT_POINTS 40

struct world world;

struct run run; /* like share: of the process that runs */

static uint8_t stacks[WORLD_PROCESSES][NR_ROLES][STACK_BYTES] __attribute__((aligned(64)));

/* ---- Saying -------------------------------------------------------------------------------------- */

void world_say(const char *format, ...)
{
	va_list args;

	if (!world.config.verbose)
		return;
	printf("%10.3f ms  ", (double)world.now_ns / 1e6);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static void leave(void)
{
	coro_switch(&world.thread->coro, &world.scheduler);
}

void world_fail(const char *format, ...)
{
	va_list args;

	if (!world.failed) {
		va_start(args, format);
		vsnprintf(world.why, sizeof(world.why), format, args);
		va_end(args);
		world_say("FAILED: %s", world.why);
	}
	world.failed = true;
}

/* ---- Threads ------------------------------------------------------------------------------------- */

static const char *role_name(const struct thread *t)
{
	static const char *const names[] = {"program", "share", "governor", "kswapd"};

	return names[t - world.now->threads];
}

void world_start_thread(enum role role, void (*run_it)(void *), void *arg)
{
	struct process *p = world.now;
	struct thread *t = &p->threads[role];

	assert(!t->exists);
	*t = (struct thread){.exists = true, .wake_ns = world.now_ns};
	coro_init(&t->coro, stacks[p - world.processes][role], STACK_BYTES, run_it, arg);
}

void world_point(const char *function, int line)
{
	if (likely(--world.points))
		return;
	if (world.config.verbose)
		snprintf(world.at, sizeof(world.at), "%s:%d", function, line);
	world.thread->wake_ns = world.now_ns;
	world.thread->key = NULL;
	leave();
}

bool world_sleep(uint64_t until_ns, const void *key)
{
	world.thread->wake_ns = until_ns;
	world.thread->key = key;
	snprintf(world.at, sizeof(world.at), "%s", key ? "wait" : "sleep");
	leave();
	bool woken = key && !world.thread->key;

	world.thread->key = NULL;
	return woken;
}

void world_wake(const void *key, bool same_process)
{
	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[i];

		for (unsigned role = 0; p->state == ALIVE && role < NR_ROLES; role++) {
			struct thread *t = &p->threads[role];

			if (!t->exists || t->key != key || (same_process && p != world.now))
				continue;
			t->key = NULL;
			t->wake_ns = world.now_ns;
		}
	}
}

void world_end_thread(void)
{
	world.thread->wake_ns = UINT64_MAX;
	world.thread->exists = false;
	for (;;)
		leave();
}

static void change_host(void)
{
	world.outside_bytes = seed_below(&world.seed, (unsigned)(world.ledger.most / KIB)) * KIB;
	world_say("others use %lu KiB", world.outside_bytes / KIB);
}

static bool others_follow(void)
{
	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		const struct process *p = &world.processes[i];

		if (p != world.now && p->state == ALIVE && !p->stopped && p->threads[GOVERNOR].exists)
			return true;
	}
	return false;
}

void world_stop_leader(void)
{
	if (world.calm || world.stopped_leader || !others_follow() || seed_once_in(&world.seed, 4))
		return;
	world.now->stopped = true;
	world.stopped_leader = world.now;
	world.quiet_ns = world.now_ns + (LEDGER_LEAD_MS + 1200) * MS;
	change_host();
	world_say("process %d is stopped, as it sets the limit", world.now->pid);
	world.points = 1;
	world_point(__func__, __LINE__);
}

/* ---- The shims' host ------------------------------------------------------------------------------- */

static struct ledger_slot *slot_of(const void *word)
{
	const uint8_t *at = word, *first = (const uint8_t *)world.ledger.slots;

	if (at < first || at >= first + sizeof(world.ledger.slots))
		return NULL;
	return &world.ledger.slots[(size_t)(at - first) / sizeof(struct ledger_slot)];
}

/* A share that grows otherwise than by ledger_grow(), and a limit that falls, push the sum over the limit. */
void shim_stored(const void *word, uint64_t before, uint64_t after)
{
	struct ledger_slot *slot = slot_of(word);

	if (word == &world.ledger.limit && after < before)
		world.jumps_bytes += before - after;
	if (!slot)
		return;
	if (word == &slot->share && after > before && !world.now->growing)
		world.jumps_bytes += after - before;
	if (word == &slot->owner && after == 0 && ledger_owner_pid(before) != world.now->pid)
		check_freed(before);
}

void shim_exchanged(const void *word, uint64_t before, uint64_t after)
{
	struct ledger_slot *slot = slot_of(word);

	if (slot && word == &slot->owner && after == 0)
		check_freed(before);
}

int shim_futex_wait(_Atomic(uint32_t) *word, uint32_t value, int64_t timeout_ns)
{
	world_point(__func__, 0);
	if (atomic_load_explicit(word, memory_order_seq_cst) != value)
		return -EAGAIN;
	/* The library's look every two seconds makes up for a lost kick. */
	if (world.plant == PLANT_LOST_KICK && timeout_ns >= (int64_t)(1000 * MS))
		timeout_ns = -1;
	return world_sleep(timeout_ns < 0 ? UINT64_MAX : world.now_ns + (uint64_t)timeout_ns, word)
		       ? 0
		       : -ETIMEDOUT;
}

void shim_futex_wake(const void *word)
{
	world_point(__func__, 0);
	if (world.plant == PLANT_LOST_KICK && slot_of(word))
		return;
	world_wake(word, false);
}

bool shim_lock_try(struct lock *lock)
{
	world_point(__func__, 0);
	if (atomic_load_explicit(&lock->word, memory_order_seq_cst))
		return false;
	atomic_store_explicit(&lock->word, 1, memory_order_seq_cst);
	return true;
}

void shim_lock_take(struct lock *lock)
{
	while (!shim_lock_try(lock))
		world_sleep(UINT64_MAX, lock);
}

void shim_lock_drop(struct lock *lock)
{
	atomic_store_explicit(&lock->word, 0, memory_order_seq_cst);
	world_wake(lock, true);
	world_point(__func__, 0);
}

int shim_getrusage(struct rusage *usage)
{
	*usage = (struct rusage){.ru_minflt = (long)world.now->pager.faults};
	return 0;
}

uint64_t shim_ledger_grow(struct ledger *ledger, unsigned me, uint64_t want, uint64_t now_ns)
{
	struct process *p = world.now;
	uint64_t jumps = world.jumps_bytes;
	char why[100];

	p->share_before = atomic_load_explicit(&ledger->slots[me].share, memory_order_seq_cst);
	p->growing = true;
	if (world.plant == PLANT_RAISE_FIRST && run.pager)
		pager_set_limit(run.pager, share.bytes + want, why, sizeof(why));
	uint64_t got = ledger_grow(ledger, me, want, now_ns);

	if (world.plant == PLANT_NO_SECOND_LOOK && !got && want > MIB) {
		got = MIB;
		atomic_fetch_add(&ledger->slots[me].share, got);
	}
	p->growing = false;
	if (got)
		check_grown(jumps);
	return got;
}

/* ---- What the library asks of processes --------------------------------------------------------------- */

uint64_t status_start_time(pid_t pid)
{
	for (unsigned i = 0; i < WORLD_PROCESSES; i++)
		if (world.processes[i].state != NONE && world.processes[i].pid == pid)
			return world.processes[i].started;
	return 0;
}

uint64_t status_pid_ns(void)
{
	return 1;
}

bool status_has_gone(pid_t pid, uint32_t started)
{
	world_point(__func__, 0);
	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[i];

		if (p->state == NONE || p->pid != pid)
			continue;
		if (world.plant == PLANT_REAP_STOPPED && p->stopped)
			return true;
		return p->started != started || (p->state == ZOMBIE && world.plant != PLANT_NO_ZOMBIES);
	}
	return true;
}

void uffd_machine_ask(struct machine *m, bool (*more)(bool urgent))
{
	(void)m;
	world.more = more;
}

void run_say(const char *format, ...)
{
	(void)format;
}

static void thread_main(void *thread)
{
	struct host_thread *t = thread;

	t->main(t->arg);
	world_end_thread();
}

int host_thread_start(struct host_thread *t)
{
	world_start_thread(strcmp(t->name, "anonmm-governor") ? SHARE : GOVERNOR, thread_main, t);
	return 0;
}

void host_thread_serve(struct host_thread *t)
{
	(void)t;
}

void host_thread_join(struct host_thread *t)
{
	(void)t;
}

void host_thread_interrupt(struct host_thread *t)
{
	(void)t;
}

void hostmem_read(const char *root, struct hostmem *mem)
{
	(void)root;
	*mem = (struct hostmem){.physical = world.ledger.most,
		.slack = (int64_t)world.ledger.most - (int64_t)world.outside_bytes};
	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		const struct process *p = &world.processes[i];

		if (p->state == ALIVE && p->managed)
			mem->slack -= (int64_t)(p->pager.used * PAGE_BYTES + p->pager.metadata_bytes);
	}
}

int64_t hostmem_stalled_us(const char *path)
{
	(void)path;
	return world.stalled_us;
}

/* ---- Chaos ------------------------------------------------------------------------------------------- */

static struct process *some_process(void)
{
	unsigned from = seed_below(&world.seed, WORLD_PROCESSES);

	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[(from + i) % WORLD_PROCESSES];

		if (p->state == ALIVE)
			return p;
	}
	return NULL;
}

static unsigned nr_alive(void)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < WORLD_PROCESSES; i++)
		nr += world.processes[i].state == ALIVE;
	return nr;
}

void process_dies(struct process *p)
{
	p->state = p->parent >= 0 && world.processes[p->parent].state == ALIVE ? ZOMBIE : NONE;
	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *child = &world.processes[i];

		if (child->state == NONE || child->parent != (int)(p - world.processes))
			continue;
		child->parent = -1;
		if (child->state == ZOMBIE)
			child->state = NONE;
	}
}

static void chaos(void)
{
	bool resume = world.stopped_leader && world.stopped_leader->stopped && seed_once_in(&world.seed, 2);
	struct process *p = resume ? world.stopped_leader : some_process();
	unsigned what = resume ? 3 : seed_below(&world.seed, 8);

	if (world.follows && world.steps == world.config.steps / 3)
		world.quiet_ns = world.now_ns + 1100 * MS; /* the governors look again */
	world.steps++;
	if (!p)
		return;
	if (what < 2 && nr_alive() > 1) {
		world_say("process %d is killed%s", p->pid, p->growing ? ", growing" : "");
		process_dies(p);
	} else if (what < 5) {
		p->stopped = !p->stopped;
		p->idle_ns = 0; /* it could do nothing meanwhile */
		world_say("process %d is %s", p->pid, p->stopped ? "stopped" : "continued");
	} else if (what == 6 && world.follows) {
		world.stalled_us += seed_once_in(&world.seed, 4) ? 2000000 : 0;
		change_host();
	} else if (what == 7) {
		ask_begin();
	} else if (what == 5) {
		p->limit_asked = (int64_t)(world.ledger.most / (1 + seed_below(&world.seed, 8)));
		world_say("process %d is asked to set the limit to %ld KiB", p->pid, p->limit_asked / 1024);
	}
}

static void become_calm(void)
{
	struct process *leader = world.follows && seed_once_in(&world.seed, 4)
					 ? world_owner(world.ledger.slots[0].owner)
					 : NULL;

	world.calm = true;
	world_say("calm");
	if (leader && leader->state == ALIVE) {
		leader->stopped = true;
		world_say("process %d is stopped", leader->pid);
	}
	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[i];

		if (p->state == ALIVE && p != leader && p->stopped && !seed_once_in(&world.seed, 4)) {
			p->stopped = false;
			p->idle_ns = 0;
			world_say("process %d is continued", p->pid);
		}
	}
	ask_begin();
}

/* ---- The scheduler ----------------------------------------------------------------------------------- */

static bool can_run(const struct process *p, const struct thread *t)
{
	return p->state == ALIVE && !p->stopped && t->exists && t->wake_ns <= world.now_ns;
}

static bool pick(struct process **p, struct thread **t)
{
	unsigned from = seed_below(&world.seed, WORLD_PROCESSES * NR_ROLES);

	for (unsigned i = 0; i < WORLD_PROCESSES * NR_ROLES; i++) {
		unsigned at = (from + i) % (WORLD_PROCESSES * NR_ROLES);

		*p = &world.processes[at / NR_ROLES];
		*t = &(*p)->threads[at % NR_ROLES];
		if (can_run(*p, *t))
			return true;
	}
	return false;
}

static uint64_t next_wake(void)
{
	uint64_t next = UINT64_MAX;

	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[i];

		for (unsigned role = 0; p->state == ALIVE && !p->stopped && role < NR_ROLES; role++)
			if (p->threads[role].exists)
				next = min_u64(next, p->threads[role].wake_ns);
	}
	return next;
}

static void become(struct process *p)
{
	if (world.now == p)
		return;
	if (world.now) {
		world.now->share = share;
		world.now->run = run;
	}
	world.now = p;
	share = p->share;
	run = p->run;
}

/* Another program in the same process: nothing of the old one's memory is left. */
static void restart(struct process *p)
{
	become(p);
	p->page = NULL;
	p->restart = p->managed = p->child = p->growing = false;
	memset(&share, 0, sizeof(share));
	memset(&run, 0, sizeof(run));
	p->pager = (struct model_pager){0};
	for (unsigned role = 0; role < NR_ROLES; role++)
		p->threads[role].exists = false;
	world_start_thread(PROGRAM, program_main, NULL);
}

static void run_thread(struct process *p, struct thread *t)
{
	become(p);
	if (p->restart) {
		restart(p);
		t = &p->threads[PROGRAM];
	}
	world.thread = t;
	/* The seconds in which governors look are long: fewer switches then. */
	bool slow = world.follows && (world.calm || world.now_ns < world.quiet_ns);

	world.points = 1 + seed_below(&world.seed, slow ? 16 * PREEMPT_POINTS : PREEMPT_POINTS);
	uint64_t from_ns = world.now_ns;

	world.at[0] = '\0';
	coro_switch(&world.scheduler, &t->coro);
	world.now_ns += 100 + seed_below(&world.seed, 3000);
	t->ran_ns += world.now_ns - from_ns;
	world.nr_switches++;
	p->share = share;
	p->run = run;
	if (world.config.verbose && p->state == ALIVE)
		world_say("%d %s until %s", p->pid, role_name(t), world.at);
}

static struct process *first_process(void)
{
	struct process *p = &world.processes[0];

	*p = (struct process){.state = ALIVE, .pid = world.next_pid++, .started = 1, .parent = -1};
	become(p);
	world_start_thread(PROGRAM, program_main, NULL);
	return p;
}

static void begin(const struct sim_config *config, enum plant plant)
{
	memset(&world, 0, offsetof(struct world, ledger));
	memset(&world.ledger, 0, offsetof(struct ledger, slots));
	world.ledger.shared = true;
	memset(world.ledger.slots, 0, 64 * WORLD_PROCESSES * sizeof(struct ledger_slot));
	memset(&world.processes, 0, sizeof(world) - offsetof(struct world, processes));
	world.config = *config;
	world.plant = plant;
	world.seed = seed_stream(config->seed, 1);
	world.programs = seed_stream(config->seed, 2);
	world.now_ns = 1000 * MS;
	world.next_pid = 100;
	world.last_started = 1;
	world.ledger.most = (8 + seed_below(&world.seed, 248)) * MIB;
	world.ledger.limit = world.ledger.cap = world.ledger.most / (1 + seed_below(&world.seed, 2));
	world.follows = seed_once_in(&world.seed, 3);
	world_say("the limit is %lu KiB of %lu%s", world.ledger.limit / KIB, world.ledger.most / KIB,
		world.follows ? ", and follows the host" : "");
	first_process();
}

bool world_run(const struct sim_config *config, enum plant plant)
{
	struct process *p;
	struct thread *t;
	uint64_t end_ns = UINT64_MAX, sample_ns = UINT64_MAX;

	begin(config, plant);
	while (!world.failed && world.now_ns < end_ns) {
		if (!world.calm && world.now_ns >= world.quiet_ns && world.steps < config->steps &&
			seed_once_in(&world.seed, 12))
			chaos();
		if (!world.calm &&
			(world.steps >= config->steps || world.now_ns > CHAOS_MOST_NS + world.quiet_ns)) {
			become_calm();
			end_ns = world.now_ns + CALM_NS + (world.follows ? FOLLOW_NS : 0);
			sample_ns = end_ns - CALM_NS / 2;
		}
		if (!pick(&p, &t)) {
			uint64_t next = next_wake();

			if (next == UINT64_MAX && !world.calm)
				chaos(); /* all are stopped */
			world.now_ns = min_u64(next, world.now_ns + 50 * MS);
			continue;
		}
		run_thread(p, t);
		check_always();
		if (world.now_ns >= sample_ns) {
			check_sample();
			sample_ns = world.now_ns + 20 * MS;
		}
	}
	if (!world.failed)
		check_end();
	return !world.failed;
}

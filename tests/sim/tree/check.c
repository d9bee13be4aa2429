/* SPDX-License-Identifier: MIT */
/* What must hold in sim-tree: always, when a share grows, when a slot is freed, and at the end of a calm period. */
#include "world.h"
#include "host/memory.h"
#include "lib/governor.h"

#define SLACK_BYTES (2 * MIB)
#define CONTENT_NS (200 * MS)

static struct ledger_slot *slot_at(unsigned i)
{
	return &world.ledger.slots[i];
}

static uint64_t word(_Atomic(uint64_t) *at)
{
	return atomic_load_explicit(at, memory_order_relaxed);
}

static uint64_t limit(void)
{
	return word(&world.ledger.limit);
}

/* The process that lives, or has died and has not been waited for, whose slot this would be; NULL: none. */
struct process *world_owner(uint64_t owner)
{
	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[i];

		if (p->state != NONE && p->pid == ledger_owner_pid(owner) && p->started == (uint32_t)owner)
			return p;
	}
	return NULL;
}

/* ---- Always ------------------------------------------------------------------------------------------ */

/*
 * Whether the process must not use more than its slot says. A young child's memory is its parent's for the most part.
 */
static bool is_bound(const struct process *p)
{
	return p->state == ALIVE && p->managed && p->share.ledger && !p->share.gone && !p->share.young_ns &&
	       !p->child && !p->restart;
}

/* With a limit of fewer bytes nothing would have to leave: then the process must soon say that it is content. */
static void check_content(struct process *p)
{
	uint64_t needed =
		p->pager.used * PAGE_BYTES * 17 / 16 + p->pager.metadata_bytes * 17 / 16 + LEDGER_FLOOR;
	uint64_t hungry_ns = word(&p->share.slot->hungry_ns);
	bool idle = hungry_ns && world.now_ns < hungry_ns + LEDGER_HUNGRY_NS && !p->stopped &&
		    needed + LEDGER_GRAIN <= p->share.bytes;

	if (!idle || hungry_ns != p->idle_hungry_ns || !p->idle_ns) {
		p->idle_ns = idle ? world.now_ns : 0;
		p->idle_hungry_ns = hungry_ns;
	} else if (world.now_ns - p->idle_ns > CONTENT_NS)
		world_fail("process %d needs nothing, and holds back the others", p->pid);
}

void check_always(void)
{
	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[i];

		if (!is_bound(p))
			continue;
		uint64_t may = word(&p->share.slot->share);

		if (p->pager.limit_bytes > may)
			world_fail("process %d uses %lu KiB, and its slot says %lu", p->pid,
				p->pager.limit_bytes / KIB, may / KIB);
		check_content(p);
		if (world_owner(word(&p->share.slot->owner)) != p)
			world_fail("process %d has lost its slot", p->pid);
	}
}

/* ---- Growing ------------------------------------------------------------------------------------------- */

/* The sum of what was had; what others have announced and not verified is not theirs yet. */
static uint64_t sum_had(void)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < world.ledger.top; i++) {
		uint64_t owner = word(&slot_at(i)->owner);

		if (!owner)
			continue;
		struct process *p = world_owner(owner);
		bool growing = p && p->state == ALIVE && p->growing;

		sum += growing ? p->share_before : word(&slot_at(i)->share);
	}
	return sum;
}

/* Others may have come, and the limit fallen, since the share was asked for: by @jumps_before they had not. */
void check_grown(uint64_t jumps_before)
{
	uint64_t sum = sum_had(), may = limit() + (world.jumps_bytes - jumps_before);

	if (sum > may)
		world_fail("process %d was given what is not there: the shares are %lu KiB, the limit is %lu",
			world.now->pid, sum / KIB, limit() / KIB);
}

/* ---- Slots ---------------------------------------------------------------------------------------------- */

void check_freed(uint64_t owner)
{
	struct process *p = world_owner(owner);

	if (p && p->state == ALIVE && p != world.now)
		world_fail("the slot of process %d is freed, which is %s", p->pid,
			p->stopped ? "stopped" : "alive");
}

/* ---- The end ---------------------------------------------------------------------------------------------- */

struct total {
	uint64_t shares; /* of those that live */
	uint64_t floors, stopped_above; /* of those that are stopped: what they have */
	uint64_t sated_least; /* what those that are not hungry may keep */
	unsigned hungry, managed;
	uint64_t dead; /* shares that are still nobody's */
};

static bool is_hungry(struct process *p)
{
	program_settle(p);
	uint64_t have = program_frames(p);

	return p->managed && !p->stopped && p->pager.want > have + have / 8;
}

static uint64_t least_of(struct process *p)
{
	return p->pager.used * PAGE_BYTES * 17 / 16 + p->pager.metadata_bytes + 2 * LEDGER_FLOOR;
}

static void add_process(struct total *total, struct process *p, const struct ledger_slot *slot)
{
	uint64_t share_bytes = word((_Atomic(uint64_t) *)&slot->share);
	uint64_t floor = word((_Atomic(uint64_t) *)&slot->floor);

	total->shares += share_bytes;
	total->floors += floor;
	if (p->stopped) /* it may have been stopped when it had taken its floor and not yet told the others */
		total->stopped_above += share_bytes;
	total->hungry += is_hungry(p);
	if (!is_hungry(p))
		total->sated_least += p->stopped ? share_bytes : min_u64(share_bytes, least_of(p));
}

static void add_up(struct total *total)
{
	*total = (struct total){0};
	for (unsigned i = 0; i < world.ledger.top; i++) {
		uint64_t owner = word(&slot_at(i)->owner);
		struct process *p = owner ? world_owner(owner) : NULL;

		if (!owner)
			continue;
		if (!p || p->state != ALIVE)
			total->dead += word(&slot_at(i)->share) + 1;
		else /* one that was stopped while it started has a share, too */
			add_process(total, p, slot_at(i));
	}
}

static bool has_enough(struct process *p, const struct total *total)
{
	uint64_t rest = limit() > total->sated_least ? limit() - total->sated_least : 0;
	uint64_t even = rest / max_u64(total->hungry, 1), have = word(&p->share.slot->share);

	return have >= word(&p->share.slot->floor) && (!is_hungry(p) || have + SLACK_BYTES >= even / 2);
}

static bool somebody_follows(void)
{
	bool one = false;

	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[i];

		one = one || (is_bound(p) && !p->stopped && p->threads[GOVERNOR].exists);
	}
	return one;
}

/*
 * Bytes that lie between the limit and those that the host allows, as the governors see it: what stopped processes used is
 * what they told last. Signs of pressure lower the limit down to GOVERNOR_SHARE_LEAST percent.
 */
static uint64_t off_host(void)
{
	struct governor_state state = {.share = 100};
	struct governor_look look = {0};
	struct ledger_sum sum = {0};
	struct hostmem mem;

	if (!world.follows || !somebody_follows())
		return 0;
	for (unsigned i = 0; i < world.ledger.top; i++)
		sum.used += word(&slot_at(i)->owner) ? word(&slot_at(i)->used) : 0;
	hostmem_read("", &mem);
	look = (struct governor_look){.slack = mem.slack, .managed = sum.used};
	uint64_t most = min_u64(governor_decide(&state, &look, world.ledger.most), word(&world.ledger.cap));
	uint64_t least = world.stalled_us ? most * GOVERNOR_SHARE_LEAST / 100 : most;

	least -= least / 40; /* a limit that would be higher by 2 % is not set */
	return limit() > most ? limit() - most : least > limit() ? least - limit() : 0;
}

/*
 * A process that is hungry for a moment has a share kept for it for half a second, whether it takes it or not. So what
 * is free, over the limit, or too little counts only when all looks of two seconds find it.
 */
void check_sample(void)
{
	struct total total;

	add_up(&total);
	uint64_t may = max_u64(limit(), total.floors) + total.stopped_above;
	uint64_t over = total.shares > may ? total.shares - may : 0;
	uint64_t free = total.hungry && limit() > total.shares ? limit() - total.shares : 0;

	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[i];
		bool enough = !is_bound(p) || p->stopped || has_enough(p, &total);

		p->starved = !enough && (p->starved || !world.looked);
	}
	uint64_t off = off_host();

	world.least_off = world.looked ? min_u64(world.least_off, off) : off;
	world.least_over = world.looked ? min_u64(world.least_over, over) : over;
	world.least_free = world.looked ? min_u64(world.least_free, free) : free;
	world.looked = true;
}

/* Each slot that is taken is that of one process that lives, and no process has two. */
static void check_slots(void)
{
	for (unsigned i = 0; i < world.ledger.top; i++) {
		uint64_t owner = word(&slot_at(i)->owner);

		for (unsigned j = 0; owner && j < i; j++)
			if (word(&slot_at(j)->owner) == owner)
				world_fail("process %d has slots %u and %u", ledger_owner_pid(owner), j, i);
	}
}

static void say_all(void)
{
	for (unsigned i = 0; i < world.ledger.top; i++)
		if (word(&slot_at(i)->owner))
			world_say("slot %u of process %d: share %lu KiB, floor %lu, hungry %ld ms ago", i,
				ledger_owner_pid(word(&slot_at(i)->owner)), word(&slot_at(i)->share) / KIB,
				word(&slot_at(i)->floor) / KIB,
				((long)world.now_ns - (long)word(&slot_at(i)->hungry_ns)) / (long)MS);
	world_say("the limit is %lu KiB", limit() / KIB);
	for (unsigned i = 0; i < WORLD_PROCESSES; i++) {
		struct process *p = &world.processes[i];

		if (p->state == ALIVE && p->managed && p->share.slot)
			world_say("process %d%s: share %lu KiB, floor %lu, limit %lu, used %lu, wants %lu",
				p->pid, p->stopped ? " (stopped)" : "", word(&p->share.slot->share) / KIB,
				word(&p->share.slot->floor) / KIB, p->pager.limit_bytes / KIB,
				p->pager.used * 4, p->pager.want * 4);
	}
}

void check_end(void)
{
	struct total total;

	say_all();
	add_up(&total);
	if (world.least_over)
		world_fail("the shares are %lu KiB, and the limit is %lu", total.shares / KIB, limit() / KIB);
	if (world.least_off > MIB / 2)
		world_fail("the limit is %lu KiB, %lu away from what the host allows", limit() / KIB,
			world.least_off / KIB);
	if (total.hungry && total.dead)
		world_fail("the dead have %lu KiB still", total.dead / KIB);
	if (world.least_free > SLACK_BYTES + limit() / 8)
		world_fail("%lu KiB are free, and somebody is hungry", world.least_free / KIB);
	for (unsigned i = 0; i < WORLD_PROCESSES && !world.failed; i++)
		if (world.processes[i].starved && is_bound(&world.processes[i]))
			world_fail("process %d starves: it has %lu KiB of %lu", world.processes[i].pid,
				word(&world.processes[i].share.slot->share) / KIB, limit() / KIB);
	if (total.hungry)
		check_slots();
}

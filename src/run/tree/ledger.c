/* SPDX-License-Identifier: MIT */
/* The shares of one limit; see ledger.h. */
#include "run/tree/ledger.h"
#include "run/tree/status.h"
#include "host/host.h"

/* ---- Slots --------------------------------------------------------------------------------- */

static uint64_t ns_bits(uint64_t pid_ns)
{
	return pid_ns << (32 + LEDGER_PID_BITS);
}

uint64_t ledger_owner(pid_t pid, uint64_t pid_ns)
{
	return ns_bits(pid_ns) | (uint64_t)(uint32_t)pid << 32 | (uint32_t)status_start_time(pid);
}

static bool try_claim(struct ledger_slot *slot, uint64_t owner, uint64_t pid_ns)
{
	uint64_t nobody = 0;

	if (!atomic_compare_exchange_strong(&slot->owner, &nobody, owner))
		return false;
	atomic_store(&slot->share, 0);
	atomic_store(&slot->floor, 0);
	atomic_store(&slot->used, 0);
	atomic_store(&slot->hungry_ns, 0);
	atomic_store(&slot->kick, 0);
	atomic_store(&slot->pid_ns, pid_ns);
	return true;
}

static void raise_top(struct ledger *ledger, uint32_t top)
{
	uint32_t old = atomic_load(&ledger->top);

	while (old < top && !atomic_compare_exchange_weak(&ledger->top, &old, top))
		;
}

static unsigned own_slot(const struct ledger *ledger, uint64_t owner, uint64_t pid_ns)
{
	uint32_t top = atomic_load(&ledger->top);

	for (unsigned i = 0; i < top; i++)
		if (atomic_load(&ledger->slots[i].owner) == owner &&
			atomic_load(&ledger->slots[i].pid_ns) == pid_ns)
			return i;
	return LEDGER_NONE;
}

unsigned ledger_claim(struct ledger *ledger, uint64_t owner, uint64_t pid_ns)
{
	unsigned own = own_slot(ledger, owner, pid_ns);

	if (own != LEDGER_NONE)
		return own;
	for (unsigned i = 0; i < LEDGER_SLOTS; i++)
		if (try_claim(&ledger->slots[i], owner, pid_ns)) {
			raise_top(ledger, i + 1);
			return i;
		}
	return LEDGER_NONE;
}

void ledger_leave(struct ledger *ledger, unsigned slot)
{
	atomic_store(&ledger->slots[slot].owner, 0);
}

/* Numbers of another namespace say nothing here: such a slot is its process's until that leaves. */
static bool is_gone(const struct ledger_slot *slot, uint64_t owner, uint64_t pid_ns)
{
	uint64_t ns = atomic_load(&slot->pid_ns);
	bool ours = ns ? ns == pid_ns
		       : owner >> (32 + LEDGER_PID_BITS) == ns_bits(pid_ns) >> (32 + LEDGER_PID_BITS);

	return ours && status_has_gone(ledger_owner_pid(owner), (uint32_t)owner);
}

void ledger_reap(struct ledger *ledger, uint64_t pid_ns)
{
	uint32_t top = atomic_load(&ledger->top);

	for (unsigned i = 0; i < top; i++) {
		struct ledger_slot *slot = &ledger->slots[i];
		uint64_t owner = atomic_load(&slot->owner);

		if (owner && is_gone(slot, owner, pid_ns))
			atomic_compare_exchange_strong(&slot->owner, &owner, 0);
	}
}

bool ledger_lead(struct ledger *ledger, unsigned me, uint64_t now_ns)
{
	uint64_t old = atomic_load(&ledger->leader), now_ms = now_ns / 1000000;
	unsigned leader = old % LEDGER_SLOTS;

	if (leader != me && now_ms < old / LEDGER_SLOTS + LEDGER_LEAD_MS &&
		atomic_load(&ledger->slots[leader].owner))
		return false;
	return atomic_compare_exchange_strong(&ledger->leader, &old, now_ms * LEDGER_SLOTS + me);
}

/* ---- Kicks ------------------------------------------------------------------------------------ */

static bool is_hungry(const struct ledger_slot *slot, uint64_t now_ns)
{
	uint64_t since = atomic_load(&slot->hungry_ns);

	return since && now_ns < since + LEDGER_HUNGRY_NS;
}

/* Also when the word says 1 already: who set it may have been killed before it woke anybody. */
void ledger_kick(struct ledger *ledger, unsigned slot)
{
	atomic_store(&ledger->slots[slot].kick, 1);
	host_futex_wake_shared(&ledger->slots[slot].kick, INT32_MAX);
}

void ledger_kick_others(struct ledger *ledger, unsigned me, bool hungry, uint64_t now_ns)
{
	uint32_t top = atomic_load(&ledger->top);

	for (unsigned i = 0; i < top; i++)
		if (i != me && atomic_load(&ledger->slots[i].owner) &&
			(!hungry || is_hungry(&ledger->slots[i], now_ns)))
			ledger_kick(ledger, i);
}

/* ---- Shares ----------------------------------------------------------------------------------- */

void ledger_look(const struct ledger *ledger, unsigned me, uint64_t now_ns, struct ledger_sum *sum)
{
	uint32_t top = atomic_load(&ledger->top);

	*sum = (struct ledger_sum){0};
	for (unsigned i = 0; i < top; i++) {
		const struct ledger_slot *slot = &ledger->slots[i];

		if (!atomic_load(&slot->owner))
			continue;
		uint64_t share = atomic_load(&slot->share);

		sum->processes +=
			atomic_load(&slot->floor) > 0; /* not one that has become an unmanaged program */
		sum->shares += share;
		sum->floors += atomic_load(&slot->floor);
		sum->used += atomic_load(&slot->used);
		if (!is_hungry(slot, now_ns))
			continue;
		sum->hungry++;
		sum->hungry_shares += share;
		sum->others_hungry = sum->others_hungry || i != me;
	}
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* What each hungry process should have, @me counted among them. */
static uint64_t level(const struct ledger *ledger, const struct ledger_sum *sum, uint64_t share, bool counted)
{
	uint64_t sated = sum->shares - sum->hungry_shares - (counted ? 0 : share);

	return less(atomic_load(&ledger->limit), sated) / (sum->hungry + !counted);
}

static uint64_t may_grow(
	const struct ledger *ledger, unsigned me, uint64_t share, uint64_t want, uint64_t now_ns)
{
	struct ledger_sum sum;

	ledger_look(ledger, me, now_ns, &sum);
	want = min_u64(want, less(atomic_load(&ledger->limit), sum.shares));
	if (sum.others_hungry)
		want = min_u64(
			want, less(level(ledger, &sum, share, is_hungry(&ledger->slots[me], now_ns)), share));
	return want < LEDGER_GRAIN ? 0 : want;
}

static void note_peak(struct ledger *ledger, uint64_t shares)
{
	uint64_t peak = atomic_load(&ledger->peak);

	while (peak < shares && !atomic_compare_exchange_weak(&ledger->peak, &peak, shares))
		;
}

uint64_t ledger_grow(struct ledger *ledger, unsigned me, uint64_t want, uint64_t now_ns)
{
	struct ledger_slot *slot = &ledger->slots[me];
	uint64_t share = atomic_load(&slot->share);
	struct ledger_sum sum;

	want = may_grow(ledger, me, share, want, now_ns);
	if (!want)
		return 0;
	atomic_store(&slot->share, share + want);
	ledger_look(ledger, me, now_ns, &sum);
	if (sum.shares > atomic_load(&ledger->limit)) { /* somebody else had the same thought */
		atomic_store(&slot->share, share);
		return 0;
	}
	note_peak(ledger, sum.shares);
	return want;
}

/* The sum is above the limit: all give the same part of what they have above their floors, rounded up to be enough. */
static uint64_t target_over(
	const struct ledger *ledger, const struct ledger_sum *sum, uint64_t share, uint64_t floor)
{
	uint64_t over = sum->shares - atomic_load(&ledger->limit);
	uint64_t can = less(sum->shares, sum->floors);

	if (over >= can)
		return floor;
	uint64_t part = (uint64_t)((double)less(share, floor) * (double)over / (double)can) + 1;

	return share - min_u64(page_align_up(part), less(share, floor));
}

static uint64_t target_sated(
	const struct ledger *ledger, const struct ledger_sum *sum, uint64_t share, bool slowly)
{
	uint64_t even = level(ledger, sum, share, false);

	if (share > even)
		return even;
	return slowly ? share - max_u64(share / 8, LEDGER_GRAIN) : share;
}

uint64_t ledger_target(
	const struct ledger *ledger, unsigned me, uint64_t needed, bool slowly, uint64_t now_ns)
{
	const struct ledger_slot *slot = &ledger->slots[me];
	uint64_t share = atomic_load(&slot->share), floor = atomic_load(&slot->floor), target = share;
	struct ledger_sum sum;

	ledger_look(ledger, me, now_ns, &sum);
	bool over = sum.shares > atomic_load(&ledger->limit);

	if ((!over && !sum.others_hungry) || share <= floor)
		return share;
	if (needed + LEDGER_GRAIN <= share)
		return max_u64(needed, floor);
	if (over)
		target = target_over(ledger, &sum, share, floor);
	else if (!is_hungry(slot, now_ns))
		target = target_sated(ledger, &sum, share, slowly);
	else if (share > level(ledger, &sum, share, true) / 16 * 17)
		target = level(ledger, &sum, share, true);
	return max_u64(target, floor);
}

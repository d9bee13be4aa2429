/* SPDX-License-Identifier: MIT */
/* Turns of threads that fault in signal mode, and whether they pay: real_where.h says why. */
#include "machine/real/real_internal.h"

#define TURN_NS (4 * 1000000ULL) /* many times what it costs to wake the next */
#define STALE_NS (500 * 1000ULL)
#define PATIENCE_MOST_NS (8 * STALE_NS)
/* No wake is lost, so this is long: a thread that wakes by itself loses its place in the host's queue. */
#define QUEUE_NS (1000 * 1000000LL)

#define CROSSINGS 32 /* within CROSSED_NS: 3 a ms, whose interrupts take a tenth of a CPU */
#define CROSSED_NS (10 * 1000000ULL)
#define MEASURE_NS (60 * 1000000ULL)
#define MEASURE_FAULTS 32 /* between two looks at the clock */
#define HOLD_FIRST_NS (2000 * 1000000ULL)
#define HOLD_MOST_NS (32000 * 1000000ULL)

/* ---- Taking turns ------------------------------------------------------------------------- */

static bool turns_are_on(struct turns *turns)
{
	enum turns_state state = atomic_load_explicit(&turns->state, memory_order_relaxed);

	return state == TURNS_TRIED || state == TURNS_ON;
}

static void pass_on(struct turns *turns)
{
	atomic_store(&turns->holder, 0);
	atomic_fetch_add(&turns->nr_passed, 1);
	host_futex_wake(&turns->nr_passed, 1);
}

static uint64_t patience(struct turns *turns)
{
	return max_u64(atomic_load(&turns->patience_ns), STALE_NS);
}

/* Sleep until the holder passes the turn on, or seems to be gone. => the caller is the heir */
static void inherit_turn(struct turns *turns, uint64_t me)
{
	while (turns_are_on(turns)) {
		uint32_t passed = atomic_load(&turns->nr_passed);
		uint64_t holder = atomic_load(&turns->holder), now = host_now_ns(),
			 used = atomic_load(&turns->used_ns);

		if (!holder || (now > used && now - used > STALE_NS)) {
			if (!atomic_compare_exchange_strong(&turns->holder, &holder, me))
				continue;
			atomic_store(&turns->since_ns, now);
			atomic_store(&turns->used_ns, now);
			if (holder)
				atomic_store(&turns->patience_ns, STALE_NS);
			return;
		}
		if (host_futex_wait(&turns->nr_passed, passed, (int64_t)patience(turns)) == -ETIMEDOUT)
			atomic_store(&turns->patience_ns, min_u64(2 * patience(turns), PATIENCE_MOST_NS));
	}
}

static void wait_for_turn(struct turns *turns, uint64_t me)
{
	atomic_fetch_add(&turns->nr_waiting, 1);
	while (turns_are_on(turns)) {
		/* An heir that has ended is not waited for: whoever slept in vain for so long is the heir. */
		if (atomic_exchange(&turns->heir, 1) &&
			host_futex_wait(&turns->heir, 1, QUEUE_NS) != -ETIMEDOUT)
			continue;
		inherit_turn(turns, me);
		atomic_store(&turns->heir, 0);
		break;
	}
	/* Also when there are no turns any more: a thread may have gone to sleep just then. */
	host_futex_wake(&turns->heir, 1);
	atomic_fetch_sub(&turns->nr_waiting, 1);
}

static void take_turn(struct turns *turns)
{
	uint64_t me = (uint64_t)pthread_self(), now;

	if (atomic_load(&turns->holder) == me) {
		now = host_now_ns();
		atomic_store(&turns->used_ns, now);
		if (now - atomic_load(&turns->since_ns) < TURN_NS || !atomic_load(&turns->nr_waiting))
			return;
		pass_on(turns);
	}
	wait_for_turn(turns, me);
}

/* ---- Do they pay? -------------------------------------------------------------------------- */

static void begin(struct turns *turns, enum turns_state state, uint64_t now)
{
	atomic_store(&turns->window_ns, now);
	atomic_store(&turns->nr_faults, 0);
	atomic_store(&turns->state, state);
	if (state == TURNS_OFF || state == TURNS_APART) {
		atomic_fetch_add(&turns->nr_passed, 1);
		host_futex_wake(&turns->nr_passed, 1);
		host_futex_wake(&turns->heir, INT32_MAX);
	}
}

static uint64_t next_hold(struct turns *turns)
{
	uint64_t hold = max_u64(turns->hold_ns, HOLD_FIRST_NS);

	turns->hold_ns = min_u64(2 * hold, HOLD_MOST_NS);
	return hold;
}

/* A window of time has ended: go on to the next state. => lock held */
static void measured(struct turns *turns, uint64_t now)
{
	uint64_t ns = max_u64(now - atomic_load(&turns->window_ns), 1); /* a host's clock may be coarse */
	uint64_t rate = atomic_load(&turns->nr_faults) * 1000000000ULL / ns;

	switch (atomic_load(&turns->state)) {
	case TURNS_APART:
		turns->rate_apart = rate;
		begin(turns, TURNS_TRIED, now);
		break;
	case TURNS_TRIED:
		turns->rate_turns = rate;
		turns->until_ns = now + next_hold(turns);
		begin(turns, rate > turns->rate_apart + turns->rate_apart / 8 ? TURNS_ON : TURNS_OFF, now);
		break;
	case TURNS_ON:
		if (rate < turns->rate_turns / 2) /* they do something else now */
			turns->hold_ns = turns->until_ns = 0;
		begin(turns, now >= turns->until_ns ? TURNS_APART : TURNS_ON, now);
		break;
	case TURNS_OFF:
		if (now >= turns->until_ns)
			begin(turns, TURNS_APART, now);
		break;
	}
}

/* Was this the CROSSINGS-th fault of another thread than the one before? */
static bool crossed_often(struct turns *turns)
{
	uint64_t me = (uint64_t)pthread_self();

	if (likely(atomic_load_explicit(&turns->last, memory_order_relaxed) == me))
		return false;
	atomic_store_explicit(&turns->last, me, memory_order_relaxed);
	return atomic_fetch_add_explicit(&turns->nr_faults, 1, memory_order_relaxed) % CROSSINGS ==
	       CROSSINGS - 1;
}

static bool look_at_clock(struct turns *turns)
{
	if (likely(atomic_load_explicit(&turns->state, memory_order_relaxed) == TURNS_OFF))
		return crossed_often(turns);
	return atomic_fetch_add_explicit(&turns->nr_faults, 1, memory_order_relaxed) % MEASURE_FAULTS == 0;
}

static void ask(struct turns *turns)
{
	uint64_t now, ns;

	if (!lock_try(&turns->lock))
		return;
	now = host_now_ns(); /* not before: a window that another thread began since would be in the future */
	ns = now - atomic_load(&turns->window_ns);
	if (atomic_load(&turns->state) == TURNS_OFF) {
		if (ns <= CROSSED_NS)
			measured(turns, now);
		atomic_store(&turns->window_ns, now);
	} else if (ns > 4 * MEASURE_NS) {
		turns->hold_ns = turns->until_ns = 0;
		begin(turns, TURNS_OFF, now); /* nobody faulted for a while */
	} else if (ns >= MEASURE_NS) {
		measured(turns, now);
	}
	lock_drop(&turns->lock);
}

void real_turn(struct real_machine *m)
{
	struct turns *turns = &m->turns;

	if (look_at_clock(turns))
		ask(turns);
	if (unlikely(turns_are_on(turns)))
		take_turn(turns);
}

void real_turn_waits(struct real_machine *m)
{
	struct turns *turns = &m->turns;

	if (unlikely(turns_are_on(turns)) && atomic_load(&turns->holder) == (uint64_t)pthread_self())
		pass_on(turns);
}

bool real_faults_block(struct machine *machine)
{
	struct real_machine *m = real_of(machine);

	return m->faults == ANONMM_FAULTS_SIGNAL && !turns_are_on(&m->turns);
}

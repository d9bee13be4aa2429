/* SPDX-License-Identifier: MIT */
/* Operations: the devices, time and pressure. */
#include "model.h"

#include "swap/faulty.h"

void do_kswapd(struct actor *a)
{
	if (a->run->kind == ANONMM_UFFD || a->run->threads)
		return;
	for (unsigned steps = 1 + below(a, 4); steps; steps--)
		mix(a->run, kswapd_step(world.pager, KSWAPD_PAGES));
}

void do_poll(struct actor *a)
{
	pager_poll(world.pager, below(a, 2) ? SWAP_READ : SWAP_WRITE, 0);
}

/* As much as a write to a cgroup's memory.reclaim would take. */
void do_reclaim(struct actor *a)
{
	unsigned pages = 1 + below(a, 64);

	if (a->run->kind == ANONMM_UFFD || a->run->threads)
		return;
	mix(a->run, pager_reclaim(world.pager, pages));
}

/* ksmd's turn: equal pages of mergeable memory become one. */
void do_ksmd(struct actor *a)
{
	unsigned pages = 1 + below(a, 200);
	int merged = ksmd_step(world.pager, pages);

	note(a, merged);
	if (merged < 0 && !excused(a, merged))
		fail(a, "ksmd: %d", merged);
}

/* Some request soon ends with an error, or with a bit turned. */
void do_device_fault(struct actor *a)
{
	unsigned nth = 1 + below(a, 40), what = below(a, 4);

	snprintf(a->detail, sizeof(a->detail), "%u in request %u", what, nth);
	if (!a->run->lossy || !world.dev || !swapdev_is_faulty(world.dev))
		return;
	if (what == 0)
		faulty_corrupt(world.dev, nth, false);
	else
		faulty_fail(
			world.dev, what == 1 ? SWAP_READ : SWAP_WRITE, nth, what == 3 ? ENOSPC : EIO, false);
}

/* ---- Pages move ------------------------------------------------------------------------- */

void do_migrate(struct actor *a)
{
	unsigned from = below(a, 3), to = below(a, 3), max = 1 + below(a, 64);
	struct wait wait = {0};
	int result = migrate_pages(world.pager, from, to, max, &wait);

	note(a, result);
	if (result < 0 && result != -EAGAIN && result != -ENOMEM && result != -EINVAL)
		fail(a, "result %d", result);
}

void do_compact(struct actor *a)
{
	unsigned node = below(a, 3), max = 1 + below(a, 64);
	int result = compact_node(world.pager, node, max);

	note(a, result);
	if (result < 0 && result != -EINVAL)
		fail(a, "result %d", result);
}

/* What may come between the phases of a move, and does not need the page. */
static void meanwhile(struct actor *a)
{
	switch (below(a, 4)) {
	case 0:
		mix(a->run, kswapd_step(world.pager, KSWAPD_PAGES));
		break;
	case 1:
		mix(a->run, pager_reclaim(world.pager, 8));
		break;
	case 2:
		mix(a->run, (uint64_t)ksmd_step(world.pager, 32));
		break;
	default:
		do_poll(a);
	}
	actor_validate(a);
}

/* One page's move in its three phases. Others would wait for it here for ever: only on soft without threads. */
void do_migrate_one(struct actor *a)
{
	unsigned page = pick_page(a), node = below(a, 3);
	struct wait wait = {0};
	struct migration m;
	int result;

	if (a->run->kind == ANONMM_UFFD || a->run->threads)
		return;
	result = migrate_begin(a->at->place.space, address(a, page), node, &m, &wait);
	note(a, result);
	if (result)
		return;
	meanwhile(a);
	migrate_copy(&m);
	meanwhile(a);
	result = migrate_end(&m);
	note(a, result);
	if (result && result != -EBUSY)
		fail(a, "migrate_end: %d", result);
}

/* ---- Devices come and go ----------------------------------------------------------------- */

/* Each has a size, and by it a name, of its own. */
static void area_uri(unsigned which, char *uri, size_t len)
{
	snprintf(uri, len, "mem:?size=%uK", 1024 + 64 * which);
}

/* One more device, small, before or after the others. */
void do_swapon(struct actor *a)
{
	unsigned which = below(a, MAX_AREAS);
	int priority = (int)below(a, 3) - 1, result;
	char why[200], uri[40];
	struct swapdev *dev;

	area_uri(which, uri, sizeof(uri));
	snprintf(a->detail, sizeof(a->detail), "%s, priority %d", uri, priority);
	if (a->areas[which] || a->run->threads)
		return;
	result = swapdev_open(uri, &dev, why, sizeof(why));
	if (!result) {
		result = pager_add_swap(world.pager, dev, priority);
		if (result)
			dev->ops->close(dev);
	}
	a->areas[which] = !result;
	want(a, result, 0);
}

/* Who has waited long gives up. -EINTR then. */
#define PATIENCE 2000

static int call_swapoff(const char *uri)
{
	struct wait wait = {0};

	for (unsigned tries = 0; tries < PATIENCE; tries++) {
		int result = pager_swapoff(world.pager, uri, &wait);

		if (result != -EAGAIN)
			return result;
		world_wait(&world, &wait);
	}
	pager_swapoff_cancel(world.pager);
	return -EINTR;
}

/* All that it holds comes back; or it stays as it was, since there is no room or a page is lost. */
void do_swapoff(struct actor *a)
{
	unsigned which = below(a, MAX_AREAS);
	char uri[40];
	int result;

	area_uri(which, uri, sizeof(uri));
	snprintf(a->detail, sizeof(a->detail), "%s", uri);
	if (a->run->threads)
		return;
	result = call_swapoff(uri);
	note(a, result);
	if (a->areas[which] && (result == -ENOMEM || result == -EINTR))
		return;
	want(a, result, a->areas[which] ? 0 : -ENOENT);
	a->areas[which] = a->areas[which] && result;
}

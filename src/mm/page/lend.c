/* SPDX-License-Identifier: MIT */
/* Frames lent to swap devices; see lend.h. */
#include "mm/mm.h"

#define LEND_RUNS 32 /* runs of frames that follow each other, taken in one go */

/* Frames that were taken and are not yet lent: their memory is still there. */
struct lend_batch {
	struct page *first[LEND_RUNS];
	unsigned run[LEND_RUNS];
	unsigned nr;
	uint32_t total;
	/* frames in all runs */
};

static bool area_shares(const struct swap_area *area)
{
	return area->dev && area->dev->shares_memory && !area->inherited;
}

/* Frames whose memory the stores of a fork's parent hold. This process cannot take them back. */
static uint32_t inherited_lent(const struct pager *pager)
{
	uint32_t nr = 0;

	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (pager->areas[type].inherited)
			nr += pager->areas[type].nr_lent;
	return nr;
}

/*
 * How many frames @area may have at most. Of the frames that reclaim can free, a quarter stays with the program, and at
 * least PAGER_MIN_FRAMES, whatever the devices want.
 */
static uint32_t most_lent(struct pager *pager, struct swap_area *area)
{
	uint64_t stay = inherited_lent(pager) + pager->nr_mlocked;
	uint32_t frames = pager->nr_limit - (uint32_t)min_u64(stay, pager->nr_limit);
	uint32_t most =
		frames > PAGER_MIN_FRAMES ? (uint32_t)min_u64(frames / 4 * 3, frames - PAGER_MIN_FRAMES) : 0;

	return (uint32_t)min_u64(most, tier_most(pager, area));
}

static uint32_t area_wanted(struct pager *pager, struct swap_area *area)
{
	return (uint32_t)min_u64(area->dev->ops->memory_wanted(area->dev), most_lent(pager, area));
}

/* Take up to @want free frames. They are allocated and PG_lent then, and on no list, so nobody else can reach them. */
static void take_frames(struct pager *pager, struct lend_batch *batch, uint32_t want)
{
	batch->nr = batch->total = 0;
	while (batch->nr < LEND_RUNS && batch->total < want) {
		struct page *first;
		unsigned got = frames_take(pager, want - batch->total, &first);

		if (!got)
			return;
		for (unsigned i = 0; i < got; i++)
			page_set(first + i, PG_lent);
		batch->first[batch->nr] = first;
		batch->run[batch->nr++] = got;
		batch->total += got;
	}
}

/*
 * The machine gives the memory of the batch back to the host; then the frames are lent, and the device is told. Drops
 * the lock.
 */
static void batch_lend(struct pager *pager, struct swap_area *area, struct lend_batch *batch)
{
	const struct machine_ops *ops = pager->machine->ops;

	area->lending += batch->total;
	pager_unlock(pager);
	for (unsigned i = 0; i < batch->nr && ops->frame_drop; i++)
		ops->frame_drop(pager->machine, page_pfn(pager, batch->first[i]), batch->run[i]);
	pager_lock(pager);
	for (unsigned i = 0; i < batch->nr; i++)
		for (unsigned j = 0; j < batch->run[i]; j++)
			TAILQ_INSERT_HEAD(&area->lent, batch->first[i] + j, lru);
	area->lending -= batch->total;
	area->nr_lent += batch->total;
	pager->nr_lent += batch->total;
	if (area->off) /* swapoff waits for this */
		pager_event(pager);
	if (area->inherited)
		return;
	area->dev->ops->memory_grant(area->dev, area->nr_lent, most_lent(pager, area));
	area->full = false;
}

/* Lent frames become free, until the area has @keeps of them. */
static void take_back(struct pager *pager, struct swap_area *area, uint32_t keeps)
{
	while (area->nr_lent > keeps) {
		struct page *page = TAILQ_FIRST(&area->lent);

		TAILQ_REMOVE(&area->lent, page, lru);
		area->nr_lent--;
		pager->nr_lent--;
		page_clear(page, PG_lent);
		page_put(pager, page);
	}
}

/* The device has more than it wants: take back what it agrees to be without. */
static void area_take_back(struct pager *pager, struct swap_area *area, uint32_t wanted)
{
	take_back(pager, area, area->dev->ops->memory_grant(area->dev, wanted, most_lent(pager, area)));
}

void lend_end(struct pager *pager, struct swap_area *area)
{
	assert(area->lending == 0);
	take_back(pager, area, 0);
}

/* Lend to one area, or take back from it. Returns how many frames it is still to get. Drops the lock. */
static uint32_t area_settle(struct pager *pager, struct swap_area *area)
{
	uint32_t wanted = area_wanted(pager, area), has = area->nr_lent + area->lending;
	struct lend_batch batch;

	/*
	 * A little too much is not taken back: the device would ask for it again soon. The grant is repeated because
	 * its @most may have changed: if the device's tables grow, its store may have less.
	 */
	if (has > wanted + wanted / 16 + 16)
		area_take_back(pager, area, wanted);
	else
		area->dev->ops->memory_grant(area->dev, area->nr_lent, most_lent(pager, area));
	if (has >= wanted)
		return 0;
	if (area->off)
		return 0; /* its content is on its way out */
	take_frames(pager, &batch, wanted - has);
	if (batch.nr > 0)
		batch_lend(pager, area, &batch);
	return wanted - has - (uint32_t)min_u64(batch.total, wanted - has);
}

/*
 * The parent has ended: take frames for what its store holds, since this process pays for that memory now. Drops the
 * lock.
 */
static void area_own(struct pager *pager, struct swap_area *area)
{
	uint32_t has = area->nr_lent + area->lending;
	struct lend_batch batch;

	if (has >= area->nr_disowned)
		return;
	take_frames(pager, &batch, area->nr_disowned - has);
	if (batch.nr > 0)
		batch_lend(pager, area, &batch);
}

void pager_disown(struct pager *pager)
{
	pager_lock(pager);
	for (unsigned type = 0; type < pager->nr_areas; type++) {
		struct swap_area *area = &pager->areas[type];

		if (!area->inherited || area->nr_lent == 0)
			continue;
		area->nr_disowned = area->nr_lent;
		take_back(pager, area, 0);
	}
	pager->disowns = true;
	pager_unlock(pager);
}

void pager_own(struct pager *pager)
{
	pager_lock(pager);
	pager->disowns = false;
	pager_have_reclaimed(pager);
	pager_unlock(pager);
}

static void area_upkeep(struct pager *pager, unsigned type)
{
	struct swapdev *dev = area_enter(pager, type);

	if (!dev)
		return;
	pager_unlock(pager);
	dev->ops->background(dev);
	pager_lock(pager);
	area_leave(pager, type);
}

void lend_upkeep(struct pager *pager)
{
	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (pager->areas[type].dev && !pager->areas[type].inherited &&
			pager->areas[type].dev->ops->background)
			area_upkeep(pager, type);
}

void lend_settle(struct pager *pager)
{
	uint32_t owed = 0;

	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (area_shares(&pager->areas[type]))
			owed += area_settle(pager, &pager->areas[type]);
		else if (pager->areas[type].inherited && !pager->disowns)
			area_own(pager, &pager->areas[type]);
	pager->owed = owed;
}

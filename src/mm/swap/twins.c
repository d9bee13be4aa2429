/* SPDX-License-Identifier: MIT */
/* Equal pages that share a slot; see twins.h. */
#include "mm/mm.h"

#include <string.h>

static size_t table_bytes(const struct pager *pager)
{
	return page_align_up(((size_t)pager->twin_mask + 1) * sizeof(struct twin)) + PAGE_BYTES;
}

/* The page behind the table, into which a device copies what peek() shows. */
static void *peeked(const struct pager *pager)
{
	return (char *)pager->twins + table_bytes(pager) - PAGE_BYTES;
}

int twins_init(struct pager *pager)
{
	uint32_t nr = 1; /* a power of two, for the mask */

	if (!(pager->policy & PAGER_SHARE_SLOTS))
		return 0;
	while (nr * 2 <= pager->nr_limit / FRAMES_EACH)
		nr *= 2;
	pager->twin_mask = nr - 1;
	pager->twins = pager_chunk_alloc(pager, table_bytes(pager));
	return pager->twins ? 0 : -ENOMEM;
}

void twins_destroy(struct pager *pager)
{
	if (pager->twins)
		pager_chunk_free(pager, pager->twins, table_bytes(pager));
}

static struct twin *twin_of(struct pager *pager, const struct content *content)
{
	return &pager->twins[content->hash[0] & pager->twin_mask];
}

void twin_note(struct pager *pager, swp_entry_t entry, const struct content *content)
{
	if (!pager->twins)
		return;
	struct twin *twin = twin_of(pager, content);

	twin->slot = entry.slot;
	twin->type = entry.type;
	memcpy(twin->tag, &content->hash[1], sizeof(twin->tag));
}

/*
 * May @more further PTEs name the slot? It must be named by some already, so that it is not about to be freed, and by
 * at most KSM_MAX_SHARING then. It must be writable, with content that is not lost, and not be shared memory's.
 */
static bool slot_may_be_shared(struct pager *pager, swp_entry_t entry, unsigned more)
{
	if (!swap_entry_exists(pager, entry) || !pager->areas[entry.type].dev)
		return false;
	const struct swap_slot *slot = swap_slot(pager, entry);

	return slot->count > 0 && slot->count + more <= KSM_MAX_SHARING &&
	       !(slot->flags & (SLOT_POISONED | SLOT_ALONE | SLOT_FILE)) && slot_writable(pager, entry);
}

/* The bytes of slot @entry, got without I/O. NULL: they cannot be got so. */
static const void *bytes_of(struct pager *pager, swp_entry_t entry)
{
	struct swapdev *dev = pager->areas[entry.type].dev;
	struct page *page = slot_page(pager, entry);

	if (!page)
		return dev->ops->peek && dev->ops->peek(dev, entry.slot, peeked(pager)) ? peeked(pager)
											: NULL;
	if (page_mapped(page) || !page_has(page, PG_uptodate) || page_has(page, PG_locked))
		return NULL;
	return frame_bytes(pager, page);
}

/*
 * Is the page one word repeated? Such a page costs compressed memory no store, so sharing its slot would gain nothing.
 */
static bool is_one_word(const char *bytes)
{
	return memcmp(bytes, bytes + sizeof(uint64_t), PAGE_BYTES - sizeof(uint64_t)) == 0;
}

bool twin_find(struct pager *pager, struct page *page, const struct content *content, swp_entry_t *entry)
{
	if (!pager->twins)
		return false;
	const struct twin *twin = twin_of(pager, content);

	if (memcmp(twin->tag, &content->hash[1], sizeof(twin->tag)) != 0)
		return false;
	*entry = (swp_entry_t){twin->type, twin->slot};
	if (!slot_may_be_shared(pager, *entry, (unsigned)(page->_mapcount + 1)) ||
		!slot_holds(pager, *entry, content))
		return false;
	const void *ours = frame_bytes(pager, page), *theirs = bytes_of(pager, *entry);

	return theirs && !is_one_word(ours) && memcmp(ours, theirs, PAGE_BYTES) == 0;
}

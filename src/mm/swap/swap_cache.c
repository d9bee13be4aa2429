/* SPDX-License-Identifier: MIT */
/* The swap cache; see swap_cache.h. */
#include "mm/mm.h"

static swp_entry_t page_entry(const struct page *page)
{
	assert(page_has(page, PG_swapcache));
	return word_entry(page->private);
}

void add_to_swap_cache(struct pager *pager, struct page *page, swp_entry_t entry)
{
	assert(page_has(page, PG_locked) && !page_has(page, PG_swapcache));
	slot_set_page(pager, entry, page);
	page->private = entry_word(entry);
	page_set(page, PG_swapcache);
	pager->nr_swapcache++;
	page_get(page);
}

int add_to_swap(struct pager *pager, struct page *page)
{
	swp_entry_t entry;
	int error = get_swap_page(pager, page, &entry);

	if (error)
		return error;
	add_to_swap_cache(pager, page, entry);
	page_step(pager, page, "add_to_swap_cache", 0);
	page_set(page, PG_dirty);
	page_step(pager, page, "add_to_swap", 0);
	return 0;
}

void delete_from_swap_cache(struct pager *pager, struct page *page, uint32_t shadow)
{
	swp_entry_t entry = page_entry(page);

	assert(!page_has(page, PG_writeback));
	pager->stats->readahead_misses += page_has(page, PG_readahead);
	page_clear(page, PG_swapcache | PG_readahead);
	pager->nr_swapcache--;
	page->private = 0;
	/* If _count is 0, __remove_mapping() has frozen it, and the cache's reference is gone already. */
	if (page->_count > 0)
		page->_count--;
	slot_clear_page(pager, entry, shadow);
	page_step(pager, page, "delete_from_swap_cache", 0);
}

struct page *lookup_swap_cache(struct pager *pager, swp_entry_t entry)
{
	return slot_page(pager, entry);
}

void free_swap_cache(struct pager *pager, struct page *page)
{
	if (page_mapped(page) || page_has_any(page, PG_writeback | PG_locked) ||
		page_list(page) == LIST_ISOLATED)
		return;
	if (swap_slot(pager, page_entry(page))->count > 0)
		return;
	page_get(page);
	delete_from_swap_cache(pager, page, NO_SHADOW);
	pager->stats->freed++;
	page_put(pager, page);
}

void free_swap_and_cache(struct pager *pager, swp_entry_t entry)
{
	struct page *page = slot_page(pager, entry);

	swap_free(pager, entry);
	if (page)
		free_swap_cache(pager, page);
	else
		pager->stats->freed++;
}

static bool page_may_be_reused(struct pager *pager, struct page *page, unsigned own_entries)
{
	unsigned users = (unsigned)(page->_mapcount + 1);

	if (!page_has(page, PG_swapcache))
		return users <= 1;
	struct swap_slot *slot = swap_slot(pager, page_entry(page));

	users += slot->count;
	if (users > 1 || slot->count > own_entries)
		return false;
	if (page_has(page, PG_writeback)) {
		/*
		 * The program may write to the page while the device reads it. So what the device gets may be a
		 * mixture, and must never count as this page's content.
		 */
		slot->flags &= (uint16_t)~SLOT_HASHED;
		return true;
	}
	delete_from_swap_cache(pager, page, NO_SHADOW);
	page_set(page, PG_dirty);
	return true;
}

bool reuse_swap_page(struct pager *pager, struct page *page, unsigned own_entries)
{
	bool own = page_may_be_reused(pager, page, own_entries);

	page_step(pager, page, "reuse_swap_page", 0);
	return own;
}

bool swap_must_copy(struct pager *pager, const struct page *page, const struct vma *vma, uint64_t addr)
{
	if (!pager->machine->ops->can_share)
		return page_mapped(page) || swap_slot(pager, page_entry(page))->count > 1;
	return page_mapped(page) && !page_is_of_family(page, vma, addr);
}

bool try_to_free_swap(struct pager *pager, struct page *page)
{
	if (!page_has(page, PG_swapcache) || page_has(page, PG_writeback))
		return false;
	if (swap_slot(pager, page_entry(page))->count > 0)
		return false;
	delete_from_swap_cache(pager, page, NO_SHADOW);
	page_set(page, PG_dirty);
	return true;
}

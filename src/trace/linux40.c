/* SPDX-License-Identifier: MIT */
/* See linux40.h. */
#include "trace/linux40.h"
#include "mm/page/page.h"

#include <stdio.h>
#include <string.h>

/* In the order of that kernel's bits. PG_reserved has no flag of ours. */
static const struct {
	const char *name;
	uint32_t ours;
} flags[] = {
	{"locked", PG_locked},
	{"error", PG_error},
	{"referenced", PG_referenced},
	{"uptodate", PG_uptodate},
	{"dirty", PG_dirty},
	{"lru", PG_lru},
	{"active", PG_active},
	{"reserved", 0},
	{"writeback", PG_writeback},
	{"swapcache", PG_swapcache},
	{"reclaim", PG_reclaim},
	{"swapbacked", PG_swapbacked},
	{"unevictable", PG_unevictable},
	{"mlocked", PG_mlocked},
};

#define SWAP_HAS_CACHE 0x40u
#define SWAP_MAP_SHMEM 0xbfu

uint32_t linux40_flag(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (strlen(flags[i].name) == len && !strncmp(flags[i].name, name, len))
			return 1u << i;
	return 0;
}

static uint32_t flags_of(const struct page_view *view)
{
	uint32_t shown = view->flags, bits = 0;

	if (view->zero_page)
		return linux40_flag("reserved", strlen("reserved"));
	if (!strcmp(view->list, "isolated"))
		shown &= ~(uint32_t)PG_lru;
	if (shown & PG_writeback)
		shown &= ~(uint32_t)PG_dirty;
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (shown & flags[i].ours)
			bits |= 1u << i;
	return bits;
}

static const char *mapping_of(const struct page_view *view)
{
	switch (view->kind) {
	case PAGE_KIND_NONE:
		return "none";
	case PAGE_KIND_ANON:
		return view->zero_page ? "none" : "anon";
	case PAGE_KIND_KSM:
		return "ksm";
	case PAGE_KIND_FILE:
		return "file";
	case PAGE_KIND_SHMEM:
		return view->flags & PG_swapcache ? "none" : "file";
	}
	return "none";
}

struct linux40_page linux40_page_of(const struct page_view *view)
{
	bool cached = (view->flags & PG_swapcache) != 0;
	bool shmem = view->kind == PAGE_KIND_SHMEM;

	return (struct linux40_page){
		.count = view->count,
		.mapcount = view->mapcount,
		.flags = flags_of(view),
		.mapping = mapping_of(view),
		.has_entry = cached,
		.swap_type = cached ? view->swap_type : 0,
		.swap_slot = cached ? view->swap_slot : 0,
		.swap_map =
			!cached ? 0 : SWAP_HAS_CACHE | (shmem ? SWAP_MAP_SHMEM : (unsigned)view->swap_count),
	};
}

const char *linux40_page_text(const struct linux40_page *page, char *buf, size_t len)
{
	char words[160] = "", entry[48] = "private=0";
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (page->flags & 1u << i)
			used += (size_t)snprintf(words + used, sizeof(words) - used, "%s|", flags[i].name);
	if (page->has_entry)
		snprintf(entry, sizeof(entry), "swp=%u:%u swap_map=0x%02x", page->swap_type, page->swap_slot,
			page->swap_map);
	snprintf(buf, len, "count=%d mapcount=%d flags=%s mapping=%s %s", page->count, page->mapcount, words,
		page->mapping, entry);
	return buf;
}

const char *linux40_pte_text(const struct page_view *view, char *buf, size_t len)
{
	switch (view->pte) {
	case PTE_KIND_NONE:
		return "NONE";
	case PTE_KIND_PRESENT:
		return view->kind == PAGE_KIND_FILE || view->kind == PAGE_KIND_SHMEM ? "PRESENT FILE"
										     : "PRESENT";
	case PTE_KIND_SWAP:
		snprintf(buf, len, "SWAP type=%u off=%u", view->swap_type, view->swap_slot);
		return buf;
	case PTE_KIND_MIGRATION:
		return "MIGRATION";
	}
	return "?";
}

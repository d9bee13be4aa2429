/* SPDX-License-Identifier: MIT */
/* See rules.h. */
#include "rules.h"
#include "replay.h"

#include <string.h>

static const char isolation[] = "the isolation's reference, which goes just after";
static const char between[] = "between two statements of a function that is one step here";
static const char order[] =
	"Linux clears PG_dirty and sets PG_reclaim before it asks for the write; here all is set with it";
static const char lookup[] = "the fault's own reference; here the pager lock stands for it";

const struct rule rules[] = {
	{"do_anonymous_page: zero page", "do_anonymous_page", 0, NULL},
	{"do_anonymous_page: after page_add_new_anon_rmap", NULL, 0, between},
	{"do_anonymous_page: after lru_cache_add_active", "do_anonymous_page", 0, NULL},
	{"do_wp_page: entry, old_page", NOTE_BEFORE, 0, NULL},
	{"do_wp_page: COW new_page", "do_wp_page", 0, NULL},
	{"do_wp_page: old_page after page_remove_rmap (2 refs still to drop)", "page_remove_rmap", 1,
		"do_wp_page's own reference; here the page lock stands for it"},
	{"reuse_swap_page=0", "reuse_swap_page", 0, NULL},
	{"reuse_swap_page=1", "reuse_swap_page", 0, NULL},
	{"delete_from_swap_cache: done", "delete_from_swap_cache", 0, NULL},

	{"shrink_active_list: isolated, before ClearPageActive", "isolate_lru_pages", 0, NULL},
	{"move_active_pages_to_lru(inactive): before put", "shrink_active_list", 1, isolation},
	{"shrink_page_list: entry (isolated, before trylock)", "isolate_lru_pages", 0, NULL},
	{"page_check_references=RECLAIM", "shrink_page_list", 0, NULL},
	{"page_check_references=ACTIVATE", "shrink_page_list", 0, NULL},
	{"shrink_page_list: activate_locked", RULE_SAME, 0, NULL},
	{"shrink_page_list: PageWriteback still set", "shrink_page_list", 0, NULL},
	{"add_to_swap: after add_to_swap_cache, before SetPageDirty", "add_to_swap_cache", 0, NULL},
	{"shrink_page_list: after add_to_swap", "add_to_swap", 0, NULL},
	{"shrink_page_list: after try_to_unmap", "try_to_unmap", 0, NULL},
	{"pageout: after clear_page_dirty_for_io+SetPageReclaim", NULL, 0, order},
	{"__swap_writepage: writeback set, unlocked, before submit_bio", "swap_writepage", 0, NULL},
	{"pageout: after ->writepage", "pageout", 0, NULL},
	{"shrink_page_list: keep", "page_keep", 0, NULL},
	{"putback_inactive_pages: before put_page", "putback_lru_page", 1, isolation},
	{"end_swap_bio_write: before end_page_writeback", NOTE_BEFORE, 0, NULL},
	{"end_swap_bio_write: after end_page_writeback", "end_swap_bio_write", 1,
		"the reference of the batch in which Linux rotates pages"},
	{"__remove_mapping: before freeze", RULE_SAME, 0, NULL},
	{"__remove_mapping: after page_freeze_refs(2)", "page_freeze_refs", 0, NULL},
	{"__remove_mapping: after delete_from_swap_cache+swapcache_free", "delete_from_swap_cache", 0, NULL},
	{"shrink_page_list: free_it", "__remove_mapping", 0, NULL},
	{"free_hot_cold_page: entry", RULE_SAME, 0, NULL},

	{"read_swap_cache_async: in swap cache, before lru_cache_add_anon", "add_to_swap_cache", 0, NULL},
	{"read_swap_cache_async: before swap_readpage", "read_swap_cache_async", 0, NULL},
	{"do_swap_page: read from swap (major)", NOTE_READING, 0, NULL},
	{"do_swap_page: found in swap cache (minor)", NOTE_BEFORE, 1, lookup},
	{"end_swap_bio_read: uptodate, before unlock", "end_swap_bio_read", 0, NULL},
	{"end_swap_bio_read: ERROR", "end_swap_bio_read", 0, NULL},
	{"do_swap_page: after set_pte+rmap, before swap_free", "page_add_anon_rmap", 0, NULL},
	{"do_swap_page: after swap_free", "swap_free", 0, NULL},
	{"migrate: before try_to_unmap(TTU_MIGRATION)", "isolate_lru_page", 0, NULL},
	{"migrate: after try_to_unmap(TTU_MIGRATION)", "try_to_unmap", 0, NULL},
	{"migrate: old page after move_to_new_page", "migrate_page_copy", 0, NULL},
	{"migrate: NEW page after move_to_new_page+remove_migration_ptes", "remove_migration_ptes", 0, NULL},
	{"zap_pte_range: after page_remove_rmap (ref held by mmu_gather)", "zap_pte_range", 0, NULL},
};
const unsigned nr_rules = ARRAY_SIZE(rules);

static const char stack[] = "another page of the test program";
static const char ahead[] =
	"Linux's readahead lets go of the page before the read has ended, ours with its end";
static const char retired[] =
	"a failed slot is never used again: no second write to it, and the page leaves the swap cache";

const struct exception exceptions[] = {
	{"2 ", "do_wp_page: COW new_page", "pfn=47f", NULL, 0, stack, 2}, /* the frame was free meanwhile */
	{"2 ", "end_swap_bio_read: uptodate", "pfn=268e", "end_swap_bio_read", -1, ahead, 0},
	{"2 ", "do_swap_page: read from swap (major)", "pfn=268e", NOTE_BEFORE, 1, lookup, 0},
	{"4 ", "reuse_swap_page=1", "", NULL, 0, "a copy of its own is writable at once here: no fault", 0},
	{"6 ", "end_swap_bio_read: uptodate", "", "end_swap_bio_read", -1, ahead, 0},
	{"6 ", "delete_from_swap_cache: done", "", NULL, 0,
		"Linux enters the page cache before it leaves the swap cache; here a page is in one of them "
		"at a time",
		0},
	{"8b ", "end_swap_bio_write: before", "", NULL, 0, between, 0},
	{"8b ", "shrink_page_list", "error", NULL, 0, retired, 0},
	{"8b ", "page_check_references", "error", NULL, 0, retired, 0},
	{"8b ", "pageout", "error", NULL, 0, retired, 0},
	{"8b ", "__swap_writepage", "error", NULL, 0, retired, 0},
	{"8b ", "putback_inactive_pages", "error", NULL, 0, retired, 0},
	{"8b ", "end_swap_bio_write: after", "", NULL, 0, retired, 2},
	{"8b ", "end_swap_bio_write: after", "", NULL, 0, retired, 3},
	{"8b ", "do_swap_page: after", "", NULL, 0, retired, 0},
	{"8b ", "8b.3", "", NULL, 0, retired, 0},
	{"8c ", "do_swap_page: found in swap cache (minor)", "", NULL, 0,
		"Linux leaves an unreadable page in the swap cache; here its slot is poisoned, and the page "
		"is free",
		0},
	{"10 ", "10.2", "", NULL, 0, "a machine check: memory that fails is the host's affair", 0},
	{"10 ", "10.3", "", NULL, 0, "a machine check: memory that fails is the host's affair", 0},
};
const unsigned nr_exceptions = ARRAY_SIZE(exceptions);

const char *flags_explained(const struct observed_line *line, uint32_t theirs, uint32_t ours)
{
	uint32_t referenced = linux40_flag("referenced", 10), swapbacked = linux40_flag("swapbacked", 10);

	(void)line;
	if ((theirs ^ ours) == referenced && (theirs & referenced) && (theirs & swapbacked))
		return "PG_referenced: set by system calls that touch a page; nobody asks for it of memory "
		       "that is swapped";
	return "";
}

/* SPDX-License-Identifier: MIT */
/* Who uses what; see oom.h. */
#include "mm/mm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Counting -------------------------------------------------------------------------------- */

static void count_kind(const struct page *page, struct node_usage *usage)
{
	if (page_is_anon(page) || page_has(page, PG_swapcache))
		usage->anon++;
	else if (page_file(page) && page_has(page, PG_swapbacked))
		usage->shmem++;
	else if (page_file(page))
		usage->file++;
	else
		usage->other++;
}

void node_usage(struct pager *pager, const struct node *node, struct node_usage *usage)
{
	*usage = (struct node_usage){.frames = node->nr - (node->nr_reserved - node->nr_lent),
		.free = node->nr_free,
		.lent = node->nr_lent};
	for (pfn_t pfn = node->first; pfn < node->first + node->nr_ready; pfn++) {
		const struct page *page = pfn_page(pager, pfn);

		if (page->_count == 0)
			continue;
		count_kind(page, usage);
		usage->unevictable += page_has(page, PG_unevictable);
		usage->merged += page_has(page, PG_ksm);
		usage->swapcache += page_has(page, PG_swapcache);
		usage->writeback += page_has(page, PG_writeback);
		usage->isolated += page_list(page) == LIST_ISOLATED;
	}
}

void space_usage(struct space *space, struct space_usage *usage)
{
	uint64_t index = 0, end = space->bytes >> PAGE_SHIFT;
	pte_slot_t *ptep;

	*usage = (struct space_usage){0};
	for (struct vma *vma = find_vma_from(space, space->base); vma; vma = vma_next(vma))
		if (!(vma->flags & VM_FOREIGN))
			usage->mapped_bytes += vma->end - vma->start;
	for (; (ptep = pgtable_next(&space->pgtable, index, end, &index)) != NULL; index++) {
		pte_t pte = pte_load(ptep);

		usage->swapped += pte_is_swap(pte);
		usage->resident += (pte & (PTE_PRESENT | PTE_MIGRATION)) && !(pte & PTE_ZERO);
	}
}

/* ---- The report ------------------------------------------------------------------------------ */

struct report {
	struct pager *pager;
	void (*line)(void *ctx, const char *text);
	void *ctx;
};

__attribute__((format(printf, 2, 3))) static void report(const struct report *r, const char *format, ...)
{
	char text[400];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	r->line(r->ctx, text);
}

static void report_node(const struct report *r, unsigned nr)
{
	struct node_usage u;

	node_usage(r->pager, &r->pager->nodes[nr], &u);
	report(r,
		"node %u: %u frames: %u free, %u anonymous, %u file, %u shmem, %u lent to swap, %u other; "
		"of these %u unevictable, %u merged, %u in swap cache, %u under writeback, %u isolated",
		nr, u.frames, u.free, u.anon, u.file, u.shmem, u.lent, u.other, u.unevictable, u.merged,
		u.swapcache, u.writeback, u.isolated);
}

static void report_space(const struct report *r, struct space *space)
{
	struct space_usage u;

	space_usage(space, &u);
	report(r, "space at %#llx: %llu KiB mapped, %llu pages resident, %llu pages swapped",
		(unsigned long long)space->base, (unsigned long long)(u.mapped_bytes / KIB),
		(unsigned long long)u.resident, (unsigned long long)u.swapped);
}

static void report_area(const struct report *r, const struct swap_area *area)
{
	report(r, "swap %s: %u of %u slots used%s", area->dev->uri, area->nr_used, area->nr_slots,
		area->off         ? ", being given up"
		: area->inherited ? ", inherited: read only"
				  : "");
}

static void report_all(const struct report *r)
{
	struct pager *pager = r->pager;
	struct space *space;

	for (unsigned n = 0; n < pager->nr_nodes; n++)
		report_node(r, n);
	TAILQ_FOREACH (space, &pager->spaces, link)
		report_space(r, space);
	for (unsigned type = 0; type < pager->nr_areas; type++)
		if (pager->areas[type].dev)
			report_area(r, &pager->areas[type]);
	if (pager->nr_ranked == 0)
		report(r, "swap: none");
	report(r, "metadata: %llu KiB", (unsigned long long)(pager->metadata_bytes / KIB));
}

/* ---- Saying it: the report is made under the lock, and said without it, because saying may block ---------------- */

#define TEXT_BYTES (4 * PAGE_BYTES)

/* Lines one after the other, each with a zero byte at its end. */
struct text {
	char *bytes;
	size_t used;
	unsigned dropped; /* lines that did not fit */
};

static void text_add(void *ctx, const char *line)
{
	struct text *text = ctx;
	size_t len = strlen(line) + 1;

	if (text->used + len > TEXT_BYTES) {
		text->dropped++;
		return;
	}
	memcpy(text->bytes + text->used, line, len);
	text->used += len;
}

static void text_say(const struct text *text, void (*line)(void *ctx, const char *text), void *ctx)
{
	char more[40];

	for (size_t at = 0; at < text->used; at += strlen(text->bytes + at) + 1)
		line(ctx, text->bytes + at);
	if (text->dropped == 0)
		return;
	snprintf(more, sizeof(more), "... and %u lines more", text->dropped);
	line(ctx, more);
}

void pager_memory_report(struct pager *pager, void (*line)(void *ctx, const char *text), void *ctx)
{
	struct machine *machine = pager->machine;
	struct text text = {.bytes = machine->ops->chunk_alloc(machine, TEXT_BYTES)};
	struct report r = {pager, text_add, &text};

	if (!text.bytes) {
		line(ctx, "the host has no memory for the report");
		return;
	}
	pager_lock(pager);
	report_all(&r);
	pager_unlock(pager);
	text_say(&text, line, ctx);
	machine->ops->chunk_free(machine, text.bytes, TEXT_BYTES);
}

static void say_line(void *ctx, const char *text)
{
	pager_say(ctx, "%s", text);
}

void out_of_memory(struct pager *pager, uint64_t addr)
{
	pager_lock(pager);
	uint64_t nr = ++pager->nr_oom;

	pager_unlock(pager);
	if (!pager->machine->ops->say || (nr & (nr - 1)) != 0)
		return;
	pager_say(pager,
		"out of memory: no frame for the page at %#llx, and nothing can be reclaimed (%llu so far)",
		(unsigned long long)addr, (unsigned long long)nr);
	pager_memory_report(pager, say_line, pager);
}

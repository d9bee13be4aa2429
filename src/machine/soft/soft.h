/* SPDX-License-Identifier: MIT */
/*
 * The soft machine: a memory management unit in software. contract/machine.h says what it promises to the core. This
 * header says what it offers to the library, the tools and the tests.
 *
 * Frames are bytes of one arena. A space is a soft_space: the core's page tables behind a direct-mapped TLB. An access
 * that hits the TLB runs the inline code below. An access that misses walks the page tables. An access that finds no
 * usable PTE traps into handle_mm_fault().
 *
 * kswapd and the devices get on only at two places: while a fault waits, and at the end of every access that trapped.
 * So with one thread the same calls always give the same results.
 *
 * With threads (soft_config.threads) every access runs under the pager lock. The TLB stays empty, so the inline code
 * never hits. Without threads only one thread uses the machine, and the lock does nothing.
 */
#ifndef ANONMM_SOFT_H
#define ANONMM_SOFT_H

#include "contract/core.h"

#include <string.h>

struct soft_config {
	uint32_t nr_frames;
	bool threads; /* accesses may come from several threads at once */
};

/* 0: *@out is the machine. -EINVAL: no frames. -ENOMEM: the host has no memory for them. @why has words for both. */
int soft_machine_open(const struct soft_config *config, struct machine **out, char *why, size_t why_len);

/*
 * With threads only, and there optional: start a thread that runs kswapd. 0 or -errno. => m->pager set, not started yet
 */
int soft_machine_start(struct machine *m);

/* End that thread, if there is one. => pager_close() not called yet */
void soft_machine_stop(struct machine *m);

/* => stopped, pager closed */
void soft_machine_close(struct machine *m);

/* If kswapd is woken: take the writes that have ended, and run it. Every access that trapped does this at its end. */
void soft_machine_tick(struct machine *m);

/*
 * What the TLB knows of one page. read_tag is the page's address if reads may use @bytes, otherwise SOFT_TLB_NONE;
 * write_tag likewise for writes. PTE_ACCESSED is set before read_tag, PTE_DIRTY before write_tag.
 */
struct soft_tlb_entry {
	uint64_t read_tag;
	uint64_t write_tag;
	char *bytes; /* of the frame */
	uint64_t unused; /* makes the size 32 bytes */
};

#define SOFT_TLB_ENTRIES 1024UL
#define SOFT_TLB_NONE 1UL /* no page has this address */

struct soft_space {
	struct soft_tlb_entry tlb[SOFT_TLB_ENTRIES];
	struct space *space;
	struct pgtable *pgtable; /* the space's page tables: the MMU walks them */
	struct soft_machine *machine;
	uint64_t base, bytes; /* the space's addresses: [base, base + bytes) */
};

/* A space of addresses [base, base + bytes). 0 or what space_create() says. */
int soft_space_open(struct machine *m, uint64_t base, uint64_t bytes, struct soft_space **out);

/* fork: a child with the same addresses and content (LIFECYCLE 7). 0 or what space_fork() says. */
int soft_space_fork(struct soft_space *parent, struct soft_space **out);

/* The space exits, and is freed. => no other thread uses it */
void soft_space_close(struct soft_space *mmu);

/*
 * Copy @len bytes out of or into the space; pages may be crossed. -EFAULT: no mapping, or one that forbids it.
 * -EIO: the content is lost. -ENOMEM: no frame. What was copied before a failure stays.
 */
int soft_read(struct soft_space *mmu, uint64_t addr, void *buf, size_t len);
int soft_write(struct soft_space *mmu, uint64_t addr, const void *buf, size_t len);

static inline struct soft_tlb_entry *soft_tlb_entry(struct soft_space *mmu, uint64_t addr)
{
	return &mmu->tlb[(addr >> PAGE_SHIFT) % SOFT_TLB_ENTRIES];
}

/*
 * The entry is chosen by the first byte's address, and its tag is compared with the page of the last byte. So an access
 * that crosses pages never hits: the second page has another entry.
 */
static inline int soft_load64(struct soft_space *mmu, uint64_t addr, uint64_t *value)
{
	const struct soft_tlb_entry *entry = soft_tlb_entry(mmu, addr);

	if (unlikely(entry->read_tag != page_align_down(addr + sizeof(*value) - 1)))
		return soft_read(mmu, addr, value, sizeof(*value));
	memcpy(value, entry->bytes + (addr & ~PAGE_MASK), sizeof(*value));
	return 0;
}

static inline int soft_store64(struct soft_space *mmu, uint64_t addr, uint64_t value)
{
	const struct soft_tlb_entry *entry = soft_tlb_entry(mmu, addr);

	if (unlikely(entry->write_tag != page_align_down(addr + sizeof(value) - 1)))
		return soft_write(mmu, addr, &value, sizeof(value));
	memcpy(entry->bytes + (addr & ~PAGE_MASK), &value, sizeof(value));
	return 0;
}

#endif

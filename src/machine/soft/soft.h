/* SPDX-License-Identifier: MIT */
/*
 * The soft machine: a memory management unit in software. See machine.h for what it promises to
 * the core; this is what it offers to the library, the tools and the tests.
 *
 * Frames are bytes of one arena. A space is a soft_space: the core's page tables behind a
 * direct-mapped TLB. An access that hits the TLB is the inline code below; one that misses walks
 * the page tables, and one that finds no usable PTE traps into handle_mm_fault().
 *
 * Time passes only here: a fault that has to wait, and the end of every access that trapped, run
 * kswapd and the devices. Therefore a run of one thread is a function of its calls alone.
 *
 * Threads (soft_config.threads): every access then runs under the machine lock and the TLB stays
 * empty, so that the inline code never hits. Without it one thread owns the machine and the lock is nothing.
 */
#ifndef ANONMM_SOFT_H
#define ANONMM_SOFT_H

#include "contract/core.h"

#include <string.h>

struct soft_config {
	uint32_t nr_frames;
	bool threads; /* accesses may come from several threads at once */
};

/* -EINVAL: no frames. -ENOMEM: the host has no memory for them; words in @why. */
int soft_machine_open(const struct soft_config *config, struct machine **out, char *why, size_t why_len);

/* Threads only: have a thread of its own run kswapd from now on. => m->pager set. 0 or -errno. */
int soft_machine_start(struct machine *m);

/* End that thread. Before pager_close(). */
void soft_machine_stop(struct machine *m);

/* => stopped, pager closed */
void soft_machine_close(struct machine *m);

/* Have the devices end what has ended and run kswapd if it was woken. What every trapping access does at its end. */
void soft_machine_tick(struct machine *m);

/*
 * What a TLB entry knows of one page. A tag is the page's address, or TLB_NONE: for a read, for a
 * write. PTE_ACCESSED is set before read_tag, PTE_DIRTY before write_tag.
 */
struct soft_tlb_entry {
	uint64_t read_tag;
	uint64_t write_tag;
	char *bytes; /* the frame */
	uint64_t unused; /* 32 bytes */
};

#define SOFT_TLB_ENTRIES 1024UL
#define SOFT_TLB_NONE 1UL

struct soft_space {
	struct soft_tlb_entry tlb[SOFT_TLB_ENTRIES];
	struct space *space;
	struct pgtable *pgtable; /* the space's: what the MMU walks */
	struct soft_machine *machine;
	uint64_t base, bytes;
};

/* A space of addresses [base, base + bytes). 0 or what space_create() says. */
int soft_space_open(struct machine *m, uint64_t base, uint64_t bytes, struct soft_space **out);

/* fork: a child with the same addresses and content (LIFECYCLE 7). 0 or what space_fork() says. */
int soft_space_fork(struct soft_space *parent, struct soft_space **out);

/* The space exits, then goes. => nobody uses it */
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
 * The entry is chosen by the first byte and compared with the page of the last one, so that an access
 * which crosses pages never hits: its neighbour's page has another entry.
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

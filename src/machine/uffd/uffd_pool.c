/* SPDX-License-Identifier: MIT */
/*
 * Memory behind frames, and memory for the core's own structures.
 *
 * A frame has no host memory until it is first used. Then it has memory, in the pool or at its address, until the
 * memory is dropped. Zeros are copied from pages that all are the host's one zero page, so the source is always in the
 * CPU's cache.
 */
#include "machine/uffd/uffd_internal.h"

#include <string.h>

void *uffd_frame_bytes(struct machine *machine, pfn_t pfn)
{
	struct uffd_machine *m = uffd_of(machine);

	assert(pfn < m->nr_frames);
	return m->pool + (size_t)pfn * PAGE_BYTES;
}

unsigned uffd_copy_zeros(struct uffd_machine *m, uint64_t addr, unsigned nr, bool wake, int *error)
{
	unsigned done = 0;

	*error = 0;
	while (done < nr && !*error) {
		unsigned part = nr - done < ZERO_PAGES ? nr - done : ZERO_PAGES;

		done += uffd_copy(
			m, addr + done * PAGE_BYTES, (uint64_t)(uintptr_t)m->zeros, part, wake, error);
	}
	return done;
}

/* How many of the @nr entries, from the first on, are @what. */
static unsigned count_place(const uint8_t *place, unsigned nr, enum frame_place what)
{
	unsigned same = 0;

	while (same < nr && place[same] == what)
		same++;
	return same;
}

int uffd_frame_populate(struct machine *machine, pfn_t first, unsigned nr)
{
	struct uffd_machine *m = uffd_of(machine);
	unsigned i = 0;

	assert(first + nr <= m->nr_frames);
	while (i < nr) {
		unsigned empty = count_place(m->place + first + i, nr - i, PLACE_NONE);
		int error = 0;
		unsigned done = uffd_copy_zeros(m, frame_addr(m, first + i), empty, false, &error);

		for (unsigned j = 0; j < done; j++)
			m->place[first + i + j] = PLACE_POOL;
		if (error == -ENOMEM)
			return error;
		if (error)
			real_die(&m->real, "frame %u of the pool cannot be filled: error %d",
				first + i + done, -error);
		i += empty + (empty < nr - i ? 1 : 0);
	}
	return 0;
}

void uffd_frame_drop(struct machine *machine, pfn_t first, unsigned nr)
{
	struct uffd_machine *m = uffd_of(machine);

	for (unsigned i = 0, same; i < nr; i += same) {
		enum frame_place place = m->place[first + i];

		same = count_place(m->place + first + i, nr - i, place);
		assert(place != PLACE_SHOWN);
		if (place == PLACE_POOL)
			uffd_drop(m, frame_addr(m, first + i), same);
		memset(m->place + first + i, PLACE_NONE, same);
	}
}

/* No huge pages: with them, the first byte that is used of a chunk would cost 2 MiB of memory. */
void *uffd_chunk_alloc(struct machine *machine, size_t bytes)
{
	void *chunk = host_mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_NORESERVE);

	(void)machine;
	if (chunk)
		host_madvise((uint64_t)(uintptr_t)chunk, bytes, MADV_NOHUGEPAGE);
	return chunk;
}

void uffd_chunk_free(struct machine *machine, void *chunk, size_t bytes)
{
	(void)machine;
	host_munmap(chunk, page_align_up(bytes));
}

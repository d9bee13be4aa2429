/* SPDX-License-Identifier: MIT */
/* The library's governor, on the shims' host. Its memory is its process's: a fork's child has a copy of it. */
#include "shims.h"

#include "host/memory.h"

#include <string.h>

static uint8_t memory[WORLD_PROCESSES][PAGE_BYTES] __attribute__((aligned(64)));

static void *shim_memory(void)
{
	return memory[world.now - world.processes];
}

#undef host_call
#define host_call(...) (-ENOENT) /* there are no triggers: the look of each second reads the same figures */
#define host_mmap(addr, bytes, prot, flags) shim_memory()
#define host_munmap(addr, bytes) ((void)(addr))
#define host_poll(fds, nr, timeout_ns) ((void)world_sleep(world.now_ns + (uint64_t)(timeout_ns), NULL))

#include "lib/governor.c"

_Static_assert(sizeof(struct governor) <= PAGE_BYTES, "a governor fits its process's memory");

void real_governor_start(void)
{
	struct governor_config config = {
		.ops = share_governor_ops(), .root = "", .most = world.ledger.most, .hidden = true};

	memset(shim_memory(), 0, PAGE_BYTES);
	if (governor_start(&config, &run.governor))
		world_fail("no governor");
}

void real_governor_fork(const struct process *parent, const struct process *child)
{
	memcpy(memory[child - world.processes], memory[parent - world.processes], PAGE_BYTES);
}

void real_governor_fork_child(void)
{
	run.governor = shim_memory();
	if (governor_fork_child(run.governor))
		world_fail("no governor");
}

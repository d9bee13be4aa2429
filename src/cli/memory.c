/* SPDX-License-Identifier: MIT */
/* How much memory this process could have: the host's, or what its control groups allow if that is less. */
#include "cli/cli.h"
#include "host/memory.h"

uint64_t memory_of_host(void)
{
	struct hostmem mem;

	hostmem_read("", &mem);
	return hostmem_whole(&mem);
}

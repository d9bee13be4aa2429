/* SPDX-License-Identifier: MIT */
/* Whether this host lets a program be managed: found out by doing it, small and for a moment. */
#include "cli/cli.h"
#include "machine/uffd.h"
#include "mm/pager.h"

#define PROBE_BYTES (16 * MIB)

int machine_check(enum anonmm_faults faults, bool copy, char *why, size_t why_len)
{
	struct uffd_config config = {
		.bytes = PROBE_BYTES,
		.nr_frames = PAGER_MIN_FRAMES,
		.faults = faults,
		.copy = copy,
	};
	struct machine *machine;
	int error = uffd_machine_open(&config, &machine, why, why_len);

	if (!error)
		uffd_machine_close(machine);
	return error;
}

/* SPDX-License-Identifier: MIT */
/* Can a program be managed on this host? Open a small machine and close it again. */
#include "cli/cli.h"
#include "machine/uffd/uffd.h"
#include "mm/pager.h"
#include "run/faults.h"

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

int machine_choose(enum anonmm_faults *faults, const char **reason, bool copy, char *why, size_t why_len)
{
	bool any = *faults == ANONMM_FAULTS_AUTO;
	char why_next[512];
	int error;

	*reason = "it was asked for";
	if (any)
		*faults = faults_first(false, reason);
	error = machine_check(*faults, copy, why, why_len);
	if (!error || !any)
		return error;
	*faults = faults_next(*faults, reason);
	return *faults && !machine_check(*faults, copy, why_next, sizeof(why_next)) ? 0 : error;
}

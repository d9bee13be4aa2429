/* SPDX-License-Identifier: MIT */
/* Whether this host lets a program be managed: found out by doing it, small and for a moment. */
#include "cli/cli.h"
#include "machine/uffd.h"
#include "mm/pager.h"
#include "run/record.h"

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
	int error;

	*faults = uffd_faults_choose(*faults, reason);
	error = machine_check(*faults, copy, why, why_len);
	if (error != -EPERM || !any || !GUARD_EXISTS)
		return error;
	*faults = ANONMM_FAULTS_SIGNAL;
	*reason = "this user may not have thread mode; a guard sees to system calls on swapped-out memory";
	return machine_check(*faults, copy, why, why_len);
}

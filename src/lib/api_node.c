/* SPDX-License-Identifier: MIT */
/* The public library: pages move between memory nodes, and within one. */
#include "lib/api.h"

static int end(struct api_call *call)
{
	int result = call_end(call);

	if (call->mm->kind == ANONMM_SOFT)
		soft_machine_tick(call->mm->machine);
	return result;
}

int anonmm_migrate(struct anonmm *mm, unsigned from, unsigned to, unsigned pages)
{
	struct api_call call;

	call_begin(&call, mm, NULL);
	while (call_again(&call, migrate_pages(mm->pager, from, to, pages, &call.wait)))
		;
	return end(&call);
}

int anonmm_compact(struct anonmm *mm, unsigned node, unsigned pages)
{
	struct api_call call;

	call_begin(&call, mm, NULL);
	call.result = compact_node(mm->pager, node, pages);
	return end(&call);
}

/* SPDX-License-Identifier: MIT */
/* The public library: add and remove swap devices while everything goes on. */
#include "lib/api.h"
#include "contract/swapdev.h"

/*
 * Can the machine's threads use @dev? They have descriptor tables of their own, without those of a device opened
 * later.
 */
static bool can_reach(const struct anonmm *mm, struct swapdev *dev)
{
	int fd;

	return mm->kind == ANONMM_SOFT || !dev->ops->fds || dev->ops->fds(dev, &fd, 1) == 0;
}

int anonmm_swapon(struct anonmm *mm, const char *uri, int priority)
{
	char why[400] = "";
	struct swapdev *dev;
	int error = swapdev_open(uri, &dev, why, sizeof(why));

	if (error)
		return error;
	error = can_reach(mm, dev) ? pager_add_swap(mm->pager, dev, priority) : -EOPNOTSUPP;
	if (error)
		dev->ops->close(dev);
	return error;
}

int anonmm_swapoff(struct anonmm *mm, const char *uri)
{
	struct api_call call;

	call_begin(&call, mm, NULL);
	while (call_again(&call, pager_swapoff(mm->pager, uri, &call.wait)))
		;
	return call_end(&call);
}

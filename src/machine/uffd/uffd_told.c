/* SPDX-License-Identifier: MIT */
/* The uffd machine's struct real_ops (real/real_internal.h): what the code that serves faults asks of userfaultfd. */
#include "machine/uffd/uffd_internal.h"

#define MSG_BATCH 16

static struct told_fault fault_of(const struct uffd_msg *msg)
{
	uint64_t flags = msg->arg.pagefault.flags;
	bool write = flags & (UFFD_PAGEFAULT_FLAG_WRITE | UFFD_PAGEFAULT_FLAG_WP);

	return (struct told_fault){
		.addr = msg->arg.pagefault.address,
		.access = write ? ACCESS_WRITE : ACCESS_READ,
		.tid = (int)msg->arg.pagefault.feat.ptid,
	};
}

static unsigned read_faults(struct real_machine *real, struct told_fault *faults, unsigned max)
{
	struct uffd_msg msgs[MSG_BATCH];
	unsigned nr = 0;
	long bytes = max ? host_read(real->fd, msgs, min_u64(max, MSG_BATCH) * sizeof(msgs[0])) : 0;

	for (long i = 0; i < bytes / (long)sizeof(msgs[0]); i++)
		if (msgs[i].event == UFFD_EVENT_PAGEFAULT)
			faults[nr++] = fault_of(&msgs[i]);
	return nr;
}

static void wake_range(struct real_machine *real, uint64_t addr, unsigned nr)
{
	uffd_wake_range(uffd_of(&real->machine), addr, nr);
}

static int poison(struct real_machine *real, uint64_t addr)
{
	return uffd_poison_page(uffd_of(&real->machine), addr);
}

static void drop(struct real_machine *real, uint64_t addr, unsigned nr)
{
	uffd_drop(uffd_of(&real->machine), addr, nr);
}

static void serve_mail(struct real_machine *real)
{
	uffd_serve_mail(uffd_of(&real->machine));
}

const struct real_ops uffd_real_ops = {
	.read_faults = read_faults,
	.wake_range = wake_range,
	.poison = poison,
	.drop = drop,
	.serve_mail = serve_mail,
};

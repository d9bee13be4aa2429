/* SPDX-License-Identifier: MIT */
#include "host/die.h"
#include "host/host.h"

#include <string.h>

/* struct sigaction, in the kernel's layout. */
struct kernel_action {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

void host_die(void)
{
	struct kernel_action by_default = {0};
	uint64_t none = 0;

	host_call(SYS_rt_sigaction, SIGABRT, &by_default, NULL, sizeof(none));
	host_call(SYS_tgkill, getpid(), host_tid(), SIGABRT);
	host_call(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
	for (;;)
		host_call(SYS_exit_group, 128 + SIGABRT);
}

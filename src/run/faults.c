/* SPDX-License-Identifier: MIT */
/*
 * `--faults auto`: signal mode, unless something speaks against it.
 *
 * Signal mode has no hand-off between threads, so it is faster wherever faults are frequent (docs/architecture.md has
 * the figures). It needs no privilege. Against it speaks what its guard needs: a CPU that the guard knows, seccomp
 * filters, and for an ordinary user no_new_privs, which takes the rights of setuid programs that the program starts.
 * Also, a debugger stops at every SIGBUS. A program that is a debugger would stop its own child between vfork and
 * exec.
 */
#include "run/faults.h"
#include "host/host.h"
#include "host/text.h"
#include "machine/uffd/uffd.h"
#include "run/environment.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>

/*
 * Install a filter at address NULL. A kernel that takes filters answers EFAULT. Another kernel answers EINVAL, and a
 * sandbox refuses.
 */
bool faults_filters(void)
{
	return host_call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) == -EFAULT;
}

static bool is_admin(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{.effective = 0}};

	return host_call(SYS_capget, &head, data) == 0 && data[0].effective >> CAP_SYS_ADMIN & 1;
}

/* Setuid programs would lose what they have now. */
static bool takes_rights(void)
{
	return !is_admin() && host_call(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

static long filter_answer(void)
{
	return host_call(SYS_prctl, FILTER_PROBE_OPTION, 0, 0, 0, 0);
}

bool faults_filtered(void)
{
	return filter_answer() == -FILTER_PROBE_ANSWER || faults_filtered_far();
}

bool faults_filtered_far(void)
{
	return filter_answer() == -FILTER_PROBE_FAR;
}

static bool thread_allowed(void)
{
	int fd = uffd_fd_ask(true, NULL);

	if (fd >= 0)
		host_close(fd);
	return fd >= 0;
}

static bool is_traced(void)
{
	return host_self_status("TracerPid:", 10, 0) != 0;
}

enum anonmm_faults faults_first(bool traces, const char **why)
{
	if (!faults_filters())
		*why = "signal mode needs seccomp filters, which this host refuses";
	else if (!thread_allowed()) {
		*why = "this user may not have thread mode; a guard sees to system calls on swapped-out "
		       "memory";
		return ANONMM_FAULTS_SIGNAL;
	} else if (traces)
		*why = "it traces others: a child of vfork that signal mode stops would keep it waiting for "
		       "ever";
	else if (is_traced())
		*why = "a debugger is attached, which signal mode would stop at every fault";
	else if (!faults_filtered() && takes_rights())
		*why = "signal mode is faster, but would take their rights from setuid programs "
		       "(no_new_privs)";
	else {
		*why = "the faster one; a guard sees to system calls on swapped-out memory";
		return ANONMM_FAULTS_SIGNAL;
	}
	return ANONMM_FAULTS_THREAD;
}

enum anonmm_faults faults_next(enum anonmm_faults first, const char **why)
{
	if (first == ANONMM_FAULTS_THREAD && !faults_filters())
		return ANONMM_FAULTS_AUTO;
	*why = "the other mode does not work here";
	return first == ANONMM_FAULTS_SIGNAL ? ANONMM_FAULTS_THREAD : ANONMM_FAULTS_SIGNAL;
}

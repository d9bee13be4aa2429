/* SPDX-License-Identifier: MIT */
/*
 * A program that becomes another user.
 *
 * In a program with a single thread, the functions here make the system call, and the library's threads follow
 * (host/thread.h says why). In a program with several threads, libc changes all threads, the library's among them.
 * libc leaves capabilities to each thread: the library's threads follow every thread that sets its own.
 */
#include "run/run.h"
#include "run/raw.h"
#include "host/thread.h"

#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A vfork's child runs in this memory, but the library's threads are its parent's. */
static bool is_ours(void)
{
	return run.active && record_is_ours();
}

/* Whether the program has one thread. */
static bool is_single(void)
{
	struct stat st;

	if (!is_ours())
		return false;
	return stat("/proc/self/task", &st) == 0 && st.st_nlink == 2 + host_threads_nr() + 1;
}

static int become(const long call[4])
{
	if (syscall(call[0], call[1], call[2], call[3]) < 0)
		return -1;
	int saved_errno = errno;
	host_threads_follow(call);
	errno = saved_errno;
	return 0;
}

#define BECOME(...) become((const long[4]){__VA_ARGS__})
#define SAME ((unsigned)-1) /* what the kernel takes for: leave it */

EXPORT int setuid(uid_t uid)
{
	return is_single() ? BECOME(SYS_setuid, uid) : REAL(setuid)(uid);
}

EXPORT int setgid(gid_t gid)
{
	return is_single() ? BECOME(SYS_setgid, gid) : REAL(setgid)(gid);
}

EXPORT int seteuid(uid_t uid)
{
	return is_single() && uid != SAME ? BECOME(SYS_setresuid, SAME, uid, SAME) : REAL(seteuid)(uid);
}

EXPORT int setegid(gid_t gid)
{
	return is_single() && gid != SAME ? BECOME(SYS_setresgid, SAME, gid, SAME) : REAL(setegid)(gid);
}

EXPORT int setreuid(uid_t real, uid_t effective)
{
	return is_single() ? BECOME(SYS_setreuid, real, effective) : REAL(setreuid)(real, effective);
}

EXPORT int setregid(gid_t real, gid_t effective)
{
	return is_single() ? BECOME(SYS_setregid, real, effective) : REAL(setregid)(real, effective);
}

EXPORT int setresuid(uid_t real, uid_t effective, uid_t saved)
{
	return is_single() ? BECOME(SYS_setresuid, real, effective, saved)
			   : REAL(setresuid)(real, effective, saved);
}

EXPORT int setresgid(gid_t real, gid_t effective, gid_t saved)
{
	return is_single() ? BECOME(SYS_setresgid, real, effective, saved)
			   : REAL(setresgid)(real, effective, saved);
}

/* Our threads make the same call and read the list, too, so it must be in memory that is not managed. */
EXPORT int setgroups(size_t nr, const gid_t *list)
{
	if (!is_single() || nr > NGROUPS_MAX)
		return REAL(setgroups)(nr, list);
	gid_t *copy = own_alloc(nr * sizeof(*list) + 1);
	if (!copy) {
		errno = ENOMEM;
		return -1;
	}
	if (!user_read(copy, list, nr * sizeof(*list))) {
		own_free(copy);
		errno = EFAULT;
		return -1;
	}
	int result = BECOME(SYS_setgroups, (long)nr, (long)(uintptr_t)copy);
	own_free(copy);
	return result;
}

EXPORT int initgroups(const char *user, gid_t group)
{
	int nr = NGROUPS_MAX;
	gid_t *list;

	if (!is_single())
		return REAL(initgroups)(user, group);
	list = own_alloc((size_t)nr * sizeof(*list));
	if (!list) {
		errno = ENOMEM;
		return -1;
	}
	getgrouplist(user, group, list, &nr);
	int result = setgroups((size_t)nr, list);
	own_free(list);
	return result;
}

/* What capset() reads. Our threads make the same call, so it must be in memory that is not managed. */
struct capabilities {
	struct __user_cap_header_struct header;
	struct __user_cap_data_struct data[2];
};

static unsigned nr_words(uint32_t version)
{
	return version == _LINUX_CAPABILITY_VERSION_1 ? _LINUX_CAPABILITY_U32S_1 : _LINUX_CAPABILITY_U32S_3;
}

/*
 * Have our threads make the same capset(). It has succeeded in the calling thread. Kernels of today change only the
 * caller's own capabilities, so @header names the calling thread.
 */
static void capset_follow(cap_user_header_t header, const cap_user_data_t data)
{
	struct capabilities *copy = own_alloc(sizeof(*copy));

	if (!copy)
		run_die("no memory to have our threads give up capabilities");
	*copy = (struct capabilities){.header = {.version = header->version}};
	for (unsigned i = 0; i < nr_words(header->version); i++)
		copy->data[i] = data[i];
	host_threads_follow(
		(const long[4]){SYS_capset, (long)(uintptr_t)&copy->header, (long)(uintptr_t)copy->data});
	own_free(copy);
}

int capset(cap_user_header_t header, const cap_user_data_t data);

EXPORT int capset(cap_user_header_t header, const cap_user_data_t data)
{
	int result = (int)syscall(SYS_capset, header, data);
	int saved_errno = errno;

	if (result == 0 && is_ours())
		capset_follow(header, data);
	errno = saved_errno;
	return result;
}

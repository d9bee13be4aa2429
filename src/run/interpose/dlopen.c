/* SPDX-License-Identifier: MIT */
/*
 * Libraries that are loaded with RTLD_DEEPBIND (php's modules are) see libc before us: their free() would get what our malloc() gave.
 * So nothing is loaded that way.
 *
 * libc's dlopen() looks at its return address for the caller's search path, so the call must be a jump, and no frame of ours
 * be in between. Compilers promise no such thing.
 */
#include "run/run.h"

static void *dlopen_first(const char *file, int flags);

/* Before dlopen_start() somebody's call may come by dlopen_first(): the search path is ours then. */
__attribute__((used, visibility("hidden"))) void *(*dlopen_of_libc)(const char *, int) = dlopen_first;

static void *dlopen_first(const char *file, int flags)
{
	return REAL(dlopen)(file, flags & ~RTLD_DEEPBIND);
}

void dlopen_start(void)
{
	void *(*found)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");

	if (found)
		dlopen_of_libc = found;
}

_Static_assert(RTLD_DEEPBIND == 8, "the bit that is cleared below");
__asm__(".text\n"
	".globl dlopen\n"
	".type dlopen, @function\n"
	"dlopen:\n"
	"	endbr64\n"
	"	andl $~8, %esi\n"
	"	jmp *dlopen_of_libc(%rip)\n"
	".size dlopen, . - dlopen\n");

/* SPDX-License-Identifier: MIT */
/*
 * A library that is loaded with RTLD_DEEPBIND (as php's modules are) sees libc's functions before the preload
 * library's. Its free() would be libc's, and would get pointers of the preload library's malloc(). So dlopen() here
 * clears that flag.
 *
 * libc's dlopen() finds the caller's search path by its return address. So the call must be a jump, with no stack
 * frame in between. A compiler does not promise to make one: the jump is written in assembler.
 */
#include "run/run.h"

static void *dlopen_first(const char *file, int flags);

/* A call before dlopen_start() goes through dlopen_first(). libc uses the preload library's search path for it. */
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

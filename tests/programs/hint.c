/* SPDX-License-Identifier: MIT */
/*
 * hint ADDRESS: map memory at ADDRESS, or elsewhere if that is taken, and write from there. For a program that is not
 * managed.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	void *hint = (void *)strtoul(argc > 1 ? argv[1] : "0", NULL, 16);
	char *p = mmap(hint, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED || p != hint)
		return 3; /* the kernel did not give that address: nothing is shown */
	strcpy(p, "wrote\n");
	return write(1, p, 6) == 6 ? 0 : 1;
}

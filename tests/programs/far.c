/* SPDX-License-Identifier: MIT */
/*
 * far: system calls on managed memory that lies more than 1 TiB into the range, and is out.
 * Prints "far: N bytes" if both calls moved the right bytes; otherwise what went wrong.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BYTES (1 << 20)
#define FILLER (3ul << 39) /* 1.5 TiB that are never touched */

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

static char *map(size_t bytes, int prot)
{
	char *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int main(void)
{
	char *filler = map(FILLER, PROT_READ | PROT_WRITE);
	char *far, back[4096];
	int fds[2];
	long moved = 0;

	if (!filler || pipe(fds) < 0) {
		perror("far: no room");
		return 1;
	}
	/* The last MiB of the filler. */
	far = filler + FILLER - BYTES;
	for (int i = 0; i < BYTES; i++)
		far[i] = (char)(i * 7);
	for (int i = 0; i < BYTES; i += 4096) {
		madvise(far, BYTES, MADV_PAGEOUT);
		long wrote =
			syscall(SYS_write, fds[1], far + i, 4096); /* past libc: the filter must see it */
		if (wrote != 4096) {
			printf("far: write says %ld at %d\n", wrote, i);
			return 1;
		}
		long got = syscall(SYS_read, fds[0], back, sizeof(back));

		if (got != 4096) {
			printf("far: read says %ld at %d\n", got, i);
			return 1;
		}
		for (int k = 0; k < 4096; k++)
			if (back[k] != (char)((i + k) * 7)) {
				printf("far: another byte at %d\n", i + k);
				return 1;
			}
		moved += got;
	}
	printf("far: %ld bytes\n", moved);
	return 0;
}

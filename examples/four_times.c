/* SPDX-License-Identifier: MIT */
/*
 * Work on four times the memory that one may use: 64 MiB of RAM, 256 MiB of numbers, written in order and read backwards.
 *
 *      cc four_times.c $(pkg-config --cflags --libs anonmm)
 */
#include <anonmm.h>

#include <stdio.h>
#include <sys/mman.h>

#define LIMIT (64UL << 20)
#define BYTES (4 * LIMIT)
#define COUNT (BYTES / sizeof(uint64_t))

int main(void)
{
	struct anonmm_config config = {.memory = LIMIT, .swap = "file:/var/tmp?size=512M"};
	struct anonmm *mm;

	if (anonmm_open(&config, &mm) < 0) {
		fprintf(stderr, "four_times: %s\n", anonmm_error());
		return 1;
	}
	uint64_t *numbers = anonmm_mmap(mm, NULL, BYTES, PROT_READ | PROT_WRITE);
	if (!numbers) {
		perror("four_times: anonmm_mmap");
		return 1;
	}

	for (size_t i = 0; i < COUNT; i++)
		numbers[i] = i * 0x9e3779b97f4a7c15;
	uint64_t wrong = 0;
	for (size_t i = COUNT; i-- > 0;)
		wrong += numbers[i] != i * 0x9e3779b97f4a7c15;

	struct anonmm_stats stats;
	anonmm_get_stats(mm, &stats);
	printf("%lu MiB in %lu MiB: %lu pages born, %lu swapped out, %lu swapped in, %lu numbers wrong\n",
		BYTES >> 20, LIMIT >> 20, stats.born, stats.swapped_out, stats.swapped_in, wrong);
	anonmm_close(mm);
	return wrong ? 1 : 0;
}

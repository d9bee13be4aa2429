/* SPDX-License-Identifier: MIT */
/* Work on four times the memory that the program may use, with plain pointers. */
#include <anonmm.h>
#include <stdio.h>
#include <sys/mman.h>

#define LIMIT ((size_t)16 << 20)
#define SIZE (4 * LIMIT)
#define WORDS (SIZE / sizeof(uint64_t))

static uint64_t value_of(size_t i)
{
	return i * 0x9e3779b97f4a7c15u;
}

int main(void)
{
	struct anonmm_config config = {
		.size = sizeof(config), .memory = LIMIT, .swap = "file:/var/tmp?size=256M"};
	struct anonmm_stats stats;
	struct anonmm *mm;
	uint64_t *words;

	if (anonmm_open(&config, &mm)) {
		fprintf(stderr, "anonmm: %s\n", anonmm_error());
		return 1;
	}
	words = anonmm_mmap(mm, NULL, SIZE, PROT_READ | PROT_WRITE);
	if (!words) {
		perror("anonmm_mmap");
		return 1;
	}
	for (size_t i = 0; i < WORDS; i++)
		words[i] = value_of(i);
	size_t wrong = 0;
	for (size_t i = 0; i < WORDS; i++)
		wrong += words[i] != value_of(i);

	anonmm_get_stats(mm, &stats, sizeof(stats));
	printf("%zu MiB in %zu MiB: %llu pages born, %llu swapped out, %llu swapped in, %zu words wrong\n",
		SIZE >> 20, LIMIT >> 20, (unsigned long long)stats.born,
		(unsigned long long)stats.swapped_out, (unsigned long long)stats.swapped_in, wrong);
	anonmm_close(mm);
	return wrong != 0;
}

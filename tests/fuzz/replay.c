/* SPDX-License-Identifier: MIT */
/* A fuzz target without libFuzzer: replay FILE... runs each input once, in any build. */
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int main(int argc, char **argv)
{
	static uint8_t bytes[1 << 20];

	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		size_t len;

		if (!file) {
			perror(argv[i]);
			return 1;
		}
		len = fread(bytes, 1, sizeof(bytes), file);
		fclose(file);
		LLVMFuzzerTestOneInput(bytes, len);
	}
	return 0;
}

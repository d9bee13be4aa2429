/* SPDX-License-Identifier: MIT */
/*
 * Coverage-guided operations: bytes choose what the model test's seeds choose elsewhere, in the same way, with the oracle and
 * the validator beside them. libFuzzer keeps the bytes that reach new branches of the core.
 *
 * The first byte chooses the world: how many frames, which device, and whether it may fail. `model --record FILE` writes what a
 * seed chose as bytes for this program (its world's byte first). A crash is repeated with
 *
 *      build-fuzz/tests/fuzz-ops FILE
 */
#include "../model/model.h"

#include <stddef.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct run run = {.kind = ANONMM_SOFT, .ops = 4000, .validate_every = 32};

	if (len < 2)
		return 0;
	run_set_world(&run, bytes[0]);
	run.bytes = bytes + 1;
	run.nr_bytes = len - 1;
	return run_once(&run) ? -1 : 0;
}

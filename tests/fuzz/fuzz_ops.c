/* SPDX-License-Identifier: MIT */
/*
 * Coverage-guided operations: bytes make the choices that a seed makes in the model test. The oracle and the validator
 * check the operations as they do there. libFuzzer keeps the bytes that reach new branches of the core.
 *
 * The first byte chooses the world: how many frames, which device, and whether the device may fail. `model --record
 * FILE` writes the choices of a seed as bytes for this program (its world's byte first). A crash is repeated with
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

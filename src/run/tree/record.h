/* SPDX-License-Identifier: MIT */
/*
 * What the launcher and the processes that it started share: a file of records in memory, one for
 * each process that ran a managed program, claimed by the process itself.
 *
 * The launcher makes the file (a memfd) and hands its name in /proc on by the environment, so that
 * little depends on descriptors that a program inherits or closes. One is inherited besides, for daemons that start programs
 * when the launcher has gone. A record has pages of its own:
 * a process maps its record alone, and after a fork another one at the same address. What is counted
 * is counted in place, so that it is there even when the process is killed.
 *
 * Invariant: a record belongs to the process that took its number from header.claimed; nobody else writes to it.
 */
#ifndef ANONMM_RECORD_H
#define ANONMM_RECORD_H

#include "base/base.h"
#include "anonmm.h"

#define RECORD_BYTES PAGE_BYTES
#define RECORD_MAX 4096 /* 16 MiB of address space; only pages that are used take memory */
#define RECORD_MAGIC 0x32636572616e6f6eULL
#define RECORD_LEDGER ((RECORD_MAX + 1) * RECORD_BYTES) /* where in the file the ledger is (ledger.h) */

/* Environment of a managed program. */
#define ENV_MEMORY "ANONMM_MEMORY" /* the limit in bytes, or auto; without it the library does nothing */
#define ENV_MEMORY_MAX "ANONMM_MEMORY_MAX" /* how far the limit may be raised */
#define ENV_SWAP "ANONMM_SWAP" /* a device's URI */
#define ENV_FAULTS "ANONMM_FAULTS" /* auto, thread, signal */
#define ENV_COPY "ANONMM_COPY" /* 1: do without UFFDIO_MOVE */
#define ENV_ADDRESS_SPACE "ANONMM_ADDRESS_SPACE" /* bytes of the managed range */
#define ENV_STATS "ANONMM_STATS" /* path of the file of records */
#define ENV_RUN "ANONMM_RUN" /* ID:FD: which file that is, and the descriptor by which it is inherited */
#define ENV_OPTIONAL "ANONMM_OPTIONAL" /* 1: what cannot be managed runs unmanaged */
#define ENV_CORE "ANONMM_CORE" /* resident: core dumps are without what is in swap */
#define ENV_OFF "ANONMM_OFF" /* 1: this program, and what it starts, runs unmanaged */

/* Page 0 of the file. */
struct record_header {
	uint64_t magic;
	_Atomic(uint32_t) claimed; /* records asked for; beyond RECORD_MAX they were not had */
	uint32_t shared; /* 1: the processes share one limit, by the ledger behind the records */
	uint64_t id; /* of this run */
};

enum record_end {
	RECORD_RUNNING, /* or killed */
	RECORD_EXECED, /* went on as another program, in another record */
	RECORD_EXITED,
};

/* Page 1 + n of the file. */
struct record {
	_Atomic(int32_t) pid; /* 0: not filled in yet */
	_Atomic(uint32_t) end;
	uint64_t vm_hwm_bytes; /* most resident memory as the host kernel saw it, at the end; 0: not known */
	uint64_t limit_bytes;
	uint32_t faults; /* enum anonmm_faults as it became */
	uint32_t copies;
	char name[64];
	struct anonmm_stats live; /* counted in place */
	struct anonmm_stats final; /* a snapshot at the end, if there was one */
	_Atomic(uint32_t) has_final;
};

_Static_assert(sizeof(struct record) <= RECORD_BYTES, "a record fits its page");

#endif

/* SPDX-License-Identifier: MIT */
/*
 * What the launcher and the processes of its run share: a file of records in memory. Each process that runs a managed
 * program claims one record.
 *
 * The launcher makes the file (a memfd). The environment names it by a path in /proc, so it can be found when a
 * program has closed the descriptors that it inherited. A descriptor is inherited as well: the path ends with the
 * launcher, and a daemon may start programs after that.
 *
 * A record is one page. A process maps its own record alone. A fork's child maps another record at the same address.
 * The core counts in the record itself, so the counters are there even after the process was killed.
 *
 * Invariant: a record belongs to the process that took its number from header.claimed. No other process writes to it.
 */
#ifndef ANONMM_RECORD_H
#define ANONMM_RECORD_H

#include "base/base.h"
#include "anonmm.h"

#define RECORD_BYTES PAGE_BYTES
#define RECORD_MAX 4096 /* 16 MiB of the file; only pages that are used take memory */
#define RECORD_MAGIC 0x32636572616e6f6eULL
#define RECORD_LEDGER ((RECORD_MAX + 1) * RECORD_BYTES) /* offset of the ledger in the file (ledger.h) */

/* Environment of a managed program. */
#define ENV_MEMORY "ANONMM_MEMORY" /* the limit, a size, or auto; without it the library manages nothing */
#define ENV_MEMORY_MAX "ANONMM_MEMORY_MAX" /* a size: the limit can be raised no higher */
#define ENV_SWAP "ANONMM_SWAP" /* a device's URI */
#define ENV_FAULTS "ANONMM_FAULTS" /* auto, thread, signal */
#define ENV_COPY "ANONMM_COPY" /* 1: do without UFFDIO_MOVE */
#define ENV_ADDRESS_SPACE "ANONMM_ADDRESS_SPACE" /* a size: of the managed range */
#define ENV_STATS "ANONMM_STATS" /* path of the file of records */
#define ENV_RUN "ANONMM_RUN" /* ID:FD: header.id of that file in hexadecimal, and the inherited descriptor */
#define ENV_OPTIONAL "ANONMM_OPTIONAL" /* 1: a program that cannot be managed runs unmanaged */
#define ENV_CORE "ANONMM_CORE" /* resident: core dumps leave out what is in swap */
#define ENV_OFF "ANONMM_OFF" /* 1: this program, and what it starts, runs unmanaged */

/* Page 0 of the file. */
struct record_header {
	uint64_t magic;
	_Atomic(uint32_t) claimed; /* records asked for. The first RECORD_MAX askers get one */
	uint32_t shared; /* 1: the processes share one limit; the ledger lies behind the records */
	uint64_t id; /* of this run */
};

enum record_end {
	RECORD_RUNNING, /* the process runs, or was killed */
	RECORD_EXECED, /* the process called exec: its next program has another record */
	RECORD_EXITED,
};

/* Page 1 + n of the file. */
struct record {
	_Atomic(int32_t) pid; /* 0: the record is not filled in yet */
	_Atomic(uint32_t) end; /* enum record_end */
	uint64_t vm_hwm_bytes; /* peak of resident memory by the host kernel, at the end; 0: not known */
	uint64_t limit_bytes;
	uint32_t faults; /* the enum anonmm_faults that was opened, never AUTO */
	uint32_t copies; /* 1: the machine copies pages, as without UFFDIO_MOVE */
	char name[64]; /* of the program, as /proc/self/comm */
	struct anonmm_stats live; /* the core counts here */
	struct anonmm_stats final; /* as pager_stats() at the end; valid if has_final */
	_Atomic(uint32_t) has_final; /* 1: final and vm_hwm_bytes are written */
};

_Static_assert(sizeof(struct record) <= RECORD_BYTES, "a record fits its page");

#endif
